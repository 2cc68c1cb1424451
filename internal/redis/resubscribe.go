package redis

import (
	"context"
	"time"
)

// resubscribeLongest is the longest pause before a refused subscription is tried again.
const resubscribeLongest = 5 * time.Second

// resubscription decides when to try an ended subscription again: soon if it worked for a while, and with growing pauses while
// Redis refuses it.
type resubscription struct {
	client *Client
	op     operation
	pause  backoff
	failed int // failures in a row
}

// wait waits before the next try, after a subscription that started at began has ended with err. A nil err means that Redis was down
// and the subscription was not tried.
func (r *resubscription) wait(ctx context.Context, err error, began time.Time) {
	if err == nil || ctx.Err() != nil || time.Since(began) >= stableAfter {
		r.failed = 0
		r.pause.reset()
	}
	pause := r.pause.first
	if err != nil && ctx.Err() == nil {
		r.failed++
		r.client.unsubscribed(r.op, err, r.failed)
		pause = r.pause.next()
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
