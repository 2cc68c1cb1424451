package api_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"orderflow/internal/api"
	"orderflow/internal/order"
	"orderflow/internal/store"
)

func TestHealthWithoutDatabase(t *testing.T) {
	var r *reader
	n := open(t, withReader(&r))
	r.fail(&order.Error{Code: order.CodeUnavailable, Message: "unreachable", Cause: context.DeadlineExceeded})
	n.do(t, "GET", "/api/v1/health", "").expect(t, http.StatusServiceUnavailable,
		[]string{`{"status":"degraded","services":{"database":"disconnected","redis":"embedded"},"timestamp":"`}, "unreachable")
	a := n.do(t, "GET", "/readyz", "")
	a.expect(t, http.StatusServiceUnavailable, []string{`"error":"unavailable"`}, "unreachable")
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	n.do(t, "GET", "/livez", "").expect(t, http.StatusOK, nil)

	r.fail(nil)
	n.do(t, "GET", "/api/v1/health", "").expect(t, http.StatusOK, []string{`"status":"ok"`})
	n.do(t, "GET", "/readyz", "").expect(t, http.StatusOK, nil)
}

// Orders are processed without Redis, so the server stays ready.
func TestHealthWithoutRedis(t *testing.T) {
	n := open(t, func(o *api.Options) {
		o.RedisState = func() string { return "disconnected" }
		o.RedisReason = func() string { return "Redis cannot be used." }
	})
	n.do(t, "GET", "/api/v1/health", "").expect(t, http.StatusServiceUnavailable,
		[]string{`"status":"degraded","services":{"database":"connected","redis":"disconnected"},"reason":"Redis cannot be used.","timestamp":"`})
	n.do(t, "GET", "/readyz", "").expect(t, http.StatusOK, nil)
}

// unwritable is a database that can be read but not written.
type unwritable struct{ *store.Store }

func (unwritable) CheckWritable() error {
	return order.Errorf(order.CodeUnavailable, "the disk is full")
}

// Data can be read with a full disk, so the server stays ready.
func TestHealthWithoutWrites(t *testing.T) {
	n := open(t, func(o *api.Options) { o.Reader = unwritable{o.Reader.(*store.Store)} })
	n.do(t, "GET", "/api/v1/health", "").expect(t, http.StatusServiceUnavailable,
		[]string{`{"status":"degraded","services":{"database":"disconnected","redis":"embedded"}`})
	n.do(t, "GET", "/readyz", "").expect(t, http.StatusOK, nil)
}

// stuck is a database that does not answer.
type stuck struct{ *store.Store }

func (stuck) Ping(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestPingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t, func(o *api.Options) { o.Reader = stuck{o.Reader.(*store.Store)} })
		began := time.Now()
		n.do(t, "GET", "/readyz", "").expect(t, http.StatusServiceUnavailable, nil)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("the check took %s", took)
		}
	})
}

func TestDrain(t *testing.T) {
	n := open(t)
	if a := n.do(t, "GET", "/readyz", ""); a.header.Get("Connection") != "" {
		t.Errorf("Connection is %q before the drain", a.header.Get("Connection"))
	}
	n.Drain()
	n.do(t, "GET", "/readyz", "").expect(t, http.StatusServiceUnavailable, []string{`"error":"unavailable"`, "shutting down"})
	n.do(t, "GET", "/livez", "").expect(t, http.StatusOK, nil)
	n.do(t, "POST", "/api/v1/orders", fine).expect(t, http.StatusCreated, nil)
	for _, target := range []string{"/api/v1/orders", "/livez", "/nothing", "/docs"} {
		if got := n.do(t, "GET", target, "").header.Get("Connection"); got != "close" {
			t.Errorf("%s: Connection is %q, want close", target, got)
		}
	}
	n.Drain() // a second call is not an error
}

// A database error is answered with 503, and the log has its cause.
func TestReadsWithoutDatabase(t *testing.T) {
	var r *reader
	n := open(t, withReader(&r))
	r.fail(&order.Error{Code: order.CodeUnavailable, Message: "The database is unreachable.", Cause: context.DeadlineExceeded})
	for _, target := range []string{"/api/v1/orders/1", "/api/v1/products", "/api/v1/orders/1/events"} {
		n.do(t, "GET", target, "").expect(t, http.StatusServiceUnavailable, []string{`"error":"unavailable"`}, "deadline")
	}
	if !strings.Contains(n.logs.String(), "deadline") {
		t.Errorf("the log lacks the cause: %s", n.logs)
	}
}

// A process without the role api serves health and probes, but no orders.
func TestWithoutIntake(t *testing.T) {
	n := open(t, func(o *api.Options) { o.Intake = nil })
	n.do(t, "GET", "/api/v1/health", "").expect(t, http.StatusOK, []string{`"status":"ok"`})
	n.do(t, "GET", "/readyz", "").expect(t, http.StatusOK, nil)
	for _, path := range []string{"/api/v1/orders", "/api/v1/orders/1", "/api/v1/products"} {
		r := newRequest(t.Context(), "GET", path, "")
		recorder := httptest.NewRecorder()
		n.ServeHTTP(recorder, r)
		if recorder.Code != http.StatusNotFound || !strings.Contains(recorder.Body.String(), `"error":"not_found"`) {
			t.Errorf("%s: answered %d %s", path, recorder.Code, recorder.Body)
		}
	}
}
