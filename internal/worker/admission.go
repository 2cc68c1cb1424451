package worker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"orderflow/internal/order"
)

// admission lets claims begin whose orders need one kind of call. Charges and voids have an admission each, with a breaker, a
// sweeper and an alarm of its own: while a provider fails at one of the two, the other goes on. They share the slots.
type admission struct {
	kind    order.PaymentKind
	breaker Breaker
	slots   slots
	alarm   *alarm // of its sweeper
	jitter  func(time.Duration) time.Duration

	entrance sync.Mutex   // makes looking and entering one step
	entering atomic.Int64 // admitted, and not yet in process
}

// admit waits until the gateway may be called and slots are free, and takes up to want of them; 0 when ctx ends first.
// Each has to be released, with leave or by process.
func (a *admission) admit(ctx context.Context, want int) int {
	for {
		if !a.ready(ctx) {
			return 0
		}
		got := a.slots.take(ctx, want)
		if got == 0 {
			return 0
		}
		may := a.enter(got)
		a.slots.give(got - may)
		if may > 0 {
			return may
		}
		// All calls that the breaker lets through are spoken for, which only happens while it is half-open.
		pauseFor(ctx, a.jitter(probePause))
	}
}

// probePause is the interval between checks of a half-open breaker.
const probePause = 20 * time.Millisecond

// enter lets as many of got claims begin as there are calls to be had. The breaker counts a call when it starts; those
// that have been claimed for and not started yet are counted here, so that a half-open breaker does not get more claims
// than calls. A claim beyond that would be handed back.
func (a *admission) enter(got int) int {
	a.entrance.Lock()
	defer a.entrance.Unlock()
	may := max(0, min(got, a.callable()))
	a.entering.Add(int64(may))
	return may
}

// callable is how many calls may be started that nobody is about to start already.
func (a *admission) callable() int { return a.breaker.Slots() - int(a.entering.Load()) }

// leave releases n that were admitted and came to nothing.
func (a *admission) leave(n int) {
	a.entering.Add(int64(-n))
	a.slots.give(n)
}

// ready waits until the breaker lets calls through; false when ctx ends first.
func (a *admission) ready(ctx context.Context) bool {
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

// capacity waits until at least one order could be worked on and returns how many could be; 0 when ctx ends first. It
// keeps no slot, so that consumer and sweeper never hold one while they wait for something else.
func (a *admission) capacity(ctx context.Context) int {
	got := a.admit(ctx, 1)
	if got == 0 {
		return 0
	}
	a.leave(got)
	return max(1, min(a.slots.free(), a.callable()))
}
