package redis

import (
	"context"
	"time"
)

// rejoinLongest is the longest pause before a subscription that Redis refuses is tried again.
const rejoinLongest = 5 * time.Second

// resubscription decides when a subscription that has ended is tried again: soon after it has worked for a while, and ever
// later while Redis refuses it.
type resubscription struct {
	client *Client
	op     operation
	pause  backoff
	failed int // attempts in a row
}

// after returns the pause after an attempt that began then and ended with err; nil says that Redis was down and was not
// asked.
func (r *resubscription) after(ctx context.Context, err error, began time.Time) time.Duration {
	if err == nil || ctx.Err() != nil {
		r.failed = 0
		r.pause.reset()
		return r.pause.first
	}
	if time.Since(began) >= steady {
		r.failed = 0
		r.pause.reset()
	}
	r.failed++
	r.client.unsubscribed(r.op, err, r.failed)
	return r.pause.next()
}
