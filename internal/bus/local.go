package bus

import (
	"context"
	"slices"
	"sync"
)

// Local is the in-process adapter: topics in memory. It is what the embedded server runs on. A message to a topic that
// has neither group nor tail is dropped, for nobody could ever read it; what is in it when it is closed is gone (the
// outbox still owes it). Make one with NewLocal; close it after its readers and publishers.
type Local struct {
	options Options
	closed  chan struct{} // closed under mu

	mu     sync.Mutex
	topics map[string]*topic // those that have, or once had, a reader
	tag    uint64            // of the last delivery
}

// topic is who reads it.
type topic struct {
	groups   []*group
	tails    []*tail
	arriving int // messages for it in the slice being published
}

// NewLocal returns a Local without topics.
func NewLocal(options Options) *Local {
	return &Local{options: options.WithDefaults(), closed: make(chan struct{}), topics: make(map[string]*topic)}
}

// Features says: this process only and as long as it lives, a slice as a whole, in order.
func (b *Local) Features() Features {
	return Features{Shared: false, Durable: false, Atomic: true, Ordered: true}
}

// Publish implements Bus.
func (b *Local) Publish(ctx context.Context, messages []Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if isClosed(b.closed) {
		return ErrClosed
	}
	if !b.admit(messages) {
		return ErrFull
	}
	for i := range messages {
		t := b.topics[messages[i].Topic]
		if t == nil {
			continue
		}
		for _, g := range t.groups {
			g.waiting.pushBack(&entry{message: messages[i]})
			g.bell.ring()
		}
		for _, t := range t.tails {
			t.add(messages[i])
		}
	}
	return nil
}

// admit says whether every group has room for all that comes to it.
func (b *Local) admit(messages []Message) bool {
	var few [4]*topic
	touched := few[:0]
	for i := range messages {
		t := b.topics[messages[i].Topic]
		if t == nil {
			continue
		}
		if t.arriving == 0 {
			touched = append(touched, t)
		}
		t.arriving++
	}
	room := true
	for _, t := range touched {
		for _, g := range t.groups {
			room = room && g.waiting.length+g.unacked.length+t.arriving <= b.options.Buffer
		}
		t.arriving = 0
	}
	return room
}

// Group implements Bus. A consumer lives in this process; should its goroutine end without Close, what it has fetched
// comes again after Options.AckWithin.
func (b *Local) Group(ctx context.Context, topicName, groupName string) (Group, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if isClosed(b.closed) {
		return nil, ErrClosed
	}
	t := b.topic(topicName)
	g := t.group(groupName)
	if g == nil {
		g = newGroup(b, groupName)
		t.groups = append(t.groups, g)
	}
	return &consumer{group: g, closed: make(chan struct{})}, nil
}

// Subscription implements Bus.
func (b *Local) Subscribe(ctx context.Context, topicName string) (Subscription, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if isClosed(b.closed) {
		return nil, ErrClosed
	}
	t := &tail{bus: b, topic: b.topic(topicName), bell: newBell(), closed: make(chan struct{})}
	t.topic.tails = append(t.topic.tails, t)
	return t, nil
}

// Depth returns how full a group is; the zero Depth when there is no such group.
func (b *Local) Depth(_ context.Context, topicName, groupName string) (Depth, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.topics[topicName]; t != nil {
		if g := t.group(groupName); g != nil {
			return Depth{Waiting: g.waiting.length, Unacked: g.unacked.length, DeadLettered: g.setAside}, nil
		}
	}
	return Depth{}, nil
}

// Close ends all waiting calls, and all later ones, with ErrClosed. Closing twice is no error.
func (b *Local) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if isClosed(b.closed) {
		return nil
	}
	close(b.closed)
	for _, t := range b.topics {
		for _, g := range t.groups {
			g.stop()
		}
	}
	b.topics = nil
	return nil
}

// topic returns the topic of that name, made if need be.
func (b *Local) topic(name string) *topic {
	t := b.topics[name]
	if t == nil {
		t = &topic{}
		b.topics[name] = t
	}
	return t
}

// group returns the topic's group of that name, or nil.
func (t *topic) group(name string) *group {
	if i := slices.IndexFunc(t.groups, func(g *group) bool { return g.name == name }); i >= 0 {
		return t.groups[i]
	}
	return nil
}

// bell wakes one waiter; rung while nobody waits, it goes on ringing for the next.
type bell chan struct{}

func newBell() bell { return make(bell, 1) }

func (b bell) ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
