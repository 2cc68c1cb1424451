package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"orderflow/internal/api"
	"orderflow/internal/audit"
	"orderflow/internal/auth"
	"orderflow/internal/order"
	"orderflow/internal/payment"
	"orderflow/internal/store"
	"orderflow/internal/worker"
)

// withAdmin gives an API the parts of the administrators' routes: the real store, failed job service and audit.
func withAdmin(t testing.TB, s *store.Store, o *api.Options) {
	t.Helper()
	gateway, err := payment.NewSimulated(payment.SimulatedOptions{Success: 1, Seed: "test"})
	if err != nil {
		t.Fatal(err)
	}
	o.Admin, o.Auditor = s, auditor{s}
	o.Auth = auth.New(auth.Options{Tokens: s, Users: s, Passwords: auth.NewPasswords(auth.PasswordOptions{})})
	o.FailedJobs = worker.NewFailedJobService(worker.FailedJobServiceOptions{Jobs: s, Gateway: gateway, Installation: "test"})
}

// bearer creates a token and returns its header.
func (n *server) bearer(t testing.TB, about order.Token) string {
	t.Helper()
	token, _, err := auth.NewToken(t.Context(), n.store, about, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return "Authorization: Bearer " + token
}

// admin returns the header of a new admin's token.
func (n *server) admin(t testing.TB) string {
	t.Helper()
	return n.bearer(t, order.Token{Name: "admin", Admin: true})
}

// user returns the header of a new user's token.
func (n *server) user(t testing.TB, id int64) string {
	t.Helper()
	return n.bearer(t, order.Token{UserID: id})
}

// auditor is the real audit.
type auditor struct{ source audit.Source }

func (a auditor) WriteAudit(ctx context.Context, w io.Writer) error {
	report, err := audit.Run(ctx, a.source)
	if err != nil {
		return err
	}
	return report.WriteJSON(w)
}

// createFailedJob creates an order of one unit of product 2 whose payment has used up its only attempt.
func createFailedJob(t testing.TB, n *server) {
	t.Helper()
	rules := order.DefaultRules()
	rules.PaymentAttempts = 1
	s, err := store.Open(t.Context(), "sqlite:"+n.path, store.Options{Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	d, err := order.NewDraft(nil, 1, "failed", []order.Line{{ProductID: 2, Quantity: 1}}, "")
	if err != nil {
		t.Fatal(err)
	}
	placed, _, err := s.CreateOrders(t.Context(), []order.Draft{d})
	if err != nil {
		t.Fatal(err)
	}
	claimed, _, err := s.ClaimOrders(t.Context(), []order.ClaimRequest{{OrderID: placed[0].Order.ID, Actor: "worker:test"}})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = s.SettleOrders(t.Context(), []order.Settlement{{
		OrderID: placed[0].Order.ID, Claim: 1, Lease: claimed[0].Order.Lease, Kind: order.KindCharge, Outcome: order.NoAnswer,
		Reason: "no answer in time", Actor: "worker:test",
	}})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
}

// asAdmin sends requests as an administrator: pairs of a target and a body.
func asAdmin(method string, pairs ...string) func(testing.TB, *server) {
	return func(t testing.TB, n *server) {
		t.Helper()
		for i := 0; i < len(pairs); i += 2 {
			if a := n.do(t, method, pairs[i], pairs[i+1], n.admin(t)); a.status >= 300 {
				t.Fatalf("%s %s: %d %s", method, pairs[i], a.status, a.body)
			}
		}
	}
}

// checkInvariants fails the test when an invariant is violated.
func (n *server) checkInvariants(t testing.TB) {
	t.Helper()
	report, err := audit.Run(t.Context(), n.store)
	if err != nil || !report.Holds() {
		t.Errorf("the invariants do not hold: %+v, %v", report, err)
	}
}

// Every route of administrators requires an admin's token, which is checked before anything else.
func TestAdminsOnly(t *testing.T) {
	t.Parallel()
	n := open(t)
	createFailedJob(t, n)
	user := n.user(t, 1)
	for _, c := range []struct{ method, target, body string }{
		{"POST", "/products", lamp},
		{"PATCH", "/products/2", `{"active":false}`},
		{"PATCH", "/products/x", `{`},
		{"POST", "/products/2/restock", delivery},
		{"GET", "/failed-jobs", ""},
		{"GET", "/failed-jobs?page=0", ""},
		{"POST", "/failed-jobs/1/retry", ""},
		{"POST", "/failed-jobs/1/abandon", ""},
		{"POST", "/failed-jobs/77/retry", ""},
		{"GET", "/stats", ""},
		{"POST", "/audit", ""},
	} {
		for _, prefix := range []string{"/api/v1", "/api"} {
			n.do(t, c.method, prefix+c.target, c.body).expect(t, http.StatusUnauthorized, []string{`"error":"unauthenticated"`}, `"data"`)
			n.do(t, c.method, prefix+c.target, c.body, user).expect(t, http.StatusForbidden, []string{`"error":"forbidden"`}, `"data"`)
		}
	}
	products := n.do(t, "GET", "/api/v1/products", "")
	products.expect(t, http.StatusOK, []string{`"stock":199,"active":true`}, "Lamp", `"active":false`)
	if jobs, err := n.store.FailedJobs(t.Context(), true, 10); err != nil || len(jobs) != 1 {
		t.Errorf("failed jobs %+v, %v", jobs, err)
	}
}

// The list of products shows a change at once, also when processes share it.
func TestProductsAfterAdminChanges(t *testing.T) {
	t.Parallel()
	list := &sharedList{}
	for name, n := range map[string]*server{"alone": open(t), "shared": open(t, func(o *api.Options) { o.Products = list })} {
		admin := n.admin(t)
		look := func(want string) {
			t.Helper()
			if list := n.do(t, "GET", "/api/v1/products", ""); !strings.Contains(list.body, want) {
				t.Errorf("%s: the list lacks %s: %s", name, want, list.body)
			}
		}
		look(`"name":"Wireless Mouse","price":"29.99","currency":"USD","stock":200,"active":true`)
		n.do(t, "PATCH", "/api/v1/products/2", `{"price":"1.00","active":false}`, admin)
		look(`"price":"1.00","currency":"USD","stock":200,"active":false`)
		n.do(t, "POST", "/api/v1/products/2/restock", delivery, admin)
		look(`"price":"1.00","currency":"USD","stock":225,"active":false`)
		n.do(t, "POST", "/api/v1/products", lamp, admin)
		look(`"id":6,`)
	}
	if list.drops != 3 {
		t.Errorf("the shared list was dropped %d times, want 3", list.drops)
	}
}

// sharedList is a list of products that processes share.
type sharedList struct {
	mu    sync.Mutex
	list  []byte
	drops int
}

func (s *sharedList) Get(context.Context) (list []byte, version string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list, fmt.Sprint(s.drops), nil
}

func (s *sharedList) Put(_ context.Context, version string, list []byte, _ time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if version == fmt.Sprint(s.drops) {
		s.list = list
	}
	return nil
}

func (s *sharedList) Drop(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drops++
	s.list = nil
	return nil
}

// A new product can be ordered at once. A changed price and a stopped sale apply to the next order.
func TestChangesApplyToTheNextOrder(t *testing.T) {
	t.Parallel()
	n := open(t)
	admin := n.admin(t)
	buy := func(key string) answer {
		t.Helper()
		return n.do(t, "POST", "/api/v1/orders", orderJSON(1, key, 6, 1))
	}
	buy("early").expect(t, http.StatusUnprocessableEntity, []string{`"items.0.product_id":["does not exist"]`})
	n.do(t, "POST", "/api/v1/products", lamp, admin)
	buy("early").expect(t, http.StatusCreated, []string{`"unit_price":"29.97"`})
	n.do(t, "PATCH", "/api/v1/products/6", `{"price":"0.01"}`, admin)
	buy("cheap").expect(t, http.StatusCreated, []string{`"unit_price":"0.01"`})
	n.do(t, "PATCH", "/api/v1/products/6", `{"active":false}`, admin)
	buy("late").expect(t, http.StatusConflict, []string{`"error":"product_inactive"`, `"product_id":6`})
	buy("early").expect(t, http.StatusOK, []string{`"unit_price":"29.97"`})
	n.do(t, "PATCH", "/api/v1/products/6", `{"active":true}`, admin)
	buy("late").expect(t, http.StatusCreated, []string{`"unit_price":"0.01"`})
	n.checkInvariants(t)
}

// The log has the changes of administrators with their actor.
func TestAdminChangesAreLogged(t *testing.T) {
	t.Parallel()
	n := open(t)
	createFailedJob(t, n)
	asAdmin("POST", "/api/v1/products", lamp, "/api/v1/products/2/restock", delivery, "/api/v1/failed-jobs/1/abandon", "")(t, n)
	asAdmin("PATCH", "/api/v1/products/2", `{"active":false}`)(t, n)
	asAdmin("PATCH", "/api/v1/products/2", `{"active":false,"price":"9.99","name":"Mouse"}`)(t, n)
	asAdmin("PATCH", "/api/v1/products/2", `{"active":false,"price":"9.99","name":"Mouse"}`)(t, n) // changes nothing
	for _, want := range []string{
		`"event":"product.created","actor":"token:`, `"product_id":6`, `"event":"product.restocked","actor":"token:`, `"quantity":25`,
		`"event":"failed_job.abandoned","actor":"token:`, `"job_id":1,"order_id":1`, `"event":"product.changed","actor":"token:`,
		`"product_id":2,"active_before":true,"active_after":false}`, `"quantity":25,"stock":224`,
		`"product_id":2,"name_before":"Wireless Mouse","name_after":"Mouse","price_before":"29.99","price_after":"9.99"}`,
	} {
		if logs := n.logs.String(); !strings.Contains(logs, want) {
			t.Errorf("the log lacks %s:\n%s", want, logs)
		}
	}
	if changes := strings.Count(n.logs.String(), `"event":"product.changed"`); changes != 2 {
		t.Errorf("%d changes are in the log, want 2", changes)
	}
	events, err := n.store.Events(t.Context(), 1, 0)
	if err != nil || !strings.HasPrefix(events[len(events)-1].Actor, "token:") {
		t.Errorf("the history of the abandoned order: %+v, %v", events, err)
	}
}

// A void without an answer is logged as such, not as a database that does not answer.
func TestUnansweredVoidIsLogged(t *testing.T) {
	t.Parallel()
	n := open(t, func(o *api.Options) {
		gateway, err := payment.NewSimulated(payment.SimulatedOptions{Success: 1, Seed: "test"})
		if err != nil {
			t.Fatal(err)
		}
		faults := payment.NewFaults(gateway)
		faults.Set(payment.Fault{Errors: true})
		o.FailedJobs = worker.NewFailedJobService(worker.FailedJobServiceOptions{
			Jobs: o.Reader.(*store.Store), Gateway: faults, Installation: "test", Logger: o.Logger,
		})
	})
	createFailedJob(t, n)
	n.do(t, "POST", "/api/v1/failed-jobs/1/abandon", "", n.admin(t)).
		expect(t, http.StatusServiceUnavailable, []string{"did not confirm the void of order 1"})
	logs := n.logs.String()
	for _, want := range []string{`"event":"payment.void_failed","order_id":1,"job_id":1`, `"event":"request.unavailable"`} {
		if !strings.Contains(logs, want) {
			t.Errorf("the log lacks %s:\n%s", want, logs)
		}
	}
	if strings.Contains(logs, "database") {
		t.Errorf("the log names the database:\n%s", logs)
	}
}

// slowAuditor is an audit that reports its begin, and ends when the test allows it or its context ends.
type slowAuditor struct {
	began chan struct{}
	end   chan struct{}
}

func (a slowAuditor) WriteAudit(ctx context.Context, w io.Writer) error {
	a.began <- struct{}{}
	select {
	case <-a.end:
		_, err := io.WriteString(w, `{"holds":true,"invariants":[]}`)
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// One audit runs at a time. A server that drains does not wait for it.
func TestOneAuditAtATime(t *testing.T) {
	t.Parallel()
	slow := slowAuditor{make(chan struct{}), make(chan struct{})}
	n := open(t, func(o *api.Options) { o.Auditor = slow })
	admin := n.admin(t)
	answers := make(chan answer, 1)
	begin := func() {
		go func() { answers <- n.do(t, "POST", "/api/v1/audit", "", admin) }()
		<-slow.began
	}
	begin()
	second := n.do(t, "POST", "/api/v1/audit", "", admin)
	second.expect(t, http.StatusServiceUnavailable, []string{`"error":"overloaded"`})
	if second.header.Get("Retry-After") == "" {
		t.Error("the refusal of the second audit has no Retry-After")
	}
	slow.end <- struct{}{}
	(<-answers).expect(t, http.StatusOK, []string{`"holds":true`})
	begin()
	n.Drain()
	(<-answers).expect(t, http.StatusServiceUnavailable, []string{`"error":"unavailable"`, "shutting down"})
}

// Every route of administrators reports a database that is unavailable.
func TestAdminWithoutDatabase(t *testing.T) {
	t.Parallel()
	n := open(t)
	admin := n.admin(t)
	n.do(t, "GET", "/api/v1/stats", "", admin).expect(t, http.StatusOK, nil) // the token is known from now on
	if err := n.store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ method, target, body string }{
		{"POST", "/products", lamp},
		{"PATCH", "/products/2", `{"active":false}`},
		{"POST", "/products/2/restock", delivery},
		{"GET", "/failed-jobs", ""},
		{"POST", "/failed-jobs/1/retry", ""},
		{"POST", "/audit", ""},
	} {
		a := n.do(t, c.method, "/api/v1"+c.target, c.body, admin)
		if a.status < 500 {
			t.Errorf("%s %s: %d %s", c.method, c.target, a.status, a.body)
		}
	}
}

// longAuditor takes longer than the limits on other answers.
type longAuditor time.Duration

func (a longAuditor) WriteAudit(ctx context.Context, w io.Writer) error {
	timer := time.NewTimer(time.Duration(a))
	defer timer.Stop()
	select {
	case <-timer.C:
		_, err := io.WriteString(w, `{"holds":true,"invariants":[]}`)
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// An audit may take longer than the read and write limits of the server. Its caller does not count as disconnected, and may send more
// requests on the same connection.
func TestLongAudit(t *testing.T) {
	t.Parallel()
	const short = 250 * time.Millisecond
	n := open(t, func(o *api.Options) { o.Auditor = longAuditor(4 * short) })
	server := httptest.NewUnstartedServer(n)
	server.Config.ReadTimeout, server.Config.WriteTimeout = short, short
	server.Start()
	defer server.Close()
	name, token, _ := strings.Cut(n.admin(t), ": ")
	for range 2 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/api/v1/audit", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(name, token)
		answer, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		if err := errors.Join(err, answer.Body.Close()); err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(string(body), `"holds":true`) {
			t.Errorf("answered %d %s, %v", answer.StatusCode, body, err)
		}
	}
}
