package order

import (
	"fmt"
	"time"
)

// Settlement is the report of a claim's call to the gateway. It may be repeated, but only with the same outcome.
type Settlement struct {
	OrderID   int64
	Claim     int    // Order.Claims of the claim
	Lease     string // Order.Lease of the claim
	Kind      PaymentKind
	Outcome   Outcome
	Reference string // the gateway's own id
	Reason    string // why it was declined or had no answer
	Actor     string
	Trace     Trace
}

// abandoned is the reason of an abandoned order.
const abandoned = "abandoned by an operator"

// Restocks reports whether s can return the items of o to stock, so that the caller must read them. The answer also holds when
// other settlements of o come first in the batch.
func (s Settlement) Restocks(o *Order) bool {
	charged := s.Kind == KindCharge && s.Outcome == Succeeded
	return o.Status == Processing && (s.Outcome == Succeeded || (s.Kind == KindCharge && s.Outcome == Declined)) && (!charged || o.abandoning())
}

// Settle decides a batch of reports.
//
//   - A succeeded or declined charge settles a PROCESSING order under any lease: every attempt is the same charge.
//   - "No answer" and a claim handed back are accepted only under the current lease.
//   - A charge reported for a PAID order is the one that paid it.
//   - A charge reported for a FAILED order came too late: the order is due for a void.
//   - A charge reported while an operator abandons the order may precede or follow the void. So the order becomes FAILED at
//     once and due for another void, which certainly follows the charge.
//
// A repeated batch is harmless: the lease is cleared, the status is terminal, payment rows are unique, and a late charge leads
// to one more void, which finds nothing to void. The errors carry CodeNotFound, or CodeInternal for an invalid kind or outcome.
func Settle(rules Rules, now time.Time, orders map[int64]*Order, settlements []Settlement) ([]Changed, Effects) {
	answers := make([]Changed, len(settlements))
	var effects Effects
	for i, s := range settlements {
		o := orders[s.OrderID]
		if o == nil {
			answers[i].Err = NotFound(fmt.Sprintf("Order %d", s.OrderID))
			continue
		}
		if err := s.validate(); err != nil {
			answers[i].Err = err
			continue
		}
		if s.Kind == KindVoid {
			settleVoid(rules, now, o, s, &effects)
		} else {
			settleCharge(rules, now, o, s, &effects)
		}
		answers[i].Order = o
	}
	return answers, effects
}

// validate refuses a kind or an outcome that does not exist, so that a missing one is not taken for another.
func (s Settlement) validate() error {
	switch s.Outcome {
	case Succeeded, Declined, NoAnswer, HandedBack:
		if s.Kind == KindCharge || s.Kind == KindVoid {
			return nil
		}
	}
	return Errorf(CodeInternal, "Order %d has a settlement of invalid kind %q or outcome %q.", s.OrderID, s.Kind, s.Outcome)
}

// isCurrent reports whether s comes from the order's current claim, and is of the kind that it was claimed for.
func (s Settlement) isCurrent(o *Order) bool {
	claimedForVoid := o.Status == Failed || o.abandoning()
	return s.Lease != "" && s.Lease != abandonMark && s.Lease == o.Lease && claimedForVoid == (s.Kind == KindVoid)
}

func settleCharge(rules Rules, now time.Time, o *Order, s Settlement, effects *Effects) {
	switch {
	case s.Outcome == HandedBack:
		if o.Status == Processing && s.isCurrent(o) {
			effects.change(o, ChangeSet{To: o.Status, AttemptsLeft: 1, DueAt: now}, now)
		}
	case s.Outcome == NoAnswer:
		effects.record(s, now)
		if o.Status == Processing && s.isCurrent(o) {
			retryLater(rules, now, o, s.Reason, effects)
		}
	case o.Status == Processing && s.Outcome == Succeeded && o.abandoning():
		effects.record(s, now)
		effects.finish(o, Failed, abandoned, s, now)
		effects.change(o, ChangeSet{To: o.Status, DueAt: now}, now)
	case o.Status == Processing && s.Outcome == Succeeded:
		effects.record(s, now)
		effects.finish(o, Paid, "", s, now)
	case o.Status == Processing: // declined
		effects.record(s, now)
		effects.finish(o, Failed, s.Reason, s, now)
	case o.Status == Failed && s.Outcome == Succeeded:
		// The change clears the lease, so that the report of a void in progress is ignored: it may precede the charge.
		effects.record(s, now)
		effects.change(o, ChangeSet{To: o.Status, DueAt: now}, now)
	case s.Outcome == Declined:
		effects.record(s, now)
	}
}

func settleVoid(rules Rules, now time.Time, o *Order, s Settlement, effects *Effects) {
	if s.Outcome == HandedBack {
		s.Reason = "the gateway was not called"
	} else {
		effects.record(s, now)
	}
	if !s.isCurrent(o) {
		return
	}
	switch {
	case o.Status == Processing && s.Outcome == Succeeded:
		effects.finish(o, Failed, abandoned, s, now)
	case o.Status == Processing:
		effects.openFailedJob(o, "abandon: "+s.Reason, now)
	case o.Status == Failed && s.Outcome == Succeeded:
		effects.change(o, ChangeSet{To: o.Status}, now)
	case o.Status == Failed:
		effects.change(o, ChangeSet{To: o.Status, DueAt: now.Add(rules.voidBackoff(o.Claims))}, now)
	}
}

// retryLater schedules the next attempt of a PROCESSING order. Without attempts left it opens a failed job.
func retryLater(rules Rules, now time.Time, o *Order, reason string, effects *Effects) {
	if o.AttemptsLeft <= 0 {
		effects.openFailedJob(o, reason, now)
		return
	}
	effects.change(o, ChangeSet{To: o.Status, DueAt: now.Add(rules.backoffAfter(rules.PaymentAttempts - o.AttemptsLeft))}, now)
}

// finish makes a PROCESSING order PAID or FAILED, returns the units of a FAILED one to stock, and resolves its failed job.
func (e *Effects) finish(o *Order, to Status, reason string, s Settlement, now time.Time) {
	hasFailedJob := o.DueAt.IsZero() || o.abandoning()
	event := OrderPaid
	if to == Failed {
		event = OrderFailed
		e.returnStock(o)
	}
	e.change(o, ChangeSet{To: to, Events: 1}, now)
	e.event(o, event, reason, s.Actor, s.Trace, now)
	if hasFailedJob {
		how := "settled"
		if reason == abandoned {
			how = "abandoned"
		}
		e.Resolved = append(e.Resolved, Resolution{o.ID, how})
	}
}

// record adds the row of a call to the gateway, once.
func (e *Effects) record(s Settlement, now time.Time) {
	p := Payment{
		OrderID: s.OrderID, Claim: s.Claim, Kind: s.Kind, Outcome: s.Outcome, Reference: s.Reference,
		Error: s.Reason, Actor: s.Actor, At: now,
	}
	key := paymentKey{s.OrderID, s.Claim, s.Kind}
	if _, duplicate := e.recorded[key]; duplicate {
		return
	}
	if e.recorded == nil {
		e.recorded = map[paymentKey]struct{}{}
	}
	e.recorded[key] = struct{}{}
	e.Payments = append(e.Payments, p)
}
