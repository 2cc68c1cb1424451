// Package locktest holds the tests that every lock.Locker must pass. An adapter's own test is one call of Run.
package locktest

import (
	"context"
	"slices"
	"testing"
	"time"

	"orderflow/internal/lock"
)

// Adapter is a Locker that says what it promises.
type Adapter interface {
	lock.Locker
	Features() lock.Features
}

// Open returns two views of the same products, all free, with locks that live for ttl (whole seconds): for locks that
// processes share two clients of one server, else the same value twice. It registers its own clean-up.
type Open func(t *testing.T, ttl time.Duration) (a, b Adapter)

// patience is how long anything may take that needs no expiry. No test waits for it unless it fails.
const patience = time.Minute

// room is what a test works with: two views, and a range of products of its own.
type room struct {
	a, b Adapter
	base int64
}

// products returns the given products of the room's own range.
func (r room) products(numbers ...int64) []int64 {
	for i := range numbers {
		numbers[i] += r.base
	}
	return numbers
}

// Run runs the suite: each test on locks of its own, then all of them at once, several times, on one set of locks.
func Run(t *testing.T, open Open) {
	long := []struct {
		name string
		run  func(*testing.T, room)
	}{
		{"takes what is free", takesWhatIsFree},
		{"any order, twice", anyOrder},
		{"nothing asked", nothingAsked},
		{"reports what is busy", reportsBusy},
		{"a release frees and wakes", releaseWakes},
		{"a release wakes all", releaseWakesAll},
		{"a release wakes its product only", releaseWakesItsProduct},
		{"another token releases nothing", anotherToken},
		{"released twice", releasedTwice},
		{"releases what it names", releasesWhatItNames},
		{"a context that has ended", endedContext},
		{"one holder at a time, no wake-up lost", oneHolder},
	}
	short := []struct {
		name string
		run  func(*testing.T, room)
	}{
		{"expires and wakes", expires},
		{"a late release", lateRelease},
	}
	for _, test := range long {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a, b := open(t, time.Minute)
			test.run(t, room{a, b, 1000})
		})
	}
	for _, test := range short {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a, b := open(t, time.Second)
			test.run(t, room{a, b, 1000})
		})
	}
	t.Run("stress", func(t *testing.T) {
		t.Parallel()
		a, b := open(t, time.Minute)
		for round := range int64(4) {
			for i, test := range long {
				t.Run(test.name, func(t *testing.T) {
					t.Parallel()
					test.run(t, room{a, b, 1000 * (1 + round*int64(len(long)) + int64(i))})
				})
			}
		}
	})
}

// try is TryLock that must not fail.
func try(t *testing.T, locker lock.Locker, products []int64) lock.Grant {
	t.Helper()
	grant, err := locker.TryLock(t.Context(), products)
	if err != nil {
		t.Fatalf("TryLock(%v): %v", products, err)
	}
	return grant
}

// unlock is Unlock that must not fail.
func unlock(t *testing.T, locker lock.Locker, token string, products []int64) {
	t.Helper()
	if err := locker.Unlock(t.Context(), token, products, true); err != nil {
		t.Fatalf("Unlock(%q, %v): %v", token, products, err)
	}
}

// wantHeld checks which products a grant holds, and that the others of it are busy under the given tokens.
func wantHeld(t *testing.T, grant lock.Grant, held []int64, busy map[int64]string) {
	t.Helper()
	if !slices.Equal(grant.Locked, held) {
		t.Errorf("held %v, want %v", grant.Locked, held)
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
			t.Errorf("product %d is busy without a channel to wait on", other.Product)
		}
	}
}

// wantReleased waits for the channel to be closed; where the adapter promises it, that must be so already.
func wantReleased(t *testing.T, view Adapter, released <-chan struct{}) {
	t.Helper()
	if view.Features().Prompt {
		select {
		case <-released:
		default:
			t.Error("not told of the release when Unlock had returned")
		}
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	select {
	case <-released:
	case <-ctx.Done():
		t.Fatal("never told of the release")
	}
}
