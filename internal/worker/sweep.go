package worker

import (
	"context"
	"time"
)

// sweepPause is the pause between two sweeps, ±25 %, unless more orders are due.
const sweepPause = time.Second

// sweep processes due orders that need one kind of call, until ctx ends.
func (w *Worker) sweep(ctx, drainCtx context.Context, a *admission) {
	failing := false
	for ctx.Err() == nil {
		more, err := w.sweepOnce(ctx, drainCtx, a)
		if err != nil && !failing && ctx.Err() == nil {
			w.options.Logger.WarnContext(ctx, "Due orders cannot be found or claimed at the moment. The sweeper keeps trying.",
				"event", "worker.sweep_failed", "kind", string(a.kind), "error", err.Error())
		}
		failing = err != nil
		if !more || failing {
			a.sweepTimer.wait(ctx, w.jitter(sweepPause))
		}
	}
}

// sweepOnce waits for free slots, claims as many due orders, and reports whether more may be due. It queries as many more orders as it
// backs off from, so that these use no slots.
func (w *Worker) sweepOnce(ctx, drainCtx context.Context, a *admission) (more bool, err error) {
	slots := a.availableSlots(ctx)
	if slots == 0 {
		return false, ctx.Err()
	}
	due, err := w.options.Orders.DueOrders(ctx, slots+w.backoff.pausing(), a.kind)
	if err != nil {
		return false, err
	}
	due = w.backoff.allowed(due, slots)
	orders := make([]candidate, len(due))
	for i, request := range due {
		request.Actor = w.options.Node
		orders[i].request = request
	}
	w.metrics.swept.Add(float64(len(due)))
	decided, err := w.claimAll(ctx, drainCtx, a, orders, nil)
	// If no claim was decided, and the backoff is full, the next sweep would find the same orders at once.
	return len(due) == slots && (decided > 0 || len(w.backoff.allowed(due, 1)) == 0), err
}
