package console

import (
	"context"
	"net/http"
	"testing"

	"orderflow/internal/order"
)

// A response of the API is used even after the context has ended: a placed order is not lost.
func TestResponseAfterTheContext(t *testing.T) {
	t.Parallel()
	s := newEnv(t, false)
	ctx, cancel := context.WithCancel(t.Context())
	cancelling := InProcess(func(caller order.Caller) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.api.InProcess(caller).ServeHTTP(w, r)
			cancel()
		})
	})
	runs := &demo{api: cancelling, store: s.store}
	if a := runs.buy(ctx, 1, 1, plentyProduct, "k"); a.Err != nil || a.Status != http.StatusCreated || s.order(a.OrderID).Key != "k" {
		t.Errorf("%+v", a)
	}
	if a := runs.buy(ctx, 1, 1, plentyProduct, "late"); a.Err == nil || a.OrderID != 0 {
		t.Errorf("after the end: %+v", a)
	}
}
