package auth

import (
	"context"
	"sync/atomic"
	"time"

	"orderflow/internal/order"
)

// queue bounds how many tasks run at once, how many wait, and for how long.
type queue struct {
	slots   chan struct{} // holds one token for each task that runs
	max     int64         // tasks that may wait
	timeout time.Duration
	waiting atomic.Int64
}

func newQueue(running, waiting int, timeout time.Duration) *queue {
	return &queue{slots: make(chan struct{}, running), max: int64(waiting), timeout: timeout}
}

// enter waits for a slot; leave must follow. The error carries CodeOverloaded when too many tasks wait or the wait is too long, or is
// that of ctx.
func (q *queue) enter(ctx context.Context) error {
	select {
	case q.slots <- struct{}{}:
		return nil
	default:
	}
	defer q.waiting.Add(-1)
	if q.waiting.Add(1) > q.max {
		return errOverloaded()
	}
	timer := time.NewTimer(q.timeout)
	defer timer.Stop()
	select {
	case q.slots <- struct{}{}:
		return nil
	case <-timer.C:
		return errOverloaded()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave frees the slot.
func (q *queue) leave() { <-q.slots }

func errOverloaded() error {
	return order.Errorf(order.CodeOverloaded, "Too many log-ins or token checks are running. Try again shortly.")
}
