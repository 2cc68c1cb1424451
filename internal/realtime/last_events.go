package realtime

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Limits of the last events of cache channels.
const (
	maxLastEvents     = 50_000           // channels in the process; the least recently used goes first
	maxLastEventBytes = 64 << 20         // in the process, likewise
	lastEventLifetime = 30 * time.Minute // as in Pusher Channels
	maxUnsaved        = 10_000           // events that wait for the channel cache; more are kept in the process only
	saveChunk         = 256              // events in one call
	saveTimeout       = time.Second      // of one call
	saveInterval      = time.Second      // before a failed call is repeated
)

// ChannelCache keeps the last events of cache channels for all nodes, across their restarts. Its methods may be called from any
// goroutine, and return within a second.
type ChannelCache interface {
	// Put keeps frames, one for each channel, unless a later one is kept. at are their times in microseconds since 1970; the three
	// slices have the same length. lifetime is how long they are kept.
	Put(ctx context.Context, channels []string, at []int64, frames [][]byte, lifetime time.Duration) error
	// Get returns the frame of a channel, nil for none.
	Get(ctx context.Context, channel string) ([]byte, error)
}

// lastEvent is the last event of a cache channel.
type lastEvent struct {
	frame   []byte
	at      int64 // in microseconds since 1970
	expires time.Time
}

// lastEvents has the last events that this node knows, and saves them in the channel cache.
type lastEvents struct {
	cache ChannelCache // nil for none
	wake  chan struct{}

	mu      sync.Mutex
	known   *simplelru.LRU[string, lastEvent]
	bytes   int                  // of the frames in known
	unsaved map[string]lastEvent // not yet in the channel cache
}

func newLastEvents(cache ChannelCache) (*lastEvents, error) {
	l := &lastEvents{cache: cache, wake: make(chan struct{}, 1), unsaved: map[string]lastEvent{}}
	var err error
	l.known, err = simplelru.NewLRU(maxLastEvents, func(_ string, evicted lastEvent) { l.bytes -= len(evicted.frame) })
	return l, err
}

// set sets a channel's last event. The caller holds mu.
func (l *lastEvents) set(channel string, event lastEvent) {
	l.known.Remove(channel)
	l.known.Add(channel, event)
	for l.bytes += len(event.frame); l.bytes > maxLastEventBytes; {
		l.known.RemoveOldest()
	}
}

// clear forgets all events of the process, because the node may have missed later ones. The channel cache has them. Without one,
// subscribers get a cache miss rather than an outdated event.
func (l *lastEvents) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known.Purge()
	l.bytes = 0
}

// put sets a channel's last event, unless a later one is known.
func (l *lastEvents) put(channel string, frame []byte, at time.Time) {
	event := lastEvent{frame, at.UnixMicro(), time.Now().Add(lastEventLifetime)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if before, found := l.known.Peek(channel); found && before.at > event.at {
		return
	}
	l.set(channel, event)
	if l.cache == nil || len(l.unsaved) >= maxUnsaved {
		return
	}
	l.unsaved[channel] = event
	notify(l.wake)
}

// get returns the frame of a channel's last event, nil for none.
func (l *lastEvents) get(channel string) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	event, found := l.known.Get(channel)
	if !found {
		return nil
	}
	if time.Now().After(event.expires) {
		l.known.Remove(channel)
		return nil
	}
	return event.frame
}

// fetch gets a channel's last event from the channel cache, unless it is known.
func (l *lastEvents) fetch(ctx context.Context, channel string) {
	if l.cache == nil || l.get(channel) != nil {
		return
	}
	frame, err := l.cache.Get(ctx, channel)
	if err != nil || frame == nil {
		return // the subscriber gets a cache miss
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.known.Contains(channel) { // its time is unknown: any event that arrives later replaces it
		l.set(channel, lastEvent{frame: frame, expires: time.Now().Add(lastEventLifetime)})
	}
}

// run saves events in the channel cache until ctx ends, then saves the rest. It repeats calls that fail.
func (l *lastEvents) run(ctx context.Context, logger *slog.Logger) {
	retry := time.NewTimer(saveInterval)
	retry.Stop()
	defer retry.Stop()
	for ended := false; !ended; {
		select {
		case <-l.wake:
		case <-retry.C:
		case <-ctx.Done():
			ended = true
		}
		if err := l.save(context.WithoutCancel(ctx)); err != nil {
			logger.DebugContext(ctx, "The last events of cache channels could not be saved; this node alone has them.",
				"event", "channel_cache.unavailable", "error", err)
			retry.Reset(saveInterval)
		}
	}
}

// save saves the unsaved events in chunks. After an error the rest stays unsaved, except where a channel has a later event.
func (l *lastEvents) save(ctx context.Context) error {
	l.mu.Lock()
	events := l.unsaved
	l.unsaved = map[string]lastEvent{}
	l.mu.Unlock()
	for channels := range slices.Chunk(slices.Collect(maps.Keys(events)), saveChunk) {
		if err := l.saveChunk(ctx, channels, events); err != nil {
			l.restore(events)
			return err
		}
	}
	return nil
}

// restore makes events unsaved again.
func (l *lastEvents) restore(events map[string]lastEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for channel, event := range events {
		if _, later := l.unsaved[channel]; !later && len(l.unsaved) < maxUnsaved {
			l.unsaved[channel] = event
		}
	}
}

// saveChunk saves the events of some channels, and removes them from events.
func (l *lastEvents) saveChunk(ctx context.Context, channels []string, events map[string]lastEvent) error {
	at, frames := make([]int64, len(channels)), make([][]byte, len(channels))
	for i, channel := range channels {
		at[i], frames[i] = events[channel].at, events[channel].frame
	}
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	err := l.cache.Put(ctx, channels, at, frames, lastEventLifetime)
	if err == nil {
		for _, channel := range channels {
			delete(events, channel)
		}
	}
	return err
}
