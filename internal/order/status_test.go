package order

import (
	"slices"
	"testing"
)

func TestStatusMachine(t *testing.T) {
	follows := map[Status][]Status{
		Pending:    {Processing, Cancelled},
		Processing: {Paid, Failed},
		Paid:       nil,
		Failed:     nil,
		Cancelled:  nil,
	}
	if got := len(Statuses()); got != len(follows) {
		t.Fatalf("Statuses() has %d entries, want %d", got, len(follows))
	}
	for _, from := range Statuses() {
		for _, to := range Statuses() {
			if got, want := from.CanBecome(to), slices.Contains(follows[from], to); got != want {
				t.Errorf("%s.CanBecome(%s) = %v, want %v", from, to, got, want)
			}
		}
		if got, want := from.Terminal(), len(follows[from]) == 0; got != want {
			t.Errorf("%s.Terminal() = %v, want %v", from, got, want)
		}
		if !from.Valid() {
			t.Errorf("%s.Valid() = false", from)
		}
		if from.CanBecome("") || Status("").CanBecome(from) {
			t.Errorf("the empty status precedes or follows %s", from)
		}
	}
	for _, s := range []Status{"", "paid", "REFUNDED"} {
		if s.Valid() || s.Terminal() {
			t.Errorf("%q is a status", s)
		}
	}
}

func TestEventTypesCoverEveryStatusOnce(t *testing.T) {
	types := []EventType{OrderCreated, OrderProcessing, OrderPaid, OrderFailed, OrderCancelled}
	for i, s := range Statuses() {
		if got := types[i].Status(); got != s {
			t.Errorf("%s.Status() = %s, want %s", types[i], got, s)
		}
	}
	if got := EventType("OrderShipped").Status(); got != "" {
		t.Errorf("an event without a status has %q", got)
	}
}
