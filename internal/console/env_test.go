package console

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"orderflow/internal/api"
	"orderflow/internal/audit"
	"orderflow/internal/bus"
	"orderflow/internal/intake"
	"orderflow/internal/limit"
	"orderflow/internal/lock"
	"orderflow/internal/order"
	"orderflow/internal/outbox"
	"orderflow/internal/payment"
	"orderflow/internal/store"
	"orderflow/internal/telemetry"
	"orderflow/internal/worker"
)

// testEnv is the parts of a real server on a database of its own, with the sample data.
type testEnv struct {
	testing.TB
	store   *store.Store
	api     *api.API
	faults  *payment.Faults
	breaker *payment.Breaker
	jobs    *worker.FailedJobService
	rules   order.Rules
}

// newEnv returns an environment whose orders stay PENDING; with pays they are charged at once and successfully.
func newEnv(t testing.TB, pays bool) *testEnv {
	t.Helper()
	rules := order.DefaultRules()
	rules.PaymentAttempts, rules.Backoff = 2, []time.Duration{10 * time.Millisecond}
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "test.db"), store.Options{Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Migrate(t.Context()), db.Seed(t.Context(), store.SeedPlan{})); err != nil {
		t.Fatal(err)
	}
	simulated, err := payment.NewSimulated(payment.SimulatedOptions{Success: 1, Seed: "test"})
	if err != nil {
		t.Fatal(err)
	}
	s := &testEnv{TB: t, store: db, faults: payment.NewFaults(simulated), rules: rules}
	s.breaker = payment.NewBreaker(s.faults, payment.BreakerOptions{Delay: 200 * time.Millisecond})
	messages, quiet := bus.NewLocal(bus.Options{}), slog.New(slog.DiscardHandler)
	publisher := outbox.NewPublisher(outbox.PublisherOptions{Bus: messages, Marker: db, Registerer: telemetry.NewRegistry("test"), Logger: quiet})
	takes := intake.New(intake.Options{
		Orders: db, Locker: lock.NewLocal(lock.TTL), Publisher: publisher, BatchMax: 100, QueueMax: 1000, Lines: 10_000,
		Registerer: telemetry.NewRegistry("test"), Logger: quiet,
	})
	s.jobs = worker.NewFailedJobService(worker.FailedJobServiceOptions{Jobs: db, Gateway: simulated, Publisher: publisher, Installation: "test"})
	parts := []func(context.Context) error{publisher.Run, takes.Run}
	if pays {
		w, err := worker.New(worker.Options{
			Orders: db, Gateway: s.breaker, Breaker: s.breaker.Charges(), VoidBreaker: s.breaker.Voids(), Bus: messages, Publisher: publisher, Installation: "test", Node: "worker:test",
			Rules: rules, Concurrency: 64, ChargeTimeout: time.Second, BatchMax: 100, BatchLoops: 1, Registerer: telemetry.NewRegistry("test"), Logger: quiet,
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Join(t.Context()); err != nil {
			t.Fatal(err)
		}
		parts = append(parts, w.Run)
	}
	s.api = api.New(api.Options{
		Intake: takes, Reader: db, Bus: messages, Admin: db, FailedJobs: s.jobs, Auditor: auditor{db}, Logger: quiet, Registerer: telemetry.NewRegistry("test"),
		Limiter: limit.NewLocal(10), Rate: limit.Rate{Tokens: 1, Per: time.Hour}, // one request of each remote client
	})
	t.Cleanup(func() {
		if err := errors.Join(messages.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	s.run(append(parts, s.api.Run)...)
	return s
}

// run runs parts until the test ends, then verifies the invariants. The first part ends last.
func (s *testEnv) run(parts ...func(context.Context) error) {
	s.Helper()
	s.Cleanup(s.verify)
	for _, part := range parts {
		ctx, stop := context.WithCancel(context.Background())
		var ended sync.WaitGroup
		ended.Go(func() {
			if err := part(ctx); err != nil {
				s.Errorf("a part ended with %v", err)
			}
		})
		s.Cleanup(func() {
			stop()
			ended.Wait()
		})
	}
}

// verify fails the test when an invariant is violated.
func (s *testEnv) verify() {
	s.Helper()
	report, err := audit.Run(context.Background(), s.store)
	var text bytes.Buffer
	if err == nil {
		err = report.WriteText(&text)
	}
	if err != nil || !report.Holds() {
		s.Errorf("audit failed: %v\n%s", err, &text)
	}
}

// auditor audits a database for the API.
type auditor struct{ audit.Source }

// WriteAudit implements api.Auditor.
func (a auditor) WriteAudit(ctx context.Context, w io.Writer) error {
	report, err := audit.Run(ctx, a.Source)
	if err != nil {
		return err
	}
	return report.WriteJSON(w)
}

// stock returns the stock of a product.
func (s *testEnv) stock(product int64) int64 {
	s.Helper()
	products, err := s.store.Products(context.Background())
	if err != nil {
		s.Fatal(err)
	}
	for _, p := range products {
		if p.ID == product {
			return p.Stock
		}
	}
	s.Fatalf("no product %d", product)
	return 0
}

// order reads an order.
func (s *testEnv) order(id int64) *order.Order {
	s.Helper()
	o, err := s.store.Order(context.Background(), id)
	if err != nil {
		s.Fatal(err)
	}
	return o
}
