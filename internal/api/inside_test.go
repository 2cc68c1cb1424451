package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"orderflow/internal/api"
	"orderflow/internal/limit"
	"orderflow/internal/order"
)

// Whoever calls from within the process is who they are said to be, whatever they send, and as often as they like.
func TestInside(t *testing.T) {
	r := &ruler{decision: limit.Decision{Limit: 60}} // that lets nobody in
	n := open(t, limited(r), func(o *api.Options) { o.AuthRequired = true })
	ask := func(who order.Caller, method, path, body string, want int, says string) {
		t.Helper()
		w := httptest.NewRecorder()
		request := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Authorization", "Bearer of_nobody")
		n.InProcess(who).ServeHTTP(w, request)
		if w.Code != want || !strings.Contains(w.Body.String(), says) {
			t.Errorf("%s %s as %s: %d %s; want %d with %s", method, path, who.Actor(), w.Code, w.Body, want, says)
		}
	}
	n.do(t, "POST", "/api/v1/orders", fine).expect(t, http.StatusTooManyRequests, nil)
	ask(order.Caller{}, "POST", "/api/v1/orders", fine, http.StatusCreated, `"status":"PENDING"`)
	ask(order.Caller{UserID: 99, TokenID: 1}, "GET", "/api/v1/orders/1", "", http.StatusNotFound, "not_found")
	const delivery = `{"quantity":2,"reason":"delivery","idempotency_key":"d"}`
	ask(order.Caller{}, "POST", "/api/v1/products/3/restock", delivery, http.StatusUnauthorized, "unauthenticated")
	ask(order.Operator(), "POST", "/api/v1/products/3/restock", delivery, http.StatusCreated, `"actor":"operator"`)
	ask(order.Caller{TokenID: 3, Admin: true}, "POST", "/api/v1/orders/1/cancel", "", http.StatusOK, "CANCELLED")
	if events, err := n.store.Events(t.Context(), 1, 1); err != nil || len(events) != 1 || events[0].Actor != "token:3" {
		t.Errorf("%+v, %v", events, err)
	}
	if asked := r.asked(); strings.Count(asked, " ") != 0 {
		t.Errorf("the limiter was asked for %q", asked)
	}
}
