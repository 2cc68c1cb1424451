package realtime

import (
	"context"
	"sync"
)

// gate holds publishers up while this node is behind with what it has taken in: a tail that falls behind loses messages,
// and the publisher would have been told that all is well; and what waits for long is late. It counts deliveries, since an
// event takes as long as it has receivers.
type gate struct {
	room int

	mu      sync.Mutex
	behind  int           // deliveries of what was taken in and is not yet queued to all
	changed chan struct{} // closed when behind falls, and made anew
}

func newGate(room int) *gate { return &gate{room: room, changed: make(chan struct{})} }

// enter waits until there is room for n deliveries more and counts them; false means that ctx ended first.
func (g *gate) enter(ctx context.Context, n int) bool {
	for {
		g.mu.Lock()
		if g.behind == 0 || g.behind+n <= g.room {
			g.behind += n
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

// passed counts n deliveries as made.
func (g *gate) passed(n int) {
	if n > 0 {
		g.set(func(behind int) int { return max(0, behind-n) })
	}
}

// reset counts all as made, or lost.
func (g *gate) reset() { g.set(func(int) int { return 0 }) }

func (g *gate) set(next func(behind int) int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.behind = next(g.behind)
	close(g.changed)
	g.changed = make(chan struct{})
}
