package order

import "time"

// Rules are the settings that decisions depend on.
type Rules struct {
	Currency        string          // of every order, ISO 4217
	PaymentAttempts int             // charges of an order before it becomes a failed job
	Grace           time.Duration   // how long a PENDING order may wait for the bus before the sweeper claims it
	Lease           time.Duration   // how long a claim is valid
	Backoff         []time.Duration // wait before attempt 2, 3, …; the last one repeats
}

// DefaultRules returns the documented defaults.
func DefaultRules() Rules {
	return Rules{
		Currency: "USD", PaymentAttempts: 3, Grace: 10 * time.Second, Lease: 30 * time.Second,
		Backoff: []time.Duration{time.Second, 3 * time.Second, 5 * time.Second},
	}
}

// backoffAfter returns the wait after the given number of used attempts. Fewer than 1 counts as 1: an order may have more
// attempts left than PaymentAttempts, since that setting may be lowered between two starts.
func (r Rules) backoffAfter(used int) time.Duration {
	if len(r.Backoff) == 0 {
		return 0
	}
	return r.Backoff[max(1, min(used, len(r.Backoff)))-1]
}

// maxVoidBackoff bounds the wait between two voids of one charge: a void repeats until the gateway confirms it, and the
// gateway may never do so.
const maxVoidBackoff = time.Hour

// voidBackoff returns the wait after a void without confirmation: the wait of a charge while the order has attempts, then
// twice as long with each claim.
func (r Rules) voidBackoff(claims int) time.Duration {
	wait := r.backoffAfter(claims)
	for n := r.PaymentAttempts; n < claims && wait < maxVoidBackoff; n++ {
		wait *= 2
	}
	return min(wait, maxVoidBackoff)
}
