package worker

import (
	"context"

	"orderflow/internal/bus"
	"orderflow/internal/order"
)

// consume takes new orders from the bus until ctx ends. While the bus is unavailable, the sweeper finds them later.
func (w *Worker) consume(ctx, drainCtx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		var err error
		if w.group == nil {
			err = w.Join(ctx)
		}
		if err == nil {
			err = w.consumeOnce(ctx, drainCtx)
		}
		if ctx.Err() != nil {
			break
		}
		if err == nil {
			pause = firstPause
			continue
		}
		if pause == firstPause {
			w.options.Logger.WarnContext(ctx, "The bus is unavailable. The worker keeps trying, and the sweeper finds new orders when they are due.",
				"event", "worker.fetch_failed", "error", err.Error())
		}
		w.sleep(ctx, pause)
		pause = min(2*pause, lastPause)
	}
	if w.group == nil {
		return
	}
	if err := w.group.Close(); err != nil {
		w.options.Logger.WarnContext(ctx, "The consumer could not be closed. Its unacknowledged messages are delivered again later.",
			"event", "worker.close_failed", "error", err.Error())
	}
}

// consumeOnce waits for free slots, fetches as many messages, and claims their orders.
func (w *Worker) consumeOnce(ctx, drainCtx context.Context) error {
	slots := w.charges.availableSlots(ctx)
	if slots == 0 {
		return ctx.Err()
	}
	deliveries, err := w.group.Fetch(ctx, slots)
	if err != nil {
		return err
	}
	acknowledge := func(done []bus.Delivery) {
		// An unacknowledged message is delivered again, and skipped then.
		err := w.group.Ack(context.WithoutCancel(ctx), done)
		if failing := w.ackFailing.Swap(err != nil); err != nil && !failing { // logged once, until it works again
			w.options.Logger.WarnContext(ctx, "Messages could not be acknowledged. They will be delivered again and skipped.",
				"event", "worker.ack_failed", "messages", len(done), "error", err.Error())
		}
	}
	orders, unreadable := w.parse(ctx, deliveries)
	if len(unreadable) > 0 {
		acknowledge(unreadable)
	}
	// A lasting error was logged. The message is delivered again, and the sweeper finds the order.
	_, _ = w.claimAll(ctx, drainCtx, w.charges, orders, acknowledge)
	return nil
}

// parse returns the orders that messages name. An unreadable message is acknowledged: another delivery would not help, and the
// sweeper finds its order.
func (w *Worker) parse(ctx context.Context, deliveries []bus.Delivery) (orders []candidate, unreadable []bus.Delivery) {
	orders = make([]candidate, 0, len(deliveries))
	for _, delivery := range deliveries {
		event, err := order.ParseEvent(delivery.Body)
		if err != nil {
			unreadable = append(unreadable, delivery)
			w.metrics.unreadable.Inc()
			w.options.Logger.ErrorContext(ctx, "A message on the bus is not a valid event. It was acknowledged and not processed.",
				"event", "message.rejected",
				"message_id", cleanText(delivery.ID, ""), "attempt", delivery.Attempt, "bytes", len(delivery.Body),
				"error", cleanText(err.Error(), ""))
			continue
		}
		orders = append(orders, candidate{
			request:  order.ClaimRequest{OrderID: event.OrderID, Actor: w.options.Node, Trace: event.Trace},
			delivery: delivery, since: event.At,
		})
	}
	return orders, unreadable
}
