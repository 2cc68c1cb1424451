package redis_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"orderflow/internal/lock"
	"orderflow/internal/redis"
	"orderflow/internal/servers/serverstest"
)

// shop stands for an API process on hot products: it takes all of them, holds them for as long as a commit takes, gives them
// back, and begins again; when others have them it waits for their release alone.
func shop(ctx context.Context, l *redis.Locker, products []int64, hold time.Duration) (held int, err error) {
	for ctx.Err() == nil {
		grant, err := l.TryLock(ctx, products)
		if err != nil {
			return held, err
		}
		used := len(grant.Busy) == 0
		if used {
			held++
			timer := time.NewTimer(hold)
			<-timer.C
		}
		if err := l.Unlock(context.WithoutCancel(ctx), grant.Token, grant.Held, used); err != nil {
			return held, err
		}
		if !used {
			select {
			case <-grant.Busy[0].Released:
			case <-ctx.Done():
			}
		}
	}
	return held, nil
}

// rivals lets several processes fight for the same products and returns how often each had them.
func rivals(t testing.TB, lockers []*redis.Locker, products []int64, hold, duration time.Duration) []int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), duration)
	defer cancel()
	counts := make([]int, len(lockers))
	var all sync.WaitGroup
	for i, l := range lockers {
		all.Go(func() {
			held, err := shop(ctx, l, products, hold)
			<-ctx.Done() // an error of the last moment says that it has come
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("process %d: %v", i, err)
			}
			counts[i] = held
		})
	}
	all.Wait()
	return counts
}

// TestNobodyStarves: of processes on the same products, each gets its share.
func TestNobodyStarves(t *testing.T) {
	for _, processes := range []int{2, 3} {
		for _, products := range [][]int64{{1}, {1, 2}} {
			t.Run(fmt.Sprintf("%d processes, %d products", processes, len(products)), func(t *testing.T) {
				address, prefix := serverstest.Redis(t)
				var lockers []*redis.Locker
				for range processes {
					lockers = append(lockers, locker(t, address, prefix, lock.TTL))
				}
				counts := rivals(t, lockers, products, 3*time.Millisecond, 2*time.Second)
				total := 0
				for _, count := range counts {
					total += count
				}
				for i, count := range counts {
					if 2*processes*count < total { // half of an equal share
						t.Errorf("process %d had the locks %d of %d times: %v", i, count, total, counts)
					}
				}
				t.Log(counts)
			})
		}
	}
}

func BenchmarkLocker(b *testing.B) {
	address, prefix := serverstest.Redis(b)
	c := connected(b, address, prefix)
	l := redis.NewLocker(c, lock.TTL, nil)
	for _, n := range []int{1, 100} {
		products := make([]int64, n)
		for i := range products {
			products[i] = int64(i + 1)
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				grant, err := l.TryLock(b.Context(), products)
				if err != nil {
					b.Fatal(err)
				}
				if err := l.Unlock(b.Context(), grant.Token, grant.Held, true); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
