package worker

import (
	"context"
	"sync"
	"time"
)

// alarm lets the sweeper sleep until its next round or the next attempt that this worker knows of, whichever is first:
// an order that had no answer is charged again when its backoff is over and not up to a second later. It remembers one
// time only, so it needs no room for any number of orders; a regular round finds the rest.
type alarm struct {
	mu sync.Mutex
	at time.Time // zero when nothing is set

	changed chan struct{} // has one element when at became earlier
}

func newAlarm() *alarm { return &alarm{changed: make(chan struct{}, 1)} }

// set makes the sweeper look at the given time, unless it looks before.
func (a *alarm) set(at time.Time) {
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

// next is when to wake: at the alarm, or at the given time when that is earlier or there is no alarm.
func (a *alarm) next(regular time.Time) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.at.IsZero() && a.at.Before(regular) {
		return a.at
	}
	return regular
}

// ring forgets an alarm that is due.
func (a *alarm) ring(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !now.Before(a.at) {
		a.at = time.Time{}
	}
}

// wait returns after the pause, at the alarm, or when ctx ends.
func (a *alarm) wait(ctx context.Context, pause time.Duration) {
	regular := time.Now().Add(pause)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		timer.Reset(time.Until(a.next(regular)))
		select {
		case <-timer.C:
			a.ring(time.Now())
			return
		case <-a.changed: // look at it
		case <-ctx.Done():
			return
		}
	}
}
