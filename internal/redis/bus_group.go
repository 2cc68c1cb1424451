package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
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

	bell   chan struct{} // has an element when something may wait
	back   atomic.Bool   // some may have been given back, or be overdue
	closed chan struct{}

	taking sync.Mutex // one look at a time
	looked time.Time  // for what is overdue; guarded by taking

	mu      sync.Mutex
	over    bool // closed is closed
	tag     uint64
	entries map[string]*entry  // in the hands of this consumer
	tags    map[uint64]tagging // of their messages that were handed out
}

// entry is one entry of the stream.
type entry struct {
	id   string
	size int          // messages it has
	open map[int]bool // positions handed out here and not acknowledged yet
}

type tagging struct {
	entry    *entry
	position int
}

func newConsumer(b *Bus, t *topic, group string) *consumer {
	return &consumer{
		bus: b, topic: t, group: group, name: b.client.node + "-" + rand.Text()[:8], bell: make(chan struct{}, 1), closed: make(chan struct{}),
		entries: map[string]*entry{}, tags: map[uint64]tagging{},
	}
}

// join makes the group, if it is not there.
func (c *consumer) join(ctx context.Context) error {
	conn, err := c.bus.client.conn()
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, busLimit)
	defer cancel()
	for _, result := range conn.DoMulti(limited,
		conn.B().Sadd().Key(c.topic.tag+"groups").Member(c.group).Build(),
		conn.B().XgroupCreate().Key(c.key("stream")).Group(c.group).Id("0").Mkstream().Build(),
	) {
		if err := result.Error(); err != nil && !rueidis.IsRedisBusyGroup(err) {
			return c.bus.client.failed(ctx, err)
		}
	}
	return nil
}

func (c *consumer) key(what string) string { return c.topic.key(what, c.group) }

// wake rings the bell; back says that there may be something to take over.
func (c *consumer) wake(back bool) {
	if back {
		c.back.Store(true)
	}
	select {
	case c.bell <- struct{}{}:
	default:
	}
}

// Fetch implements bus.Group. Its other errors are those of Redis; it is back by itself when Redis is.
func (c *consumer) Fetch(ctx context.Context, limit int) ([]bus.Delivery, error) {
	if limit < 1 {
		return nil, fmt.Errorf("bus: fetch of at most %d messages: ask for at least 1", limit)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for {
		deliveries, err := c.take(ctx, limit)
		if err != nil || len(deliveries) > 0 {
			return deliveries, err
		}
		pause := busDeafLook
		if c.topic.isHeard() {
			pause = min(busLook, c.bus.options.AckWithin/4)
		}
		timer := time.NewTimer(pause)
		select {
		case <-c.bell:
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

// take returns what waits, up to limit, if anything does. It is not cut off by the caller's leaving: what it has taken is
// delivered.
func (c *consumer) take(ctx context.Context, limit int) ([]bus.Delivery, error) {
	c.taking.Lock()
	defer c.taking.Unlock()
	if c.isOver() {
		return nil, bus.ErrClosed
	}
	conn, err := c.bus.client.conn()
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), busLimit)
	defer cancel()
	var deliveries []bus.Delivery
	// First what is overdue: where new entries never run out, nobody would ever come to it.
	if c.back.Swap(false) || time.Since(c.looked) >= min(busLook, c.bus.options.AckWithin/4) {
		c.looked = time.Now()
		deliveries, err = c.takeOver(limited, conn, limit)
	}
	if err == nil && len(deliveries) == 0 {
		deliveries, err = c.read(limited, conn, limit)
	}
	if answer, ok := rueidis.IsRedisErr(err); ok && strings.HasPrefix(answer.Error(), "NOGROUP") {
		return nil, c.join(limited) // Redis was restarted without its data
	}
	return deliveries, c.bus.client.failed(context.WithoutCancel(ctx), err) // the bound was ours
}

// read takes entries that nobody has had.
func (c *consumer) read(ctx context.Context, conn rueidis.Client, limit int) ([]bus.Delivery, error) {
	streams, err := conn.Do(ctx, conn.B().Xreadgroup().Group(c.group, c.name).Count(int64((limit+entryMax-1)/entryMax)).
		Streams().Key(c.key("stream")).Id(">").Build()).AsXRead()
	if rueidis.IsRedisNil(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var deliveries []bus.Delivery
	for _, e := range streams[c.key("stream")] {
		before, _ := strconv.Atoi(e.FieldValues["a"]) // most have none
		deliveries, err = c.handOut(ctx, conn, deliveries, e.ID, e.FieldValues["m"], "", before+1, limit)
		if err != nil {
			return deliveries, err
		}
	}
	return deliveries, nil
}

// takeOver takes entries that somebody else did not acknowledge in time, or gave back.
func (c *consumer) takeOver(ctx context.Context, conn rueidis.Client, limit int) ([]bus.Delivery, error) {
	answers, err := c.reclaim(ctx, conn, false)
	var deliveries []bus.Delivery
	for _, answer := range answers {
		if answer.attempt == 0 {
			c.report(answer)
			continue
		}
		c.forget(answer.id)
		if deliveries, err = c.handOut(ctx, conn, deliveries, answer.id, answer.messages, answer.done, answer.attempt, limit); err != nil {
			break
		}
	}
	return deliveries, err
}

// handOut adds an entry's messages to deliveries. Those for which the limit leaves no room are given back.
func (c *consumer) handOut(
	ctx context.Context, conn rueidis.Client, deliveries []bus.Delivery, id, text, done string, attempt, limit int,
) ([]bus.Delivery, error) {
	messages, err := readMessages(c.topic.name, text)
	if err != nil || len(messages) == 0 {
		// Nobody can read it, now or later. It is as good as done.
		return deliveries, c.acknowledge(ctx, conn, []string{id, "1", ""})
	}
	e := &entry{id: id, size: len(messages), open: map[int]bool{}}
	var surplus []int
	c.mu.Lock()
	for i, m := range messages {
		switch {
		case i < len(done) && done[i] == '1':
		case len(deliveries) < limit:
			c.tag++
			c.tags[c.tag] = tagging{e, i}
			e.open[i] = true
			deliveries = append(deliveries, bus.Delivery{Message: m, Attempt: attempt, Tag: c.tag})
		default:
			surplus = append(surplus, i)
		}
	}
	c.entries[id] = e
	c.mu.Unlock()
	if len(surplus) == 0 {
		return deliveries, nil
	}
	back := make([]bus.Message, len(surplus))
	for i, position := range surplus {
		back[i] = messages[position]
	}
	err = run(ctx, conn, []call{{c.bus.split, []string{c.key("stream"), c.key("done")}, []string{
		id, strconv.Itoa(e.size), positions(surplus), strconv.Itoa(len(surplus)), rueidis.BinaryString(writeMessages(back)),
		strconv.Itoa(attempt - 1), c.topic.tag + "bell",
	}}})[0].Error()
	return deliveries, err
}

// positions counts from 1, as the scripts do.
func positions(list []int) string {
	var b strings.Builder
	for i, p := range list {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(strconv.Itoa(p + 1))
	}
	return b.String()
}

// reclaimed is an entry that was taken over, or set aside (attempt 0).
type reclaimed struct {
	id, messages, done string
	attempt            int
}

// reclaim runs the script that takes over what is overdue, or with giveBack gives back what this consumer has.
func (c *consumer) reclaim(ctx context.Context, conn rueidis.Client, giveBack bool) ([]reclaimed, error) {
	flag, most := "0", 4 // few at a time, since the messages of each are work for a while
	if giveBack {
		flag, most = "1", 10_000
	}
	keys := []string{c.key("stream"), c.key("count"), c.key("done"), c.key("aside"), c.key("setaside")}
	args := []string{
		c.group, c.name, strconv.FormatInt(c.bus.options.AckWithin.Milliseconds(), 10), strconv.Itoa(c.bus.options.Deliveries),
		strconv.Itoa(most), c.topic.tag + "bell", flag,
	}
	answers, err := run(ctx, conn, []call{{c.bus.reclaim, keys, args}})[0].ToArray()
	if err != nil {
		return nil, err
	}
	all := make([]reclaimed, len(answers))
	for i, answer := range answers {
		parts, err := answer.ToArray()
		if err != nil || len(parts) != 4 {
			return nil, errOddAnswer
		}
		id, err1 := parts[0].ToString()
		messages, err2 := parts[1].ToString()
		attempt, err3 := parts[2].AsInt64()
		done, err4 := parts[3].ToString()
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			return nil, err
		}
		all[i] = reclaimed{id, messages, done, int(attempt)}
	}
	return all, nil
}

// report tells of the messages of an entry that was set aside.
func (c *consumer) report(aside reclaimed) {
	messages, err := readMessages(c.topic.name, aside.messages)
	if err != nil {
		return
	}
	for i, m := range messages {
		if i >= len(aside.done) || aside.done[i] == '0' {
			c.bus.options.SetAside(c.group, m)
		}
	}
}

// forget ends this consumer's hold of an entry: its tags mean nothing any more.
func (c *consumer) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[id]; e != nil {
		for tag, t := range c.tags {
			if t.entry == e {
				delete(c.tags, tag)
			}
		}
		delete(c.entries, id)
	}
}

// Ack implements bus.Group, in one round trip.
func (c *consumer) Ack(ctx context.Context, deliveries []bus.Delivery) error {
	if c.isOver() {
		return bus.ErrClosed
	}
	args, err := c.settle(deliveries)
	if len(args) == 0 || err != nil {
		return err
	}
	conn, err := c.bus.client.conn()
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, busLimit)
	defer cancel()
	return c.bus.client.failed(ctx, c.acknowledge(limited, conn, args))
}

// settle notes which messages are done, and returns the arguments of the script: id, size, positions of each entry.
func (c *consumer) settle(deliveries []bus.Delivery) (args []string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	done := map[*entry][]int{}
	var order []*entry
	for i := range deliveries {
		t, known := c.tags[deliveries[i].Tag]
		if !known {
			continue // acknowledged, or delivered again meanwhile
		}
		delete(c.tags, deliveries[i].Tag)
		delete(t.entry.open, t.position)
		if done[t.entry] == nil {
			order = append(order, t.entry)
		}
		done[t.entry] = append(done[t.entry], t.position)
	}
	for _, e := range order {
		words := positions(done[e])
		if len(done[e]) == e.size {
			words = ""
		}
		args = append(args, e.id, strconv.Itoa(e.size), words)
		if len(e.open) == 0 {
			delete(c.entries, e.id)
		}
	}
	return args, nil
}

func (c *consumer) acknowledge(ctx context.Context, conn rueidis.Client, args []string) error {
	keys := []string{c.key("stream"), c.key("count"), c.key("done")}
	return run(ctx, conn, []call{{c.bus.ack, keys, append([]string{c.group}, args...)}})[0].Error()
}

func (c *consumer) isOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.over || c.bus.isClosed()
}

// Close implements bus.Group. While Redis is away, what is not acknowledged comes again after its time.
func (c *consumer) Close() error {
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		return nil
	}
	c.over = true
	close(c.closed)
	c.mu.Unlock()
	c.topic.mu.Lock()
	c.topic.consumers = slices.DeleteFunc(c.topic.consumers, func(other *consumer) bool { return other == c })
	c.topic.mu.Unlock()

	c.taking.Lock() // who takes right now takes for the last time
	defer c.taking.Unlock()
	conn, err := c.bus.client.conn()
	if err != nil {
		return nil // its time will do
	}
	ctx, cancel := context.WithTimeout(context.Background(), busLimit)
	defer cancel()
	aside, err := c.reclaim(ctx, conn, true)
	for _, a := range aside {
		c.report(a)
	}
	if answer, ok := rueidis.IsRedisErr(err); ok && strings.HasPrefix(answer.Error(), "NOGROUP") {
		return nil
	}
	return c.bus.client.failed(context.Background(), err)
}
