package locktest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"orderflow/internal/lock"
)

func locksFreeProducts(t *testing.T, e env) {
	first := try(t, e.a, e.products(1, 2, 3))
	wantGrant(t, first, e.products(1, 2, 3), nil)
	second := try(t, e.b, e.products(4))
	wantGrant(t, second, e.products(4), nil)
	if !lock.Ours(first.Token) || !lock.Ours(second.Token) {
		t.Errorf("tokens %q and %q are not ours", first.Token, second.Token)
	}
	if first.Token == second.Token {
		t.Errorf("two grants have the same token %q", first.Token)
	}
}

func anyOrder(t *testing.T, e env) {
	asked := e.products(9, 3, 7, 3, 9)
	before := slices.Clone(asked)
	wantGrant(t, try(t, e.a, asked), e.products(3, 7, 9), nil)
	if !slices.Equal(asked, before) {
		t.Errorf("TryLock changed the caller's slice to %v", asked)
	}
}

func noProducts(t *testing.T, e env) {
	grant := try(t, e.a, nil)
	wantGrant(t, grant, nil, nil)
	unlock(t, e.a, grant.Token, nil)
}

func reportsBusy(t *testing.T, e env) {
	x := try(t, e.a, e.products(2))
	y := try(t, e.b, e.products(4))
	z := try(t, e.a, e.products(1, 2, 3, 4, 5))
	wantGrant(t, z, e.products(1, 3, 5), map[int64]string{e.base + 2: x.Token, e.base + 4: y.Token})
	again := try(t, e.b, e.products(1, 2))
	wantGrant(t, again, nil, map[int64]string{e.base + 1: z.Token, e.base + 2: x.Token})
}

func releaseWakes(t *testing.T, e env) {
	owner := try(t, e.a, e.products(1))
	waiter := try(t, e.b, e.products(1))
	wantGrant(t, waiter, nil, map[int64]string{e.base + 1: owner.Token})
	unlock(t, e.a, owner.Token, e.products(1))
	wantReleased(t, e.b, waiter.Busy[0].Released)
	wantGrant(t, try(t, e.b, e.products(1)), e.products(1), nil)
}

func releaseWakesAll(t *testing.T, e env) {
	owner := try(t, e.a, e.products(1, 2))
	var waiters []lock.Grant
	for _, view := range []Adapter{e.a, e.b, e.a, e.b} {
		waiters = append(waiters, try(t, view, e.products(1, 2)))
	}
	unlock(t, e.b, owner.Token, e.products(1, 2))
	for i, waiter := range waiters {
		wantGrant(t, waiter, nil, map[int64]string{e.base + 1: owner.Token, e.base + 2: owner.Token})
		for _, busy := range waiter.Busy {
			wantReleased(t, []Adapter{e.a, e.b}[i%2], busy.Released)
		}
	}
	// The next lock has a channel of its own, not the closed one.
	next := try(t, e.a, e.products(1))
	late := try(t, e.b, e.products(1))
	if !e.b.Features().Prompt { // otherwise the announcement of the first release may still arrive, as an early wake-up
		return
	}
	select {
	case <-late.Busy[0].Released:
		t.Error("Released closed before the release of the second lock")
	default:
	}
	unlock(t, e.a, next.Token, e.products(1))
	wantReleased(t, e.b, late.Busy[0].Released)
}

func releaseWakesItsProduct(t *testing.T, e env) {
	owner := try(t, e.a, e.products(1, 2))
	waiter := try(t, e.b, e.products(1, 2))
	unlock(t, e.a, owner.Token, e.products(2))
	wantReleased(t, e.b, waiter.Busy[1].Released)
	if e.b.Features().Prompt {
		select {
		case <-waiter.Busy[0].Released:
			t.Error("Released closed for a product that was not released")
		default:
		}
	}
	wantGrant(t, try(t, e.b, e.products(1, 2)), e.products(2), map[int64]string{e.base + 1: owner.Token})
}

func anotherToken(t *testing.T, e env) {
	owner := try(t, e.a, e.products(1))
	for _, token := range []string{lock.NewToken(), "", owner.Token[:35], "foreign"} {
		unlock(t, e.b, token, e.products(1))
		wantGrant(t, try(t, e.b, e.products(1)), nil, map[int64]string{e.base + 1: owner.Token})
	}
}

func releasedTwice(t *testing.T, e env) {
	first := try(t, e.a, e.products(1, 2))
	unlock(t, e.a, first.Token, e.products(1, 2))
	unlock(t, e.a, first.Token, e.products(1, 2))
	second := try(t, e.b, e.products(1, 2))
	wantGrant(t, second, e.products(1, 2), nil)
	unlock(t, e.a, first.Token, e.products(1, 2)) // which has another owner now
	wantGrant(t, try(t, e.a, e.products(1, 2)), nil, map[int64]string{e.base + 1: second.Token, e.base + 2: second.Token})
}

func releasesNamedProducts(t *testing.T, e env) {
	x := try(t, e.a, e.products(1, 2))
	y := try(t, e.b, e.products(3))
	unlock(t, e.a, x.Token, e.products(3, 4, 2)) // 3 has another owner, 4 has none
	wantGrant(t, try(t, e.b, e.products(1, 2, 3, 4)), e.products(2, 4), map[int64]string{e.base + 1: x.Token, e.base + 3: y.Token})
}

func endedContext(t *testing.T, e env) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if grant, err := e.a.TryLock(ctx, e.products(1)); err == nil {
		t.Fatalf("TryLock with a cancelled context returned %+v and no error", grant)
	}
	// An adapter releases by itself what it may have locked.
	ctx, cancel = context.WithTimeout(t.Context(), timeout)
	defer cancel()
	for {
		grant := try(t, e.b, e.products(1))
		if len(grant.Locked) == 1 {
			return
		}
		select {
		case <-grant.Busy[0].Released:
		case <-ctx.Done():
			t.Fatalf("still locked by %q", grant.Busy[0].Token)
		}
	}
}

// oneOwner has several buyers compete for a few products. They wait for releases only, so that a lost wake-up would leave a buyer
// waiting.
func oneOwner(t *testing.T, e env) {
	const buyers, rounds, width = 8, 40, 5
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	var inside [width + 1]atomic.Int32
	var all sync.WaitGroup
	for buyer := range buyers {
		view := []Adapter{e.a, e.b}[buyer%2]
		random := rand.New(rand.NewPCG(uint64(e.base), uint64(buyer)))
		all.Go(func() {
			for range rounds {
				var wanted []int64
				for _, n := range random.Perm(width)[:1+random.IntN(width)] {
					wanted = append(wanted, e.base+1+int64(n))
				}
				if err := buyAll(ctx, view, wanted, inside[:], e.base); err != nil {
					t.Errorf("buyer %d: %v", buyer, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// late reports whether a call timed out, which the contract allows on a busy machine. It pauses then, and the buyer tries again.
func late(ctx context.Context, err error) bool {
	if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return false
	}
	moment := time.NewTimer(50 * time.Millisecond)
	<-moment.C
	return true
}

// buyAll locks each of the wanted products once, as many together as are free.
func buyAll(ctx context.Context, view lock.Locker, wanted []int64, inside []atomic.Int32, base int64) error {
	for len(wanted) > 0 {
		grant, err := view.TryLock(ctx, wanted)
		if late(ctx, err) {
			continue
		}
		if err != nil {
			return err
		}
		if err := enter(grant.Locked, inside, base); err != nil {
			return err
		}
		if err := view.Unlock(ctx, grant.Token, grant.Locked, len(grant.Busy) == 0); err != nil && !late(ctx, err) {
			return err
		}
		wanted = wanted[:0]
		for _, busy := range grant.Busy {
			wanted = append(wanted, busy.Product)
		}
		if len(grant.Locked) > 0 || len(wanted) == 0 {
			continue
		}
		select {
		case <-grant.Busy[0].Released:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// enter fails when a product has another owner at the same time.
func enter(held []int64, inside []atomic.Int32, base int64) error {
	for _, product := range held {
		if n := inside[product-base].Add(1); n != 1 {
			return fmt.Errorf("product %d has %d owners at once", product, n)
		}
	}
	runtime.Gosched() // gives a second owner the chance to enter
	for _, product := range held {
		inside[product-base].Add(-1)
	}
	return nil
}

func expires(t *testing.T, e env) {
	owner := try(t, e.a, e.products(1))
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	for { // an early wake-up is allowed
		waiter := try(t, e.b, e.products(1))
		if len(waiter.Locked) == 1 {
			break
		}
		wantGrant(t, waiter, nil, map[int64]string{e.base + 1: owner.Token})
		select {
		case <-waiter.Busy[0].Released:
		case <-ctx.Done():
			t.Fatal("Released did not close after the expiry")
		}
	}
}

func lateRelease(t *testing.T, e env) {
	late := try(t, e.a, e.products(1))
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	var successor lock.Grant
	for len(successor.Locked) == 0 {
		if successor = try(t, e.b, e.products(1)); len(successor.Locked) == 0 {
			select {
			case <-successor.Busy[0].Released:
			case <-ctx.Done():
				t.Fatal("the lock did not expire")
			}
		}
	}
	taken := time.Now()
	unlock(t, e.a, late.Token, e.products(1))
	next := try(t, e.a, e.products(1))
	if time.Since(taken) > time.Second/2 {
		t.Skip("the machine was stopped for so long that the second lock may have expired too")
	}
	wantGrant(t, next, nil, map[int64]string{e.base + 1: successor.Token})
}
