package redis

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"orderflow/internal/bus"
)

// consumer is one consumer of a group.
type consumer struct {
	bus   *Bus
	topic *topic
	group string
	name  string

	wakeup      chan struct{} // a signal: the stream may have entries
	reclaimable atomic.Bool   // there may be entries to reclaim
	closed      chan struct{} // closed under mu

	fetching    sync.Mutex // one read from Redis at a time; guards what follows
	reclaimedAt time.Time
	prefetched  []prefetchedEntry // read from Redis and not delivered yet, oldest first
	entrySize   int               // messages that an entry is expected to have
	returnTimer *time.Timer       // returns prefetched messages to the stream when no Fetch takes them
	returnRetry backoff           // of returnTimer, after errors

	mu         sync.Mutex
	tag        uint64
	entries    map[string]*entry    // read by this consumer
	deliveries map[uint64]delivered // unacknowledged, by tag
}

// entry is an entry of the stream.
type entry struct {
	id    string
	size  int       // messages of the entry
	open  int       // messages that this consumer has and that are not acknowledged
	since time.Time // when it was read
}

// delivered is a delivered message.
type delivered struct {
	entry    *entry
	position int
}

func newConsumer(b *Bus, t *topic, group string) *consumer {
	c := &consumer{
		bus: b, topic: t, group: group, name: b.client.node + "-" + rand.Text()[:8], wakeup: make(chan struct{}, 1), closed: make(chan struct{}),
		entrySize: entryMessages, returnRetry: backoff{first: busPrefetchRetry, longest: resubscribeLongest},
		entries: map[string]*entry{}, deliveries: map[uint64]delivered{},
	}
	c.returnTimer = time.AfterFunc(time.Hour, c.returnPrefetched)
	c.returnTimer.Stop()
	return c
}

// join creates the group if it does not exist.
func (c *consumer) join(ctx context.Context) error {
	conn, err := c.bus.client.conn()
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, busTimeout)
	defer cancel()
	for _, result := range conn.DoMulti(limited,
		conn.B().Sadd().Key(c.topic.tag+"groups").Member(c.group).Build(),
		conn.B().XgroupCreate().Key(c.key("stream")).Group(c.group).Id("0").Mkstream().Build(),
	) {
		if err := result.Error(); err != nil && !rueidis.IsRedisBusyGroup(err) {
			return c.bus.client.record(ctx, c.fetchOperation(), err)
		}
	}
	return nil
}

func (c *consumer) fetchOperation() operation {
	return operation{"fetch messages of topic", c.topic.name}
}

func (c *consumer) key(what string) string { return c.topic.key(what, c.group) }

// wake wakes a waiting Fetch; reclaimable means that there may be entries to reclaim.
func (c *consumer) wake(reclaimable bool) {
	if reclaimable {
		c.reclaimable.Store(true)
	}
	notify(c.wakeup)
}

// Fetch implements bus.Group. It also returns errors of Redis, and works again once Redis does.
func (c *consumer) Fetch(ctx context.Context, limit int) ([]bus.Delivery, error) {
	if limit < 1 {
		return nil, fmt.Errorf("bus: the fetch limit %d must be at least 1", limit)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for {
		deliveries, err := c.take(ctx, limit)
		if err != nil || len(deliveries) > 0 {
			return deliveries, err
		}
		pause := busDisconnectedPoll
		if connected, _ := c.topic.wakeups.state(); connected {
			pause = min(busPoll, c.bus.options.AckWithin/4)
		}
		timer := time.NewTimer(pause)
		select {
		case <-c.wakeup:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-c.closed:
		case <-c.bus.closed:
		}
		timer.Stop()
	}
}

// take returns up to limit messages, or none. It is not cancelled with ctx: messages that it has read are delivered.
func (c *consumer) take(ctx context.Context, limit int) ([]bus.Delivery, error) {
	c.fetching.Lock()
	defer c.fetching.Unlock()
	if c.isClosed() {
		return nil, bus.ErrClosed
	}
	conn, err := c.bus.client.conn()
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), busTimeout)
	defer cancel()
	deliveries, err := c.fetchReclaimed(limited, conn, limit)
	if err == nil && len(deliveries) == 0 {
		deliveries = c.deliver(limit)
	}
	if err == nil && len(deliveries) == 0 {
		deliveries, err = c.fetchNew(limited, conn, limit)
	}
	if len(c.prefetched) > 0 {
		c.returnTimer.Reset(busPrefetchIdle)
	}
	if code(err) == "NOGROUP" {
		c.wake(false)
		return nil, c.join(limited) // Redis restarted without its data
	}
	return deliveries, c.bus.client.record(context.WithoutCancel(ctx), c.fetchOperation(), err) // the time limit is not the caller's
}

// fetchNew reads entries that no consumer has read: about as many as hold limit messages. It assumes full entries until a read
// that found as many entries as it asked for shows how many messages they have.
func (c *consumer) fetchNew(ctx context.Context, conn rueidis.Client, limit int) ([]bus.Delivery, error) {
	count := min((limit+c.entrySize-1)/c.entrySize, busReadMax)
	streams, err := conn.Do(ctx, conn.B().Xreadgroup().Group(c.group, c.name).Count(int64(count)).
		Streams().Key(c.key("stream")).Id(">").Build()).AsXRead()
	if rueidis.IsRedisNil(err) {
		c.entrySize = entryMessages
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	entries, messages := streams[c.key("stream")], 0
	for _, e := range entries {
		before, _ := strconv.Atoi(e.FieldValues["a"]) // absent in most entries
		messages += c.addEntry(e.ID, e.FieldValues["m"], "", before+1)
	}
	if c.entrySize = entryMessages; len(entries) == count {
		c.entrySize = max(1, min(messages/count, entryMessages))
	}
	return c.deliver(limit), nil
}

// addEntry adds the unacknowledged messages of an entry to the prefetched ones and returns their number. An entry that this
// release cannot read stays pending: another release may reclaim it, and at the delivery limit it is dead-lettered.
func (c *consumer) addEntry(id, text, done string, attempt int) int {
	messages, err := readMessages(c.topic.name, text)
	if err != nil || len(messages) == 0 {
		return 0
	}
	e := &entry{id: id, size: len(messages), since: time.Now()}
	p := prefetchedEntry{entry: e, attempt: attempt, positions: make([]int, 0, len(messages))}
	for i := range messages {
		if i < len(done) && done[i] == '1' {
			continue
		}
		p.positions = append(p.positions, i)
		messages[len(p.positions)-1] = messages[i]
	}
	p.messages = messages[:len(p.positions)]
	e.open = len(p.messages)
	c.mu.Lock()
	c.entries[id] = e
	c.mu.Unlock()
	c.prefetched = append(c.prefetched, p)
	return len(p.messages)
}

// deliver delivers up to limit of the prefetched messages.
func (c *consumer) deliver(limit int) (deliveries []bus.Delivery) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.prefetched) > 0 && len(deliveries) < limit {
		p := &c.prefetched[0]
		n := min(limit-len(deliveries), len(p.messages))
		for i, m := range p.messages[:n] {
			c.tag++
			c.deliveries[c.tag] = delivered{p.entry, p.positions[i]}
			deliveries = append(deliveries, bus.Delivery{Message: m, Attempt: p.attempt, Tag: c.tag})
		}
		if p.messages, p.positions = p.messages[n:], p.positions[n:]; len(p.messages) == 0 {
			c.prefetched = c.prefetched[1:]
		}
	}
	return deliveries
}

// Ack implements bus.Group, in one round trip.
func (c *consumer) Ack(ctx context.Context, deliveries []bus.Delivery) error {
	if c.isClosed() {
		return bus.ErrClosed
	}
	args := c.markDone(deliveries)
	if len(args) == 0 {
		return nil
	}
	conn, err := c.bus.client.conn()
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, busTimeout)
	defer cancel()
	keys := []string{c.key("stream"), c.key("count"), c.key("done")}
	err = run(limited, conn, []call{{c.bus.ack, keys, append([]string{c.group}, args...)}})[0].Error()
	return c.bus.client.record(ctx, operation{"acknowledge messages of topic", c.topic.name}, err)
}

// markDone removes acknowledged deliveries and returns the arguments of the script: id, size and positions of each entry.
func (c *consumer) markDone(deliveries []bus.Delivery) (args []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	done := map[*entry][]int{}
	var order []*entry
	for i := range deliveries {
		d, found := c.deliveries[deliveries[i].Tag]
		if !found {
			continue // already acknowledged, or delivered again meanwhile
		}
		delete(c.deliveries, deliveries[i].Tag)
		d.entry.open--
		if done[d.entry] == nil {
			order = append(order, d.entry)
		}
		done[d.entry] = append(done[d.entry], d.position)
	}
	for _, e := range order {
		text := positions(done[e])
		if len(done[e]) == e.size {
			text = ""
		}
		args = append(args, e.id, strconv.Itoa(e.size), text)
		if e.open == 0 {
			delete(c.entries, e.id)
		}
	}
	return args
}

func (c *consumer) isClosed() bool { return isClosed(c.closed) || isClosed(c.bus.closed) }

// Close implements bus.Group. While Redis is down, unacknowledged messages are delivered again after Options.AckWithin.
func (c *consumer) Close() error {
	c.mu.Lock()
	if isClosed(c.closed) {
		c.mu.Unlock()
		return nil
	}
	close(c.closed)
	c.mu.Unlock()
	c.topic.mu.Lock()
	c.topic.consumers = slices.DeleteFunc(c.topic.consumers, func(other *consumer) bool { return other == c })
	c.topic.mu.Unlock()

	c.fetching.Lock() // wait for the last read
	defer c.fetching.Unlock()
	c.returnTimer.Stop()
	conn, err := c.bus.client.conn()
	if err != nil {
		return nil // the entries become overdue by themselves
	}
	ctx, cancel := context.WithTimeout(context.Background(), busTimeout)
	defer cancel()
	err = c.split(ctx, conn, true) // undelivered messages count no attempt
	var deadLettered []reclaimed
	if err == nil {
		deadLettered, err = c.reclaim(ctx, conn, true)
	}
	for _, entry := range deadLettered {
		c.reportDeadLettered(entry)
	}
	if lostGroup(err) {
		return nil
	}
	return err // not recorded in the health: no later try of this consumer could clear it
}
