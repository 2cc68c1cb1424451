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

// The caller of a request from within the process is given, whatever the request contains, and has no rate limit.
func TestInProcess(t *testing.T) {
	r := &fixedLimiter{decision: limit.Decision{Limit: 60}} // which allows no request
	n := open(t, limited(r), func(o *api.Options) { o.AuthRequired = true })
	send := func(caller order.Caller, method, path, body string, status int, want string) {
		t.Helper()
		w := httptest.NewRecorder()
		request := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Authorization", "Bearer of_nobody")
		n.InProcess(caller).ServeHTTP(w, request)
		if w.Code != status || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s %s as %s: %d %s; want %d with %s", method, path, caller.Actor(), w.Code, w.Body, status, want)
		}
	}
	n.do(t, "POST", "/api/v1/orders", fine).expect(t, http.StatusTooManyRequests, nil)
	send(order.Caller{}, "POST", "/api/v1/orders", fine, http.StatusCreated, `"status":"PENDING"`)
	send(order.Caller{UserID: 99, TokenID: 1}, "GET", "/api/v1/orders/1", "", http.StatusNotFound, "not_found")
	const delivery = `{"quantity":2,"reason":"delivery","idempotency_key":"d"}`
	send(order.Caller{}, "POST", "/api/v1/products/3/restock", delivery, http.StatusUnauthorized, "unauthenticated")
	send(order.Operator(), "POST", "/api/v1/products/3/restock", delivery, http.StatusCreated, `"actor":"operator"`)
	send(order.Caller{TokenID: 3, Admin: true}, "POST", "/api/v1/orders/1/cancel", "", http.StatusOK, "CANCELLED")
	if events, err := n.store.Events(t.Context(), 1, 1); err != nil || len(events) != 1 || events[0].Actor != "token:3" {
		t.Errorf("%+v, %v", events, err)
	}
	if counted := r.counted(); strings.Count(counted, " ") != 0 {
		t.Errorf("the limiter counted %q, want the first request only", counted)
	}
}
