package redis

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"orderflow/internal/bus"
)

// prefetchedEntry is the part of an entry that was read from Redis but not delivered.
type prefetchedEntry struct {
	entry     *entry
	messages  []bus.Message
	positions []int // of messages, in the entry
	attempt   int
}

// returnPrefetched returns prefetched messages that no Fetch has taken for a while: at once if the stream is empty, because other
// consumers may be idle, and otherwise after a quarter of the acknowledgement time. returnTimer calls it.
func (c *consumer) returnPrefetched() {
	if !c.bus.begin() {
		return
	}
	defer c.bus.tasks.Done()
	c.fetching.Lock()
	defer c.fetching.Unlock()
	if len(c.prefetched) == 0 || c.isClosed() {
		return
	}
	c.returnTimer.Reset(busPrefetchRetry) // does nothing once all are returned
	conn, err := c.bus.client.conn()
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), busTimeout)
	defer cancel()
	// After an error the messages stay here. At worst they are delivered more than once.
	err = c.split(ctx, conn, time.Since(c.prefetched[0].entry.since) > c.bus.options.AckWithin/4)
	if err == nil {
		c.returnRetry.reset()
		return
	}
	c.returnTimer.Reset(c.returnRetry.next())
	if !lostGroup(err) {
		_ = c.bus.client.record(context.Background(), c.fetchOperation(), err)
	}
}

// lostGroup reports whether an error means that the stream or its group is missing: Redis restarted without its data.
func lostGroup(err error) bool {
	word := code(err)
	return word == "NOGROUP" || word == "NOKEY"
}

// split returns the prefetched messages as entries of their own, behind all others. Without must it does so only if the stream has
// no unread entries: then other consumers may be idle, and the messages lose no place.
func (c *consumer) split(ctx context.Context, conn rueidis.Client, must bool) error {
	if len(c.prefetched) == 0 {
		return nil
	}
	args := []string{c.group, c.name, c.topic.wakeups.name, strconv.FormatBool(must)}
	for _, p := range c.prefetched {
		args = append(args, p.entry.id, strconv.Itoa(p.entry.size), positions(p.positions), strconv.Itoa(len(p.messages)),
			rueidis.BinaryString(writeMessages(p.messages)), strconv.Itoa(p.attempt-1))
	}
	returned, err := run(ctx, conn, []call{{c.bus.split, []string{c.key("stream"), c.key("done")}, args}})[0].AsInt64()
	if err != nil || returned == 0 {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.prefetched {
		if p.entry.open -= len(p.positions); p.entry.open == 0 {
			delete(c.entries, p.entry.id)
		}
	}
	c.prefetched = nil
	return nil
}

// positions formats positions for the scripts, which count from 1.
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
