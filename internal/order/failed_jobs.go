package order

import (
	"fmt"
	"time"
)

// FailedJob is an order that used up its payment attempts. It stays open until an operator retries or abandons it, or a late
// answer of the gateway settles its order.
type FailedJob struct {
	ID         int64
	OrderID    int64
	Attempts   int    // claims of the order when it failed
	Error      string // the error of the last attempt
	FailedAt   time.Time
	ResolvedAt time.Time // zero while open
	Resolution string    // "", "retried", "abandoning", "abandoned", "settled"
}

// FailedJobOrder is a failed job with fields of its order.
type FailedJobOrder struct {
	FailedJob
	UserID   int64
	Status   Status
	Total    Money
	Currency string
}

// Resolution closes the failed job of an order.
type Resolution struct {
	OrderID int64
	How     string // "retried", "abandoning", "abandoned" or "settled"
}

// Retry decides a batch of retries of failed jobs, by order ids. A retried order has all its payment attempts again and is due
// at once. The errors carry CodeNotFound or CodeJobInProgress.
func Retry(rules Rules, now time.Time, orders map[int64]*Order, ids []int64) ([]Changed, Effects) {
	answers := make([]Changed, len(ids))
	var effects Effects
	for i, id := range ids {
		o := orders[id]
		switch {
		case o == nil:
			answers[i].Err = NotFound(fmt.Sprintf("Order %d", id))
		case o.Status != Processing || !o.DueAt.IsZero():
			answers[i].Err = Errorf(CodeJobInProgress, "Order %d is %s and not waiting for an operator.", id, o.Status)
		default:
			effects.change(o, ChangeSet{To: Processing, AttemptsLeft: rules.PaymentAttempts - o.AttemptsLeft, DueAt: now}, now)
			effects.Resolved = append(effects.Resolved, Resolution{id, "retried"})
			answers[i].Order = o
		}
	}
	return answers, effects
}

// openFailedJob takes a PROCESSING order off the schedule until its failed job is resolved.
func (e *Effects) openFailedJob(o *Order, reason string, now time.Time) {
	lease := ""
	if o.abandoning() {
		lease = abandonMark
	}
	e.change(o, ChangeSet{To: o.Status, Lease: lease}, now)
	e.FailedJobs = append(e.FailedJobs, FailedJob{OrderID: o.ID, Attempts: o.Claims, Error: reason, FailedAt: now})
}
