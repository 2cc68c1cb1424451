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

	created  []*Order             // the orders of New in the order of their requests: those of the first events
	changed  map[int64]int        // order → its index in Changes
	recorded map[attempt]struct{} // the keys of Payments
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

// attempt identifies a Payment.
type attempt struct {
	order  int64
	number int
	kind   PaymentKind
}

// Change is what happens to one existing order's row. Everything but OrderID is alike for many orders of a batch, so
// that the store writes one UPDATE for all that share it, guarded by From.
type Change struct {
	OrderID int64
	ChangeSet
}

// ChangeSet is the part of a Change that several orders may share.
type ChangeSet struct {
	From, To     Status    // equal when the status stays
	Claims       int       // added to attempts
	AttemptsLeft int       // added to tries_left
	Lease        string    // the new token; "" for none
	DueAt        time.Time // the new due_at; zero for none
	Events       int       // added to version
	CancelledAt  time.Time // set when not zero
}

// apply changes o the way the store will change its row.
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

// change records c for o and shows it to the decisions that follow in the batch.
func (e *Effects) change(o *Order, c ChangeSet, now time.Time) {
	c.From = o.Status
	c.apply(o, now)
	if i, again := e.changed[o.ID]; again {
		// A second change of one order in one batch: the row is written once, with the sum of both.
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

// event appends the history entry for o's latest change; o.Version is its sequence.
func (e *Effects) event(o *Order, t EventType, reason, actor string, trace Trace, now time.Time) {
	e.Events = append(e.Events, Event{
		OrderID: o.ID, Seq: o.Version, Type: t, UserID: o.UserID, Total: o.Total, Currency: o.Currency,
		Reason: reason, Actor: actor, Trace: trace, At: now,
	})
}

// putBack returns the order's pieces to stock. Without its items the stock would leak unseen, so that is a fault.
func (e *Effects) putBack(o *Order) {
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

// Products returns the products whose stock changes, ascending: the order in which their rows are locked.
func (e *Effects) Products() []int64 { return slices.Sorted(maps.Keys(e.Stock)) }

// ChangedTogether groups the orders of Changes by what they share, ids ascending, groups in order of first appearance:
// one UPDATE a group.
func (e *Effects) ChangedTogether() []ChangedGroup {
	var groups []ChangedGroup
	index := map[ChangeSet]int{}
	for _, c := range e.Changes {
		i, ok := index[c.ChangeSet]
		if !ok {
			i = len(groups)
			index[c.ChangeSet] = i
			groups = append(groups, ChangedGroup{ChangeSet: c.ChangeSet})
		}
		groups[i].OrderIDs = append(groups[i].OrderIDs, c.OrderID)
	}
	for _, g := range groups {
		slices.Sort(g.OrderIDs)
	}
	return groups
}

// ChangedGroup is the orders that change alike.
type ChangedGroup struct {
	ChangeSet
	OrderIDs []int64
}

// Empty reports whether there is nothing to write.
func (e *Effects) Empty() bool {
	return len(e.New) == 0 && len(e.NewProducts) == 0 && len(e.Changes) == 0 && len(e.Stock) == 0 && len(e.Events) == 0 &&
		len(e.Payments) == 0 && len(e.FailedJobs) == 0 && len(e.Resolved) == 0 && len(e.Movements) == 0
}
