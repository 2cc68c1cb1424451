package redis

import (
	"context"
	_ "embed" // the script
	"errors"
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

// channelCacheTimeout limits the wait of a subscriber for the last event of its channel.
const channelCacheTimeout = 50 * time.Millisecond

//go:embed scripts/channel_cache_put.lua
var channelCachePutText string

// ChannelCache stores the last event of each cache channel for all processes that share a Redis: one key per channel, which expires.
// All methods are safe for concurrent use.
type ChannelCache struct {
	client *Client
	put    script
}

// NewChannelCache returns a ChannelCache.
func NewChannelCache(client *Client) *ChannelCache {
	return &ChannelCache{client: client, put: newScript(channelCachePutText)}
}

func (l *ChannelCache) key(channel string) string { return l.client.key("orderflow:cache:" + channel) }

// Put stores one frame per channel for the time left, in one round trip, unless a later frame is stored. at has their times in
// microseconds since 1970; the three slices have the same length.
func (l *ChannelCache) Put(ctx context.Context, channels []string, at []int64, frames [][]byte, left time.Duration) error {
	conn, err := l.client.conn()
	if err != nil {
		return err
	}
	calls := make([]call, len(channels))
	for i, channel := range channels {
		calls[i] = call{l.put, []string{l.key(channel)}, []string{
			strconv.FormatInt(at[i], 10), string(frames[i]), strconv.FormatInt(left.Milliseconds(), 10),
		}}
	}
	var errs []error
	for _, result := range run(ctx, conn, calls) {
		errs = append(errs, result.Error())
	}
	return l.client.record(ctx, cacheEvents(), errors.Join(errs...))
}

// Get returns the stored frame of a channel; nil when there is none.
func (l *ChannelCache) Get(ctx context.Context, channel string) ([]byte, error) {
	conn, err := l.client.conn()
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, channelCacheTimeout)
	defer cancel()
	frame, err := conn.Do(limited, conn.B().Hget().Key(l.key(channel)).Field("frame").Build()).AsBytes()
	if rueidis.IsRedisNil(err) {
		frame, err = nil, nil
	}
	return frame, l.client.record(ctx, cacheEvents(), err)
}
