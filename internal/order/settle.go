package order

import (
	"fmt"
	"time"
)

// Settlement reports how a claim's call to the gateway ended.
type Settlement struct {
	OrderID   int64
	Attempt   int    // Order.Attempts of the claim
	Lease     string // Order.Lease of the claim
	Kind      PaymentKind
	Outcome   Outcome
	Reference string // the gateway's own id
	Reason    string // why it was declined or had no answer
	Actor     string
	Trace     Trace
}

// MayRestock reports whether deciding s can put the order's items back into stock, so that they have to be read.
func (s Settlement) MayRestock() bool {
	return (s.Kind == KindCharge && s.Outcome == Declined) || (s.Kind == KindVoid && s.Outcome == Succeeded)
}

// Settle decides what the gateway's answers mean.
//
// A definite answer to a charge settles a PROCESSING order whoever reports it, lease or no lease: every attempt is the
// same charge. "No answer" and a claim handed back count only from the holder of the lease. A charge reported for a
// PAID order is the one that paid it; one reported for a FAILED order came too late and is now owed a void. While an
// operator abandons an order, the void decides, and a charge reported meanwhile changes nothing.
//
// Deciding a batch twice changes nothing the second time: the lease is gone, the status is terminal, and payment rows
// have the attempt as their key. The errors carry CodeNotFound.
func Settle(rules Rules, now time.Time, orders map[int64]*Order, settlements []Settlement) ([]Changed, Effects) {
	answers := make([]Changed, len(settlements))
	var effects Effects
	for i, s := range settlements {
		o := orders[s.OrderID]
		if o == nil {
			answers[i].Err = NotFound(fmt.Sprintf("Order %d", s.OrderID))
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

func settleCharge(rules Rules, now time.Time, o *Order, s Settlement, effects *Effects) {
	holder := s.Lease != "" && o.Lease == s.Lease
	switch {
	case s.Outcome == HandedBack:
		if o.Status == Processing && holder {
			effects.change(o, ChangeSet{To: o.Status, Tries: 1, DueAt: now}, now)
		}
	case s.Outcome == NoAnswer:
		effects.record(s, now)
		if o.Status == Processing && holder {
			retryLater(rules, now, o, s.Reason, effects)
		}
	case o.Status == Processing && s.Outcome == Succeeded && o.abandoning(now):
		// The void under way decides. Should its outcome stay unknown, the order is as it was, and an operator's retry
		// finds the same charge again.
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
	if s.Lease == "" || o.Lease != s.Lease {
		return
	}
	switch {
	case o.Status == Processing && s.Outcome == Succeeded:
		effects.finish(o, Failed, "abandoned by an operator", s, now)
		effects.Resolved = append(effects.Resolved, Resolution{o.ID, "abandoned"})
	case o.Status == Processing:
		effects.deadLetter(o, "abandon: "+s.Reason, now)
	case o.Status == Failed && s.Outcome == Succeeded:
		effects.change(o, ChangeSet{To: o.Status}, now)
	case o.Status == Failed:
		effects.change(o, ChangeSet{To: o.Status, DueAt: now.Add(rules.backoffAfter(o.Attempts))}, now)
	}
}

// retryLater gives a PROCESSING order its next attempt, or parks it when there is none left.
func retryLater(rules Rules, now time.Time, o *Order, reason string, effects *Effects) {
	if o.TriesLeft <= 0 {
		effects.deadLetter(o, reason, now)
		return
	}
	effects.change(o, ChangeSet{To: o.Status, DueAt: now.Add(rules.backoffAfter(rules.Tries - o.TriesLeft))}, now)
}

// finish makes a PROCESSING order PAID or FAILED; what failed goes back to stock.
func (e *Effects) finish(o *Order, to Status, reason string, s Settlement, now time.Time) {
	parked := o.DueAt.IsZero()
	event := OrderPaid
	if to == Failed {
		event = OrderFailed
		e.putBack(o)
	}
	e.change(o, ChangeSet{To: to, Events: 1}, now)
	e.event(o, event, reason, s.Actor, s.Trace, now)
	if parked {
		e.Resolved = append(e.Resolved, Resolution{o.ID, "settled"})
	}
}

// record keeps the attempt: one row for each that called the gateway.
func (e *Effects) record(s Settlement, now time.Time) {
	p := Payment{
		OrderID: s.OrderID, Attempt: s.Attempt, Kind: s.Kind, Outcome: s.Outcome, Reference: s.Reference,
		Error: s.Reason, Actor: s.Actor, At: now,
	}
	key := attempt{s.OrderID, s.Attempt, s.Kind}
	if _, twice := e.recorded[key]; twice {
		return
	}
	if e.recorded == nil {
		e.recorded = map[attempt]struct{}{}
	}
	e.recorded[key] = struct{}{}
	e.Payments = append(e.Payments, p)
}
