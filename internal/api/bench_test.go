package api_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/api"
	"orderflow/internal/limit"
	"orderflow/internal/order"
)

// immediateIntake answers every order at once, so that a benchmark measures the API alone.
type immediateIntake struct{ order.Order }

func (i *immediateIntake) Create(context.Context, order.Draft) (order.Placed, error) {
	return order.Placed{Order: &i.Order}, nil
}

func (*immediateIntake) OrderRefused(error)  {}
func (*immediateIntake) CancelRefused(error) {}

func (i *immediateIntake) Cancel(context.Context, order.CancelRequest) (*order.Order, error) {
	return &i.Order, nil
}

// unlimited allows every request.
type unlimited struct{}

func (unlimited) Allow(context.Context, string, limit.Rate) (limit.Decision, error) {
	return limit.Decision{Allowed: true, Limit: 60, Remaining: 59}, nil
}

// sink is a response writer that discards the answer.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(status int)      { s.status = status }

// BenchmarkCreate measures the cost of the API for an order, without the net/http server and the intake.
func BenchmarkCreate(b *testing.B) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)
	intake := &immediateIntake{order.Order{
		ID: 42, UserID: 1, Status: order.Pending, Total: 202997, Currency: "USD", Key: "cart-7001", CreatedAt: at, UpdatedAt: at,
		Items: []order.Item{{ProductID: 1, Quantity: 2, UnitPrice: 99999}, {ProductID: 2, Quantity: 1, UnitPrice: 2999}},
	}}
	a := api.New(api.Options{
		Intake: intake, Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
		Limiter: unlimited{}, Rate: limit.Rate{Tokens: 60, Per: time.Minute},
	})
	body := []byte(`{"user_id":1,"idempotency_key":"cart-7001","items":[{"product_id":1,"quantity":2},{"product_id":2,"quantity":1}]}`)
	r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/api/v1/orders", http.NoBody)
	r.Header.Set("Content-Type", "application/json")
	r.ContentLength = int64(len(body))
	content := bytes.NewReader(body)
	r.Body = io.NopCloser(content)
	w := &sink{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		content.Reset(body)
		clear(w.header)
		a.ServeHTTP(w, r)
		if w.status != http.StatusCreated {
			b.Fatal(w.status)
		}
	}
}
