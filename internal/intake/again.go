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
// an extra try that uses up none of the schedule's. In the end the order is refused, or goes in without the locks of
// holders that must be dead.
func (s *Service) tryAgain(ctx context.Context, t *ticket, busy *busyError) (order.Placed, error) {
	first, started := busy, time.Now()
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
	if t.bare = deadHolders(first.busy, busy.busy); t.bare != nil {
		s.metrics.deadHolder.Inc()
		answer := receive(ctx, s.creates.Ahead(t)[0])
		if !errors.As(answer.Err, &busy) {
			return answer.Value, answer.Err
		}
	}
	return order.Placed{}, order.Errorf(order.CodeLockConflict,
		"Product %d stayed locked by another process; try again with the same key.", busy.busy[0].Product)
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

// deadHolders returns the products of last, if each has been held under one and the same token of ours since the first
// try: a holder that works gives its lock back within a transaction's time, which is far shorter than the schedule. A
// stranger's token is respected, and one that changed belongs to somebody alive.
func deadHolders(first, last []lock.Busy) []int64 {
	tokens := make(map[int64]string, len(first))
	for _, b := range first {
		tokens[b.Product] = b.Token
	}
	products := make([]int64, 0, len(last))
	for _, b := range last {
		if tokens[b.Product] != b.Token || !lock.Ours(b.Token) {
			return nil
		}
		products = append(products, b.Product)
	}
	return products
}
