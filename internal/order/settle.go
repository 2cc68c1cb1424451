package order

import (
	"fmt"
	"time"
)

// Settlement reports how a claim's call to the gateway ended. It may be reported again, but never with another outcome:
// one attempt, one answer.
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

// abandoned is the reason of an order that an operator gave up.
const abandoned = "abandoned by an operator"

// Restocks reports whether deciding s for o, as its row is now, can put its items back into stock, so that they have to
// be read. It stays right when other settlements of o come first in the batch.
func (s Settlement) Restocks(o *Order) bool {
	charged := s.Kind == KindCharge && s.Outcome == Succeeded
	return o.Status == Processing && (s.Outcome == Succeeded || (s.Kind == KindCharge && s.Outcome == Declined)) && (!charged || o.abandoning())
}

// Settle decides what the gateway's answers mean.
//
// A definite answer to a charge settles a PROCESSING order whoever reports it, lease or no lease: every attempt is the
// same charge. "No answer" and a claim handed back count only from the holder of the lease. A charge reported for a
// PAID order is the one that paid it; one reported for a FAILED order came too late and is now owed a void.
//
// A charge reported while an operator abandons the order may have been made before the void or after it, which nobody
// can tell. So the order becomes FAILED at once and is owed another void, which certainly comes after the charge.
//
// Deciding a batch again is harmless: the lease is gone, the status is terminal, payment rows have the attempt as their
// key, and a late charge is owed one more void, which finds nothing left to undo. The errors carry CodeNotFound, or
// CodeInternal for a kind or an outcome that does not exist.
func Settle(rules Rules, now time.Time, orders map[int64]*Order, settlements []Settlement) ([]Changed, Effects) {
	answers := make([]Changed, len(settlements))
	var effects Effects
	for i, s := range settlements {
		o := orders[s.OrderID]
		if o == nil {
			answers[i].Err = NotFound(fmt.Sprintf("Order %d", s.OrderID))
			continue
		}
		if err := s.check(); err != nil {
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

// check refuses what no gateway can have said, lest an outcome left out count as one.
func (s Settlement) check() error {
	switch s.Outcome {
	case Succeeded, Declined, NoAnswer, HandedBack:
		if s.Kind == KindCharge || s.Kind == KindVoid {
			return nil
		}
	}
	return Errorf(CodeInternal, "Order %d: nothing is known of a %q that was %q.", s.OrderID, s.Kind, s.Outcome)
}

// holds reports whether s comes from the holder of the order's lease, who claimed it for just this kind of call.
func (s Settlement) holds(o *Order) bool {
	claimedForVoid := o.Status == Failed || o.abandoning()
	return s.Lease != "" && s.Lease != abandonMark && s.Lease == o.Lease && claimedForVoid == (s.Kind == KindVoid)
}

func settleCharge(rules Rules, now time.Time, o *Order, s Settlement, effects *Effects) {
	switch {
	case s.Outcome == HandedBack:
		if o.Status == Processing && s.holds(o) {
			effects.change(o, ChangeSet{To: o.Status, AttemptsLeft: 1, DueAt: now}, now)
		}
	case s.Outcome == NoAnswer:
		effects.record(s, now)
		if o.Status == Processing && s.holds(o) {
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
		// Clearing the lease makes a void that is under way right now count for nothing: it may have come before the
		// charge, so another one follows.
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
	if !s.holds(o) {
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

// retryLater gives a PROCESSING order its next attempt, or parks it when there is none left.
func retryLater(rules Rules, now time.Time, o *Order, reason string, effects *Effects) {
	if o.AttemptsLeft <= 0 {
		effects.openFailedJob(o, reason, now)
		return
	}
	effects.change(o, ChangeSet{To: o.Status, DueAt: now.Add(rules.backoffAfter(rules.PaymentAttempts - o.AttemptsLeft))}, now)
}

// finish makes a PROCESSING order PAID or FAILED; what failed goes back to stock, and its dead letter is closed.
func (e *Effects) finish(o *Order, to Status, reason string, s Settlement, now time.Time) {
	parked := o.DueAt.IsZero() || o.abandoning()
	event := OrderPaid
	if to == Failed {
		event = OrderFailed
		e.putBack(o)
	}
	e.change(o, ChangeSet{To: to, Events: 1}, now)
	e.event(o, event, reason, s.Actor, s.Trace, now)
	if parked {
		how := "settled"
		if reason == abandoned {
			how = "abandoned"
		}
		e.Resolved = append(e.Resolved, Resolution{o.ID, how})
	}
}

// record keeps the attempt: one row for each that called the gateway.
func (e *Effects) record(s Settlement, now time.Time) {
	p := Payment{
		OrderID: s.OrderID, Claim: s.Claim, Kind: s.Kind, Outcome: s.Outcome, Reference: s.Reference,
		Error: s.Reason, Actor: s.Actor, At: now,
	}
	key := attempt{s.OrderID, s.Claim, s.Kind}
	if _, twice := e.recorded[key]; twice {
		return
	}
	if e.recorded == nil {
		e.recorded = map[attempt]struct{}{}
	}
	e.recorded[key] = struct{}{}
	e.Payments = append(e.Payments, p)
}
