package worker

import (
	"context"
	"time"

	"orderflow/internal/bus"
	"orderflow/internal/order"
)

// consume takes new orders from the bus until ctx ends. While the bus is away the sweeper does its work, later.
func (w *Worker) consume(ctx, life context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		var err error
		if w.group == nil {
			err = w.Join(ctx)
		}
		if err == nil {
			err = w.consumeOnce(ctx, life)
		}
		if ctx.Err() != nil {
			break
		}
		if err == nil {
			pause = firstPause
			continue
		}
		if pause == firstPause {
			w.options.Logger.WarnContext(ctx, "Orders cannot be taken from the bus now; trying again, and the sweeper finds them when they are due.",
				"event", "worker.fetch_failed", "error", err.Error())
		}
		w.sleep(ctx, pause)
		pause = min(2*pause, lastPause)
	}
	if w.group == nil {
		return
	}
	if err := w.group.Close(); err != nil {
		w.options.Logger.WarnContext(ctx, "The bus was not left in order.", "event", "worker.close_failed", "error", err.Error())
	}
}

// consumeOnce takes as many messages as there are free slots, once there is one, and works on their orders.
func (w *Worker) consumeOnce(ctx, life context.Context) error {
	room := w.charges.capacity(ctx)
	if room == 0 {
		return ctx.Err()
	}
	deliveries, err := w.group.Fetch(ctx, room)
	if err != nil {
		return err
	}
	acknowledge := func(done []bus.Delivery) {
		// Not acknowledged is delivered again, and skipped then.
		err := w.group.Ack(context.WithoutCancel(ctx), done)
		if failing := w.unacked.Swap(err != nil); err != nil && !failing { // once, until it has worked again
			w.options.Logger.WarnContext(ctx, "Messages could not be acknowledged; they come again and are skipped.",
				"event", "worker.ack_failed", "messages", len(done), "error", err.Error())
		}
	}
	orders, poisoned := w.read(ctx, deliveries)
	if len(poisoned) > 0 {
		acknowledge(poisoned)
	}
	// A claim that failed for good has been logged; its message comes again, and the sweeper finds its order.
	_, _ = w.work(ctx, life, w.charges, orders, acknowledge)
	return nil
}

// read takes the orders from the messages. What cannot be read is set aside: reading it again would not help, and the
// sweeper finds the order that it may have meant.
func (w *Worker) read(ctx context.Context, deliveries []bus.Delivery) (orders []wanted, poisoned []bus.Delivery) {
	orders = make([]wanted, 0, len(deliveries))
	for _, delivery := range deliveries {
		event, err := order.ParseEvent(delivery.Body)
		if err != nil {
			poisoned = append(poisoned, delivery)
			w.metrics.poisoned.Inc()
			w.options.Logger.ErrorContext(ctx, "A message on the bus is no event; it was set aside.", "event", "worker.message_poisoned",
				"message_id", bounded(delivery.ID, ""), "attempt", delivery.Attempt, "bytes", len(delivery.Body), "error", bounded(err.Error(), ""))
			continue
		}
		orders = append(orders, wanted{
			request:  order.ClaimRequest{OrderID: event.OrderID, Actor: w.options.Node, Trace: event.Trace},
			delivery: delivery, since: event.At,
		})
	}
	return orders, poisoned
}

// sweepPause is the time between two rounds of the sweeper, give or take a quarter, unless there is more to do at once.
const sweepPause = time.Second

// sweep works on orders that are due and need one kind of call, until ctx ends.
func (w *Worker) sweep(ctx, life context.Context, a *admission) {
	failing := false
	for ctx.Err() == nil {
		more, err := w.sweepOnce(ctx, life, a)
		if err != nil && !failing && ctx.Err() == nil {
			w.options.Logger.WarnContext(ctx, "Due orders cannot be looked for or claimed now; trying again.",
				"event", "worker.sweep_failed", "kind", string(a.kind), "error", err.Error())
		}
		failing = err != nil
		if !more || failing {
			a.alarm.wait(ctx, w.jitter(sweepPause))
		}
	}
}

// sweepOnce works on as many due orders as there are free slots, once there is one, and reports whether more may wait. It
// looks for as many more as it backs off from, so that they use no slots.
func (w *Worker) sweepOnce(ctx, life context.Context, a *admission) (more bool, err error) {
	room := a.capacity(ctx)
	if room == 0 {
		return false, ctx.Err()
	}
	due, err := w.options.Orders.DueOrders(ctx, room+w.backoff.pausing(), a.kind)
	if err != nil {
		return false, err
	}
	due = w.backoff.allowed(due, room)
	orders := make([]wanted, len(due))
	for i, request := range due {
		request.Actor = w.options.Node
		orders[i].request = request
	}
	w.metrics.swept.Add(float64(len(due)))
	decided, err := w.work(ctx, life, a, orders, nil)
	// Where nothing was decided, and the backoff has no place for these orders, the next round would find the same ones at once.
	return len(due) == room && (decided > 0 || len(w.backoff.allowed(due, 1)) == 0), err
}
