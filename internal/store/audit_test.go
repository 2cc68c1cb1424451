package store_test

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
)

// raw opens a separate connection that ignores the CHECK constraints.
func raw(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)&_pragma=ignore_check_constraints(1)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func must(t testing.TB, db *sql.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// everyStatus makes six orders of one unit of product 1: 1 PENDING, 2 PROCESSING, 3 PAID, 4 FAILED, 5 CANCELLED,
// 6 PROCESSING and dead-lettered.
func everyStatus(t *testing.T, s *store.Store) {
	t.Helper()
	ctx := t.Context()
	for i := range int64(6) {
		answers, _, err := s.CreateOrders(ctx, []order.Draft{storetest.Draft(t, 1, fmt.Sprint("k", i+1), 1, 1)})
		if err != nil || answers[0].Order.ID != i+1 {
			t.Fatal(answers, err)
		}
	}
	if _, _, err := s.CancelOrders(ctx, []order.CancelRequest{{OrderID: 5}}); err != nil {
		t.Fatal(err)
	}
	settle := func(id int64, outcome order.Outcome) {
		claims, _, err := s.ClaimOrders(ctx, []order.ClaimRequest{{OrderID: id}})
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = s.SettleOrders(ctx, []order.Settlement{{
			OrderID: id, Claim: claims[0].Order.Claims, Lease: claims[0].Order.Lease, Kind: order.KindCharge, Outcome: outcome, Reason: "reason",
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	settle(3, order.Succeeded)
	settle(4, order.Declined)
	if _, _, err := s.ClaimOrders(ctx, []order.ClaimRequest{{OrderID: 2}}); err != nil {
		t.Fatal(err)
	}
	for range 3 { // claimed, claimed again, spent
		if _, _, err := s.ClaimOrders(ctx, []order.ClaimRequest{{OrderID: 6}}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAuditFindsPlantedViolations(t *testing.T) {
	for name, test := range map[string]struct {
		plant []string
		want  map[int][]string
	}{
		"nothing": {},
		"a unit too many": {
			[]string{"UPDATE products SET stock = stock + 1 WHERE id = 1"},
			map[int][]string{1: {"product 1: stock 97 + in orders 4 <> moved 100"}},
		},
		"a movement without stock": {
			[]string{"INSERT INTO stock_movements (product_id, quantity, reason, unique_key, actor, created_at) VALUES (2, -3, '', 'x', '', 0)"},
			map[int][]string{1: {"product 2: stock 100 + in orders 0 <> moved 97"}},
		},
		"stock taken for a failed order": {
			[]string{"UPDATE products SET stock = stock - 1 WHERE id = 1"},
			map[int][]string{1: {"product 1: stock 95 + in orders 4 <> moved 100"}},
		},
		"stock below zero": {
			[]string{
				"UPDATE products SET stock = -2 WHERE id = 2",
				"INSERT INTO stock_movements (product_id, quantity, reason, unique_key, actor, created_at) VALUES (2, -102, '', 'x', '', 0)",
			},
			map[int][]string{2: {"product 2: stock -2"}},
		},
		"two orders under one key": {
			[]string{"DROP INDEX idx_orders_idempotency", "UPDATE orders SET idempotency_key = 'k1' WHERE id = 2"},
			map[int][]string{3: {"user 1: order 1 is one of 2 under its key"}},
		},
		"a wrong total": {
			[]string{"UPDATE orders SET total_amount = 1 WHERE id = 3"},
			map[int][]string{4: {"order 3: total 1, lines come to 99999"}},
		},
		"an order without lines": {
			[]string{"DELETE FROM order_items WHERE order_id = 5"},
			map[int][]string{4: {"order 5: total 99999, lines come to 0"}},
		},
		"a wrong price of a line": {
			[]string{"UPDATE order_items SET unit_price = unit_price - 1 WHERE order_id = 4"},
			map[int][]string{4: {"order 4: total 99999, lines come to 99998"}},
		},
		"paid without a charge": {
			[]string{"DELETE FROM payments WHERE order_id = 3"},
			map[int][]string{5: {"order 3: PAID with 0 succeeded charges and 0 voids"}},
		},
		"charged two times": {
			[]string{"INSERT INTO payments VALUES (3, 2, 'charge', 'succeeded', '', '', '', 0)"},
			map[int][]string{5: {"order 3: PAID with 2 succeeded charges and 0 voids"}},
		},
		"paid and voided": {
			[]string{"INSERT INTO payments VALUES (3, 2, 'void', 'succeeded', '', '', '', 0)"},
			map[int][]string{5: {"order 3: PAID with 1 succeeded charges and 1 voids"}},
		},
		"paid and voided by the claim that charged": {
			[]string{"INSERT INTO payments VALUES (3, 1, 'void', 'succeeded', '', '', '', 0)"},
			map[int][]string{5: {"order 3: PAID with 1 succeeded charges and 1 voids"}},
		},
		"charged and cancelled": {
			[]string{"INSERT INTO payments VALUES (5, 1, 'charge', 'succeeded', '', '', '', 0)"},
			map[int][]string{5: {"order 5: CANCELLED with 1 succeeded charges and 0 voids"}},
		},
		"charged, still open": {
			[]string{"INSERT INTO payments VALUES (2, 9, 'charge', 'succeeded', '', '', '', 0)"},
			map[int][]string{5: {"order 2: PROCESSING with 1 succeeded charges and 0 voids"}},
		},
		"charged and failed, without a void due": {
			[]string{"INSERT INTO payments VALUES (4, 2, 'charge', 'succeeded', '', '', '', 0)"},
			map[int][]string{5: {"order 4: FAILED with 1 succeeded charges and 0 voids"}},
		},
		"charged and failed, a void due: no violation": {
			[]string{"INSERT INTO payments VALUES (4, 2, 'charge', 'succeeded', '', '', '', 0)", "UPDATE orders SET due_at = 1 WHERE id = 4"},
			nil,
		},
		"charged and voided: no violation": {
			[]string{
				"INSERT INTO payments VALUES (4, 2, 'charge', 'succeeded', '', '', '', 0)",
				"INSERT INTO payments VALUES (4, 3, 'void', 'succeeded', '', '', '', 0)",
			},
			nil,
		},
		"voided by a later claim at an earlier clock time: no violation": {
			[]string{
				"INSERT INTO payments VALUES (4, 2, 'charge', 'succeeded', '', '', '', 2000)",
				"INSERT INTO payments VALUES (4, 3, 'void', 'succeeded', '', '', '', 1000)",
			},
			nil,
		},
		"charged by a later claim than the void's": {
			[]string{
				"INSERT INTO payments VALUES (4, 2, 'void', 'succeeded', '', '', '', 2000)",
				"INSERT INTO payments VALUES (4, 3, 'charge', 'succeeded', '', '', '', 1000)",
			},
			map[int][]string{5: {"order 4: FAILED with 1 succeeded charges and 1 voids"}},
		},
		"a gap in a history": {
			[]string{"DELETE FROM order_events WHERE order_id = 3 AND sequence = 2"},
			map[int][]string{6: {"order 3: history breaks at 3 (OrderPaid)"}},
		},
		"a history that begins late": {
			[]string{"DELETE FROM order_events WHERE order_id = 3 AND sequence = 1"},
			map[int][]string{6: {"order 3: history breaks at 2 (OrderProcessing)"}},
		},
		"no history": {
			[]string{"DELETE FROM order_events WHERE order_id = 1"},
			map[int][]string{6: {"order 1: history breaks at 1 (PENDING)"}},
		},
		"an impossible step": {
			[]string{"UPDATE order_events SET type = 'OrderCancelled' WHERE order_id = 3 AND sequence = 2"},
			map[int][]string{6: {"order 3: history breaks at 3 (OrderPaid)"}},
		},
		"a history that ends with another status": {
			[]string{"UPDATE order_events SET type = 'OrderFailed' WHERE order_id = 3 AND sequence = 3"},
			map[int][]string{6: {"order 3: history breaks at 3 (PAID)"}},
		},
		"a history that ends early": {
			[]string{"UPDATE orders SET version = 3 WHERE id = 2"},
			map[int][]string{6: {"order 2: history breaks at 3 (PROCESSING)"}},
		},
		"a history that goes beyond the status": {
			[]string{"INSERT INTO order_events VALUES (1, 2, 'OrderCancelled', '{}', '', '', '', 0)"},
			map[int][]string{6: {"order 1: history breaks at 2 (OrderCancelled)"}},
		},
		"events without a status: no violation": {
			[]string{
				"INSERT INTO order_events VALUES (2, 3, 'OrderUpdated', '{}', '', '', '', 0), (3, 4, 'OrderUpdated', '{}', '', '', '', 0)",
				"UPDATE order_events SET sequence = 4 WHERE order_id = 5 AND sequence = 2",
				"INSERT INTO order_events VALUES (5, 2, 'OrderUpdated', '{}', '', '', '', 0), (5, 3, 'OrderUpdated', '{}', '', '', '', 0)",
				"UPDATE orders SET version = version + 1 WHERE id IN (2, 3)", "UPDATE orders SET version = 4 WHERE id = 5",
			},
			nil,
		},
		"a history that begins without a status": {
			[]string{"UPDATE order_events SET type = 'OrderUpdated' WHERE order_id = 1"},
			map[int][]string{6: {"order 1: history breaks at 1 (OrderUpdated)", "order 1: history breaks at 1 (PENDING)"}},
		},
		"an impossible step around an event without a status": {
			[]string{"UPDATE order_events SET type = 'OrderUpdated' WHERE order_id = 3 AND sequence = 2"},
			map[int][]string{6: {"order 3: history breaks at 3 (OrderPaid)"}},
		},
		"a history that ends without the order's status": {
			[]string{"UPDATE order_events SET type = 'OrderUpdated' WHERE order_id = 3 AND sequence = 3"},
			map[int][]string{6: {"order 3: history breaks at 3 (PAID)"}},
		},
		"a gap before an event without a status": {
			[]string{"INSERT INTO order_events VALUES (3, 5, 'OrderUpdated', '{}', '', '', '', 0)", "UPDATE orders SET version = 5 WHERE id = 3"},
			map[int][]string{6: {"order 3: history breaks at 5 (OrderUpdated)"}},
		},
		"unfinished and never due": {
			[]string{"UPDATE orders SET due_at = NULL WHERE id IN (1, 2)"},
			map[int][]string{7: {"order 1: PENDING, not due, with no failed job", "order 2: PROCESSING, not due, with no failed job"}},
		},
		"due and a failed job": {
			[]string{"UPDATE orders SET due_at = 1 WHERE id = 6"},
			map[int][]string{7: {"order 6: PROCESSING, due, with a failed job"}},
		},
		"a failed job resolved by no operator": {
			[]string{"UPDATE failed_jobs SET resolved_at = 1"},
			map[int][]string{7: {"order 6: PROCESSING, not due, with no failed job"}},
		},
		"a failed job of a finished order": {
			[]string{"INSERT INTO failed_jobs (order_id, attempts, error, failed_at, resolution) VALUES (3, 1, '', 0, '')"},
			map[int][]string{7: {"order 3: PAID, not due, with a failed job"}},
		},
		"finished and due": {
			[]string{"UPDATE orders SET due_at = 1 WHERE id IN (3, 5)"},
			map[int][]string{7: {"order 3: PAID, due, with no failed job", "order 5: CANCELLED, due, with no failed job"}},
		},
		"failed and due without a charge to void": {
			[]string{"UPDATE orders SET due_at = 1 WHERE id = 4"},
			map[int][]string{7: {"order 4: FAILED, due, with no failed job"}},
		},
		"unpublished for long without a server: a figure": {
			[]string{"UPDATE outbox SET created_at = 1"},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := newFile(t)
			rules := storetest.Rules()
			rules.Lease = time.Microsecond // order 6 is claimed until it has no attempts left
			s := open(t, path, rules)
			if err := s.Seed(t.Context(), store.SeedPlan{SetStock: true, Stock: 100}); err != nil {
				t.Fatal(err)
			}
			everyStatus(t, s)
			must(t, raw(t, path), test.plant...)
			if diff := cmp.Diff(test.want, broken(t, s)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// broken returns the violations that an audit finds, by the number of the invariant.
func broken(t *testing.T, s *store.Store) map[int][]string {
	t.Helper()
	findings, err := s.Audit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got map[int][]string
	for i, f := range findings {
		if f.Number != i+1 || f.Name == "" || len(f.Figures) == 0 {
			t.Errorf("finding %d: %+v", i+1, f)
		}
		if (f.ViolationCount > 0) != (len(f.Violations) > 0) {
			t.Errorf("finding %d counts %d and names %q", i+1, f.ViolationCount, f.Violations)
		}
		if f.ViolationCount > 0 {
			if got == nil {
				got = map[int][]string{}
			}
			slices.Sort(f.Violations)
			got[f.Number] = f.Violations
		}
	}
	return got
}

func TestAuditListsTwentyAndCountsAll(t *testing.T) {
	s, path := sample(t, 1)
	if err := s.Seed(t.Context(), store.SeedPlan{Products: 60}); err != nil {
		t.Fatal(err)
	}
	must(t, raw(t, path), "UPDATE products SET stock = stock + 1")
	findings, err := s.Audit(t.Context())
	if err != nil || findings[0].ViolationCount != 60 || len(findings[0].Violations) != 20 {
		t.Errorf("%d violations, %d listed (%v)", findings[0].ViolationCount, len(findings[0].Violations), err)
	}
}

func TestAuditOfUnpublishedEvents(t *testing.T) {
	s, path := sample(t, 10)
	if _, _, err := s.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 1, "k", 1, 1)}); err != nil {
		t.Fatal(err)
	}
	release, err := s.LockFile()
	if err != nil {
		t.Fatal(err)
	}
	if got := broken(t, s); got != nil {
		t.Errorf("fresh unpublished events are a violation: %v", got)
	}
	must(t, raw(t, path), fmt.Sprintf("UPDATE outbox SET created_at = %d", time.Now().Add(-2*time.Minute).UnixMicro()))
	tool := open(t, path, storetest.Rules()) // an audit beside the server
	want := map[int][]string{8: {"outbox: the events of 1 transactions are unpublished for more than a minute"}}
	if diff := cmp.Diff(want, broken(t, tool)); diff != "" {
		t.Errorf("while a server runs (-want +got):\n%s", diff)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if got := broken(t, tool); got != nil {
		t.Errorf("while none runs: %v", got)
	}
	if got := storetest.Figure(t, tool, 8, "for more than a minute"); got != 1 {
		t.Errorf("the figure is %d", got)
	}
	must(t, raw(t, path), "UPDATE orders SET due_at = 1")
	if got := storetest.Figure(t, tool, 7, "longest overdue, ms"); got < time.Now().Add(-time.Minute).UnixMilli() {
		t.Errorf("overdue since 1970 by %d ms", got)
	}
}

// TestAuditOfAFullBus: old unpublished events are a figure while a full bus refuses events. They are a violation when it has refused
// none for a minute.
func TestAuditOfAFullBus(t *testing.T) {
	path := newFile(t)
	s := open(t, path, storetest.Rules())
	release, err := s.LockFile()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = release() }() // the test ends
	before := fmt.Sprint(time.Now().Add(-2 * time.Minute).UnixMicro())
	fullBus(t, s, func(statement string) { must(t, raw(t, path), statement) }, before)
	must(t, raw(t, path), fmt.Sprint("UPDATE outbox_refusals SET refused_at = ", time.Now().Add(time.Hour).UnixMicro()))
	if got := broken(t, s); got[8] == nil {
		t.Error("a refusal with a time in the future counts until that time")
	}
}

// TestAuditWithoutItsBus: old unpublished events are a figure while the server of an SQLite file cannot reach its bus.
func TestAuditWithoutItsBus(t *testing.T) {
	path := newFile(t)
	reachable := false
	s, err := store.Open(t.Context(), "sqlite:"+path, store.Options{Rules: storetest.Rules(), BusReachable: func() bool { return reachable }})
	if err != nil {
		t.Fatal(err)
	}
	release, err := s.LockFile()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(release(), s.Close()); err != nil {
			t.Error(err)
		}
	}()
	if err := s.Seed(t.Context(), store.SeedPlan{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 1, "k", 1, 1)}); err != nil {
		t.Fatal(err)
	}
	must(t, raw(t, path), "UPDATE outbox SET created_at = 1")
	if got := broken(t, s); got != nil {
		t.Errorf("the bus cannot be reached: %v", got)
	}
	reachable = true
	if got := broken(t, s); len(got[8]) != 1 {
		t.Errorf("the bus can be reached: %v, want a violation of invariant 8", got)
	}
}

// fullBus checks the audit of a store that a server serves; past is an SQL expression for a time two minutes ago.
func fullBus(t *testing.T, s *store.Store, change func(statement string), past string) {
	t.Helper()
	if err := s.Seed(t.Context(), store.SeedPlan{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 1, "k", 1, 1)}); err != nil {
		t.Fatal(err)
	}
	change("UPDATE outbox SET created_at = " + past)
	violated := map[int][]string{8: {"outbox: the events of 1 transactions are unpublished for more than a minute"}}
	if diff := cmp.Diff(violated, broken(t, s)); diff != "" {
		t.Errorf("the bus accepts messages (-want +got):\n%s", diff)
	}
	for range 2 { // the first refusal inserts the row, the second one changes it
		if err := s.RecordRefusal(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := broken(t, s); got != nil {
			t.Errorf("the bus is full: %v", got)
		}
		if got := storetest.Figure(t, s, 8, "for more than a minute"); got != 1 {
			t.Errorf("the figure is %d", got)
		}
		if got := storetest.Figure(t, s, 8, "bus full"); got != 1 {
			t.Errorf("the figure of a full bus is %d", got)
		}
		change("UPDATE outbox_refusals SET refused_at = " + past)
		if diff := cmp.Diff(violated, broken(t, s)); diff != "" {
			t.Errorf("the bus was full two minutes ago (-want +got):\n%s", diff)
		}
	}
}
