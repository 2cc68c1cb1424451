package app_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"orderflow/internal/config"
)

// TestOrder: an order is created, takes stock, is replayed, shown and paid.
func TestOrder(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	body := `{"user_id":1,"idempotency_key":"first","total_amount":"0.01","items":[{"product_id":2,"quantity":1},{"product_id":1,"quantity":2}]}`
	created := s.post("/api/v1/orders", body, "X-Trace-Id: shop.7")
	o := created.order()
	if created.status != http.StatusCreated || o.Total != "2029.97" || o.UserID != 1 || o.Key != "first" ||
		created.header.Get("Location") != fmt.Sprintf("/api/v1/orders/%d", o.ID) || created.header.Get("X-Trace-Id") != "shop.7" {
		t.Errorf("created: %+v", created)
	}
	if laptops, mice := s.stock(1), s.stock(2); laptops != 48 || mice != 199 {
		t.Errorf("stock is %d and %d, want 48 and 199", laptops, mice)
	}
	s.await(o.ID, "PAID")

	again := s.post("/api/orders", strings.Replace(body, `"product_id":2,"quantity":1`, `"quantity":1,"product_id":2,"note":"as before"`, 1))
	if again.status != http.StatusOK || again.order().ID != o.ID || again.order().Status != "PAID" || again.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("asked for again: %+v", again)
	}
	if shown := s.get(fmt.Sprintf("/api/v1/orders/%d", o.ID)); shown.status != http.StatusOK || shown.body != again.body {
		t.Errorf("shown: %+v, shown again: %+v", shown, again)
	}
	s.expect(s.post("/api/v1/orders", strings.Replace(body, `"quantity":2`, `"quantity":3`, 1)), 422, "idempotency_key_reused")
	if other := s.buy(2, "first", 1, 1); other.status != http.StatusCreated || other.order().ID == o.ID {
		t.Errorf("the same key of another user: %+v", other)
	}
	if s.stock(1) != 47 {
		t.Errorf("stock is %d, want 47", s.stock(1))
	}
	s.expect(s.cancel(o.ID), 422, "order_not_cancellable")

	history := s.get(fmt.Sprintf("/api/v1/orders/%d/events", o.ID)).body
	created1, processing, paid := strings.Index(history, "OrderCreated"), strings.Index(history, "OrderProcessing"), strings.Index(history, "OrderPaid")
	if created1 < 0 || processing < created1 || paid < processing || strings.Count(history, `"trace_id":"shop.7"`) < 3 {
		t.Errorf("history: %s", history)
	}
}

// TestDeclined: an order whose charge is declined becomes FAILED, and its stock is restored.
func TestDeclined(t *testing.T) {
	t.Parallel()
	s := serve(t, func(set *config.Settings) { set.SimulatedSuccess = 0 })
	o := s.buy(1, "declined", 5, 1).order()
	s.await(o.ID, "FAILED")
	if again := s.buy(2, "after", 5, 1); again.status != http.StatusCreated {
		t.Errorf("the restored units cannot be ordered: %+v", again)
	}
	s.expect(s.cancel(o.ID), 422, "order_not_cancellable")
}

// TestCancel: a cancelled order restores its stock once.
func TestCancel(t *testing.T) {
	t.Parallel()
	s := serve(t, apiOnly)
	o := s.buy(1, "regretted", 3, 4).order()
	if o.Status != "PENDING" || o.CancelledAt != nil || s.stock(3) != 96 {
		t.Errorf("%+v, stock %d", o, s.stock(3))
	}
	first := s.cancel(o.ID)
	if first.status != http.StatusOK || first.order().Status != "CANCELLED" || first.order().CancelledAt == nil || s.stock(3) != 100 {
		t.Errorf("%+v, stock %d", first, s.stock(3))
	}
	if second := s.cancel(o.ID); second.status != http.StatusOK || second.body != first.body || s.stock(3) != 100 {
		t.Errorf("again: %+v, stock %d", second, s.stock(3))
	}
	if replay := s.buy(1, "regretted", 3, 4); replay.status != http.StatusOK || replay.order().Status != "CANCELLED" || s.stock(3) != 100 {
		t.Errorf("its key: %+v, stock %d", replay, s.stock(3))
	}
	s.expect(s.cancel(o.ID+1), 404, "not_found")
}

// TestRefusals: a refusal names the error, takes no stock, and does not use up the key.
func TestRefusals(t *testing.T) {
	t.Parallel()
	s := serve(t, apiOnly)
	r := s.buy(1, "later", 5, 2)
	s.expect(r, 409, "insufficient_stock")
	if !strings.Contains(r.body, `"product_id":5,"requested":2,"available":1`) {
		t.Error(r.body)
	}
	for name, c := range map[string]struct {
		body   string
		status int
		code   string
		fields []string
	}{
		"nothing":          {`{}`, 422, "validation_error", []string{"idempotency_key", "items", "user_id"}},
		"an unknown user":  {`{"user_id":99,"idempotency_key":"later","items":[{"product_id":1,"quantity":1}]}`, 422, "validation_error", []string{"user_id"}},
		"unknown products": {`{"user_id":1,"idempotency_key":"later","items":[{"product_id":98,"quantity":1},{"product_id":99,"quantity":1}]}`, 422, "validation_error", []string{"items.0.product_id", "items.1.product_id"}},
		"wrong types":      {`{"user_id":"1","idempotency_key":7,"items":[{"product_id":1.5,"quantity":null}]}`, 422, "validation_error", []string{"idempotency_key", "items.0.product_id", "items.0.quantity", "user_id"}},
		"quantity zero":    {`{"user_id":1,"idempotency_key":"later","items":[{"product_id":1,"quantity":0}]}`, 422, "validation_error", []string{"items.0.quantity"}},
		"no items":         {`{"user_id":1,"idempotency_key":"later","items":[]}`, 422, "validation_error", []string{"items"}},
		"a key too long":   {`{"user_id":1,"idempotency_key":"` + strings.Repeat("k", 256) + `","items":[{"product_id":1,"quantity":1}]}`, 422, "validation_error", []string{"idempotency_key"}},
		"no JSON":          {`{"user_id":1`, 400, "malformed_json", nil},
		"a key twice":      {`{"user_id":1,"user_id":2,"idempotency_key":"later","items":[{"product_id":1,"quantity":1}]}`, 400, "malformed_json", nil},
		"too much":         {`{"note":"` + strings.Repeat("x", 70_000) + `"}`, 413, "payload_too_large", nil},
	} {
		r := s.post("/api/v1/orders", c.body)
		s.expect(r, c.status, c.code)
		fields := make([]string, 0, len(c.fields))
		for field := range r.errorBody().Errors {
			fields = append(fields, field)
		}
		slices.Sort(fields)
		if !slices.Equal(fields, c.fields) || r.errorBody().TraceID == "" || r.errorBody().TraceID != r.header.Get("X-Trace-Id") {
			t.Errorf("%s: %s", name, r.body)
		}
	}
	for _, path := range []string{"/api/v1/orders/1", "/api/v1/orders/0", "/api/v1/orders/x", "/api/v1/orders/9007199254740993", "/api/v1/none", "/none"} {
		s.expect(s.get(path), 404, "not_found")
	}
	s.expect(s.do(http.MethodDelete, "/api/v1/orders/1", ""), 405, "method_not_allowed")
	s.expect(s.do(http.MethodPost, "/api/v1/orders", "{}", "Content-Type: text/plain"), 415, "unsupported_media_type")
	if r := s.buy(1, "later", 5, 1); r.status != http.StatusCreated {
		t.Errorf("the key was used up: %+v", r)
	}
	if s.stock(1) != 50 {
		t.Errorf("stock of product 1 is %d", s.stock(1))
	}
}

// TestList: lists are filtered by user and status, and paged by page and by cursor.
func TestList(t *testing.T) {
	t.Parallel()
	s := serve(t, apiOnly)
	var ids []int64
	for i := range 7 {
		ids = append(ids, s.buy(int64(i%2+1), fmt.Sprint(i), 2, 1).order().ID)
	}
	s.cancel(ids[0])
	s.cancel(ids[1])
	for _, c := range []struct {
		query string
		want  []int // their indexes, newest first
		meta  string
	}{
		{"", []int{6, 5, 4, 3, 2, 1, 0}, `"current_page":1,"per_page":15,"total":7,"last_page":1`},
		{"?user_id=1", []int{6, 4, 2, 0}, `"total":4`},
		{"?user_id=2&status=CANCELLED", []int{1}, `"total":1`},
		{"?status=PENDING&per_page=2&page=2", []int{4, 3}, `"current_page":2,"per_page":2,"total":5,"last_page":3`},
		{"?user_id=3", nil, `"total":0,"last_page":1`},
		{"?cursor=&per_page=7", []int{6, 5, 4, 3, 2, 1, 0}, `"next_cursor":null`},
	} {
		r := s.get("/api/v1/orders" + c.query)
		at := 0
		for _, i := range c.want {
			found := strings.Index(r.body[at:], fmt.Sprintf(`{"id":%d,`, ids[i]))
			if found < 0 {
				t.Errorf("%s: order %d is missing, or not in its place: %s", c.query, ids[i], r.body)
				break
			}
			at += found + 1
		}
		if r.status != http.StatusOK || strings.Count(r.body, `"idempotency_key"`) != len(c.want) || !strings.Contains(r.body, c.meta) {
			t.Errorf("%s: %+v", c.query, r)
		}
	}
	for _, query := range []string{"?status=LOST", "?per_page=51", "?per_page=0", "?page=0", "?user_id=x"} {
		s.expect(s.get("/api/v1/orders"+query), 422, "validation_error")
	}
}

// TestProbes: health, probes, metrics, the OpenAPI document and the trace header.
func TestProbes(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for path, want := range map[string]string{
		"/api/v1/health": `"status":"ok","services":{"database":"connected","redis":"embedded"},"timestamp":"2`,
		"/api/health":    `"status":"ok"`,
		"/livez":         "", "/readyz": "",
		"/openapi.json": `"openapi"`, "/docs": "<!doctype html", "/metrics": "orderflow_",
	} {
		if r := s.get(path); r.status != http.StatusOK || !strings.Contains(strings.ToLower(r.body), strings.ToLower(want)) {
			t.Errorf("%s: %d %.300s", path, r.status, r.body)
		}
	}
	for given, kept := range map[string]bool{"abc-1.2_3": true, strings.Repeat("x", 128): true, strings.Repeat("x", 129): false, "a b": false, "": false} {
		got := s.do(http.MethodGet, "/api/v1/products", "", "X-Trace-Id: "+given).header.Get("X-Trace-Id")
		if (got == given) != kept || got == "" {
			t.Errorf("trace id %q became %q", given, got)
		}
	}
}

// TestRateLimit: the requests of a client are limited, except probes.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	s := serve(t, func(set *config.Settings) { set.RateLimit = config.Defaults().RateLimit })
	for range 60 {
		if r := s.get("/api/v1/products"); r.status != http.StatusOK {
			t.Fatalf("%+v", r)
		}
	}
	r := s.get("/api/v1/products")
	for range 100 { // the bucket is refilled meanwhile, so that a few more pass on a slow machine
		if r.status != http.StatusOK {
			break
		}
		r = s.get("/api/v1/products")
	}
	s.expect(r, 429, "too_many_requests")
	if r.header.Get("Retry-After") == "" || r.header.Get("X-RateLimit-Remaining") != "0" {
		t.Errorf("%+v", r.header)
	}
	if r := s.get("/readyz"); r.status != http.StatusOK {
		t.Errorf("a probe: %+v", r)
	}
}
