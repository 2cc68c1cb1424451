package console

import (
	"context"
	"net/http"
	"testing"

	"orderflow/internal/order"
)

// What the API answered stands, also when nobody waits any more: an order that was placed is not lost from sight.
func TestAnswerOutlivesItsContext(t *testing.T) {
	t.Parallel()
	s := newShop(t, false)
	ctx, leave := context.WithCancel(t.Context())
	leaving := InProcess(func(who order.Caller) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.api.InProcess(who).ServeHTTP(w, r)
			leave()
		})
	})
	runs := &trials{inside: leaving, reader: s.store}
	if a := runs.buy(ctx, 1, 1, trialProduct, "k"); a.Err != nil || a.Status != http.StatusCreated || s.order(a.OrderID).Key != "k" {
		t.Errorf("%+v", a)
	}
	if a := runs.buy(ctx, 1, 1, trialProduct, "late"); a.Err == nil || a.OrderID != 0 {
		t.Errorf("after the end: %+v", a)
	}
}
