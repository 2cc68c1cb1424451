package redis

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"orderflow/internal/bus"
)

// fetchReclaimed reclaims entries that another consumer did not acknowledge in time, or returned. It runs before fetchNew, because
// there may always be new entries, but not at every Fetch.
func (c *consumer) fetchReclaimed(ctx context.Context, conn rueidis.Client, limit int) (deliveries []bus.Delivery, err error) {
	if !c.reclaimable.Swap(false) && time.Since(c.reclaimedAt) < min(busPoll, c.bus.options.AckWithin/4) {
		return nil, nil
	}
	c.reclaimedAt = time.Now()
	c.dropOldEntries()
	answers, err := c.reclaim(ctx, conn, false)
	if len(answers) == busReclaimMax {
		c.reclaimable.Store(true) // there may be more
	}
	earlier := c.prefetched
	c.prefetched = nil
	for _, answer := range answers {
		if answer.attempt == 0 {
			c.reportDeadLettered(answer)
			continue
		}
		c.dropEntry(answer.id)
		earlier = slices.DeleteFunc(earlier, func(p prefetchedEntry) bool { return p.entry.id == answer.id })
		c.addEntry(answer.id, answer.messages, answer.done, answer.attempt)
	}
	deliveries = c.deliver(limit)
	c.prefetched = append(c.prefetched, earlier...)
	return deliveries, err
}

// reclaimed is an entry that was reclaimed or dead-lettered (attempt 0).
type reclaimed struct {
	id, messages, done string
	attempt            int
}

// reclaim runs the script that reclaims overdue entries, or with giveBack returns the entries of this consumer.
func (c *consumer) reclaim(ctx context.Context, conn rueidis.Client, giveBack bool) ([]reclaimed, error) {
	flag, most := "0", busReclaimMax // few, since their messages take a while to process
	if giveBack {
		flag, most = "1", 10_000
	}
	keys := []string{c.key("stream"), c.key("count"), c.key("done"), c.key("deadletters"), c.key("deadlettered")}
	args := []string{
		c.group, c.name, strconv.FormatInt(c.bus.options.AckWithin.Milliseconds(), 10), strconv.Itoa(c.bus.options.Deliveries),
		strconv.Itoa(most), c.topic.wakeups.name, flag,
	}
	answers, err := run(ctx, conn, []call{{c.bus.reclaim, keys, args}})[0].ToArray()
	if err != nil {
		return nil, err
	}
	all := make([]reclaimed, len(answers))
	for i, answer := range answers {
		parts, err := answer.ToArray()
		if err != nil || len(parts) != 4 {
			return nil, errUnexpectedAnswer
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

// reportDeadLettered calls the hook for the unacknowledged messages of a dead-lettered entry.
func (c *consumer) reportDeadLettered(entry reclaimed) {
	messages, err := readMessages(c.topic.name, entry.messages)
	if err != nil {
		c.bus.options.DeadLettered(c.group, bus.Message{ID: entry.id, Topic: c.topic.name, Body: []byte(entry.messages)})
		return
	}
	for i, m := range messages {
		if i >= len(entry.done) || entry.done[i] == '0' {
			c.bus.options.DeadLettered(c.group, m)
		}
	}
}

// dropEntry removes an entry from this consumer. Its earlier deliveries can no longer be acknowledged.
func (c *consumer) dropEntry(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[id]; e != nil {
		maps.DeleteFunc(c.deliveries, func(_ uint64, d delivered) bool { return d.entry == e })
		delete(c.entries, id)
	}
}

// dropOldEntries removes entries that another consumer must have reclaimed by now.
func (c *consumer) dropOldEntries() {
	old := time.Now().Add(-2 * c.bus.options.AckWithin)
	c.prefetched = slices.DeleteFunc(c.prefetched, func(p prefetchedEntry) bool { return p.entry.since.Before(old) })
	c.mu.Lock()
	defer c.mu.Unlock()
	size := len(c.entries)
	maps.DeleteFunc(c.entries, func(_ string, e *entry) bool { return e.since.Before(old) })
	if len(c.entries) < size {
		maps.DeleteFunc(c.deliveries, func(_ uint64, d delivered) bool { return d.entry.since.Before(old) })
	}
}
