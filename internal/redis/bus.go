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
	busTimeout          = time.Second            // of one call to Redis
	busPoll             = time.Second            // between two checks of a consumer without a wake-up
	busDisconnectedPoll = 50 * time.Millisecond  // the same while the subscription to wake-ups is disconnected
	busSubscribeTimeout = 2 * time.Second        // for Subscribe to connect
	busConsumerExpiry   = 10 * time.Minute       // after which an idle consumer is removed from its group
	busResubscribePause = 100 * time.Millisecond // between two tries to subscribe
	busReadMax          = 64                     // entries of one read
	busReclaimMax       = 4                      // entries reclaimed at once

	busPrefetchIdle  = 5 * time.Millisecond   // after which prefetched messages may go to other consumers
	busPrefetchRetry = 100 * time.Millisecond // between two tries to return them
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

// Bus is the adapter over Redis Streams; BUS.md explains it. Each group of a topic has its own stream, so an entry is deleted as
// soon as its group has acknowledged it. Subscriptions use publish/subscribe. All methods are safe for concurrent use.
type Bus struct {
	client  *Client
	options bus.Options

	publish, ack, split, reclaim, depth script

	running context.Context //nolint:containedctx // of the Redis subscriptions; ends with Close
	stop    context.CancelFunc
	closed  chan struct{}
	tasks   sync.WaitGroup

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
	b.running, b.stop = context.WithCancel(context.Background())
	return b
}

// Features returns the guarantees of the adapter. Durable holds as long as Redis keeps its data.
func (b *Bus) Features() bus.Features {
	return bus.Features{Shared: true, Durable: true, Atomic: true, Ordered: false}
}

// Publish implements bus.Bus, within a second. It publishes a slice with several topics topic by topic. After an error other
// than ErrFull and ErrClosed, the messages may have been published.
func (b *Bus) Publish(ctx context.Context, messages []bus.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if isClosed(b.closed) {
		return bus.ErrClosed
	}
	var errs []error
	for len(messages) > 0 {
		topic := messages[0].Topic
		isOther := func(m bus.Message) bool { return m.Topic != topic }
		same, others := messages, []bus.Message(nil)
		if slices.ContainsFunc(messages, isOther) {
			same = slices.DeleteFunc(slices.Clone(messages), isOther)
			others = slices.DeleteFunc(slices.Clone(messages), func(m bus.Message) bool { return m.Topic == topic })
		}
		errs = append(errs, b.publishTo(ctx, b.topic(topic), same))
		messages = others
	}
	return errors.Join(errs...)
}

// publishTo publishes messages of one topic.
func (b *Bus) publishTo(ctx context.Context, t *topic, messages []bus.Message) error {
	conn, err := b.client.conn()
	if err != nil {
		return err
	}
	names := t.groupNames()
	args := append([]string{t.tag, strconv.Itoa(b.options.Buffer), strconv.Itoa(len(messages)), strconv.Itoa(len(names))}, names...)
	for entry := range slices.Chunk(messages, entryMessages) {
		args = append(args, strconv.Itoa(len(entry)), rueidis.BinaryString(writeMessages(entry)))
	}
	limited, cancel := context.WithTimeout(ctx, busTimeout)
	defer cancel()
	result := run(limited, conn, []call{{b.publish, []string{t.tag + "groups"}, args}})[0]
	if err := b.client.record(ctx, operation{"publish to topic", t.name}, result.Error()); err != nil {
		return err
	}
	groups, err := result.AsStrSlice()
	if err != nil {
		return bus.ErrFull
	}
	t.addGroups(groups)
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
		if isClosed(b.closed) {
			err = bus.ErrClosed
		}
		return nil, err
	}
	t.addGroups([]string{groupName})
	if !b.acquire(t.wakeups) { //nolint:contextcheck // the Redis subscription serves all consumers until the bus is closed
		return nil, bus.ErrClosed
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.consumers = append(t.consumers, c)
	return c, nil
}

// Subscribe implements bus.Bus. It returns when Redis has confirmed the subscription, and an error when Redis is down.
func (b *Bus) Subscribe(ctx context.Context, topicName string) (bus.Subscription, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t := b.topic(topicName)
	if !b.acquire(t.messages) { //nolint:contextcheck // the Redis subscription serves all subscriptions
		return nil, bus.ErrClosed
	}
	s := newSubscription(b, t)
	subscribed := false
	defer func() {
		if !subscribed {
			b.release(t.messages)
		}
	}()
	timeout := time.NewTimer(busSubscribeTimeout)
	defer timeout.Stop()
	for {
		connected, changed := t.messages.state()
		if connected {
			t.mu.Lock()
			t.subscriptions = append(t.subscriptions, s)
			t.mu.Unlock()
			subscribed = true
			return s, nil
		}
		select {
		case <-changed:
		case <-b.closed:
			return nil, bus.ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-timeout.C:
			return nil, ErrDown
		}
	}
}

// Depth returns the fill level of a group; the zero Depth when the group does not exist.
func (b *Bus) Depth(ctx context.Context, topicName, groupName string) (bus.Depth, error) {
	conn, err := b.client.conn()
	if err != nil {
		return bus.Depth{}, err
	}
	t := b.topic(topicName)
	keys := []string{t.key("stream", groupName), t.key("count", groupName), t.key("done", groupName), t.key("deadlettered", groupName)}
	limited, cancel := context.WithTimeout(ctx, busTimeout)
	defer cancel()
	args := []string{groupName, strconv.FormatInt(busConsumerExpiry.Milliseconds(), 10)}
	figures, err := run(limited, conn, []call{{b.depth, keys, args}})[0].AsIntSlice()
	if err == nil && len(figures) != 3 {
		err = errUnexpectedAnswer
	}
	if err := b.client.record(ctx, operation{"measure the queue of topic", t.name}, err); err != nil {
		return bus.Depth{}, err
	}
	return bus.Depth{Waiting: int(max(0, figures[0]-figures[1])), Unacked: int(figures[1]), DeadLettered: uint64(max(0, figures[2]))}, nil
}

// Close ends all waiting and all later calls with ErrClosed, and waits for the bus's goroutines. The data in Redis stays. Closing
// twice is not an error.
func (b *Bus) Close() error {
	b.mu.Lock()
	if !isClosed(b.closed) {
		close(b.closed)
		b.stop()
	}
	b.mu.Unlock()
	b.tasks.Wait()
	return nil
}

// begin registers a task that Close waits for, until tasks.Done; false when the bus is closed.
func (b *Bus) begin() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if isClosed(b.closed) {
		return false
	}
	b.tasks.Add(1)
	return true
}

// topic returns the topic of that name, and creates it if necessary.
func (b *Bus) topic(name string) *topic {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.topics[name]
	if t == nil {
		t = &topic{name: name, tag: b.client.tag("orderflow:bus:" + name), groups: map[string]bool{}}
		t.wakeups = newChannel(t.tag+"wakeup", name, func() { t.wakeConsumers(true) }, func(word string) { t.wakeConsumers(word == "returned") })
		t.messages = newChannel(t.tag+"messages", name, t.markLagged, t.deliver)
		b.topics[name] = t
	}
	return t
}

// topic holds the readers of a topic in this process.
type topic struct {
	name, tag string
	wakeups   *channel // for consumers
	messages  *channel // for subscriptions

	mu            sync.Mutex
	groups        map[string]bool // known to exist
	consumers     []*consumer
	subscriptions []*subscription
}

// key returns one of a group's keys; all keys of a topic are in one slot of a cluster.
func (t *topic) key(what, group string) string { return t.tag + what + ":" + group }

func (t *topic) groupNames() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Sorted(maps.Keys(t.groups))
}

func (t *topic) addGroups(names []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range names {
		t.groups[name] = true
	}
}

// markLagged marks all subscriptions as lagged. It is called when the Redis subscription is lost and again when it is restored, so
// that a reader that then reads the database has missed nothing in between.
func (t *topic) markLagged() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.subscriptions {
		s.markLagged()
	}
}

// wakeConsumers wakes the consumers; reclaimable means that there may be entries to reclaim.
func (t *topic) wakeConsumers(reclaimable bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.consumers {
		c.wake(reclaimable)
	}
}

// deliver adds published messages to the subscriptions. An unreadable entry counts as lost.
func (t *topic) deliver(text string) {
	messages, err := readMessages(t.name, text)
	if err != nil {
		t.markLagged()
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.subscriptions {
		s.add(messages)
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

// notify sets a signal, a channel of capacity 1. A signal without a waiter stays set for the next one.
func notify(signal chan<- struct{}) {
	select {
	case signal <- struct{}{}:
	default:
	}
}
