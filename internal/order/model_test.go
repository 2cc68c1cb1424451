package order

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"
)

// modelStore is a store of rows in maps. It applies effects with the rules of a database only: guarded updates, unique keys,
// stock that is never negative.
type modelStore struct {
	rules    Rules
	now      time.Time
	nextID   int64
	tokens   int
	orders   map[int64]*Order
	products map[int64]Product
	supply   map[int64]int64 // the sum of the movements
	payments map[paymentKey]Payment
	history  map[int64][]Event
	jobs     map[int64]FailedJob
}

func newModelStore() *modelStore {
	b := &modelStore{
		rules: DefaultRules(), now: noon, orders: map[int64]*Order{}, products: map[int64]Product{}, supply: map[int64]int64{},
		payments: map[paymentKey]Payment{}, history: map[int64][]Event{}, jobs: map[int64]FailedJob{},
	}
	for id, stock := range map[int64]int64{1: 12, 2: 3, 3: 5} {
		b.products[id] = Product{ID: id, Price: Money(id * 999), Currency: "USD", Stock: stock, Active: id != 3}
		b.supply[id] = stock
	}
	return b
}

// read returns copies of the orders, with items where withItems returns true.
func (b *modelStore) read(ids []int64, withItems func(id int64) bool) map[int64]*Order {
	rows := map[int64]*Order{}
	for _, id := range ids {
		if o := b.orders[id]; o != nil {
			row := *o
			if row.Items = nil; withItems(id) {
				row.Items = slices.Clone(o.Items)
			}
			rows[id] = &row
		}
	}
	return rows
}

// write applies the effects in one transaction. seen are the orders after the decision, which must equal the rows.
func (b *modelStore) write(t *rapid.T, e Effects, seen map[int64]*Order) {
	b.insert(t, e.New)
	e.SetIDs()
	changed := map[int64]bool{}
	for _, group := range e.GroupChanges() {
		for _, id := range group.OrderIDs {
			row := b.orders[id]
			if row == nil || row.Status != group.From || changed[id] {
				t.Fatalf("the change %+v of order %d finds %+v", group, id, row)
			}
			changed[id] = true
			applyToRow(row, group.ChangeSet, b.now)
		}
	}
	for id, o := range seen {
		row := *b.orders[id]
		row.Items = o.Items
		if got, want := fmt.Sprintf("%+v", *o), fmt.Sprintf("%+v", row); got != want {
			t.Fatalf("the order is\n%s\nand the row\n%s", got, want)
		}
	}
	for id, units := range e.Stock {
		p := b.products[id]
		p.Stock += units
		b.products[id] = p
	}
	b.append(t, e.Events)
	for _, p := range e.Payments {
		key := paymentKey{p.OrderID, p.Claim, p.Kind}
		if _, there := b.payments[key]; !there {
			b.payments[key] = p
		}
	}
	b.applyFailedJobs(t, e)
}

func (b *modelStore) insert(t *rapid.T, orders []*Order) {
	for _, o := range orders {
		for _, other := range b.orders {
			if other.UserID == o.UserID && other.Key == o.Key {
				t.Fatalf("user %d, key %q: inserted twice", o.UserID, o.Key)
			}
		}
		b.nextID++
		o.ID = b.nextID
		row := *o
		b.orders[o.ID] = &row
	}
}

func (b *modelStore) append(t *rapid.T, events []Event) {
	for _, e := range events {
		if want := len(b.history[e.OrderID]) + 1; e.Seq != want {
			t.Fatalf("event %+v, want sequence %d", e, want)
		}
		b.history[e.OrderID] = append(b.history[e.OrderID], e)
	}
}

func (b *modelStore) applyFailedJobs(t *rapid.T, e Effects) {
	opened, closed := map[int64]bool{}, map[int64]bool{}
	for _, job := range e.FailedJobs {
		if opened[job.OrderID] {
			t.Fatalf("order %d has two failed jobs in one batch", job.OrderID)
		}
		opened[job.OrderID] = true
		b.jobs[job.OrderID] = job
	}
	for _, r := range e.Resolved {
		job, there := b.jobs[r.OrderID]
		if !there || closed[r.OrderID] {
			t.Fatalf("%+v resolves a failed job that does not exist, or is resolved already", r)
		}
		closed[r.OrderID] = true
		job.ResolvedAt, job.Resolution = b.now, r.How
		b.jobs[r.OrderID] = job
	}
}

// check verifies the invariants, by the numbers of the audit.
func (b *modelStore) check(t *rapid.T) {
	taken := map[int64]int64{}
	keys := map[OrderKey]int64{}
	for _, id := range slices.Sorted(maps.Keys(b.orders)) {
		o := b.orders[id]
		if other, twice := keys[OrderKey{o.UserID, o.Key}]; twice {
			t.Fatalf("3: orders %d and %d share a key", other, id)
		}
		keys[OrderKey{o.UserID, o.Key}] = id
		var total Money
		for _, item := range o.Items {
			total += item.UnitPrice * Money(item.Quantity)
			if o.Status == Pending || o.Status == Processing || o.Status == Paid {
				taken[item.ProductID] += item.Quantity
			}
		}
		if o.Total != total {
			t.Fatalf("4: order %d has the total %s, its items come to %s", id, o.Total, total)
		}
		b.checkPayments(t, o)
		b.checkHistory(t, o)
		b.checkDue(t, o)
	}
	for id, p := range b.products {
		if p.Stock+taken[id] != b.supply[id] {
			t.Fatalf("1: product %d has %d in stock and %d in orders, %d were put in", id, p.Stock, taken[id], b.supply[id])
		}
		if p.Stock < 0 {
			t.Fatalf("2: product %d has %d in stock", id, p.Stock)
		}
	}
}

func (b *modelStore) checkPayments(t *rapid.T, o *Order) {
	charges, voids := 0, 0
	for key, p := range b.payments {
		if key.order != o.ID {
			continue
		}
		if key.claim < 1 || key.claim > o.Claims {
			t.Fatalf("5: order %d has %d claims and a payment of claim %d", o.ID, o.Claims, key.claim)
		}
		if p.Outcome == HandedBack {
			t.Fatalf("5: order %d: a call that was not made is recorded", o.ID)
		}
		switch {
		case p.Outcome == Succeeded && p.Kind == KindCharge:
			charges++
		case p.Outcome == Succeeded && p.Kind == KindVoid:
			voids++
		}
	}
	switch {
	case o.Status == Paid && charges != 1:
		t.Fatalf("5: order %d is PAID with %d succeeded charges", o.ID, charges)
	case o.Status == Failed && charges > 0 && voids == 0 && o.DueAt.IsZero():
		t.Fatalf("5: order %d is FAILED, its charge neither voided nor due for a void", o.ID)
	case o.Status != Paid && o.Status != Failed && charges > 0:
		t.Fatalf("5: order %d is %s with %d succeeded charges", o.ID, o.Status, charges)
	}
}

func (b *modelStore) checkHistory(t *rapid.T, o *Order) {
	events := b.history[o.ID]
	if len(events) != o.Version || len(events) == 0 {
		t.Fatalf("6: order %d has version %d and %d events", o.ID, o.Version, len(events))
	}
	at := events[0].Type.Status()
	if at != Pending {
		t.Fatalf("6: the history of order %d begins with %s", o.ID, events[0].Type)
	}
	for _, e := range events[1:] {
		if next := e.Type.Status(); !at.CanBecome(next) {
			t.Fatalf("6: order %d went from %s to %s", o.ID, at, next)
		}
		at = e.Type.Status()
	}
	if at != o.Status {
		t.Fatalf("6: order %d is %s, its history ends with %s", o.ID, o.Status, at)
	}
}

func (b *modelStore) checkDue(t *rapid.T, o *Order) {
	job, there := b.jobs[o.ID]
	due, open := !o.DueAt.IsZero(), there && job.ResolvedAt.IsZero()
	switch {
	case o.Status == Pending && (!due || open),
		o.Status == Processing && due == open,
		o.Status == Failed && open,
		(o.Status == Paid || o.Status == Cancelled) && (due || open):
		t.Fatalf("7: order %d is %s, due: %v, open failed job: %v", o.ID, o.Status, due, open)
	case o.Status == Failed && due && !b.charged(o.ID):
		t.Fatalf("7: order %d is FAILED and due, but nothing was charged", o.ID)
	}
	switch finished := o.Status.Terminal() && !due; {
	case finished && there && job.Resolution == "abandoning":
		t.Fatalf("7: order %d is %s, its failed job still has the resolution %q", o.ID, o.Status, job.Resolution)
	case (finished || open) && o.Lease != "" && o.Lease != abandonMark:
		t.Fatalf("7: order %d is not claimed, yet has the lease %q", o.ID, o.Lease)
	}
}

func (b *modelStore) charged(id int64) bool {
	for key, p := range b.payments {
		if key.order == id && p.Kind == KindCharge && p.Outcome == Succeeded {
			return true
		}
	}
	return false
}
