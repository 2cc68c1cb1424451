package lock_test

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"orderflow/internal/lock"
	"orderflow/internal/lock/locktest"
)

func TestLocal(t *testing.T) {
	locktest.Run(t, func(_ *testing.T, ttl time.Duration) (a, b locktest.Adapter) {
		local := lock.NewLocal(ttl)
		return local, local
	})
}

// tryLock is TryLock that must not fail.
func tryLock(t testing.TB, local *lock.Local, products ...int64) lock.Grant {
	t.Helper()
	grant, err := local.TryLock(context.Background(), products)
	if err != nil {
		t.Fatalf("TryLock(%v): %v", products, err)
	}
	return grant
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestLocalExpiresAtItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local := lock.NewLocal(lock.TTL)
		tryLock(t, local, 1, 2)
		time.Sleep(lock.TTL - time.Nanosecond)
		synctest.Wait()
		waiter := tryLock(t, local, 1)
		if len(waiter.Locked) != 0 || isClosed(waiter.Busy[0].Released) {
			t.Fatalf("the lock expired a nanosecond early: %+v", waiter)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if !isClosed(waiter.Busy[0].Released) {
			t.Error("the expiry did not close Released")
		}
		if next := tryLock(t, local, 1, 2); len(next.Locked) != 2 { // 2 expired without a waiter
			t.Errorf("the lock did not expire: %+v", next)
		}
	})
}

func TestLocalTakingAnExpiredLockWakesItsWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local := lock.NewLocal(time.Second)
		tryLock(t, local, 1)
		waiter := tryLock(t, local, 1)
		time.Sleep(time.Second) // the timer and this goroutine wake together: either may be first
		next := tryLock(t, local, 1)
		if len(next.Locked) != 1 {
			t.Fatalf("an expired lock could not be locked again: %+v", next)
		}
		if !isClosed(waiter.Busy[0].Released) {
			t.Error("the lock has another owner, and Released is open")
		}
		synctest.Wait() // a timer that fires second must not release the new lock
		if third := tryLock(t, local, 1); len(third.Locked) != 0 || third.Busy[0].Token != next.Token {
			t.Errorf("the expiry of the first lock released the second: %+v", third)
		}
	})
}

func TestLocalTimerOfAnEarlierLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local := lock.NewLocal(time.Second)
		first := tryLock(t, local, 1)
		tryLock(t, local, 1) // starts the timer
		time.Sleep(time.Second / 2)
		if err := local.Unlock(t.Context(), first.Token, []int64{1}, true); err != nil {
			t.Fatal(err)
		}
		second := tryLock(t, local, 1)
		waiter := tryLock(t, local, 1)
		time.Sleep(time.Second/2 + 1)
		synctest.Wait()
		if isClosed(waiter.Busy[0].Released) {
			t.Errorf("lock %s expired at the time of the one before it", second.Token)
		}
	})
}

func TestKey(t *testing.T) {
	for product, want := range map[int64]string{
		1: "inventory:product:1", 1<<53 - 1: "inventory:product:9007199254740991",
	} {
		if got := lock.Key(product); got != want {
			t.Errorf("Key(%d) = %q, want %q", product, got, want)
		}
	}
}

func BenchmarkLocal(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			products := make([]int64, n)
			for i := range products {
				products[i] = int64(i + 1)
			}
			local := lock.NewLocal(lock.TTL)
			b.ReportAllocs()
			for b.Loop() {
				grant := tryLock(b, local, products...)
				if err := local.Unlock(b.Context(), grant.Token, grant.Locked, true); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
