package worker

import (
	"context"
	"sync"
	"time"
)

// sweepTimer wakes the sweeper at its next regular sweep or at the next attempt that this worker knows of, whichever is first: an
// order without an answer is charged again when its backoff ends, not up to a second later. It remembers only one time, so its
// size does not depend on the number of orders; a regular sweep finds the others.
type sweepTimer struct {
	mu sync.Mutex
	at time.Time // zero when nothing is set

	changed chan struct{} // a signal: at became earlier
}

func newSweepTimer() *sweepTimer { return &sweepTimer{changed: make(chan struct{}, 1)} }

// set wakes the sweeper at the given time, unless it wakes up earlier.
func (a *sweepTimer) set(at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.at.IsZero() && !at.Before(a.at) {
		return
	}
	a.at = at
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// next returns the earlier one of the time that was set, if any, and the regular time.
func (a *sweepTimer) next(regular time.Time) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.at.IsZero() && a.at.Before(regular) {
		return a.at
	}
	return regular
}

// clear removes a time that has come.
func (a *sweepTimer) clear(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !now.Before(a.at) {
		a.at = time.Time{}
	}
}

// wait returns after the pause, at the time that was set, or when ctx ends.
func (a *sweepTimer) wait(ctx context.Context, pause time.Duration) {
	regular := time.Now().Add(pause)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		timer.Reset(time.Until(a.next(regular)))
		select {
		case <-timer.C:
			a.clear(time.Now())
			return
		case <-a.changed:
		case <-ctx.Done():
			return
		}
	}
}
