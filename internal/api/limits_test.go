package api_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"orderflow/internal/api"
	"orderflow/internal/limit"
	"orderflow/internal/order"
)

// fixedLimiter always decides the same, and records the keys.
type fixedLimiter struct {
	mu       sync.Mutex
	keys     []string
	decision limit.Decision
	err      error
}

func (r *fixedLimiter) Allow(_ context.Context, key string, _ limit.Rate) (limit.Decision, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys = append(r.keys, key)
	return r.decision, r.err
}

func (r *fixedLimiter) counted() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.keys, " ")
}

func limited(r *fixedLimiter) func(*api.Options) {
	return func(o *api.Options) {
		o.Limiter, o.Rate, o.AdminRate = r, limit.Rate{Tokens: 60, Per: time.Minute}, limit.Rate{Tokens: 6000, Per: time.Minute}
	}
}

func TestRateLimit(t *testing.T) {
	r := &fixedLimiter{decision: limit.Decision{Limit: 60, RetryAfter: 1500 * time.Millisecond, Reset: 59100 * time.Millisecond}}
	n := open(t, limited(r))
	a := n.do(t, "POST", "/api/v1/orders", fine)
	a.expect(t, http.StatusTooManyRequests, []string{`"error":"too_many_requests"`, "in 2 s"}, `"data"`)
	for name, want := range map[string]string{
		"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "60", "Retry-After": "2",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	n.do(t, "GET", "/nothing", "").expect(t, http.StatusTooManyRequests, nil)
	n.do(t, "GET", "/api/v1/orders/1/cancel", "").expect(t, http.StatusTooManyRequests, nil)
	for _, path := range []string{"/api/v1/health", "/api/health", "/livez", "/readyz", "/docs", "/docs/rapidoc.js", "/openapi.json"} {
		a := n.do(t, "GET", path, "")
		a.expect(t, http.StatusOK, nil)
		if a.header.Get("X-RateLimit-Limit") != "" {
			t.Errorf("%s has a rate limit", path)
		}
	}
	n.do(t, "OPTIONS", "/api/v1/orders", "", "Origin: http://localhost", "Access-Control-Request-Method: POST").expect(t, http.StatusNoContent, nil)

	r.decision = limit.Decision{Allowed: true, Limit: 60, Remaining: 59, Reset: time.Second}
	a = n.do(t, "POST", "/api/v1/orders", fine)
	a.expect(t, http.StatusCreated, nil)
	if a.header.Get("X-RateLimit-Remaining") != "59" || a.header.Get("Retry-After") != "" {
		t.Errorf("headers %v", a.header)
	}
	r.decision, r.err = limit.Decision{}, errors.New("redis is unreachable")
	n.do(t, "GET", "/api/v1/products", "").expect(t, http.StatusOK, nil)
}

// With the limiter of the product, a full bucket allows its tokens at once, and is then refilled evenly.
func TestRateLimitRefills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t, func(o *api.Options) {
			o.Limiter, o.Rate = limit.NewLocal(limit.DefaultKeys), limit.Rate{Tokens: 2, Per: 10 * time.Second}
		})
		get := func(from string, want int) {
			t.Helper()
			n.do(t, "GET", "/api/v1/products", "", "From: "+from).expect(t, want, nil)
		}
		get("203.0.113.9:1", http.StatusOK)
		get("203.0.113.9:2", http.StatusOK)
		get("203.0.113.9:3", http.StatusTooManyRequests)
		get("203.0.113.8:1", http.StatusOK)
		time.Sleep(5 * time.Second)
		get("203.0.113.9:4", http.StatusOK)
		get("203.0.113.9:5", http.StatusTooManyRequests)
	})
}

func TestNoRateLimit(t *testing.T) {
	a := open(t).do(t, "GET", "/api/v1/products", "")
	if a.header.Get("X-RateLimit-Limit") != "" {
		t.Errorf("headers %v", a.header)
	}
}

// A back end orders for many users with one token. Each order counts against the limit of the token, before the body is read, and
// against the limit of its user.
func TestAdminRateLimit(t *testing.T) {
	n := open(t, withAuth(false, nil), func(o *api.Options) {
		o.Limiter, o.Rate = limit.NewLocal(limit.DefaultKeys), limit.Rate{Tokens: 2, Per: time.Hour}
		o.AdminRate = limit.Rate{Tokens: 8, Per: time.Hour}
	})
	admin := n.bearer(t, order.Token{Name: "back end", Admin: true})
	own := n.bearer(t, order.Token{UserID: 3})
	body := func(user int64, key string) string { return orderJSON(user, key, 2, 1) }
	for user := range int64(3) { // 6 orders, two for each user
		for _, key := range []string{"a", "b"} {
			a := n.do(t, "POST", "/api/v1/orders", body(user+1, key), admin)
			a.expect(t, http.StatusCreated, nil)
			if got := a.header.Get("X-RateLimit-Limit"); got != "8" {
				t.Errorf("the limit of the back end is %q, want 8", got)
			}
		}
	}
	n.do(t, "GET", "/api/v1/orders?user_id=1", "", admin).expect(t, http.StatusOK, nil)
	third := n.do(t, "POST", "/api/v1/orders", body(1, "c"), admin)
	third.expect(t, http.StatusTooManyRequests, []string{"Too many requests for user 1."})
	if got := third.header.Get("X-RateLimit-Limit"); got != "2" {
		t.Errorf("the exceeded limit is %q, want 2, the limit of the user", got)
	}
	// A user's own requests share the limit with the orders that the back end placed for that user.
	n.do(t, "POST", "/api/v1/orders", body(3, "c"), own).expect(t, http.StatusTooManyRequests, []string{"with this token"})
	// The back end has exceeded its own limit, so its body, which is not JSON, is not read.
	n.do(t, "POST", "/api/v1/orders", "{", admin).expect(t, http.StatusTooManyRequests, []string{"with this token"})
	if got := outcomes(t, n, "orderflow_orders_total"); got["too_many_requests"] != 3 || got["created"] != 6 {
		t.Errorf("counted %v, want 6 created and 3 too_many_requests", got)
	}
}
