package store_test

import (
	"testing"

	"github.com/go-sql-driver/mysql"

	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
)

// TestGaleraRefusesCommit: after error 1180 the commit marker decides, as after a lost answer. A transaction whose marker exists is
// committed; any other runs again.
func TestGaleraRefusesCommit(t *testing.T) {
	t.Parallel()
	for name, done := range map[string]bool{"replicated all the same": true, "rolled back": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openAt(t, newMySQL(t), store.Options{Rules: storetest.Rules(), Pool: 1})
			if err := s.Seed(t.Context(), store.SeedPlan{SetStock: true, Stock: 100}); err != nil {
				t.Fatal(err)
			}
			s.FailCommit(done, &mysql.MySQLError{Number: 1180, Message: `Got error 6 "No such device or address" during COMMIT`})
			answers, batch, err := s.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 1, "a", 1, 2)})
			if err != nil {
				t.Fatal(err)
			}
			if answers[0].Err != nil || answers[0].Replayed {
				t.Errorf("the order is answered %+v, want a new one", answers[0])
			}
			if batch.ID == "" {
				t.Error("there is no event batch, so no event would be published")
			}
			if orders := storetest.Figure(t, s, 3, "orders"); orders != 1 {
				t.Errorf("there are %d orders, want 1", orders)
			}
			storetest.CheckInvariants(t, s)
		})
	}
}
