package realtime

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

// memoryCache is a ChannelCache in memory.
type memoryCache struct {
	mu     sync.Mutex
	frames map[string][]byte
	down   bool
}

var errDown = errors.New("the cache is down")

func (k *memoryCache) Put(_ context.Context, channels []string, at []int64, frames [][]byte, _ time.Duration) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.down || len(channels) != len(at) || len(channels) != len(frames) {
		return errDown
	}
	for i, channel := range channels {
		k.frames[channel] = frames[i]
	}
	return nil
}

func (k *memoryCache) Get(_ context.Context, channel string) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.down {
		return nil, errDown
	}
	return k.frames[channel], nil
}

func (k *memoryCache) has(channel string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.frames[channel] != nil
}

// newTestLastEvents returns the last events of a node over a cache, and a check of a channel's last event.
func newTestLastEvents(t *testing.T, cache ChannelCache) (l *lastEvents, want func(channel, frame string)) {
	t.Helper()
	l, err := newLastEvents(cache)
	if err != nil {
		t.Fatal(err)
	}
	return l, func(channel, frame string) {
		t.Helper()
		if got := l.get(channel); !bytes.Equal(got, []byte(frame)) {
			t.Errorf("%s: %q, want %q", channel, got, frame)
		}
	}
}

// The event with the latest time is kept, and events of other nodes are fetched once.
func TestLastEvents(t *testing.T) {
	l, want := newTestLastEvents(t, &memoryCache{frames: map[string][]byte{"cache-b": []byte("of another node")}})
	now := time.Now()
	l.put("cache-a", []byte("late"), now)
	l.put("cache-a", []byte("early"), now.Add(-time.Second))
	want("cache-a", "late")
	want("cache-b", "")
	l.fetch(t.Context(), "cache-b")
	want("cache-b", "of another node")
	l.put("cache-b", []byte("own"), now)
	l.fetch(t.Context(), "cache-b")
	want("cache-b", "own")
}

// Events are saved in the channel cache, after an outage too. After clear, the cache has the last event.
func TestLastEventsInTheCache(t *testing.T) {
	cache := &memoryCache{frames: map[string][]byte{}}
	l, want := newTestLastEvents(t, cache)
	saved := func(frame string) {
		t.Helper()
		if err := l.save(t.Context()); err != nil {
			t.Error(err)
		}
		if got := cache.frames["cache-a"]; !bytes.Equal(got, []byte(frame)) {
			t.Errorf("the cache has %q, want %q", got, frame)
		}
	}
	now := time.Now()
	l.put("cache-a", []byte("first"), now)
	saved("first")
	cache.down = true
	l.put("cache-a", []byte("later"), now.Add(time.Second))
	if err := l.save(t.Context()); !errors.Is(err, errDown) {
		t.Errorf("during the outage: %v", err)
	}
	l.fetch(t.Context(), "cache-c")
	want("cache-c", "")
	want("cache-a", "later")
	cache.down = false
	saved("later")
	cache.frames["cache-a"] = []byte("latest, of another node")
	l.clear()
	want("cache-a", "")
	l.fetch(t.Context(), "cache-a")
	want("cache-a", "latest, of another node")
}

// The process keeps a limited number of events and of bytes; the least recently used are evicted.
func TestLastEventsAreLimited(t *testing.T) {
	l, want := newTestLastEvents(t, &memoryCache{frames: map[string][]byte{}})
	now := time.Now()
	l.put("cache-a", []byte("a"), now)
	l.put("cache-large", bytes.Repeat([]byte{'x'}, maxLastEventBytes-100), now)
	want("cache-a", "a")
	if l.bytes > maxLastEventBytes {
		t.Errorf("%d bytes are kept", l.bytes)
	}
	l.put("cache-more", bytes.Repeat([]byte{'x'}, 200), now)
	want("cache-large", "")
	if l.bytes > 1000 {
		t.Errorf("%d bytes are kept", l.bytes)
	}
	for range maxLastEvents {
		l.put("cache-x"+now.String(), []byte("x"), now)
		now = now.Add(time.Microsecond)
	}
	if l.known.Len() > maxLastEvents {
		t.Errorf("%d events are kept", l.known.Len())
	}
	want("cache-a", "")
}
