package redis

import (
	"context"
	_ "embed" // the script
	"errors"
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

// lastTime is how long who asks for the last event of a channel waits for Redis.
const lastTime = 50 * time.Millisecond

//go:embed scripts/last_keep.lua
var lastKeepText string

// ChannelCache keeps the last events of cache channels for all processes that share a Redis: a key a channel, which expires. Its
// methods may be called from any goroutine.
type ChannelCache struct {
	client *Client
	keep   script
}

// NewChannelCache returns the keeper.
func NewChannelCache(client *Client) *ChannelCache {
	return &ChannelCache{client: client, keep: newScript(lastKeepText)}
}

func (l *ChannelCache) key(channel string) string { return l.client.key("orderflow:last:" + channel) }

// Put keeps frames, one a channel, for as long as left, in one round trip, unless something later is kept of the channel.
// at are their times in microseconds since 1970; the three slices have the same length.
func (l *ChannelCache) Put(ctx context.Context, channels []string, at []int64, frames [][]byte, left time.Duration) error {
	conn, err := l.client.conn()
	if err != nil {
		return err
	}
	calls := make([]call, len(channels))
	for i, channel := range channels {
		calls[i] = call{l.keep, []string{l.key(channel)}, []string{
			strconv.FormatInt(at[i], 10), string(frames[i]), strconv.FormatInt(left.Milliseconds(), 10),
		}}
	}
	var errs []error
	for _, result := range run(ctx, conn, calls) {
		errs = append(errs, result.Error())
	}
	return l.client.done(ctx, cacheEvents(), errors.Join(errs...))
}

// Get returns the frame that is kept of a channel, nil for none.
func (l *ChannelCache) Get(ctx context.Context, channel string) ([]byte, error) {
	conn, err := l.client.conn()
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, lastTime)
	defer cancel()
	frame, err := conn.Do(limited, conn.B().Hget().Key(l.key(channel)).Field("frame").Build()).AsBytes()
	if rueidis.IsRedisNil(err) {
		frame, err = nil, nil
	}
	return frame, l.client.done(ctx, cacheEvents(), err)
}
