package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
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

	taking sync.Mutex  // one look at a time; guards what follows
	looked time.Time   // for what is overdue
	rest   []remainder // of entries that were read, what has not been asked for yet, oldest first
	size   int         // messages that an entry is expected to have
	spare  *time.Timer // gives the rest to others when nobody here asks for it

	spareRetry backoff // of that, after errors

	mu      sync.Mutex
	over    bool // closed is closed
	tag     uint64
	entries map[string]*entry  // in the hands of this consumer
	tags    map[uint64]tagging // of their messages that were handed out
}

// entry is one entry of the stream.
type entry struct {
	id    string
	size  int       // messages it has
	open  int       // messages that are here and not acknowledged yet
	since time.Time // when it came
}

// remainder is what has not been asked for yet of an entry.
type remainder struct {
	entry     *entry
	messages  []bus.Message
	positions []int // of messages, in the entry
	attempt   int
}

type tagging struct {
	entry    *entry
	position int
}

func newConsumer(b *Bus, t *topic, group string) *consumer {
	c := &consumer{
		bus: b, topic: t, group: group, name: b.client.node + "-" + rand.Text()[:8], bell: make(chan struct{}, 1), closed: make(chan struct{}),
		size: entryMax, spareRetry: backoff{first: busSpareLook, longest: rejoinLongest}, entries: map[string]*entry{}, tags: map[uint64]tagging{},
	}
	c.spare = time.AfterFunc(time.Hour, c.giveRest)
	c.spare.Stop()
	return c
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
			return c.bus.client.done(ctx, c.fetching(), err)
		}
	}
	return nil
}

func (c *consumer) fetching() operation { return operation{"fetch messages of topic", c.topic.name} }

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
		if c.topic.bell.isHeard() {
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
	deliveries, err := c.takeOver(limited, conn, limit)
	if err == nil && len(deliveries) == 0 {
		deliveries = c.handOut(nil, limit)
	}
	if err == nil && len(deliveries) == 0 {
		deliveries, err = c.read(limited, conn, limit)
	}
	if len(c.rest) > 0 {
		c.spare.Reset(busSpare)
	}
	if code(err) == "NOGROUP" {
		c.wake(false)
		return nil, c.join(limited) // Redis was restarted without its data
	}
	return deliveries, c.bus.client.done(context.WithoutCancel(ctx), c.fetching(), err) // the bound was ours
}

// read takes entries that nobody has had: about as many as hold what is asked for. They are expected to be full, until a
// read that found as many as it asked for has shown that they are not.
func (c *consumer) read(ctx context.Context, conn rueidis.Client, limit int) ([]bus.Delivery, error) {
	count := min((limit+c.size-1)/c.size, busEntries)
	streams, err := conn.Do(ctx, conn.B().Xreadgroup().Group(c.group, c.name).Count(int64(count)).
		Streams().Key(c.key("stream")).Id(">").Build()).AsXRead()
	if rueidis.IsRedisNil(err) {
		c.size = entryMax
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	entries, messages := streams[c.key("stream")], 0
	for _, e := range entries {
		before, _ := strconv.Atoi(e.FieldValues["a"]) // most have none
		messages += c.keep(e.ID, e.FieldValues["m"], "", before+1)
	}
	if c.size = entryMax; len(entries) == count {
		c.size = max(1, min(messages/count, entryMax))
	}
	return c.handOut(nil, limit), nil
}

// takeOver takes entries that somebody else did not acknowledge in time, or gave back, if it is time to look for them:
// before all others, since there may always be others.
func (c *consumer) takeOver(ctx context.Context, conn rueidis.Client, limit int) (deliveries []bus.Delivery, err error) {
	if !c.back.Swap(false) && time.Since(c.looked) < min(busLook, c.bus.options.AckWithin/4) {
		return nil, nil
	}
	c.looked = time.Now()
	c.forgetOld()
	answers, err := c.reclaim(ctx, conn, false)
	if len(answers) == busOverdue {
		c.back.Store(true) // there may be more
	}
	held := c.rest
	c.rest = nil
	for _, answer := range answers {
		if answer.attempt == 0 {
			c.report(answer)
			continue
		}
		c.forget(answer.id)
		held = slices.DeleteFunc(held, func(r remainder) bool { return r.entry.id == answer.id })
		c.keep(answer.id, answer.messages, answer.done, answer.attempt)
	}
	deliveries = c.handOut(nil, limit)
	c.rest = append(c.rest, held...)
	return deliveries, err
}

// keep adds what is open of an entry to the rest, and returns how many messages that are. What cannot be read stays where
// it is: somebody with a newer release may be able to, and in the end it is set aside.
func (c *consumer) keep(id, text, done string, attempt int) int {
	messages, err := readMessages(c.topic.name, text)
	if err != nil || len(messages) == 0 {
		return 0
	}
	e := &entry{id: id, size: len(messages), since: time.Now()}
	r := remainder{entry: e, attempt: attempt, positions: make([]int, 0, len(messages))}
	for i := range messages {
		if i < len(done) && done[i] == '1' {
			continue
		}
		r.positions = append(r.positions, i)
		messages[len(r.positions)-1] = messages[i]
	}
	r.messages = messages[:len(r.positions)]
	e.open = len(r.messages)
	c.mu.Lock()
	c.entries[id] = e
	c.mu.Unlock()
	c.rest = append(c.rest, r)
	return len(r.messages)
}

// handOut moves messages from the rest to deliveries, up to limit.
func (c *consumer) handOut(deliveries []bus.Delivery, limit int) []bus.Delivery {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.rest) > 0 && len(deliveries) < limit {
		r := &c.rest[0]
		n := min(limit-len(deliveries), len(r.messages))
		for i, m := range r.messages[:n] {
			c.tag++
			c.tags[c.tag] = tagging{r.entry, r.positions[i]}
			deliveries = append(deliveries, bus.Delivery{Message: m, Attempt: r.attempt, Tag: c.tag})
		}
		if r.messages, r.positions = r.messages[n:], r.positions[n:]; len(r.messages) == 0 {
			c.rest = c.rest[1:]
		}
	}
	return deliveries
}

// giveRest gives the rest back when nobody here has asked for it for a while: at once if others may be waiting for it,
// since nothing else does, and else when it has been here for long. The timer calls it.
func (c *consumer) giveRest() {
	if !c.bus.begin() {
		return
	}
	defer c.bus.all.Done()
	c.taking.Lock()
	defer c.taking.Unlock()
	if len(c.rest) == 0 || c.isOver() {
		return
	}
	c.spare.Reset(busSpareLook) // in vain once all is given
	conn, err := c.bus.client.conn()
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), busLimit)
	defer cancel()
	// After an error the rest stays here. At worst it is delivered twice.
	err = c.split(ctx, conn, time.Since(c.rest[0].entry.since) > c.bus.options.AckWithin/4)
	if err == nil {
		c.spareRetry.reset()
		return
	}
	c.spare.Reset(c.spareRetry.next())
	if !lostGroup(err) {
		_ = c.bus.client.done(context.Background(), c.fetching(), err)
	}
}

// lostGroup reports whether an error says that the stream or its group is gone: Redis was restarted without its data.
func lostGroup(err error) bool {
	word := code(err)
	return word == "NOGROUP" || word == "NOKEY"
}

// split gives the rest back as entries of its own, behind all others; without must only if nothing else waits: then others
// may be waiting for it, and nothing gets before it.
func (c *consumer) split(ctx context.Context, conn rueidis.Client, must bool) error {
	if len(c.rest) == 0 {
		return nil
	}
	args := []string{c.group, c.name, c.topic.tag + "bell", strconv.FormatBool(must)}
	for _, r := range c.rest {
		args = append(args, r.entry.id, strconv.Itoa(r.entry.size), positions(r.positions), strconv.Itoa(len(r.messages)),
			rueidis.BinaryString(writeMessages(r.messages)), strconv.Itoa(r.attempt-1))
	}
	given, err := run(ctx, conn, []call{{c.bus.split, []string{c.key("stream"), c.key("done")}, args}})[0].AsInt64()
	if err != nil || given == 0 {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.rest {
		if r.entry.open -= len(r.positions); r.entry.open == 0 {
			delete(c.entries, r.entry.id)
		}
	}
	c.rest = nil
	return nil
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
	flag, most := "0", busOverdue // few at a time, since the messages of each are work for a while
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
		c.bus.options.SetAside(c.group, bus.Message{ID: aside.id, Topic: c.topic.name, Body: []byte(aside.messages)})
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

// forgetOld ends the hold of entries that others must have taken over by now, should they still be here.
func (c *consumer) forgetOld() {
	old := time.Now().Add(-2 * c.bus.options.AckWithin)
	c.rest = slices.DeleteFunc(c.rest, func(r remainder) bool { return r.entry.since.Before(old) })
	c.mu.Lock()
	defer c.mu.Unlock()
	size := len(c.entries)
	maps.DeleteFunc(c.entries, func(_ string, e *entry) bool { return e.since.Before(old) })
	if len(c.entries) < size {
		maps.DeleteFunc(c.tags, func(_ uint64, t tagging) bool { return t.entry.since.Before(old) })
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
	return c.bus.client.done(ctx, operation{"acknowledge messages of topic", c.topic.name}, c.acknowledge(limited, conn, args))
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
		t.entry.open--
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
		if e.open == 0 {
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
	c.spare.Stop()
	conn, err := c.bus.client.conn()
	if err != nil {
		return nil // its time will do
	}
	ctx, cancel := context.WithTimeout(context.Background(), busLimit)
	defer cancel()
	err = c.split(ctx, conn, true) // what nobody has seen counts no attempt
	var aside []reclaimed
	if err == nil {
		aside, err = c.reclaim(ctx, conn, true)
	}
	for _, a := range aside {
		c.report(a)
	}
	if lostGroup(err) {
		return nil
	}
	return err // which nobody will try again, so the health is left to the consumers that go on
}
