package redis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"orderflow/internal/lock"
	"orderflow/internal/redis"
	"orderflow/test/env"
	"orderflow/test/servers"
)

// seller simulates an API process on hot products: it repeatedly takes all locks, holds them for the time of a commit and releases them.
// While others hold them it only waits for their release.
func seller(ctx context.Context, l *redis.Locker, products []int64, hold time.Duration) (held int, err error) {
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
		if err := l.Unlock(context.WithoutCancel(ctx), grant.Token, grant.Locked, used); err != nil {
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

// rivals runs several processes on the same products and returns how often each had the locks.
func rivals(t testing.TB, lockers []*redis.Locker, products []int64, hold, duration time.Duration) []int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), duration)
	defer cancel()
	counts := make([]int, len(lockers))
	var all sync.WaitGroup
	for i, l := range lockers {
		all.Go(func() {
			held, err := seller(ctx, l, products, hold)
			<-ctx.Done() // an error at the end is expected
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("process %d: %v", i, err)
			}
			counts[i] = held
		})
	}
	all.Wait()
	return counts
}

// TestNobodyStarves: each process on the same products gets its share.
func TestNobodyStarves(t *testing.T) {
	for _, processes := range []int{2, 3} {
		for _, products := range [][]int64{{1}, {1, 2}} {
			t.Run(fmt.Sprintf("%d processes, %d products", processes, len(products)), func(t *testing.T) {
				address, prefix := env.Redis(t)
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

// busyProcess simulates an API process far from its database: between two tries it is busy with a lookup, so it cannot take a released
// lock at once. It never waits for a release.
func busyProcess(ctx context.Context, l *redis.Locker, lookup, hold time.Duration) (held int, err error) {
	for ctx.Err() == nil {
		pause(ctx, lookup)
		grant, err := l.TryLock(ctx, []int64{1})
		if err != nil {
			return held, err
		}
		if len(grant.Busy) == 0 {
			held++
			pause(ctx, hold)
		}
		if err := l.Unlock(context.WithoutCancel(ctx), grant.Token, grant.Locked, true); err != nil {
			return held, err
		}
	}
	return held, nil
}

// TestBusyProcessDoesNotStarve: a process that is busy when its turn comes stays first and gets a turn that is long enough, although the
// other one would take the lock again at once.
func TestBusyProcessDoesNotStarve(t *testing.T) {
	t.Parallel()
	address, prefix := env.Redis(t)
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
	defer cancel()
	var all sync.WaitGroup
	var counts [2]int
	for i, lookup := range []time.Duration{time.Millisecond, 150 * time.Millisecond} {
		l := locker(t, address, prefix, lock.TTL)
		all.Go(func() {
			held, err := busyProcess(ctx, l, lookup, 200*time.Millisecond)
			<-ctx.Done()
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("process %d: %v", i, err)
			}
			counts[i] = held
		})
	}
	all.Wait()
	if total := counts[0] + counts[1]; 4*counts[1] < total { // half of an equal share
		t.Errorf("the busy process had the lock %d of %d times", counts[1], total)
	}
	t.Log(counts)
}

// TestDeadProcessHasOneTurn: a dead process costs one turn, and the next waiter gets the lock.
func TestDeadProcessHasOneTurn(t *testing.T) {
	t.Parallel()
	server, _, holder, _ := startLocker(t)
	dead := redis.NewLocker(connected(t, servers.RedisURL(server.Addr()), ""), lock.TTL, nil)
	grant := takes(t, holder, 1)
	if busy, err := dead.TryLock(t.Context(), []int64{1}); err != nil || len(busy.Busy) != 1 {
		t.Fatalf("%+v, %v", busy, err)
	}
	if err := holder.Unlock(t.Context(), grant.Token, grant.Locked, true); err != nil {
		t.Fatal(err)
	}
	value, _ := env.Command(t, server.Addr(), "GET", "inventory:product:1").(string)
	if value != "" && !strings.HasPrefix(value, "turn:") {
		t.Errorf("the lock is %q, want the turn of the dead process or none", value)
	}
	if n := env.Command(t, server.Addr(), "ZCARD", "{inventory:product:1}:waiting"); n != int64(0) {
		t.Errorf("%v processes are in the queue", n)
	}
	env.Eventually(t, "product 1 can be locked", func() bool {
		grant, err := holder.TryLock(t.Context(), []int64{1})
		return err == nil && len(grant.Locked) == 1
	})
}

// TestPlaceIsKept: a process that missed its turn stays before a later one.
func TestPlaceIsKept(t *testing.T) {
	t.Parallel()
	server, _, holder, _ := startLocker(t)
	address := servers.RedisURL(server.Addr())
	first, later := locker(t, address, "", lock.TTL), locker(t, address, "", lock.TTL)
	waits := func(l *redis.Locker) {
		t.Helper()
		if busy, err := l.TryLock(t.Context(), []int64{1}); err != nil || len(busy.Busy) != 1 {
			t.Fatalf("%+v, %v", busy, err)
		}
	}
	line := func() (nodes []string) {
		t.Helper()
		names, _ := env.Command(t, server.Addr(), "ZRANGE", "{inventory:product:1}:waiting", "0", "-1").([]any)
		for _, name := range names {
			text, _ := name.(string)
			node, _, _ := strings.Cut(text, ":")
			nodes = append(nodes, node)
		}
		return nodes
	}
	grant := takes(t, holder, 1)
	waits(first)
	want := line()
	if err := holder.Unlock(t.Context(), grant.Token, grant.Locked, true); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, "the turn of the first process has ended", func() bool {
		return env.Command(t, server.Addr(), "EXISTS", "inventory:product:1") == int64(0)
	})
	takes(t, holder, 1)
	waits(later)
	want = append(want, line()...)
	waits(first)
	if diff := cmp.Diff(want, line()); diff != "" {
		t.Errorf("the queue (-want +got):\n%s", diff)
	}
}

func BenchmarkLocker(b *testing.B) {
	address, prefix := env.Redis(b)
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
				if err := l.Unlock(b.Context(), grant.Token, grant.Locked, true); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
