package order

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// The states that an existing order can be in, by a name each. The order is worth 1 piece of product 1 and 2 of product 2.
const (
	pending      = "pending"       // never claimed, not due
	working      = "working"       // a claim charges, a try is left
	lastTry      = "last try"      // a claim charges, no try is left
	waiting      = "waiting"       // for the next attempt
	parked       = "parked"        // dead-lettered
	voiding      = "voiding"       // an operator abandons it
	doubtful     = "doubtful"      // dead-lettered after a void that gave no answer
	paid         = "paid"          //
	failed       = "failed"        //
	voidOwed     = "void owed"     // failed, with a late charge
	voidUnderWay = "void underway" // the same, claimed
	cancelled    = "cancelled"     //
)

const holder = "holder" // the token of the live claim

func orderIn(state string) *Order {
	soon := noon.Add(20 * time.Second)
	o := &Order{
		ID: 1, UserID: 7, Total: 300, Currency: "USD", Items: []Item{{1, 1, 100}, {2, 2, 100}}, Status: Processing,
		Claims: 2, AttemptsLeft: 1, Version: 2,
	}
	set := func(s Status, lease string, due time.Time, tries int) {
		o.Status, o.Lease, o.DueAt, o.AttemptsLeft = s, lease, due, tries
	}
	switch state {
	case pending:
		set(Pending, "", soon, 3)
		o.Claims, o.Version = 0, 1
	case working:
		set(Processing, holder, soon, 1)
	case lastTry:
		set(Processing, holder, soon, 0)
	case waiting:
		set(Processing, "", soon, 1)
	case parked:
		set(Processing, "", time.Time{}, 0)
	case voiding:
		set(Processing, abandonMark+holder, soon, 0)
	case doubtful:
		set(Processing, abandonMark, time.Time{}, 0)
	case paid:
		set(Paid, "", time.Time{}, 1)
	case failed:
		set(Failed, "", time.Time{}, 1)
	case voidOwed:
		set(Failed, "", soon, 1)
	case voidUnderWay:
		set(Failed, holder, soon, 1)
	case cancelled:
		set(Cancelled, "", time.Time{}, 3)
		o.Claims = 0
	default:
		panic("unknown state " + state)
	}
	return o
}

func states() []string {
	return []string{
		pending, working, lastTry, waiting, parked, voiding, doubtful, paid, failed, voidOwed, voidUnderWay, cancelled,
	}
}

// overdue makes what the order waits for come due just now.
func overdue(o *Order) *Order {
	if !o.DueAt.IsZero() {
		o.DueAt = noon
	}
	return o
}

// describe puts what a decision writes for one order into a line: its new row, then history, payment, stock and dead
// letter. "" is nothing at all.
func describe(e Effects) string {
	var said []string
	say := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	for _, c := range e.Changes {
		due := "never"
		if !c.DueAt.IsZero() {
			due = fmt.Sprintf("+%v", c.DueAt.Sub(noon))
		}
		say("%s→%s due %s", c.From, c.To, due)
		if c.Claims != 0 || c.AttemptsLeft != 0 {
			say("attempts%+d tries%+d", c.Claims, c.AttemptsLeft)
		}
		if c.Lease != "" {
			say("lease %s", c.Lease)
		}
		if !c.CancelledAt.IsZero() {
			say("cancelled_at")
		}
		if c.Events != len(e.Events) {
			say("%d EVENTS COUNTED, %d WRITTEN", c.Events, len(e.Events))
		}
	}
	for _, ev := range e.Events {
		say("%s(%s)", ev.Type, ev.Reason)
	}
	for range e.Payments {
		say("row")
	}
	for _, product := range slices.Sorted(maps.Keys(e.Stock)) {
		say("%d:%+d", product, e.Stock[product])
	}
	for _, d := range e.FailedJobs {
		say("dead(%s)", d.Error)
	}
	for _, r := range e.Resolved {
		say("%s", r.How)
	}
	if e.New != nil {
		say("NEW ORDERS")
	}
	return strings.Join(said, ", ")
}

// sameRow fails unless the order that the decision shows is the row that the store will write.
func sameRow(t *testing.T, before, after *Order, e Effects) {
	t.Helper()
	row := *before
	for _, c := range e.Changes {
		if c.From != before.Status {
			t.Errorf("guarded by %s, the row is %s: nothing would be written", c.From, before.Status)
		}
		carryOut(&row, c.ChangeSet, noon)
	}
	if fmt.Sprintf("%+v", row) != fmt.Sprintf("%+v", *after) {
		t.Errorf("the decision shows\n%+v\nbut writes\n%+v", *after, row)
	}
	for i, ev := range e.Events {
		if ev.Seq != before.Version+1+i || ev.OrderID != after.ID || ev.UserID != after.UserID || ev.Total != after.Total {
			t.Errorf("event %+v does not follow version %d of %+v", ev, before.Version, after)
		}
	}
}

// carryOut does to a row what the store's UPDATE does. It stands apart from ChangeSet.apply, so that each checks the other.
func carryOut(row *Order, c ChangeSet, now time.Time) {
	row.Status = c.To
	row.Claims += c.Claims
	row.AttemptsLeft += c.AttemptsLeft
	row.Lease = c.Lease
	row.DueAt = c.DueAt
	row.Version += c.Events
	if !c.CancelledAt.IsZero() {
		row.CancelledAt = c.CancelledAt
	}
	row.UpdatedAt = now
}
