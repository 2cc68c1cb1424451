// Package storetest is the contract of the store as one suite of tests. Every dialect runs it: a test that passes on one
// database and not on another shows an error of the dialect.
package storetest

import (
	"errors"
	"fmt"
	"strings"
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
		tests map[string]func(*testEnv)
	}{
		{"create", createTests},
		{"create unbatched", unbatchedTests},
		{"cancel", cancelTests},
		{"claim", claimTests},
		{"settle", settleTests},
		{"failed jobs", failedJobTests},
		{"products", productTests},
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
					env := &testEnv{T: t, connect: database(t)}
					env.Store = env.connect(Rules())
					test(env)
				})
			}
		})
	}
}

// Rules let nothing become due during a test.
func Rules() order.Rules {
	return order.Rules{
		Currency: "USD", PaymentAttempts: 2, Grace: time.Hour, Lease: time.Hour, Backoff: []time.Duration{time.Hour},
	}
}

// AtOnce are rules under which everything is due at once, except that a lease outlasts its own transaction.
func AtOnce() order.Rules {
	return order.Rules{Currency: "USD", PaymentAttempts: 2, Lease: time.Microsecond}
}

// Trace is the trace that Draft gives an order.
func Trace(key string) order.Trace {
	if len(key) > 40 { // a trace has its bounds
		key = "a long key"
	}
	key = strings.ReplaceAll(key, "\x00", "NUL") // of these texts, only a key may have one
	return order.Trace{ID: "trace-of-" + key, Parent: "parent-of-" + key}
}

// Draft makes a draft from pairs of product and quantity.
func Draft(t testing.TB, user int64, key string, pairs ...int64) order.Draft {
	t.Helper()
	var lines []order.Line
	for i := 0; i < len(pairs); i += 2 {
		lines = append(lines, order.Line{ProductID: pairs[i], Quantity: pairs[i+1]})
	}
	method := "method-of-" + strings.ReplaceAll(key, "\x00", "NUL")
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

// CheckInvariants audits the store and fails the test for every violated invariant.
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

// testEnv is one test's database with the sample data.
type testEnv struct {
	*testing.T
	*store.Store
	connect func(rules order.Rules) *store.Store
}

// sample fills in the sample data, with this much of every product.
func (env *testEnv) sample(stock int64) {
	env.Helper()
	if err := env.Seed(env.Context(), store.SeedPlan{SetStock: true, Stock: stock}); err != nil {
		env.Fatal(err)
	}
}

// under returns another handle of the database, under other rules.
func (env *testEnv) under(rules order.Rules) *testEnv {
	return &testEnv{T: env.T, Store: env.connect(rules), connect: env.connect}
}

func (env *testEnv) draft(user int64, key string, pairs ...int64) order.Draft {
	env.Helper()
	return Draft(env, user, key, pairs...)
}

func (env *testEnv) create(drafts ...order.Draft) []order.Placed {
	env.Helper()
	answers, _, err := env.CreateOrders(env.Context(), drafts)
	if err != nil {
		env.Fatal(err)
	}
	if len(answers) != len(drafts) {
		env.Fatalf("%d answers to %d drafts", len(answers), len(drafts))
	}
	return answers
}

// place makes one order of one unit of product 1 for user 1.
func (env *testEnv) place(key string) *order.Order {
	env.Helper()
	answer := env.create(env.draft(1, key, 1, 1))[0]
	if answer.Err != nil {
		env.Fatal(answer.Err)
	}
	return answer.Order
}

// claim claims one order and returns the answer.
func (env *testEnv) claim(id int64) order.Claimed {
	env.Helper()
	answers, _, err := env.ClaimOrders(env.Context(), []order.ClaimRequest{{OrderID: id, Actor: "worker", Trace: Trace("claim")}})
	if err != nil {
		env.Fatal(err)
	}
	return answers[0]
}

func (env *testEnv) abandon(id int64) order.Claimed {
	env.Helper()
	answers, _, err := env.ClaimOrders(env.Context(), []order.ClaimRequest{{OrderID: id, Abandon: true, Actor: "operator"}})
	if err != nil {
		env.Fatal(err)
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

func (env *testEnv) settle(settlements ...order.Settlement) []order.Changed {
	env.Helper()
	answers, _, err := env.SettleOrders(env.Context(), settlements)
	if err != nil {
		env.Fatal(err)
	}
	return answers
}

func (env *testEnv) read(id int64) *order.Order {
	env.Helper()
	o, err := env.Order(env.Context(), id)
	if err != nil {
		env.Fatal(err)
	}
	return o
}

func (env *testEnv) stock(product int64) int64 {
	env.Helper()
	products, err := env.Products(env.Context())
	if err != nil {
		env.Fatal(err)
	}
	for _, p := range products {
		if p.ID == product {
			return p.Stock
		}
	}
	env.Fatalf("no product %d", product)
	return 0
}

func (env *testEnv) history(id int64) []order.EventType {
	env.Helper()
	events, err := env.Events(env.Context(), id, 0)
	if err != nil {
		env.Fatal(err)
	}
	types := make([]order.EventType, len(events))
	for i, e := range events {
		types[i] = e.Type
	}
	return types
}

// job returns the only failed job.
func (env *testEnv) job() order.FailedJob {
	env.Helper()
	jobs, err := env.FailedJobs(env.Context(), false, 10)
	if err != nil || len(jobs) != 1 {
		env.Fatalf("failed jobs: %v, %v; want one", jobs, err)
	}
	return jobs[0]
}

func (env *testEnv) openJobs() int {
	env.Helper()
	jobs, err := env.FailedJobs(env.Context(), true, 10)
	if err != nil {
		env.Fatal(err)
	}
	return len(jobs)
}

func (env *testEnv) checkInvariants() {
	env.Helper()
	CheckInvariants(env, env.Store)
}

// wantCode checks an error's code; "" is for no error.
func (env *testEnv) wantCode(err error, want order.Code) {
	env.Helper()
	if got := order.CodeOf(err); got != want {
		env.Errorf("code %q (%v), want %q", got, err, want)
	}
}

// coded is the error's *order.Error, or an empty one.
func coded(err error) *order.Error {
	if e, ok := errors.AsType[*order.Error](err); ok {
		return e
	}
	return &order.Error{}
}

func keyOf(o *order.Order) order.OrderKey { return order.OrderKey{UserID: o.UserID, Key: o.Key} }

func (env *testEnv) wantStatus(id int64, want order.Status) {
	env.Helper()
	if got := env.read(id).Status; got != want {
		env.Errorf("order %d is %s, want %s", id, got, want)
	}
}
