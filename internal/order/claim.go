package order

import (
	"fmt"
	"strings"
	"time"
)

// ClaimRequest is a request to process an order that is new or due.
type ClaimRequest struct {
	OrderID int64
	Abandon bool   // an operator abandons the order: claim it for a void, without regard to its attempts
	Actor   string // the worker node, or the operator
	Trace   Trace  // of the order, so that later events lead back to the request that created it
}

// Task is the call to the gateway that a claim requires.
type Task string

// The tasks.
const (
	TaskNone   Task = ""       // nothing: the order is claimed by another, finished, or became a failed job
	TaskCharge Task = "charge" // charge at the gateway, then Settle
	TaskVoid   Task = "void"   // void the charge at the gateway, then Settle
)

// Claimed is the answer to one ClaimRequest.
type Claimed struct {
	Task  Task
	Order *Order // after the claim, which Order.Lease and Order.Claims identify; nil when the order does not exist
	Trace Trace
	Err   error // Abandon only: CodeNotFound or CodeJobInProgress
}

// abandonMark begins the lease of an operator's claim. Alone it is the lease of a failed job whose void had no answer: no claim
// matches it, and the operator's next Retry or Abandon replaces it.
const abandonMark = "abandon:"

// abandoning reports whether a void is in progress or had no answer: a charge that is reported now may be voided already.
func (o *Order) abandoning() bool { return strings.HasPrefix(o.Lease, abandonMark) }

// Claim decides a batch of claims. token becomes the lease of every claimed order.
//
//   - PENDING: claimed for its charge; becomes PROCESSING.
//   - PROCESSING, due, with attempts left: claimed for another charge, without an event.
//   - PROCESSING, due, without attempts: becomes a failed job.
//   - FAILED, due: claimed for the void of a late charge.
//   - Other orders stay as they are, so that a duplicate message is harmless.
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
	claimed := ChangeSet{To: o.Status, Claims: 1, AttemptsLeft: -1, Lease: token, DueAt: now.Add(rules.Lease)}
	switch {
	case o.Status == Pending:
		claimed.To, claimed.Events = Processing, 1
		effects.change(o, claimed, now)
		effects.event(o, OrderProcessing, "", request.Actor, request.Trace, now)
		return TaskCharge
	case o.Status == Processing && due && o.AttemptsLeft > 0:
		effects.change(o, claimed, now)
		return TaskCharge
	case o.Status == Processing && due:
		reason := "the last attempt had no answer before its lease expired"
		if o.abandoning() {
			reason = "abandon: the void had no answer before its lease expired"
		}
		effects.openFailedJob(o, reason, now)
		return TaskNone
	case o.Status == Failed && due:
		claimed.AttemptsLeft = 0
		effects.change(o, claimed, now)
		return TaskVoid
	default:
		return TaskNone
	}
}

// claimAbandon claims an order for an operator. Only failed jobs qualify, never an order with the live lease of a worker.
func claimAbandon(rules Rules, now time.Time, token string, o *Order, request ClaimRequest, effects *Effects) (Task, error) {
	switch {
	case o == nil:
		return TaskNone, NotFound(fmt.Sprintf("Order %d", request.OrderID))
	case o.Status != Processing:
		return TaskNone, Errorf(CodeJobInProgress, "Order %d is %s, so it cannot be abandoned.", o.ID, o.Status)
	case !o.DueAt.IsZero():
		return TaskNone, Errorf(CodeJobInProgress, "Order %d is being processed (next at %s) and not waiting for an operator.",
			o.ID, o.DueAt.UTC().Format(time.RFC3339))
	}
	effects.change(o, ChangeSet{To: Processing, Claims: 1, Lease: abandonMark + token, DueAt: now.Add(rules.Lease)}, now)
	effects.Resolved = append(effects.Resolved, Resolution{o.ID, "abandoning"})
	return TaskVoid, nil
}
