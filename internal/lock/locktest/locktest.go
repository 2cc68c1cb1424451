// Package locktest has the tests that every lock.Locker must pass. The test of an adapter is one call of Run.
package locktest

import (
	"context"
	"slices"
	"testing"
	"time"

	"orderflow/internal/lock"
)

// Adapter is a Locker with its Features.
type Adapter interface {
	lock.Locker
	Features() lock.Features
}

// Open returns two lockers of the same products, all free, with locks that live for ttl (whole seconds). For a shared adapter they
// are two clients of one server, otherwise the same value twice. Open registers their cleanup.
type Open func(t *testing.T, ttl time.Duration) (a, b Adapter)

// timeout bounds waits that do not depend on expiry. Only a failing test reaches it.
const timeout = time.Minute

// env is the environment of a test: two lockers, and a range of products of its own.
type env struct {
	a, b Adapter
	base int64
}

// products returns the given products of the test's own range.
func (e env) products(numbers ...int64) []int64 {
	for i := range numbers {
		numbers[i] += e.base
	}
	return numbers
}

// Run runs the suite: each test on its own lockers, then all tests at once, several times, on the same lockers.
func Run(t *testing.T, open Open) {
	long := []struct {
		name string
		run  func(*testing.T, env)
	}{
		{"locks free products", locksFreeProducts},
		{"any order, duplicates", anyOrder},
		{"no products", noProducts},
		{"reports busy products", reportsBusy},
		{"a release wakes a waiter", releaseWakes},
		{"a release wakes all waiters", releaseWakesAll},
		{"a release wakes waiters of its product only", releaseWakesItsProduct},
		{"another token releases nothing", anotherToken},
		{"released twice", releasedTwice},
		{"releases only the named products", releasesNamedProducts},
		{"a cancelled context", endedContext},
		{"one owner at a time, no lost wake-up", oneOwner},
	}
	short := []struct {
		name string
		run  func(*testing.T, env)
	}{
		{"expiry wakes a waiter", expires},
		{"a late release", lateRelease},
	}
	for _, test := range long {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a, b := open(t, time.Minute)
			test.run(t, env{a, b, 1000})
		})
	}
	for _, test := range short {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a, b := open(t, time.Second)
			test.run(t, env{a, b, 1000})
		})
	}
	t.Run("stress", func(t *testing.T) {
		t.Parallel()
		a, b := open(t, time.Minute)
		for round := range int64(4) {
			for i, test := range long {
				t.Run(test.name, func(t *testing.T) {
					t.Parallel()
					test.run(t, env{a, b, 1000 * (1 + round*int64(len(long)) + int64(i))})
				})
			}
		}
	})
}

// try calls TryLock, which must not fail.
func try(t *testing.T, locker lock.Locker, products []int64) lock.Grant {
	t.Helper()
	grant, err := locker.TryLock(t.Context(), products)
	if err != nil {
		t.Fatalf("TryLock(%v): %v", products, err)
	}
	return grant
}

// unlock calls Unlock, which must not fail.
func unlock(t *testing.T, locker lock.Locker, token string, products []int64) {
	t.Helper()
	if err := locker.Unlock(t.Context(), token, products, true); err != nil {
		t.Fatalf("Unlock(%q, %v): %v", token, products, err)
	}
}

// wantGrant checks the locked products of a grant, and the tokens of its busy ones.
func wantGrant(t *testing.T, grant lock.Grant, held []int64, busy map[int64]string) {
	t.Helper()
	if !slices.Equal(grant.Locked, held) {
		t.Errorf("locked %v, want %v", grant.Locked, held)
	}
	if len(grant.Busy) != len(busy) {
		t.Errorf("busy %+v, want %v", grant.Busy, busy)
	}
	if !slices.IsSortedFunc(grant.Busy, func(x, y lock.Busy) int { return int(x.Product - y.Product) }) {
		t.Errorf("busy %+v is not in ascending order", grant.Busy)
	}
	for _, other := range grant.Busy {
		if token, listed := busy[other.Product]; !listed || token != other.Token {
			t.Errorf("product %d is busy under %q, want %q", other.Product, other.Token, token)
		}
		if other.Released == nil {
			t.Errorf("product %d is busy without Released", other.Product)
		}
	}
}

// wantReleased waits until the channel closes. A prompt adapter must have closed it already.
func wantReleased(t *testing.T, view Adapter, released <-chan struct{}) {
	t.Helper()
	if view.Features().Prompt {
		select {
		case <-released:
		default:
			t.Error("Released is open after Unlock")
		}
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	select {
	case <-released:
	case <-ctx.Done():
		t.Fatal("Released did not close")
	}
}
