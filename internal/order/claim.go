package order

import (
	"fmt"
	"strings"
	"time"
)

// ClaimRequest asks to work on an order that is due or new.
type ClaimRequest struct {
	OrderID int64
	Abandon bool   // an operator gives the order up: claim it for its void, whatever tries are left
	Actor   string // the worker node, or the operator
	Trace   Trace  // of the order, so that what follows goes back to the request that made it
}

// Task says what a claim obliges its holder to do.
type Task string

// The tasks.
const (
	TaskNone   Task = ""       // nothing: somebody else has it, it is finished, or it was dead-lettered just now
	TaskCharge Task = "charge" // call the gateway, then Settle
	TaskVoid   Task = "void"   // undo the charge at the gateway, then Settle
)

// Claimed is the answer to one ClaimRequest.
type Claimed struct {
	Task  Task
	Order *Order // after the claim; Order.Lease and Order.Claims identify it. nil when there is no such order
	Trace Trace
	Err   error // Abandon only: CodeNotFound or CodeJobInProgress
}

// abandonMark begins the lease of an operator's claim. By itself it is the lease of an order that was dead-lettered
// again because its void gave no answer: no claim matches it, and an operator's Retry or next Abandon replaces it.
const abandonMark = "abandon:"

// abandoning reports whether the order's charge is being voided, or has had a void of unknown fate since: a charge that
// is reported now may be undone already.
func (o *Order) abandoning() bool { return strings.HasPrefix(o.Lease, abandonMark) }

// Claim decides which of the orders may be worked on. token becomes the lease of all that are claimed.
//
//   - PENDING: claimed for its charge, and becomes PROCESSING.
//   - PROCESSING and due with tries left: claimed for its charge again, which is no event.
//   - PROCESSING and due without tries: dead-lettered.
//   - FAILED and due: a charge came in late and has to be voided.
//   - everything else is left alone: that is what makes a message that comes twice harmless.
func Claim(rules Rules, now time.Time, token string, orders map[int64]*Order, requests []ClaimRequest) ([]Claimed, Effects) {
	answers := make([]Claimed, len(requests))
	var effects Effects
	for i, request := range requests {
		o := orders[request.OrderID]
		answers[i] = Claimed{Order: o, Trace: request.Trace}
		if request.Abandon {
			answers[i].Task, answers[i].Err = claimAbandon(rules, now, token, o, request, &effects)
		} else if o != nil {
			answers[i].Task = claim(rules, now, token, o, request, &effects)
		}
	}
	return answers, effects
}

func claim(rules Rules, now time.Time, token string, o *Order, request ClaimRequest, effects *Effects) Task {
	due := !o.DueAt.IsZero() && !now.Before(o.DueAt)
	held := ChangeSet{To: o.Status, Claims: 1, AttemptsLeft: -1, Lease: token, DueAt: now.Add(rules.Lease)}
	switch {
	case o.Status == Pending:
		held.To, held.Events = Processing, 1
		effects.change(o, held, now)
		effects.event(o, OrderProcessing, "", request.Actor, request.Trace, now)
		return TaskCharge
	case o.Status == Processing && due && o.AttemptsLeft > 0:
		effects.change(o, held, now)
		return TaskCharge
	case o.Status == Processing && due:
		reason := "the last attempt gave no answer before its lease ran out"
		if o.abandoning() {
			reason = "abandon: the void gave no answer before its lease ran out"
		}
		effects.openFailedJob(o, reason, now)
		return TaskNone
	case o.Status == Failed && due:
		held.AttemptsLeft = 0
		effects.change(o, held, now)
		return TaskVoid
	default:
		return TaskNone
	}
}

// claimAbandon takes the lease for an operator: only of a dead-lettered order, never while a worker holds a live one.
func claimAbandon(rules Rules, now time.Time, token string, o *Order, request ClaimRequest, effects *Effects) (Task, error) {
	switch {
	case o == nil:
		return TaskNone, NotFound(fmt.Sprintf("Order %d", request.OrderID))
	case o.Status != Processing:
		return TaskNone, Errorf(CodeJobInProgress, "Order %d is %s: there is nothing to abandon.", o.ID, o.Status)
	case !o.DueAt.IsZero():
		return TaskNone, Errorf(CodeJobInProgress, "Order %d is being worked on (next at %s), not waiting for an operator.",
			o.ID, o.DueAt.UTC().Format(time.RFC3339))
	}
	effects.change(o, ChangeSet{To: Processing, Claims: 1, Lease: abandonMark + token, DueAt: now.Add(rules.Lease)}, now)
	effects.Resolved = append(effects.Resolved, Resolution{o.ID, "abandoning"})
	return TaskVoid, nil
}
