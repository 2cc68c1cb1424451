package api

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A reader never gets a value from before an invalidation that was complete when it called, whatever runs concurrently.
func TestCacheIsNeverStale(t *testing.T) {
	var source atomic.Int64
	c := cache[int64]{age: time.Hour, fetch: func(context.Context) (int64, error) { return source.Load(), nil }}
	var invalidated atomic.Int64 // the highest value of the source before a complete invalidation
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 2000 {
				now := source.Add(1)
				c.invalidate()
				for {
					seen := invalidated.Load()
					if seen >= now || invalidated.CompareAndSwap(seen, now) {
						break
					}
				}
			}
		})
		all.Go(func() {
			for range 2000 {
				least := invalidated.Load()
				if got, err := c.get(t.Context()); err != nil || got < least {
					t.Errorf("got %d, %v after an invalidation at %d", got, err, least)
					return
				}
			}
		})
	}
	all.Wait()
}

// A reader that leaves neither ends the fetch nor waits for it.
func TestCacheReaderLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		c := cache[int]{age: time.Second, fetch: func(ctx context.Context) (int, error) {
			<-gate
			return 7, ctx.Err()
		}}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { _, _ = c.get(ctx) }) // fetches
		synctest.Wait()
		all.Go(func() {
			if _, err := c.get(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("the reader that left got %v, want %v", err, context.Canceled)
			}
		})
		all.Go(func() {
			if got, err := c.get(t.Context()); got != 7 || err != nil {
				t.Errorf("the reader that stayed got %d, %v, want 7", got, err)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(gate)
		all.Wait()
	})
}

func TestCacheWithoutAge(t *testing.T) {
	fetches := 0
	c := cache[int]{fetch: func(context.Context) (int, error) { fetches++; return fetches, nil }}
	for want := 1; want <= 2; want++ {
		if got, _ := c.get(t.Context()); got != want {
			t.Errorf("got %d, want %d: without an age nothing is kept", got, want)
		}
	}
}
