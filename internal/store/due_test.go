package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"orderflow/internal/order"
	"orderflow/internal/store/storetest"
)

// TestDueWithoutFirstEvent: an order whose first event is missing is still processed. An earlier release left it out, and so returned one
// order too few to every sweep.
func TestDueWithoutFirstEvent(t *testing.T) {
	t.Parallel()
	s, path := sample(t, 100)
	ahead := open(t, path, storetest.AtOnce())
	drafts := []order.Draft{storetest.Draft(t, 1, "a", 1, 1), storetest.Draft(t, 1, "b", 1, 1)}
	placed, _, err := ahead.CreateOrders(t.Context(), drafts)
	if err != nil {
		t.Fatal(err)
	}
	must(t, raw(t, path), "DELETE FROM order_events WHERE order_id = 1")
	due, err := s.DueOrders(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	want := []order.ClaimRequest{{OrderID: placed[0].Order.ID}, {OrderID: placed[1].Order.ID, Trace: storetest.Trace("b")}}
	if diff := cmp.Diff(want, due); diff != "" {
		t.Errorf("due orders (-want +got)\n%s", diff)
	}
}
