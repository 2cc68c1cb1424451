package worker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"orderflow/internal/order"
)

// admission limits the claims of orders that need one kind of call. Charges and voids have an admission each, with a breaker and a
// sweeper of its own: while a provider fails at one of the two, the other continues. They share the slots.
type admission struct {
	kind       order.PaymentKind
	breaker    Breaker
	slots      slots
	sweepTimer *sweepTimer // of its sweeper
	jitter     func(time.Duration) time.Duration

	mu       sync.Mutex   // makes the check of the breaker and the reservation one step
	admitted atomic.Int64 // claims whose call has not started
}

// admit waits until the gateway may be called and a slot is free, and takes up to want slots; 0 when ctx ends first. Each slot must be
// released, by release or by process.
func (a *admission) admit(ctx context.Context, want int) int {
	for {
		if !a.waitReady(ctx) {
			return 0
		}
		got := a.slots.take(ctx, want)
		if got == 0 {
			return 0
		}
		may := a.reserve(got)
		a.slots.give(got - may)
		if may > 0 {
			return may
		}
		// All calls that the breaker allows are reserved, which happens only while it is half-open.
		pauseFor(ctx, a.jitter(probePause))
	}
}

// probePause is the interval between checks of a half-open breaker.
const probePause = 20 * time.Millisecond

// reserve reserves up to got calls. The breaker counts a call when it starts; admitted counts the claims before that, so that a
// half-open breaker gets no more claims than it allows calls. A further claim would be handed back.
func (a *admission) reserve(got int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	may := max(0, min(got, a.availableCalls()))
	a.admitted.Add(int64(may))
	return may
}

// availableCalls returns how many calls may be started that are not reserved.
func (a *admission) availableCalls() int { return a.breaker.Slots() - int(a.admitted.Load()) }

// release releases n slots and reservations whose calls were not started.
func (a *admission) release(n int) {
	a.admitted.Add(int64(-n))
	a.slots.give(n)
}

// waitReady waits until the breaker allows calls; false when ctx ends first.
func (a *admission) waitReady(ctx context.Context) bool {
	for {
		ready, changed := a.breaker.Ready()
		if ready {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// availableSlots waits until at least one order can be processed, and returns how many can; 0 when ctx ends first. It keeps no slot, so
// consumer and sweeper hold none while they wait for the bus or the database.
func (a *admission) availableSlots(ctx context.Context) int {
	got := a.admit(ctx, 1)
	if got == 0 {
		return 0
	}
	a.release(got)
	return max(1, min(a.slots.free(), a.availableCalls()))
}
