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

// Nobody gets a value from before a drop that was over when they asked, whatever runs at the same time.
func TestSharedIsNeverStale(t *testing.T) {
	var truth atomic.Int64
	s := shared[int64]{age: time.Hour, load: func(context.Context) (int64, error) { return truth.Load(), nil }}
	var dropped atomic.Int64 // what is true at least, since it was before the last drop
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 2000 {
				now := truth.Add(1)
				s.drop()
				for {
					seen := dropped.Load()
					if seen >= now || dropped.CompareAndSwap(seen, now) {
						break
					}
				}
			}
		})
		all.Go(func() {
			for range 2000 {
				least := dropped.Load()
				if got, err := s.get(t.Context()); err != nil || got < least {
					t.Errorf("got %d, %v after a drop at %d", got, err, least)
					return
				}
			}
		})
	}
	all.Wait()
}

// A reader who leaves does not take the load with it, and does not wait for it.
func TestSharedReaderLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		s := shared[int]{age: time.Second, load: func(ctx context.Context) (int, error) {
			<-gate
			return 7, ctx.Err()
		}}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { _, _ = s.get(ctx) }) // loads
		synctest.Wait()
		all.Go(func() {
			if _, err := s.get(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("who left got %v", err)
			}
		})
		all.Go(func() {
			if got, err := s.get(t.Context()); got != 7 || err != nil {
				t.Errorf("who stayed got %d, %v", got, err)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(gate)
		all.Wait()
	})
}

// Without an age nothing is kept.
func TestSharedKeepsNothing(t *testing.T) {
	loads := 0
	s := shared[int]{load: func(context.Context) (int, error) { loads++; return loads, nil }}
	for want := 1; want <= 2; want++ {
		if got, _ := s.get(t.Context()); got != want {
			t.Errorf("got %d, want %d", got, want)
		}
	}
}
