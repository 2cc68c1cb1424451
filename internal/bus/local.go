package bus

import (
	"context"
	"slices"
	"sync"
)

// Local is the in-process adapter, which the embedded server uses: topics in memory. It drops a message whose topic has neither
// a group nor a subscription, because no reader can ever receive it. Close drops all messages; their events are in the outbox until
// they are marked as published. Create it with NewLocal, and close it after its readers and publishers.
type Local struct {
	options Options
	closed  chan struct{} // closed under mu

	mu     sync.Mutex
	topics map[string]*topic // topics that have, or had, a reader
	tag    uint64            // of the last delivery
}

// topic holds the readers of a topic.
type topic struct {
	groups        []*group
	subscriptions []*subscription
	arriving      int // messages of this topic in the slice being published
}

// NewLocal returns a Local without topics.
func NewLocal(options Options) *Local {
	return &Local{options: options.WithDefaults(), closed: make(chan struct{}), topics: make(map[string]*topic)}
}

// Features returns the guarantees of the adapter.
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
			g.wake.notify()
		}
		for _, t := range t.subscriptions {
			t.add(messages[i])
		}
	}
	return nil
}

// admit reports whether every group has space for all of its messages.
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
	fits := true
	for _, t := range touched {
		for _, g := range t.groups {
			fits = fits && g.waiting.length+g.unacked.length+t.arriving <= b.options.Buffer
		}
		t.arriving = 0
	}
	return fits
}

// Group implements Bus. If a consumer's goroutine ends without Close, its messages are delivered again after Options.AckWithin.
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

// Subscribe implements Bus.
func (b *Local) Subscribe(ctx context.Context, topicName string) (Subscription, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if isClosed(b.closed) {
		return nil, ErrClosed
	}
	t := &subscription{bus: b, topic: b.topic(topicName), wake: newSignal(), closed: make(chan struct{})}
	t.topic.subscriptions = append(t.topic.subscriptions, t)
	return t, nil
}

// Depth returns the fill level of a group; the zero Depth when the group does not exist.
func (b *Local) Depth(_ context.Context, topicName, groupName string) (Depth, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.topics[topicName]; t != nil {
		if g := t.group(groupName); g != nil {
			return Depth{Waiting: g.waiting.length, Unacked: g.unacked.length, DeadLettered: g.deadLettered}, nil
		}
	}
	return Depth{}, nil
}

// Close ends all waiting and all later calls with ErrClosed. Closing twice is not an error.
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

// topic returns the topic of that name, and creates it if necessary.
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

// signal wakes one waiter. A signal without a waiter stays set for the next one.
type signal chan struct{}

func newSignal() signal { return make(signal, 1) }

func (b signal) notify() {
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
