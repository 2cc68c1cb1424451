package realtime

import (
	"context"
	"sync"
)

const (
	gateLimit = 200_000 // outstanding deliveries
	minWeight = 100     // of an event: so few events are outstanding that no subscription of the bus overflows
)

// gate makes publishers wait while this node is behind with the events that it has accepted: a subscription of the bus that falls too
// far behind loses messages, although the publisher got a success. The gate counts deliveries, since the cost of an event depends
// on the number of its receivers.
type gate struct {
	limit int

	mu          sync.Mutex
	outstanding int           // deliveries of accepted events that are not queued yet
	changed     chan struct{} // closed when outstanding falls, then replaced
}

func newGate(limit int) *gate { return &gate{limit: limit, changed: make(chan struct{})} }

// enter waits until n more deliveries are allowed and counts them. It returns false when ctx ends first.
func (g *gate) enter(ctx context.Context, n int) bool {
	for {
		g.mu.Lock()
		if g.outstanding == 0 || g.outstanding+n <= g.limit {
			g.outstanding += n
			g.mu.Unlock()
			return true
		}
		changed := g.changed
		g.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// done subtracts n deliveries.
func (g *gate) done(n int) {
	if n > 0 {
		g.set(func(outstanding int) int { return max(0, outstanding-n) })
	}
}

// reset subtracts all deliveries: they are done or lost.
func (g *gate) reset() { g.set(func(int) int { return 0 }) }

func (g *gate) set(next func(outstanding int) int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.outstanding = next(g.outstanding)
	close(g.changed)
	g.changed = make(chan struct{})
}
