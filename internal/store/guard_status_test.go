package store_test

import (
	"strings"
	"testing"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/store/storetest"
)

// TestChangedBetweenReadAndUpdate: a change of an order is written only while the row has the status that was read. The row lock should
// exclude other changes; this check also holds if the lock fails.
func TestChangedBetweenReadAndUpdate(t *testing.T) {
	t.Parallel()
	s, path := sample(t, 100)
	placed, _, err := s.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 1, "a", 1, 1), storetest.Draft(t, 1, "b", 1, 1)})
	if err != nil {
		t.Fatal(err)
	}
	first, second := placed[0].Order.ID, placed[1].Order.ID
	claim := func(orders map[int64]*order.Order) order.Effects {
		_, effects := order.Claim(storetest.Rules(), time.Now(), "token", orders, []order.ClaimRequest{{OrderID: first}, {OrderID: second}})
		return effects
	}
	err = s.ApplyLate(t.Context(), []int64{first, second}, "UPDATE orders SET status = 'CANCELLED' WHERE id = 2", claim)
	if err == nil || !strings.Contains(err.Error(), "1 of 2 orders to change from PENDING to PROCESSING") {
		t.Errorf("a claim of an order that was cancelled meanwhile: %v", err)
	}
	var statuses string
	if err := raw(t, path).QueryRowContext(t.Context(), "SELECT group_concat(status) FROM orders").Scan(&statuses); err != nil {
		t.Fatal(err)
	}
	if statuses != "PENDING,PENDING" {
		t.Errorf("the orders are %s, want the transaction rolled back", statuses)
	}
	storetest.CheckInvariants(t, s)
}
