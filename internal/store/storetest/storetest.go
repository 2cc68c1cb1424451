// Package storetest is the contract of the store as one suite of tests. Every dialect runs it: what passes on one
// database and not on another is a fault of the dialect, or a promise that cannot be made.
package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/store"
)

// Database makes a new, migrated database without rows for one test. What it returns connects to that database, as
// often as it is called: handles of one database stand for processes. Both end with the test.
type Database func(t *testing.T) (connect func(rules order.Rules) *store.Store)

// Run runs the whole suite, a new database for each test.
func Run(t *testing.T, database Database) {
	for _, group := range []struct {
		name  string
		tests map[string]func(*house)
	}{
		{"create", createTests},
		{"create unbatched", unbatchedTests},
		{"cancel", cancelTests},
		{"claim", claimTests},
		{"settle", settleTests},
		{"dead letters", deadLetterTests},
		{"catalogue", catalogueTests},
		{"read", readTests},
		{"find", findTests},
		{"outbox", outboxTests},
		{"tokens", tokenTests},
		{"seed", seedTests},
		{"migrate down", downTests},
		{"race", raceTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for name, test := range group.tests {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					h := &house{T: t, connect: database(t)}
					h.Store = h.connect(Rules())
					test(h)
				})
			}
		})
	}
}

// Rules are such that nothing becomes due during a test.
func Rules() order.Rules {
	return order.Rules{
		Currency: "USD", PaymentAttempts: 2, Grace: time.Hour, Lease: time.Hour, Backoff: []time.Duration{time.Hour},
	}
}

// AtOnce are the rules under which everything is due at once, but for a lease, which lasts beyond its own transaction.
func AtOnce() order.Rules {
	return order.Rules{Currency: "USD", PaymentAttempts: 2, Lease: time.Microsecond}
}

// Trace is the trace that Draft gives an order.
func Trace(key string) order.Trace {
	if len(key) > 40 { // a trace has its bounds
		key = "a long key"
	}
	return order.Trace{ID: "trace-of-" + key, Parent: "parent-of-" + key}
}

// Draft makes a draft from pairs of product and quantity.
func Draft(t testing.TB, user int64, key string, pairs ...int64) order.Draft {
	t.Helper()
	var lines []order.Line
	for i := 0; i < len(pairs); i += 2 {
		lines = append(lines, order.Line{ProductID: pairs[i], Quantity: pairs[i+1]})
	}
	method := "method-of-" + key
	if len(method) > order.MaxPaymentMethod {
		method = ""
	}
	d, err := order.NewDraft(nil, user, key, lines, method)
	if err != nil {
		t.Fatal(err)
	}
	d.Actor, d.Trace = fmt.Sprintf("user:%d", user), Trace(key)
	return d
}

// CheckInvariants audits the store and fails the test for every finding that does not hold.
func CheckInvariants(t testing.TB, s *store.Store) {
	t.Helper()
	findings, err := s.Audit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		if f.ViolationCount > 0 || len(f.Violations) > 0 {
			t.Errorf("invariant %d (%s) is broken %d times: %q", f.Number, f.Name, f.ViolationCount, f.Violations)
		}
	}
}

// Figure returns a figure of an audit.
func Figure(t testing.TB, s *store.Store, invariant int, name string) int64 {
	t.Helper()
	findings, err := s.Audit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, figure := range findings[invariant-1].Figures {
		if figure.Name == name {
			return figure.Value
		}
	}
	t.Fatalf("invariant %d has no figure %q", invariant, name)
	return 0
}

// house is one test's database with the sample data.
type house struct {
	*testing.T
	*store.Store
	connect func(rules order.Rules) *store.Store
}

// sample fills in the sample data, with this much of every product.
func (h *house) sample(stock int64) {
	h.Helper()
	if err := h.Seed(h.Context(), store.SeedPlan{SetStock: true, Stock: stock}); err != nil {
		h.Fatal(err)
	}
}

// under goes on with another handle, under other rules.
func (h *house) under(rules order.Rules) *house {
	return &house{T: h.T, Store: h.connect(rules), connect: h.connect}
}

func (h *house) draft(user int64, key string, pairs ...int64) order.Draft {
	h.Helper()
	return Draft(h, user, key, pairs...)
}

func (h *house) create(drafts ...order.Draft) []order.Placed {
	h.Helper()
	answers, _, err := h.CreateOrders(h.Context(), drafts)
	if err != nil {
		h.Fatal(err)
	}
	if len(answers) != len(drafts) {
		h.Fatalf("%d answers to %d drafts", len(answers), len(drafts))
	}
	return answers
}

// place makes one order of one piece of product 1 for user 1.
func (h *house) place(key string) *order.Order {
	h.Helper()
	answer := h.create(h.draft(1, key, 1, 1))[0]
	if answer.Err != nil {
		h.Fatal(answer.Err)
	}
	return answer.Order
}

// claim claims one order and returns the answer.
func (h *house) claim(id int64) order.Claimed {
	h.Helper()
	answers, _, err := h.ClaimOrders(h.Context(), []order.ClaimRequest{{OrderID: id, Actor: "worker", Trace: Trace("claim")}})
	if err != nil {
		h.Fatal(err)
	}
	return answers[0]
}

func (h *house) abandon(id int64) order.Claimed {
	h.Helper()
	answers, _, err := h.ClaimOrders(h.Context(), []order.ClaimRequest{{OrderID: id, Abandon: true, Actor: "operator"}})
	if err != nil {
		h.Fatal(err)
	}
	return answers[0]
}

// report is the settlement of a claim.
func report(c order.Claimed, kind order.PaymentKind, outcome order.Outcome) order.Settlement {
	return order.Settlement{
		OrderID: c.Order.ID, Claim: c.Order.Claims, Lease: c.Order.Lease, Kind: kind, Outcome: outcome,
		Reference: "reference", Reason: "reason", Actor: "worker", Trace: Trace("settle"),
	}
}

func (h *house) settle(settlements ...order.Settlement) []order.Changed {
	h.Helper()
	answers, _, err := h.SettleOrders(h.Context(), settlements)
	if err != nil {
		h.Fatal(err)
	}
	return answers
}

func (h *house) read(id int64) *order.Order {
	h.Helper()
	o, err := h.Order(h.Context(), id)
	if err != nil {
		h.Fatal(err)
	}
	return o
}

func (h *house) stock(product int64) int64 {
	h.Helper()
	products, err := h.Products(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	for _, p := range products {
		if p.ID == product {
			return p.Stock
		}
	}
	h.Fatalf("no product %d", product)
	return 0
}

func (h *house) history(id int64) []order.EventType {
	h.Helper()
	events, err := h.Events(h.Context(), id, 0)
	if err != nil {
		h.Fatal(err)
	}
	types := make([]order.EventType, len(events))
	for i, e := range events {
		types[i] = e.Type
	}
	return types
}

// job returns the only failed job.
func (h *house) job() order.FailedJob {
	h.Helper()
	jobs, err := h.FailedJobs(h.Context(), false, 10)
	if err != nil || len(jobs) != 1 {
		h.Fatalf("failed jobs: %v, %v; want one", jobs, err)
	}
	return jobs[0]
}

func (h *house) openJobs() int {
	h.Helper()
	jobs, err := h.FailedJobs(h.Context(), true, 10)
	if err != nil {
		h.Fatal(err)
	}
	return len(jobs)
}

func (h *house) books() {
	h.Helper()
	CheckInvariants(h, h.Store)
}

// wantCode checks an error's code; "" is for no error.
func (h *house) wantCode(err error, want order.Code) {
	h.Helper()
	if got := order.CodeOf(err); got != want {
		h.Errorf("code %q (%v), want %q", got, err, want)
	}
}

// coded is the error's *order.Error, or an empty one.
func coded(err error) *order.Error {
	if e, ok := errors.AsType[*order.Error](err); ok {
		return e
	}
	return &order.Error{}
}

func refOf(o *order.Order) order.OrderKey { return order.OrderKey{UserID: o.UserID, Key: o.Key} }

func (h *house) wantStatus(id int64, want order.Status) {
	h.Helper()
	if got := h.read(id).Status; got != want {
		h.Errorf("order %d is %s, want %s", id, got, want)
	}
}
