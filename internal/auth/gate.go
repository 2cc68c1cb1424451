package auth

import (
	"context"
	"sync/atomic"
	"time"

	"orderflow/internal/order"
)

// gate lets so many in at once, and a bounded number wait for a bounded time.
type gate struct {
	places  chan struct{}
	queue   int64 // how many may wait
	wait    time.Duration
	waiting atomic.Int64
}

func newGate(places, queue int, wait time.Duration) *gate {
	return &gate{places: make(chan struct{}, places), queue: int64(queue), wait: wait}
}

// enter waits for a place; call leave afterwards. The error carries CodeOverloaded when too many wait, or it took too long; or
// it is that of ctx.
func (g *gate) enter(ctx context.Context) error {
	select {
	case g.places <- struct{}{}:
		return nil
	default:
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > g.queue {
		return errOverloaded()
	}
	timer := time.NewTimer(g.wait)
	defer timer.Stop()
	select {
	case g.places <- struct{}{}:
		return nil
	case <-timer.C:
		return errOverloaded()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gate) leave() { <-g.places }

func errOverloaded() error {
	return order.Errorf(order.CodeOverloaded, "Too many ask who they are at the moment. Try again shortly.")
}
