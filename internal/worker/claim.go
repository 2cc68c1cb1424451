package worker

import (
	"context"
	"errors"
	"time"

	"orderflow/internal/batch"
	"orderflow/internal/bus"
	"orderflow/internal/order"
)

// wanted is an order that somebody says needs a worker.
type wanted struct {
	request  order.ClaimRequest
	delivery bus.Delivery // how the consumer heard of it
	since    time.Time    // when it was created; zero when the sweeper found it
}

// admit waits until the gateway may be called and slots are free, and takes up to want of them; 0 when ctx ends first.
// Each has to be released, with leave or by process.
func (w *Worker) admit(ctx context.Context, want int) int {
	for {
		if !w.breakerReady(ctx) {
			return 0
		}
		got := w.slots.take(ctx, want)
		if got == 0 {
			return 0
		}
		may := w.enter(got)
		w.slots.give(got - may)
		if may > 0 {
			return may
		}
		// All calls that the breaker lets through are spoken for, which only happens while it is half-open.
		w.sleep(ctx, probePause)
	}
}

// probePause is how long to wait for a half-open breaker to hear from its probes before looking again.
const probePause = 20 * time.Millisecond

// enter lets as many of got claims begin as there are calls to be had. The breaker counts a call when it starts; those
// that have been claimed for and not started yet are counted here, lest a half-open breaker be run over by claims of
// which most would be handed back. One may still slip in between the two, and is.
func (w *Worker) enter(got int) int {
	w.entrance.Lock()
	defer w.entrance.Unlock()
	may := max(0, min(got, w.callable()))
	w.entering.Add(int64(may))
	return may
}

// callable is how many calls may be started that nobody is about to start already.
func (w *Worker) callable() int { return w.options.Breaker.Slots() - int(w.entering.Load()) }

// leave releases n that were admitted and came to nothing.
func (w *Worker) leave(n int) {
	w.entering.Add(int64(-n))
	w.slots.give(n)
}

// breakerReady waits until the breaker lets calls through; false when ctx ends first.
func (w *Worker) breakerReady(ctx context.Context) bool {
	for {
		ready, changed := w.options.Breaker.Ready()
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
func (w *Worker) capacity(ctx context.Context) int {
	got := w.admit(ctx, 1)
	if got == 0 {
		return 0
	}
	w.leave(got)
	return max(1, min(w.slots.free(), w.callable()))
}

// work claims orders as fast as there are slots for them, and starts what they need. It comes back to those that the
// database could not take now, until ctx ends. An error means that a claim failed for a reason that will not pass.
func (w *Worker) work(ctx, life context.Context, orders []wanted, acknowledge func([]bus.Delivery)) error {
	var lasting error
	pause := firstPause
	for len(orders) > 0 {
		n := w.admit(ctx, len(orders))
		if n == 0 {
			return ctx.Err()
		}
		failed, err := w.claim(ctx, life, orders[:n], acknowledge)
		orders = orders[n:]
		switch {
		case err == nil:
			pause = firstPause
		case transient(err):
			if pause == firstPause {
				w.options.Logger.WarnContext(ctx, "Orders cannot be claimed now; trying again until they can.",
					"event", "worker.claim_failed", "orders", len(failed), "error", err.Error())
			}
			orders = append(failed, orders...)
			w.sleep(ctx, pause)
			pause = min(2*pause, lastPause)
		default:
			w.options.Logger.ErrorContext(ctx, "Orders could not be claimed; the sweeper tries again when they are due.",
				"event", "worker.claim_failed", "orders", len(failed), "order_id", failed[0].request.OrderID,
				"trace_id", failed[0].request.Trace.ID, "error", err.Error())
			lasting = err
		}
	}
	return lasting
}

// claim claims orders, for each of which the caller holds a slot, starts those that were won, and acknowledges all that
// were decided, won or not. It returns those that were not.
func (w *Worker) claim(ctx, life context.Context, orders []wanted, acknowledge func([]bus.Delivery)) (failed []wanted, err error) {
	requests := make([]order.ClaimRequest, len(orders))
	for i := range orders {
		requests[i] = orders[i].request
	}
	idle := 0
	decided := make([]bus.Delivery, 0, len(orders))
	for i, waiting := range w.claims.Ahead(requests...) {
		answer := <-waiting // the batcher answers always
		if answer.Err != nil {
			failed, err = append(failed, orders[i]), answer.Err
			idle++
			continue
		}
		decided = append(decided, orders[i].delivery)
		w.metrics.claimed(answer.Value, orders[i].since)
		if answer.Value.Task == order.TaskNone {
			idle++
			continue
		}
		w.running.Go(func() {
			defer w.slots.give(1)
			w.process(ctx, life, answer.Value)
		})
	}
	w.leave(idle)
	if acknowledge != nil && len(decided) > 0 {
		acknowledge(decided)
	}
	return failed, err
}

// transient reports whether an error passes by itself.
func transient(err error) bool {
	return order.CodeOf(err) == order.CodeUnavailable || errors.Is(err, batch.ErrOverloaded)
}
