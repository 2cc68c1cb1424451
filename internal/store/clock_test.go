package store_test

import (
	"testing"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
)

// waits are rules whose waits all last some seconds.
func waits() order.Rules {
	rules := storetest.Rules()
	rules.Grace, rules.Lease, rules.Backoff = 10*time.Second, 10*time.Second, []time.Duration{10 * time.Second}
	return rules
}

// due returns the ids of the orders that are due.
func due(t *testing.T, s *store.Store) (ids []int64) {
	t.Helper()
	found, err := s.DueOrders(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, request := range found {
		ids = append(ids, request.OrderID)
	}
	return ids
}

// leased returns the number of outbox rows that a relay can lease.
func leased(t *testing.T, s *store.Store) int {
	t.Helper()
	batches, err := s.LeaseOutbox(t.Context(), 3*time.Second, 10*time.Second, 10)
	if err != nil {
		t.Fatal(err)
	}
	return len(batches)
}

// TestClockSteps sets the wall clock while orders wait: each wait ends when its time has elapsed.
func TestClockSteps(t *testing.T) {
	t.Parallel()
	for name, step := range map[string]func(*store.FakeTime){
		"back":             func(f *store.FakeTime) { f.Wall -= time.Hour },
		"forward and back": func(f *store.FakeTime) { f.Wall += time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := newFile(t)
			s := open(t, path, waits())
			if err := s.Seed(t.Context(), store.SeedPlan{SetStock: true, Stock: 100}); err != nil {
				t.Fatal(err)
			}
			clock := s.FakeTime()
			if name == "forward and back" {
				step(clock)
			}
			pending := buys(t, s, "a", "b")
			if name == "forward and back" {
				clock.Wall -= time.Hour
			} else {
				step(clock)
			}
			if ids := due(t, s); len(ids) > 0 {
				t.Errorf("orders %v are due at once", ids)
			}
			clock.Pass(11 * time.Second)
			if ids := due(t, s); len(ids) != 2 {
				t.Errorf("after their wait, orders %v are due, want %v", ids, pending)
			}
			if n := leased(t, s); n != 1 {
				t.Errorf("the relay gets %d rows, want the one of both orders", n)
			}
			if _, _, err := s.ClaimOrders(t.Context(), []order.ClaimRequest{{OrderID: pending[0], Actor: "worker:test"}}); err != nil {
				t.Fatal(err)
			}
			clock.Wall -= time.Hour
			if ids, n := due(t, s), leased(t, s); len(ids) != 1 || n != 0 {
				t.Errorf("under their leases, orders %v are due and the relay gets %d rows", ids, n)
			}
			clock.Pass(11 * time.Second)
			if ids, n := due(t, s), leased(t, s); len(ids) != 2 || n != 1 {
				t.Errorf("after their leases, orders %v are due and the relay gets %d rows", ids, n)
			}
		})
	}
}

// TestClockFollows: after a machine was suspended, elapsed time is behind, and the store follows the wall clock.
func TestClockFollows(t *testing.T) {
	t.Parallel()
	s := open(t, newFile(t), waits())
	if err := s.Seed(t.Context(), store.SeedPlan{SetStock: true, Stock: 100}); err != nil {
		t.Fatal(err)
	}
	clock := s.FakeTime()
	buys(t, s, "a")
	clock.Wall += time.Minute
	if ids := due(t, s); len(ids) != 1 {
		t.Errorf("orders %v are due, want the one whose wait is over", ids)
	}
}

// TestCorrectTimes: a process starts with a clock that is an hour behind that of the last process. No order waits longer than its rule
// allows.
func TestCorrectTimes(t *testing.T) {
	t.Parallel()
	path := newFile(t)
	before := open(t, path, waits())
	if err := before.Seed(t.Context(), store.SeedPlan{SetStock: true, Stock: 100}); err != nil {
		t.Fatal(err)
	}
	clock := before.FakeTime()
	old := buys(t, before, "old") // waits by a clock that was right
	clock.Wall += time.Hour
	ahead := buys(t, before, "pending", "claimed")
	clock.Pass(5 * time.Second)
	if n := leased(t, before); n != 2 {
		t.Fatalf("the relay gets %d rows", n)
	}
	if _, _, err := before.ClaimOrders(t.Context(), []order.ClaimRequest{{OrderID: ahead[1], Actor: "worker:test"}}); err != nil {
		t.Fatal(err)
	}

	s := open(t, path, waits())
	clock = s.FakeTime()
	if err := s.CorrectTimes(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ids := due(t, s); len(ids) > 0 {
		t.Errorf("orders %v are due at once", ids)
	}
	clock.Pass(4 * time.Second)
	if n := leased(t, s); n != 2 {
		t.Errorf("the relay gets %d rows, want the two that are unpublished", n)
	}
	clock.Pass(7 * time.Second)
	if ids := due(t, s); len(ids) != 3 {
		t.Errorf("after the longest wait orders %v are due, want %v and %v", ids, old, ahead)
	}
	storetest.CheckInvariants(t, s)
}
