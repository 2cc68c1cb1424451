package intake

import (
	"context"
	"errors"
	"time"

	"orderflow/internal/batch"
	"orderflow/internal/lock"
	"orderflow/internal/order"
)

// retry continues the schedule of a request whose first try found a busy product. A release meanwhile adds a try to those of
// the schedule. After the last one the request is refused with CodeLockConflict, or with the store's error when the
// product's row stayed locked.
func (s *Service) retry(ctx context.Context, r *request, busy *busyError) (order.Placed, error) {
	started := time.Now()
	defer func() { s.metrics.lockWait.Observe(time.Since(started).Seconds()) }()
	delays := lock.Schedule(s.random)
	next := started
	for _, delay := range delays[1:] {
		next = next.Add(delay)
		for scheduled := false; !scheduled; {
			var answer batch.Answer[order.Placed]
			answer, scheduled = s.waitAndTry(ctx, r, busy.busy[0], next)
			if !errors.As(answer.Err, &busy) {
				return answer.Value, answer.Err
			}
		}
	}
	if busy.row != nil {
		return order.Placed{}, busy.row
	}
	conflict := order.Errorf(order.CodeLockConflict,
		"Product %d stayed locked by another process; try again with the same key.", busy.busy[0].Product)
	conflict.ProductID = busy.busy[0].Product
	return order.Placed{}, conflict
}

// waitAndTry waits for the time of the next scheduled try or for the release of the product, then tries. scheduled reports that
// it was the scheduled try.
func (s *Service) waitAndTry(ctx context.Context, r *request, busy lock.Busy, next time.Time) (answer batch.Answer[order.Placed], scheduled bool) {
	w := s.waitlist.add(busy, r)
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	select {
	case answer := <-w.requeued: // by another waiter for this product
		return receive(ctx, answer), false
	case <-busy.Released:
		s.waitlist.requeue(busy.Product, s.creates.Ahead)
	case <-timer.C:
		if s.waitlist.remove(busy.Product, w) {
			return receive(ctx, s.creates.Ahead(r)[0]), true
		}
	case <-ctx.Done():
		s.waitlist.remove(busy.Product, w)
		return batch.Answer[order.Placed]{Err: ctx.Err()}, false
	}
	return receive(ctx, <-w.requeued), false // this waiter or another has just requeued all of them
}

// receive waits for an answer or the end of ctx.
func receive(ctx context.Context, answer <-chan batch.Answer[order.Placed]) batch.Answer[order.Placed] {
	select {
	case a := <-answer:
		return a
	case <-ctx.Done():
		return batch.Answer[order.Placed]{Err: ctx.Err()}
	}
}
