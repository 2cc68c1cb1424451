package worker

import (
	"context"
	"errors"
	"time"

	"orderflow/internal/batch"
	"orderflow/internal/bus"
	"orderflow/internal/order"
)

// candidate is an order that may need a worker.
type candidate struct {
	request  order.ClaimRequest
	delivery bus.Delivery // the message that named it, if any
	since    time.Time    // when it was created; zero when the sweeper found it
}

// claimAll claims orders as fast as slots become free, and starts to process them. It retries while the database is unavailable, until
// ctx ends. It returns how many claims were decided, won or not. An error means that a claim failed for a lasting reason; the sweeper
// backs off from its order.
func (w *Worker) claimAll(
	ctx, drainCtx context.Context, a *admission, orders []candidate, acknowledge func([]bus.Delivery),
) (decided int, lasting error) {
	pause := firstPause
	for len(orders) > 0 {
		n := a.admit(ctx, len(orders))
		if n == 0 {
			return decided, ctx.Err()
		}
		done, failed, err := w.claim(ctx, drainCtx, a, orders[:n], acknowledge)
		decided += done
		orders = orders[n:]
		switch {
		case err == nil:
			pause = firstPause
		case transient(err):
			if pause == firstPause {
				w.options.Logger.WarnContext(ctx, "Orders cannot be claimed at the moment. The worker keeps trying.",
					"event", "worker.claim_failed", "orders", len(failed), "error", err.Error())
			}
			orders = append(failed, orders...)
			w.sleep(ctx, pause)
			pause = min(2*pause, lastPause)
		default:
			w.options.Logger.ErrorContext(ctx, "Orders could not be claimed. The sweeper retries them when they are due.",
				"event", "worker.claim_failed", "orders", len(failed), "order_id", failed[0].request.OrderID,
				"trace_id", failed[0].request.Trace.ID, "error", err.Error())
			for _, o := range failed {
				w.backoff.failed(o.request.OrderID)
			}
			lasting = err
		}
	}
	return decided, lasting
}

// claim claims orders, for each of which the caller holds a slot. It starts the orders that it won, and acknowledges all that were
// decided, won or not. It returns how many were decided, and the orders whose claim failed.
//
// The claim leaves out a locked order. Its message is acknowledged all the same: its row is due, and the sweeper finds it. An
// unacknowledged message would be redelivered while the row is locked, and dead-lettered in the end.
func (w *Worker) claim(
	ctx, drainCtx context.Context, a *admission, orders []candidate, acknowledge func([]bus.Delivery),
) (decided int, failed []candidate, err error) {
	requests := make([]order.ClaimRequest, len(orders))
	for i := range orders {
		requests[i] = orders[i].request
	}
	idle := 0
	done := make([]bus.Delivery, 0, len(orders)) // to be acknowledged
	var locked []int64
	for i, waiting := range w.claims.Ahead(requests...) {
		answer := <-waiting // the batcher always answers
		id := requests[i].OrderID
		if errors.Is(answer.Err, order.ErrLocked) {
			locked = append(locked, id)
			done = append(done, orders[i].delivery)
			idle++
			continue
		}
		if answer.Err != nil {
			failed, err = append(failed, orders[i]), answer.Err
			idle++
			continue
		}
		w.backoff.claimed(id)
		done = append(done, orders[i].delivery)
		w.metrics.claimed(answer.Value, orders[i].since)
		if answer.Value.Task == order.TaskNone {
			idle++
			continue
		}
		w.running.Go(func() {
			defer w.slots.give(1)
			w.process(ctx, drainCtx, a, answer.Value)
		})
	}
	a.release(idle)
	w.deferLocked(ctx, locked)
	if acknowledge != nil && len(done) > 0 {
		acknowledge(done)
	}
	return len(orders) - len(failed) - len(locked), failed, err
}

// deferLocked makes the sweeper back off from orders whose rows are locked. It logs those that were not locked before.
func (w *Worker) deferLocked(ctx context.Context, locked []int64) {
	var first []int64
	for _, id := range locked {
		if w.backoff.failed(id) {
			first = append(first, id)
		}
	}
	w.metrics.locked.Add(float64(len(locked)))
	if len(first) > 0 {
		w.options.Logger.WarnContext(ctx, "Another transaction keeps the rows of orders locked. The sweeper retries them with growing pauses.",
			"event", "worker.orders_locked", "orders", len(first), "order_id", first[0])
	}
}

// transient reports whether a retry can succeed without a change to the order.
func transient(err error) bool {
	return order.CodeOf(err) == order.CodeUnavailable || errors.Is(err, batch.ErrOverloaded)
}
