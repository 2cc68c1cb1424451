package order

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// The states of an existing order. It has 1 unit of product 1 and 2 of product 2.
const (
	pending         = "pending"             // never claimed, not due
	charging        = "charging"            // claimed, one attempt left
	lastAttempt     = "last attempt"        // claimed, no attempt left
	waitingForRetry = "waiting for a retry" // between two attempts
	failedJob       = "failed job"          // waits for an operator
	beingAbandoned  = "being abandoned"     // an operator has claimed it for a void
	voidUnanswered  = "void unanswered"     // a failed job after a void without an answer
	paid            = "paid"                //
	failed          = "failed"              //
	voidDue         = "void due"            // failed, with a late charge
	voidClaimed     = "void claimed"        // the same, claimed
	cancelled       = "cancelled"           //
)

const currentLease = "lease" // of the current claim

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
	case charging:
		set(Processing, currentLease, soon, 1)
	case lastAttempt:
		set(Processing, currentLease, soon, 0)
	case waitingForRetry:
		set(Processing, "", soon, 1)
	case failedJob:
		set(Processing, "", time.Time{}, 0)
	case beingAbandoned:
		set(Processing, abandonMark+currentLease, soon, 0)
	case voidUnanswered:
		set(Processing, abandonMark, time.Time{}, 0)
	case paid:
		set(Paid, "", time.Time{}, 1)
	case failed:
		set(Failed, "", time.Time{}, 1)
	case voidDue:
		set(Failed, "", soon, 1)
	case voidClaimed:
		set(Failed, currentLease, soon, 1)
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
		pending, charging, lastAttempt, waitingForRetry, failedJob, beingAbandoned, voidUnanswered, paid, failed, voidDue, voidClaimed, cancelled,
	}
}

// overdue makes the order due at noon.
func overdue(o *Order) *Order {
	if !o.DueAt.IsZero() {
		o.DueAt = noon
	}
	return o
}

// describe returns the effects on one order as a line: row, events, payments, stock, failed job. "" means no effects.
func describe(e Effects) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	for _, c := range e.Changes {
		due := "never"
		if !c.DueAt.IsZero() {
			due = fmt.Sprintf("+%v", c.DueAt.Sub(noon))
		}
		add("%s→%s due %s", c.From, c.To, due)
		if c.Claims != 0 || c.AttemptsLeft != 0 {
			add("claims%+d left%+d", c.Claims, c.AttemptsLeft)
		}
		if c.Lease != "" {
			add("lease %s", c.Lease)
		}
		if !c.CancelledAt.IsZero() {
			add("cancelled_at")
		}
		if c.Events != len(e.Events) {
			add("VERSION+%d BUT %d EVENTS", c.Events, len(e.Events))
		}
	}
	for _, ev := range e.Events {
		add("%s(%s)", ev.Type, ev.Reason)
	}
	for range e.Payments {
		add("row")
	}
	for _, product := range slices.Sorted(maps.Keys(e.Stock)) {
		add("%d:%+d", product, e.Stock[product])
	}
	for _, d := range e.FailedJobs {
		add("job(%s)", d.Error)
	}
	for _, r := range e.Resolved {
		add("%s", r.How)
	}
	if e.New != nil {
		add("NEW ORDERS")
	}
	return strings.Join(parts, ", ")
}

// sameRow fails unless the order after the decision equals the row that the store writes.
func sameRow(t *testing.T, before, after *Order, e Effects) {
	t.Helper()
	row := *before
	for _, c := range e.Changes {
		if c.From != before.Status {
			t.Errorf("the change expects %s, the row is %s: the UPDATE would match no row", c.From, before.Status)
		}
		applyToRow(&row, c.ChangeSet, noon)
	}
	if fmt.Sprintf("%+v", row) != fmt.Sprintf("%+v", *after) {
		t.Errorf("the order is\n%+v\nand the row\n%+v", *after, row)
	}
	for i, ev := range e.Events {
		if ev.Seq != before.Version+1+i || ev.OrderID != after.ID || ev.UserID != after.UserID || ev.Total != after.Total {
			t.Errorf("event %+v does not follow version %d of %+v", ev, before.Version, after)
		}
	}
}

// applyToRow changes a row as the UPDATE of the store does. It shares no code with ChangeSet.apply, so that each checks the other.
func applyToRow(row *Order, c ChangeSet, now time.Time) {
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
