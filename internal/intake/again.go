package intake

import (
	"context"
	"errors"
	"time"

	"orderflow/internal/batch"
	"orderflow/internal/lock"
	"orderflow/internal/order"
)

// tryAgain takes a ticket whose first try met a busy product through the rest of the schedule. A release on the way is
// an extra try that uses up none of the schedule's. In the end the order is refused: with CodeLockConflict, or with the
// store's error when it is the product's row that stayed locked.
func (s *Service) tryAgain(ctx context.Context, t *ticket, busy *busyError) (order.Placed, error) {
	started := time.Now()
	defer func() { s.metrics.lockWait.Observe(time.Since(started).Seconds()) }()
	delays := lock.Schedule(s.random)
	next := started
	for _, delay := range delays[1:] {
		next = next.Add(delay)
		for scheduled := false; !scheduled; {
			var answer batch.Answer[order.Placed]
			answer, scheduled = s.waitAndTry(ctx, t, busy.busy[0], next)
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

// waitAndTry waits for the time of the next scheduled try or for the release of the product, and tries. scheduled says
// which of the two it was.
func (s *Service) waitAndTry(ctx context.Context, t *ticket, busy lock.Busy, next time.Time) (answer batch.Answer[order.Placed], scheduled bool) {
	place := s.lot.park(busy, t)
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	select {
	case entered := <-place.woken: // by another that waits for this product
		return receive(ctx, entered), false
	case <-busy.Released:
		s.lot.wake(busy.Product, s.creates.Ahead)
	case <-timer.C:
		if s.lot.leave(busy.Product, place) {
			return receive(ctx, s.creates.Ahead(t)[0]), true
		}
	case <-ctx.Done():
		s.lot.leave(busy.Product, place)
		return batch.Answer[order.Placed]{Err: ctx.Err()}, false
	}
	return receive(ctx, <-place.woken), false // woken just now: by this one, or by another that was faster
}

// receive waits for an answer, or for the caller to leave.
func receive(ctx context.Context, answer <-chan batch.Answer[order.Placed]) batch.Answer[order.Placed] {
	select {
	case a := <-answer:
		return a
	case <-ctx.Done():
		return batch.Answer[order.Placed]{Err: ctx.Err()}
	}
}
