package redis

import (
	"context"
	_ "embed" // the scripts
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"orderflow/internal/bus"
)

// Bounds of a Bus.
const (
	busLimit    = time.Second            // for one question to Redis
	busLook     = time.Second            // between two looks of a consumer that hears no bell
	busDeafLook = 50 * time.Millisecond  // the same while bells are not heard
	busTailWait = 2 * time.Second        // for a tail's subscription to stand
	busForget   = 10 * time.Minute       // after which a consumer that is gone is forgotten
	busRejoin   = 100 * time.Millisecond // between two tries to listen
	busEntries  = 64                     // that are read at once
	busOverdue  = 4                      // that are taken over at once

	busSpare     = 5 * time.Millisecond   // after which what a consumer has not asked for may go to others
	busSpareLook = 100 * time.Millisecond // between two looks whether it may
)

var (
	//go:embed scripts/bus_publish.lua
	busPublishText string
	//go:embed scripts/bus_ack.lua
	busAckText string
	//go:embed scripts/bus_split.lua
	busSplitText string
	//go:embed scripts/bus_reclaim.lua
	busReclaimText string
	//go:embed scripts/bus_depth.lua
	busDepthText string
)

// Bus carries messages over Redis Streams; BUS.md beside this file has the argument. Each group of a topic has a stream of
// its own, so that an entry goes as soon as its group is done with it. Tails hear of messages by publish and subscribe. Its
// methods may be called from any goroutine.
type Bus struct {
	client  *Client
	options bus.Options

	publish, ack, split, reclaim, depth script

	life   context.Context //nolint:containedctx // of what listens; ends with Close
	end    context.CancelFunc
	closed chan struct{}
	all    sync.WaitGroup

	mu     sync.Mutex
	topics map[string]*topic
}

// NewBus returns a Bus; close it.
func NewBus(client *Client, options bus.Options) *Bus {
	b := &Bus{
		client: client, options: options.WithDefaults(), closed: make(chan struct{}), topics: map[string]*topic{},
		publish: newScript(busPublishText), ack: newScript(busAckText), split: newScript(busSplitText),
		reclaim: newScript(busReclaimText), depth: newScript(busDepthText),
	}
	b.life, b.end = context.WithCancel(context.Background())
	return b
}

// Features says: shared by processes, kept while Redis keeps its data, a slice as a whole, in no order.
func (b *Bus) Features() bus.Features {
	return bus.Features{Shared: true, Durable: true, Atomic: true, Ordered: false}
}

// Publish implements bus.Bus, within a second. A slice of several topics is published topic by topic. An error other than
// ErrFull and ErrClosed leaves open whether the messages went out.
func (b *Bus) Publish(ctx context.Context, messages []bus.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.isClosed() {
		return bus.ErrClosed
	}
	var errs []error
	for len(messages) > 0 {
		topic := messages[0].Topic
		same := messages
		if i := slices.IndexFunc(messages, func(m bus.Message) bool { return m.Topic != topic }); i >= 0 {
			same = slices.Collect(func(yield func(bus.Message) bool) {
				for _, m := range messages {
					if m.Topic == topic && !yield(m) {
						return
					}
				}
			})
			messages = slices.DeleteFunc(slices.Clone(messages), func(m bus.Message) bool { return m.Topic == topic })
		} else {
			messages = nil
		}
		errs = append(errs, b.publishTo(ctx, b.topic(topic), same))
	}
	return errors.Join(errs...)
}

// publishTo publishes messages of one topic.
func (b *Bus) publishTo(ctx context.Context, t *topic, messages []bus.Message) error {
	conn, err := b.client.conn()
	if err != nil {
		return err
	}
	known := t.known()
	args := append([]string{t.tag, strconv.Itoa(b.options.Buffer), strconv.Itoa(len(messages)), strconv.Itoa(len(known))}, known...)
	for entry := range slices.Chunk(messages, entryMax) {
		args = append(args, strconv.Itoa(len(entry)), rueidis.BinaryString(writeMessages(entry)))
	}
	limited, cancel := context.WithTimeout(ctx, busLimit)
	defer cancel()
	result := run(limited, conn, []call{{b.publish, []string{t.tag + "groups"}, args}})[0]
	if err := b.client.done(ctx, operation{"publish to topic", t.name}, result.Error()); err != nil {
		return err
	}
	groups, err := result.AsStrSlice()
	if err != nil {
		return bus.ErrFull
	}
	t.learn(groups)
	return nil
}

// Group implements bus.Bus.
func (b *Bus) Group(ctx context.Context, topicName, groupName string) (bus.Group, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t := b.topic(topicName)
	c := newConsumer(b, t, groupName)
	if err := c.join(ctx); err != nil {
		if b.isClosed() {
			err = bus.ErrClosed
		}
		return nil, err
	}
	t.learn([]string{groupName})
	if !b.listen(t.bell) { //nolint:contextcheck // it listens for all, until the bus is closed
		return nil, bus.ErrClosed
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.consumers = append(t.consumers, c)
	return c, nil
}

// Tail implements bus.Bus. It returns when the subscription stands, and an error when Redis is away.
func (b *Bus) Subscribe(ctx context.Context, topicName string) (bus.Subscription, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t := b.topic(topicName)
	if !b.listen(t.news) { //nolint:contextcheck // likewise
		return nil, bus.ErrClosed
	}
	l := newTail(b, t)
	stands := false
	defer func() {
		if !stands {
			b.leave(t.news)
		}
	}()
	limit := time.NewTimer(busTailWait)
	defer limit.Stop()
	for {
		listening, changed := t.news.state()
		if listening {
			t.mu.Lock()
			t.tails = append(t.tails, l)
			t.mu.Unlock()
			stands = true
			return l, nil
		}
		select {
		case <-changed:
		case <-b.closed:
			return nil, bus.ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-limit.C:
			return nil, ErrDown
		}
	}
}

// Depth returns how full a group is; the zero Depth when there is no such group.
func (b *Bus) Depth(ctx context.Context, topicName, groupName string) (bus.Depth, error) {
	conn, err := b.client.conn()
	if err != nil {
		return bus.Depth{}, err
	}
	t := b.topic(topicName)
	keys := []string{t.key("stream", groupName), t.key("count", groupName), t.key("done", groupName), t.key("setaside", groupName)}
	limited, cancel := context.WithTimeout(ctx, busLimit)
	defer cancel()
	args := []string{groupName, strconv.FormatInt(busForget.Milliseconds(), 10)}
	figures, err := run(limited, conn, []call{{b.depth, keys, args}})[0].AsIntSlice()
	if err == nil && len(figures) != 3 {
		err = errOddAnswer
	}
	if err := b.client.done(ctx, operation{"measure the queue of topic", t.name}, err); err != nil {
		return bus.Depth{}, err
	}
	return bus.Depth{Waiting: int(max(0, figures[0]-figures[1])), Unacked: int(figures[1]), DeadLettered: uint64(max(0, figures[2]))}, nil
}

// Close ends all waiting calls, and all later ones, with ErrClosed, and waits until nothing runs any more. What is in Redis
// stays. Closing twice is no error.
func (b *Bus) Close() error {
	b.mu.Lock()
	if !b.isClosed() {
		close(b.closed)
		b.end()
	}
	b.mu.Unlock()
	b.all.Wait()
	return nil
}

// begin lets something run that Close waits for, until all.Done; false when the bus is closed.
func (b *Bus) begin() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.isClosed() {
		return false
	}
	b.all.Add(1)
	return true
}

func (b *Bus) isClosed() bool {
	select {
	case <-b.closed:
		return true
	default:
		return false
	}
}

// topic returns the topic of that name.
func (b *Bus) topic(name string) *topic {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.topics[name]
	if t == nil {
		t = &topic{name: name, tag: b.client.tag("orderflow:bus:" + name), groups: map[string]bool{}}
		t.bell = newEar(t.tag+"bell", name, func() { t.ring(true) }, func(word string) { t.ring(word == "back") })
		t.news = newEar(t.tag+"news", name, t.missed, t.spread)
		b.topics[name] = t
	}
	return t
}

// listen is called by who wants to hear a channel, until they leave it; false when the bus is closed.
func (b *Bus) listen(e *ear) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.isClosed() {
		return false
	}
	e.wanted++
	if !e.followed {
		e.followed = true
		b.all.Go(func() { b.follow(e) })
	}
	return true
}

// leave takes back one listen. When nobody wants to hear the channel any more, it is not listened to.
func (b *Bus) leave(e *ear) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.wanted--; e.wanted == 0 && e.stop != nil {
		e.stop()
	}
}

// wanted returns a context that lasts while a channel is wanted; nil when it is not, or the bus is closed: who follows it then
// has to end.
func (b *Bus) wanted(e *ear) context.Context {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.stop != nil {
		e.stop()
	}
	if b.isClosed() || e.wanted == 0 {
		e.followed, e.stop = false, nil
		return nil
	}
	ctx, stop := context.WithCancel(b.life)
	e.stop = stop
	return ctx
}

// follow listens to a channel while somebody wants to hear it.
func (b *Bus) follow(e *ear) {
	retry := resubscription{client: b.client, op: e.subscribe, pause: backoff{first: busRejoin, longest: rejoinLongest}}
	for ctx := b.wanted(e); ctx != nil; ctx = b.wanted(e) {
		began := time.Now()
		err := b.hear(ctx, e)
		pause := time.NewTimer(retry.after(ctx, err, began))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
}

// hear listens to a channel until ctx ends, or something goes wrong, which it returns; nil while Redis is down.
func (b *Bus) hear(ctx context.Context, e *ear) error {
	conn, err := b.client.conn()
	if err != nil {
		return nil // it is known, and Redis was not asked
	}
	heard := rueidis.WithOnSubscriptionHook(ctx, func(s rueidis.PubSubSubscription) {
		if s.Kind == "ssubscribe" {
			e.heard(true)
			b.client.health.work(e.subscribe)
		}
	})
	err = conn.Receive(heard, conn.B().Ssubscribe().Channel(e.channel).Build(), func(m rueidis.PubSubMessage) { e.message(m.Message) })
	e.heard(false)
	if ctx.Err() == nil || b.isClosed() {
		return err
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), busLimit)
	defer cancel()
	// Redis goes on sending until it is told. If it cannot be, nobody here listens all the same.
	_ = conn.Do(limited, conn.B().Sunsubscribe().Channel(e.channel).Build()).Error()
	return err
}

// ear listens to a channel of a topic: to the bell for its consumers, to the news for its tails, to neither for nobody.
type ear struct {
	channel   string
	subscribe operation
	message   func(text string)
	stirred   func() // called when it begins to hear, and when it does so no more

	// Guarded by the bus's mutex.
	wanted   int    // how many want to hear it
	followed bool   // somebody listens for them, or is about to find out that nobody wants it any more
	stop     func() // ends that

	mu        sync.Mutex
	listening bool
	changed   chan struct{} // closed, and replaced, when listening changes
}

func newEar(channel, topic string, stirred func(), message func(string)) *ear {
	return &ear{channel: channel, subscribe: operation{"subscribe to topic", topic}, message: message, stirred: stirred, changed: make(chan struct{})}
}

func (e *ear) heard(now bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.listening == now {
		return
	}
	e.listening = now
	close(e.changed)
	e.changed = make(chan struct{})
	e.stirred() // before anybody sees the change: who comes after it has missed nothing
}

func (e *ear) state() (listening bool, changed <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.listening, e.changed
}

func (e *ear) isHeard() bool {
	listening, _ := e.state()
	return listening
}

// topic is a topic and who of this process reads it.
type topic struct {
	name, tag  string
	bell, news *ear

	mu        sync.Mutex
	groups    map[string]bool // that are known to exist
	consumers []*consumer
	tails     []*tail
}

// key is one of a group's keys; all keys of a topic are in one slot of a cluster.
func (t *topic) key(what, group string) string { return t.tag + what + ":" + group }

func (t *topic) known() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Sorted(maps.Keys(t.groups))
}

func (t *topic) learn(groups []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, group := range groups {
		t.groups[group] = true
	}
}

// missed notes that the news were not heard for a while: when that begins, and when it is over, so that who reads elsewhere
// when told has missed nothing in between.
func (t *topic) missed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.tails {
		l.miss()
	}
}

// ring wakes the consumers; back says that there may be something to take over.
func (t *topic) ring(back bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.consumers {
		c.wake(back)
	}
}

// spread hands what was heard to the tails. What nobody here can read is lost to them.
func (t *topic) spread(text string) {
	messages, err := readMessages(t.name, text)
	if err != nil {
		t.missed()
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.tails {
		l.add(messages)
	}
}
