package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
	"orderflow/test/env"
)

// TestMySQLAuditFindsPlantedViolations plants one violation of each invariant that the schema allows to be violated: it refuses stock
// below zero and two orders with one key.
func TestMySQLAuditFindsPlantedViolations(t *testing.T) {
	const then = "'2020-01-01'"
	for name, test := range map[string]struct {
		plant string
		want  map[int][]string
	}{
		"nothing": {"SELECT 1", nil},
		"a unit too many": {
			"UPDATE products SET stock = stock + 1 WHERE id = 1",
			map[int][]string{1: {"product 1: stock 97 + in orders 4 <> moved 100"}},
		},
		"a movement without stock": {
			"INSERT INTO stock_movements (product_id, quantity, reason, unique_key, actor, created_at) VALUES (2, -3, '', 'x', '', " + then + ")",
			map[int][]string{1: {"product 2: stock 100 + in orders 0 <> moved 97"}},
		},
		"a wrong total": {
			"UPDATE orders SET total_amount = 0.01 WHERE id = 3",
			map[int][]string{4: {"order 3: total 0.01, lines come to 999.99"}},
		},
		"paid without a charge": {
			"DELETE FROM payments WHERE order_id = 3",
			map[int][]string{5: {"order 3: PAID with 0 succeeded charges and 0 voids"}},
		},
		"paid and voided": {
			"INSERT INTO payments VALUES (3, 2, 'void', 'succeeded', '', '', '', " + then + ")",
			map[int][]string{5: {"order 3: PAID with 1 succeeded charges and 1 voids"}},
		},
		"charged and failed, without a void due": {
			"INSERT INTO payments VALUES (4, 2, 'charge', 'succeeded', '', '', '', " + then + ")",
			map[int][]string{5: {"order 4: FAILED with 1 succeeded charges and 0 voids"}},
		},
		"charged and voided in time: no violation": {
			"INSERT INTO payments VALUES (4, 2, 'charge', 'succeeded', '', '', '', " + then + "), (4, 3, 'void', 'succeeded', '', '', '', " + then + ")",
			nil,
		},
		"voided by a later claim at an earlier clock time: no violation": {
			"INSERT INTO payments VALUES (4, 2, 'charge', 'succeeded', '', '', '', '2020-01-02'), (4, 3, 'void', 'succeeded', '', '', '', " + then + ")",
			nil,
		},
		"charged by a later claim than the void's": {
			"INSERT INTO payments VALUES (4, 2, 'void', 'succeeded', '', '', '', '2020-01-02'), (4, 3, 'charge', 'succeeded', '', '', '', " + then + ")",
			map[int][]string{5: {"order 4: FAILED with 1 succeeded charges and 1 voids"}},
		},
		"a gap in a history": {
			"DELETE FROM order_events WHERE order_id = 3 AND sequence = 2",
			map[int][]string{6: {"order 3: history breaks at 3 (OrderPaid)"}},
		},
		"no history": {
			"DELETE FROM order_events WHERE order_id = 1",
			map[int][]string{6: {"order 1: history breaks at 1 (PENDING)"}},
		},
		"a history that goes beyond the status": {
			"INSERT INTO order_events VALUES (1, 2, 'OrderCancelled', '{}', '', '', '', " + then + ")",
			map[int][]string{6: {"order 1: history breaks at 2 (OrderCancelled)"}},
		},
		"an event without a status: no violation": {
			"INSERT INTO order_events VALUES (3, 4, 'OrderUpdated', '{}', '', '', '', " + then + "); UPDATE orders SET version = 4 WHERE id = 3",
			nil,
		},
		"an impossible step around an event without a status": {
			"UPDATE order_events SET type = 'OrderUpdated' WHERE order_id = 3 AND sequence = 2",
			map[int][]string{6: {"order 3: history breaks at 3 (OrderPaid)"}},
		},
		"a history that ends without the order's status": {
			"UPDATE order_events SET type = 'OrderUpdated' WHERE order_id = 3 AND sequence = 3",
			map[int][]string{6: {"order 3: history breaks at 3 (PAID)"}},
		},
		"unfinished and never due": {
			"UPDATE orders SET due_at = NULL WHERE id IN (1, 2)",
			map[int][]string{7: {"order 1: PENDING, not due, with no failed job", "order 2: PROCESSING, not due, with no failed job"}},
		},
		"due and a failed job": {
			"UPDATE orders SET due_at = " + then + " WHERE id = 6",
			map[int][]string{7: {"order 6: PROCESSING, due, with a failed job"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := newMySQL(t)
			rules := storetest.Rules()
			rules.Lease = time.Microsecond // order 6 is claimed until it has no attempts left
			s := openAt(t, address, store.Options{Rules: rules, Pool: 2})
			if err := s.Seed(t.Context(), store.SeedPlan{SetStock: true, Stock: 100}); err != nil {
				t.Fatal(err)
			}
			everyStatus(t, s)
			must(t, env.Admin(t, address), strings.Split(test.plant, "; ")...)
			if diff := cmp.Diff(test.want, broken(t, s)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestMySQLAuditOfAFullBus(t *testing.T) {
	address := newMySQL(t)
	s := openAt(t, address, store.Options{Rules: storetest.Rules(), BusReachable: func() bool { return true }})
	fullBus(t, s, func(statement string) { must(t, env.Admin(t, address), statement) }, "UTC_TIMESTAMP(6) - INTERVAL 2 MINUTE")
}
