package order

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Effects is everything that a decision writes, in one transaction. The store applies it without rules of its own. Only the
// ids of new rows are missing: the store inserts New and NewProducts, fills in their ids, and calls SetIDs.
type Effects struct {
	New         []*Order // to insert in this order, by user and key
	NewProducts []*Product
	Changes     []Change
	Stock       map[int64]int64 // product → units returned (positive) or taken (negative)
	Movements   []Movement      // by hand. Stock has the sum of those of existing products
	Events      []Event
	Payments    []Payment
	FailedJobs  []FailedJob  // opened, or opened again: at most one an order
	Resolved    []Resolution // failed jobs to close, after FailedJobs are open: at most one an order

	created  []*Order                // the orders of New in the order of their requests: those of the first events
	changed  map[int64]int           // order → its index in Changes
	recorded map[paymentKey]struct{} // the keys of Payments
}

// SetIDs completes the events of New and the movements of NewProducts with the ids of these.
func (e *Effects) SetIDs() {
	for i, o := range e.created {
		e.Events[i].OrderID = o.ID
	}
	for i, p := range e.NewProducts {
		e.Movements[i].ProductID = p.ID
	}
}

// paymentKey identifies a Payment.
type paymentKey struct {
	order int64
	claim int
	kind  PaymentKind
}

// Change is the change of one existing order's row. Many orders of a batch share a ChangeSet: the store writes one UPDATE for
// each, guarded by From.
type Change struct {
	OrderID int64
	ChangeSet
}

// ChangeSet is the part of a Change that several orders may share.
type ChangeSet struct {
	From, To     Status    // equal when the status stays
	Claims       int       // to add
	AttemptsLeft int       // to add
	Lease        string    // the new token; "" for none
	DueAt        time.Time // the new time; zero for none
	Events       int       // to add to the version
	CancelledAt  time.Time // to set unless zero
}

// apply changes o as the store will change its row.
func (c ChangeSet) apply(o *Order, now time.Time) {
	o.Status = c.To
	o.Claims += c.Claims
	o.AttemptsLeft += c.AttemptsLeft
	o.Lease, o.DueAt = c.Lease, c.DueAt
	o.Version += c.Events
	if !c.CancelledAt.IsZero() {
		o.CancelledAt = c.CancelledAt
	}
	o.UpdatedAt = now
}

// change adds c to the effects and applies it to o, so that later decisions of the batch see it.
func (e *Effects) change(o *Order, c ChangeSet, now time.Time) {
	c.From = o.Status
	c.apply(o, now)
	if i, again := e.changed[o.ID]; again {
		// The row is written once, with the sum of its changes.
		earlier := e.Changes[i].ChangeSet
		c.From = earlier.From
		c.Claims += earlier.Claims
		c.AttemptsLeft += earlier.AttemptsLeft
		c.Events += earlier.Events
		if c.CancelledAt.IsZero() {
			c.CancelledAt = earlier.CancelledAt
		}
		e.Changes[i].ChangeSet = c
		return
	}
	if e.changed == nil {
		e.changed = map[int64]int{}
	}
	e.changed[o.ID] = len(e.Changes)
	e.Changes = append(e.Changes, Change{o.ID, c})
}

// event adds an event of o, whose version is the sequence of the event.
func (e *Effects) event(o *Order, t EventType, reason, actor string, trace Trace, now time.Time) {
	e.Events = append(e.Events, Event{
		OrderID: o.ID, Seq: o.Version, Type: t, UserID: o.UserID, Total: o.Total, Currency: o.Currency,
		Reason: reason, Actor: actor, Trace: trace, At: now,
	})
}

// returnStock returns the units of an order to stock. It panics when the caller has not read the items: their units would be
// lost.
func (e *Effects) returnStock(o *Order) {
	if len(o.Items) == 0 {
		panic(fmt.Sprintf("order: the items of order %d were not read", o.ID))
	}
	for _, item := range o.Items {
		e.move(item.ProductID, item.Quantity)
	}
}

func (e *Effects) move(product, quantity int64) {
	if e.Stock == nil {
		e.Stock = map[int64]int64{}
	}
	e.Stock[product] += quantity
}

// Products returns the products whose stock changes, in the order of their row locks: ascending.
func (e *Effects) Products() []int64 { return slices.Sorted(maps.Keys(e.Stock)) }

// GroupChanges groups the orders of Changes by their ChangeSet, for one UPDATE each. Groups stand in the order of their first
// change.
func (e *Effects) GroupChanges() []ChangeGroup {
	var groups []ChangeGroup
	index := map[ChangeSet]int{}
	for _, c := range e.Changes {
		i, ok := index[c.ChangeSet]
		if !ok {
			i = len(groups)
			index[c.ChangeSet] = i
			groups = append(groups, ChangeGroup{ChangeSet: c.ChangeSet})
		}
		groups[i].OrderIDs = append(groups[i].OrderIDs, c.OrderID)
	}
	for _, g := range groups {
		slices.Sort(g.OrderIDs)
	}
	return groups
}

// ChangeGroup is a ChangeSet and the orders that share it.
type ChangeGroup struct {
	ChangeSet
	OrderIDs []int64 // ascending
}
