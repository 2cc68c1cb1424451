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

func takesWhatIsFree(t *testing.T, r room) {
	first := try(t, r.a, r.products(1, 2, 3))
	wantHeld(t, first, r.products(1, 2, 3), nil)
	second := try(t, r.b, r.products(4))
	wantHeld(t, second, r.products(4), nil)
	if !lock.Ours(first.Token) || !lock.Ours(second.Token) {
		t.Errorf("tokens %q and %q are not known as ours", first.Token, second.Token)
	}
	if first.Token == second.Token {
		t.Errorf("two grants have the same token %q", first.Token)
	}
}

func anyOrder(t *testing.T, r room) {
	asked := r.products(9, 3, 7, 3, 9)
	before := slices.Clone(asked)
	wantHeld(t, try(t, r.a, asked), r.products(3, 7, 9), nil)
	if !slices.Equal(asked, before) {
		t.Errorf("TryLock changed the caller's slice to %v", asked)
	}
}

func nothingAsked(t *testing.T, r room) {
	grant := try(t, r.a, nil)
	wantHeld(t, grant, nil, nil)
	unlock(t, r.a, grant.Token, nil)
}

func reportsBusy(t *testing.T, r room) {
	x := try(t, r.a, r.products(2))
	y := try(t, r.b, r.products(4))
	z := try(t, r.a, r.products(1, 2, 3, 4, 5))
	wantHeld(t, z, r.products(1, 3, 5), map[int64]string{r.base + 2: x.Token, r.base + 4: y.Token})
	again := try(t, r.b, r.products(1, 2))
	wantHeld(t, again, nil, map[int64]string{r.base + 1: z.Token, r.base + 2: x.Token})
}

func releaseWakes(t *testing.T, r room) {
	holder := try(t, r.a, r.products(1))
	waiter := try(t, r.b, r.products(1))
	wantHeld(t, waiter, nil, map[int64]string{r.base + 1: holder.Token})
	unlock(t, r.a, holder.Token, r.products(1))
	wantReleased(t, r.b, waiter.Busy[0].Released)
	wantHeld(t, try(t, r.b, r.products(1)), r.products(1), nil)
}

func releaseWakesAll(t *testing.T, r room) {
	holder := try(t, r.a, r.products(1, 2))
	var waiters []lock.Grant
	for _, view := range []Adapter{r.a, r.b, r.a, r.b} {
		waiters = append(waiters, try(t, view, r.products(1, 2)))
	}
	unlock(t, r.b, holder.Token, r.products(1, 2))
	for i, waiter := range waiters {
		wantHeld(t, waiter, nil, map[int64]string{r.base + 1: holder.Token, r.base + 2: holder.Token})
		for _, busy := range waiter.Busy {
			wantReleased(t, []Adapter{r.a, r.b}[i%2], busy.Released)
		}
	}
	// The next hold is another one: it has a channel of its own, not the closed one.
	next := try(t, r.a, r.products(1))
	late := try(t, r.b, r.products(1))
	if !r.b.Features().Prompt { // elsewhere word of the first release may still come, as an early wake-up
		return
	}
	select {
	case <-late.Busy[0].Released:
		t.Error("the second hold's channel was closed before its release")
	default:
	}
	unlock(t, r.a, next.Token, r.products(1))
	wantReleased(t, r.b, late.Busy[0].Released)
}

func releaseWakesItsProduct(t *testing.T, r room) {
	holder := try(t, r.a, r.products(1, 2))
	waiter := try(t, r.b, r.products(1, 2))
	unlock(t, r.a, holder.Token, r.products(2))
	wantReleased(t, r.b, waiter.Busy[1].Released)
	if r.b.Features().Prompt {
		select {
		case <-waiter.Busy[0].Released:
			t.Error("woken for a product that was not released")
		default:
		}
	}
	wantHeld(t, try(t, r.b, r.products(1, 2)), r.products(2), map[int64]string{r.base + 1: holder.Token})
}

func anotherToken(t *testing.T, r room) {
	holder := try(t, r.a, r.products(1))
	for _, token := range []string{lock.NewToken(), "", holder.Token[:35], "a stranger's"} {
		unlock(t, r.b, token, r.products(1))
		wantHeld(t, try(t, r.b, r.products(1)), nil, map[int64]string{r.base + 1: holder.Token})
	}
}

func releasedTwice(t *testing.T, r room) {
	first := try(t, r.a, r.products(1, 2))
	unlock(t, r.a, first.Token, r.products(1, 2))
	unlock(t, r.a, first.Token, r.products(1, 2))
	second := try(t, r.b, r.products(1, 2))
	wantHeld(t, second, r.products(1, 2), nil)
	unlock(t, r.a, first.Token, r.products(1, 2)) // and now it is another's
	wantHeld(t, try(t, r.a, r.products(1, 2)), nil, map[int64]string{r.base + 1: second.Token, r.base + 2: second.Token})
}

func releasesWhatItNames(t *testing.T, r room) {
	x := try(t, r.a, r.products(1, 2))
	y := try(t, r.b, r.products(3))
	unlock(t, r.a, x.Token, r.products(3, 4, 2)) // 3 is another's, 4 is nobody's
	wantHeld(t, try(t, r.b, r.products(1, 2, 3, 4)), r.products(2, 4), map[int64]string{r.base + 1: x.Token, r.base + 3: y.Token})
}

func endedContext(t *testing.T, r room) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if grant, err := r.a.TryLock(ctx, r.products(1)); err == nil {
		t.Fatalf("TryLock under a context that has ended gave %+v and no error", grant)
	}
	// What an adapter took without knowing it, it gives back by itself.
	ctx, cancel = context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		grant := try(t, r.b, r.products(1))
		if len(grant.Locked) == 1 {
			return
		}
		select {
		case <-grant.Busy[0].Released:
		case <-ctx.Done():
			t.Fatalf("still held by %q", grant.Busy[0].Token)
		}
	}
}

// oneHolder lets several buyers fight for a few products. They wait for releases alone, never for a time, so that one
// wake-up lost would leave a buyer behind.
func oneHolder(t *testing.T, r room) {
	const buyers, rounds, width = 8, 40, 5
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var inside [width + 1]atomic.Int32
	var all sync.WaitGroup
	for buyer := range buyers {
		view := []Adapter{r.a, r.b}[buyer%2]
		random := rand.New(rand.NewPCG(uint64(r.base), uint64(buyer)))
		all.Go(func() {
			for range rounds {
				var wanted []int64
				for _, n := range random.Perm(width)[:1+random.IntN(width)] {
					wanted = append(wanted, r.base+1+int64(n))
				}
				if err := buyAll(ctx, view, wanted, inside[:], r.base); err != nil {
					t.Errorf("buyer %d: %v", buyer, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// late reports whether an answer did not come in time, which on a busy machine is no fault: what may be held then goes by
// the contract, and the buyer tries again a moment later.
func late(ctx context.Context, err error) bool {
	if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return false
	}
	moment := time.NewTimer(50 * time.Millisecond)
	<-moment.C
	return true
}

// buyAll holds each of the wanted products once, together with whichever others are free.
func buyAll(ctx context.Context, view lock.Locker, wanted []int64, inside []atomic.Int32, base int64) error {
	for len(wanted) > 0 {
		grant, err := view.TryLock(ctx, wanted)
		if late(ctx, err) {
			continue
		}
		if err != nil {
			return err
		}
		if err := occupy(grant.Locked, inside, base); err != nil {
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

// occupy goes inside the held products, looks around and leaves.
func occupy(held []int64, inside []atomic.Int32, base int64) error {
	for _, product := range held {
		if n := inside[product-base].Add(1); n != 1 {
			return fmt.Errorf("product %d has %d holders at once", product, n)
		}
	}
	runtime.Gosched() // whoever is let in wrongly comes now
	for _, product := range held {
		inside[product-base].Add(-1)
	}
	return nil
}

func expires(t *testing.T, r room) {
	holder := try(t, r.a, r.products(1))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for { // an early wake-up is allowed
		waiter := try(t, r.b, r.products(1))
		if len(waiter.Locked) == 1 {
			break
		}
		wantHeld(t, waiter, nil, map[int64]string{r.base + 1: holder.Token})
		select {
		case <-waiter.Busy[0].Released:
		case <-ctx.Done():
			t.Fatal("never told that the lock had expired")
		}
	}
}

func lateRelease(t *testing.T, r room) {
	late := try(t, r.a, r.products(1))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var successor lock.Grant
	for len(successor.Locked) == 0 {
		if successor = try(t, r.b, r.products(1)); len(successor.Locked) == 0 {
			select {
			case <-successor.Busy[0].Released:
			case <-ctx.Done():
				t.Fatal("the lock never expired")
			}
		}
	}
	taken := time.Now()
	unlock(t, r.a, late.Token, r.products(1))
	next := try(t, r.a, r.products(1))
	if time.Since(taken) > time.Second/2 {
		t.Skip("the machine was stopped for so long that the successor's lock may have expired as well")
	}
	wantHeld(t, next, nil, map[int64]string{r.base + 1: successor.Token})
}
