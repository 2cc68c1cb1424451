package store_test

import (
	"database/sql/driver"
	"testing"

	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
)

// TestClaimOfUnknownOutcome: the answer to a COMMIT is lost. Before the commit marker of the claim is looked up, late answers of the
// gateway settle some of its orders.
func TestClaimOfUnknownOutcome(t *testing.T) {
	t.Parallel()
	for kind, newDatabase := range onServers {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			claimOfUnknownOutcome(t, newDatabase)
		})
	}
}

func claimOfUnknownOutcome(t *testing.T, newDatabase func(t testing.TB) string) {
	t.Helper()
	for name, c := range map[string]struct {
		settled []int // of three claimed orders
		tasks   [3]order.Task
	}{
		"none settled":     {nil, [3]order.Task{order.TaskCharge, order.TaskCharge, order.TaskCharge}},
		"the last settled": {[]int{2}, [3]order.Task{order.TaskCharge, order.TaskCharge, order.TaskCharge}},
		"two settled":      {[]int{0, 2}, [3]order.Task{order.TaskCharge, order.TaskCharge, order.TaskCharge}},
		// The claim runs again and finds nothing to claim: no order is charged for it.
		"all settled": {[]int{0, 1, 2}, [3]order.Task{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openAt(t, newDatabase(t), store.Options{Rules: storetest.Rules(), Pool: 2})
			if err := s.Seed(t.Context(), store.SeedPlan{SetStock: true, Stock: 100}); err != nil {
				t.Fatal(err)
			}
			drafts := []order.Draft{storetest.Draft(t, 1, "a", 1, 1), storetest.Draft(t, 1, "b", 2, 1), storetest.Draft(t, 1, "c", 3, 1)}
			placed, _, err := s.CreateOrders(t.Context(), drafts)
			if err != nil {
				t.Fatal(err)
			}
			requests := make([]order.ClaimRequest, 3)
			for i, p := range placed {
				requests[i].OrderID = p.Order.ID
			}
			s.AfterCommit(func() {
				for _, i := range c.settled {
					late := order.Settlement{OrderID: requests[i].OrderID, Claim: 1, Kind: order.KindCharge, Outcome: order.Succeeded}
					if _, _, err := s.SettleOrders(t.Context(), []order.Settlement{late}); err != nil {
						t.Error(err)
					}
				}
			}, driver.ErrBadConn)
			claims, _, err := s.ClaimOrders(t.Context(), requests)
			if err != nil {
				t.Fatal(err)
			}
			for i, claim := range claims {
				if claim.Task != c.tasks[i] {
					t.Errorf("order %d: task %q, want %q", i, claim.Task, c.tasks[i])
				}
				if claim.Order.Claims != 1 {
					t.Errorf("order %d was claimed %d times, want 1", i, claim.Order.Claims)
				}
			}
			storetest.CheckInvariants(t, s)
		})
	}
}
