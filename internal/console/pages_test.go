package console

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"orderflow/internal/api"
	"orderflow/internal/order"
	"orderflow/internal/payment"
	"orderflow/internal/telemetry"
	"orderflow/test/env"
)

// switchableGateway is the environment's gateway for the console.
type switchableGateway struct {
	faults  *payment.Faults
	breaker *payment.Breaker
}

func (s switchableGateway) State() string { return s.breaker.Charges().State() }

func (s switchableGateway) Fault() (bool, time.Duration) {
	return s.faults.Fault().Errors, s.faults.Fault().Delay
}

func (s switchableGateway) MaxDelay() time.Duration { return payment.MaxDelay }

func (s switchableGateway) SetFault(errors bool, delay time.Duration) {
	s.faults.Set(payment.Fault{Errors: errors, Delay: delay})
}

// client is a browser with a console over a testEnv.
type client struct {
	*testEnv
	console *Console
	cookie  string // of the session; "" for none
}

// open opens a console for a local client; change may alter its options.
func (s *testEnv) open(change ...func(*Options)) *client {
	s.Helper()
	options := Options{
		Authenticator: s.api, InProcess: s.api.InProcess, Store: s.store, Gateway: switchableGateway{s.faults, s.breaker},
		Feed:    Feed{Key: "key", URL: func(*http.Request) string { return "ws://127.0.0.1:1" }},
		Local:   true,
		Metrics: telemetry.NewRegistry("test"), Logger: slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&options)
	}
	made, err := New(options)
	if err != nil {
		s.Fatal(err)
	}
	s.api.Mount(Prefix, made)
	return &client{testEnv: s, console: made}
}

// shown is a response of the console.
type shown struct {
	t      testing.TB
	status int
	where  string // the redirect
	text   string
}

// send sends a request as a browser does.
func (c *client) send(method, path string, form url.Values, headers ...string) shown {
	c.Helper()
	var body io.Reader = http.NoBody
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r := httptest.NewRequestWithContext(context.Background(), method, Prefix+path, body)
	r.Host, r.RemoteAddr = "127.0.0.1:8000", "127.0.0.1:4711"
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if c.cookie != "" {
		r.AddCookie(&http.Cookie{Name: SessionCookie, Value: c.cookie})
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	c.api.ServeHTTP(w, r)
	return shown{c, w.Code, w.Header().Get("Location"), w.Body.String()}
}

func (c *client) get(path string) shown { c.Helper(); return c.send(http.MethodGet, path, nil) }

// post sends a form, given as pairs of name and value.
func (c *client) post(path string, pairs ...string) shown {
	c.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return c.send(http.MethodPost, path, form)
}

// follow follows a redirect.
func (c *client) follow(s shown) shown {
	c.Helper()
	if s.status != http.StatusSeeOther {
		c.Fatalf("no redirect: %d %s", s.status, s.text)
	}
	return c.get(strings.TrimPrefix(s.where, Prefix))
}

// has fails the test unless the response has the status and all of want, and none of the texts after a "!".
func (s shown) has(status int, want ...string) shown {
	s.t.Helper()
	if s.status != status {
		s.t.Errorf("status %d, want %d:\n%s", s.status, status, s.text)
	}
	for _, w := range want {
		absent, negated := strings.CutPrefix(w, "!")
		if negated == strings.Contains(s.text, absent) {
			s.t.Errorf("want %q in:\n%s", w, s.text)
		}
	}
	return s
}

// hidden returns the value of a hidden field of a page.
func (s shown) hidden(name string) string {
	s.t.Helper()
	found := regexp.MustCompile(`name="` + name + `" value="([^"]*)"`).FindStringSubmatch(s.text)
	if found == nil {
		s.t.Fatalf("no field %s in:\n%s", name, s.text)
	}
	return found[1]
}

// place places an order of one unit.
func (s *testEnv) place(user int64, key string, product int64) int64 {
	s.Helper()
	body := map[string]any{"user_id": user, "idempotency_key": key, "items": []map[string]any{{"product_id": product, "quantity": 1}}}
	var reply struct{ Data struct{ ID int64 } }
	if _, err := InProcess(s.api.InProcess).call(context.Background(), order.Caller{}, "trace-"+key, http.MethodPost, "/api/v1/orders", body, &reply); err != nil {
		s.Fatal(err)
	}
	return reply.Data.ID
}

func href(id int64) string { return "/orders/" + strconv.FormatInt(id, 10) }

func TestPageOrders(t *testing.T) {
	t.Parallel()
	s := newEnv(t, false)
	c := s.open()
	c.get("/orders").has(200, "There are no orders yet", `aria-current="page"`)
	var last int64
	for i := range 60 {
		last = s.place(int64(i%3+1), fmt.Sprintf("key-%d<b>", i), 2)
	}
	first := c.get("/orders").has(200, fmt.Sprintf(`href="/console/orders/%d"`, last), "key-59&lt;b&gt;", "Older orders", "PENDING", "!Newest orders", "!<b>")
	older := regexp.MustCompile(`href="/console(/orders\?before=[^"]*)"`).FindStringSubmatch(first.text)
	if older == nil {
		t.Fatal("no link to older orders")
	}
	c.get(strings.ReplaceAll(older[1], "&amp;", "&")).has(200, ">key-0&lt;b&gt;<", "Newest orders", "!Older orders", "!key-59")
	c.get("/orders?id=7").has(200, "key-6&lt;b&gt;", "!key-5&lt;b")
	c.get("/orders?id=700").has(200, "No order matches")
	c.get("/orders?key="+url.QueryEscape("key-9<b>")).has(200, "key-9&lt;b", "!key-59")
	c.get("/orders?user=2&key="+url.QueryEscape("key-9<b>")).has(200, "No order matches")
	c.get("/orders?user=2").has(200, "key-58&lt;", "key-1&lt;", "!key-59")
	c.get("/orders?status=PAID").has(200, "No order matches", "<option selected>PAID")
	c.get("/orders?id=x&user=0").has(422, "id: must be a whole number", "user: must be", `value="x"`)
	c.get("/orders?status=SOLD").has(422, "status: must be")
	c.get("/orders?before=x").has(422)
	c.get("/orders?id=&key=&user=2&status=").has(200, "key-58&lt;", "!key-59")
	c.get("/orders?userid=2").has(422, "userid: is not a parameter of this address, which takes id, key, user, status, before", "!key-59")
	c.get("/orders?user=2&user=1").has(422, "user: must be given once", "!key-59")
	c.get("/orders?user=2;status=PAID").has(422, "query: is not a well-formed query string", "!key-59")
}

func TestPageOrder(t *testing.T) {
	t.Parallel()
	s := newEnv(t, true)
	c := s.open()
	id := s.place(1, "one", 2)
	env.Eventually(s, "it is paid", func() bool { return s.order(id).Status == order.Paid })
	c.get(href(id)).has(200, "Created", "by user:1, trace <code>trace-one", "Claimed for payment", "by worker:test", "Charge 1 succeeded", "<strong>Paid</strong>",
		"sim_charge_", "Wireless Mouse", "29.99 USD", "!every 1s", "!Cancel…")
	c.get("/orders/99").has(404, "Order 99 does not exist")
	c.get("/orders/x").has(404)
	c.get(href(id)+"/cancel").has(200, "is PAID and cannot be cancelled")
	c.post(href(id)+"/cancel").has(422, "cannot be cancelled")
	if s.order(id).Status != order.Paid {
		t.Error("the order is cancelled")
	}
}

func TestPageCancel(t *testing.T) {
	t.Parallel()
	s := newEnv(t, false)
	c := s.open()
	before := s.stock(2)
	id := s.place(1, "one", 2)
	c.get(href(id)).has(200, "every 1s", "Cancel…", "No request has been sent to the gateway yet")
	c.get(href(id)+"/cancel").has(200, "Cancel order <strong>1</strong> of user 1", `action="/console/orders/1/cancel"`)
	c.follow(c.post(href(id)+"/cancel")).has(200, "CANCELLED", "Cancelled; its units are back in stock", "by operator", "!every 1s")
	if o := s.order(id); o.Status != order.Cancelled || s.stock(2) != before {
		t.Errorf("the order is %s, the stock %d of %d", o.Status, s.stock(2), before)
	}
	c.send(http.MethodPost, href(id)+"/cancel", url.Values{}, "Origin: http://evil.example").has(403)
}

func TestPageProducts(t *testing.T) {
	t.Parallel()
	s := newEnv(t, false)
	c := s.open()
	s.place(1, "one", 5)
	page := c.get("/products").has(200, "5 products", "1 sold out", "<strong>sold out</strong>", "200 of 200", `value="200" max="200"`)
	// A form that is sent twice creates one product. A validation error keeps the values of the form.
	c.post("/products", "key", page.hidden("key"), "name", "Lamp & Co", "price", "x", "stock", "many").
		has(422, "price: ", "stock: ", `value="Lamp &amp; Co"`)
	form := []string{"key", page.hidden("key"), "name", "Lamp & Co", "price", "12.50", "stock", "7"}
	made := c.post("/products", form...)
	c.follow(made).has(200, "Lamp &amp; Co", "7 of 7 left")
	if again := c.post("/products", form...); again.where != made.where {
		t.Errorf("sent again: redirect to %s, want %s", again.where, made.where)
	}
	at := strings.TrimPrefix(made.where, Prefix)
	c.follow(c.post(at, "name", "Lamp", "price", "13")).has(200, "<strong>Lamp</strong> 13.00")
	c.post(at, "name", "", "price", "-1").has(422, "name: ", "price: ", `value="-1"`)
	c.follow(c.post(at, "active", "false")).has(200, "stopped", "Start the sale", "13.00")
	c.follow(c.post(at, "active", "true")).has(200, "Stop the sale", "!stopped")
	restock := c.get(at).hidden("key")
	for range 2 {
		c.follow(c.post(at+"/restock", "key", restock, "quantity", "-3", "reason", "broken")).has(200, "4 of 4 left")
	}
	c.post(at+"/restock", "key", "other", "quantity", "-5", "reason", "gone").has(409, "4 of 4 left", `value="-5"`, `value="gone"`)
	c.post(at+"/restock", "key", "other", "quantity", "a few", "reason", "").has(422, "quantity: ", "reason: ")
	c.get("/products/77").has(404)
	c.get("/products?page=2").has(200, "There are no products yet", `href="/console/products?page=1"`)
	c.get("/products?page=x").has(404)
	c.get("/products?seite=2").has(422, "seite: is not a parameter")
	c.get("/no-such-page?x=1").has(404)
	products, err := s.store.Products(t.Context())
	if err != nil || len(products) != 6 {
		t.Fatalf("%d products, %v", len(products), err)
	}
	got := products[5]
	got.ID, got.CreatedAt = 0, time.Time{}
	if diff := cmp.Diff(order.Product{Name: "Lamp", Price: 1300, Currency: "USD", Stock: 4, Active: true}, got); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

// settle records a charge with an outcome. text is the reference of a success, else the reason.
func (s *testEnv) settle(id int64, outcome order.Outcome, text string) {
	s.Helper()
	var claimed []order.Claimed
	env.Eventually(s, "it can be claimed", func() (ok bool) {
		var err error
		claimed, _, err = s.store.ClaimOrders(context.Background(), []order.ClaimRequest{{OrderID: id, Actor: "worker:test"}})
		if err != nil {
			s.Fatal(err)
		}
		return claimed[0].Task == order.TaskCharge
	})
	settlement := order.Settlement{
		OrderID: id, Claim: claimed[0].Order.Claims, Lease: claimed[0].Order.Lease, Kind: order.KindCharge, Outcome: outcome,
		Reason: text, Actor: "worker:test",
	}
	if outcome == order.Succeeded {
		settlement.Reference, settlement.Reason = text, ""
	}
	if _, _, err := s.store.SettleOrders(context.Background(), []order.Settlement{settlement}); err != nil {
		s.Fatal(err)
	}
}

// failJob places an order whose payment attempts all fail, and returns the ids of the failed job and the order.
func (s *testEnv) failJob(key string) (job, id int64) {
	s.Helper()
	id = s.place(1, key, 2)
	for range s.rules.PaymentAttempts {
		s.settle(id, order.NoAnswer, "no <answer>")
	}
	jobs, err := s.store.FailedJobs(context.Background(), true, 100)
	if err != nil || len(jobs) == 0 || jobs[0].OrderID != id {
		s.Fatalf("no failed job of order %d: %+v, %v", id, jobs, err)
	}
	return jobs[0].ID, id
}

func TestPageFailedJobs(t *testing.T) {
	t.Parallel()
	s := newEnv(t, false)
	c := s.open()
	c.get("/failed-jobs").has(200, "There are no failed jobs", "!Retry…")
	var jobs, orders []string
	for i := range 4 {
		job, id := s.failJob(fmt.Sprint("k", i))
		jobs, orders = append(jobs, strconv.FormatInt(job, 10)), append(orders, strconv.FormatInt(id, 10))
	}
	c.get("/failed-jobs").has(200, "no &lt;answer&gt;", `value="`+jobs[3]+`"`, "Retry…", "Abandon…", "29.99 USD", "open")
	c.get("/orders/"+orders[0]).has(200, "Charge 2 had no answer", "The order waits for an operator")
	c.get("/failed-jobs/confirm?do=retry").has(422, "choose 1 to 50 failed jobs")
	c.get("/failed-jobs/confirm?do=burn&id=1").has(422)
	c.get("/failed-jobs/confirm?do=retry&id=x").has(422)
	c.get("/failed-jobs/confirm?do=abandon&id="+jobs[0]+"&id="+jobs[1]).has(200, "Abandon 2 failed jobs?", `name="id" value="`+jobs[1]+`"`)
	c.get("/failed-jobs/confirm?do=retry&all=on&page=1").has(200, "Retry 4 failed jobs?")
	c.get("/failed-jobs/confirm?do=retry&all=on&page=2").has(422)
	before := s.stock(2)
	c.post("/failed-jobs", "do", "abandon", "id", jobs[0], "id", "77", "id", jobs[1]).
		has(200, "Abandoned: 3 failed jobs, 1 with an error.", "Failed job 77: ", "does not exist", "order "+orders[1]+"</a> is FAILED", "abandoned")
	if s.stock(2) != before+2 {
		t.Errorf("%d units are back", s.stock(2)-before)
	}
	c.post("/failed-jobs", "do", "retry", "id", jobs[2]).has(200, "Retried: 1 failed jobs.", "retried", "is PROCESSING", "!with an error")
	c.post("/failed-jobs", "do", "retry", "id", jobs[0]).has(200, "1 with an error", "already resolved")
	c.post("/failed-jobs", "do", "retry").has(422)
	o := s.order(mustInt(t, orders[2]))
	if o.DueAt.IsZero() || o.AttemptsLeft != s.rules.PaymentAttempts {
		t.Errorf("not retried: %+v", o)
	}
}

// An action runs to its end after the browser has disconnected, and the page shows the result afterwards.
func TestActionsOutliveTheBrowser(t *testing.T) {
	t.Parallel()
	s := newEnv(t, false)
	c := s.open()
	values, orders := url.Values{"do": {"abandon"}}, []int64(nil)
	for i := range 3 {
		job, id := s.failJob(fmt.Sprint("k", i))
		values.Add("id", strconv.FormatInt(job, 10))
		orders = append(orders, id)
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	for path, form := range map[string]url.Values{"/failed-jobs": values, "/audit": {}, "/try/order": {}} {
		r := httptest.NewRequestWithContext(gone, http.MethodPost, Prefix+path, strings.NewReader(form.Encode()))
		r.Host, r.RemoteAddr = "127.0.0.1:8000", "127.0.0.1:4711"
		s.api.ServeHTTP(httptest.NewRecorder(), r)
	}
	for _, id := range orders {
		if o := s.order(id); o.Status != order.Failed {
			t.Errorf("order %d is %s", id, o.Status)
		}
	}
	c.get("/audit").has(200, "Audit passed")
	c.get("/try").has(200, "1 of 1 orders were placed")
}

func mustInt(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestPageTry(t *testing.T) {
	t.Parallel()
	s := newEnv(t, true)
	c := s.open()
	c.get("/try").has(200, "No demo run yet", "Race for the last headphones", `breaker-closed">closed`, `hx-trigger="every 1s"`)
	raced := c.follow(c.post("/try/race")).has(200, "As promised:", "of 50 buyers 1 got the last unit (201), and 49 were refused", "!odd")
	if won, lost := strings.Count(raced.text, `<li class="won"`), strings.Count(raced.text, `<li class="lost"`); won != 1 || lost != 49 {
		t.Errorf("%d cells are green, %d grey", won, lost)
	}
	repeated := c.send(http.MethodPost, "/try/repeat", url.Values{}, "HX-Request: true").has(200, "49 returned that order (200)", "!<html")
	if won, same := strings.Count(repeated.text, `<li class="won"`), strings.Count(repeated.text, `<li class="replayed"`); won != 1 || same != 49 {
		t.Errorf("%d cells are green, %d are framed", won, same)
	}
	c.follow(c.post("/try/order")).has(200, "1 of 1 orders were placed")
	c.post("/try/nothing").has(404)
	c.send(http.MethodGet, "/try?part=gateway", nil, "HX-Request: true").has(200, "Waiting for payment", "!<h2", "!<html")
}

// A failing gateway opens the breaker and orders wait; after the repair they are paid.
func TestPageTryFaults(t *testing.T) {
	t.Parallel()
	s := newEnv(t, true)
	c := s.open()
	c.follow(c.post("/try/faults", "errors", "true")).has(200, ">errors<")
	c.post("/try/faults", "delay", "soon").has(422, "delay: must be")
	c.post("/try/faults", "delay", "10001").has(422, "from 0 to 10000 ms")
	c.follow(c.post("/try/many")).has(200, "30 of 30 orders were placed")
	env.Eventually(s, "the breaker opens", func() bool { return strings.Contains(c.get("/try").text, `breaker-open">open`) })
	if waiting, err := s.store.Backlog(t.Context()); err != nil || waiting.Pending+waiting.Processing == 0 {
		t.Errorf("no order waits: %+v, %v", waiting, err)
	}
	c.follow(c.post("/try/faults", "delay", "1")).has(200, "delayed by 1ms")
	c.follow(c.post("/try/faults")).has(200, ">working<")
	env.Eventually(s, "the orders drain", func() bool {
		left, err := s.store.Backlog(t.Context())
		return err == nil && left.Pending+left.Processing == 0
	})
	env.Eventually(s, "the breaker closes", func() bool { return strings.Contains(c.get("/try").text, `breaker-closed">closed`) })
}

func TestPageAudit(t *testing.T) {
	t.Parallel()
	s := newEnv(t, false)
	c := s.open()
	s.place(1, "one", 2)
	c.get("/audit").has(200, "No audit has run")
	c.post("/audit").has(200, "Audit passed: all 8 invariants hold", `<li class="good" value="1">`, "ms.")
	c.send(http.MethodPost, "/audit", url.Values{}, "HX-Request: true").has(200, "Audit passed", "!<html")
}

// With a user's token the console shows that user's orders and no admin page.
func TestPagesOfAUser(t *testing.T) {
	t.Parallel()
	s := newEnv(t, false)
	c := s.open(func(o *Options) { o.Local, o.Authenticator = false, fakeAuthenticator{s.api} })
	hers, his := s.place(1, "hers", 2), s.place(2, "his", 2)
	c.get("/orders").has(303)
	c.cookie = "user-1"
	c.get("/orders").has(200, "hers", "!his<", "!name=\"user\"")
	c.get("/orders?user=2").has(200, "hers", "!his<")
	c.get("/orders?key=his").has(200, "No order matches")
	c.get(href(his)).has(404)
	c.get(href(his) + "/cancel").has(404)
	c.post(href(his) + "/cancel").has(404)
	c.follow(c.post(href(hers)+"/cancel")).has(200, "by user:1")
	c.get("/").has(303)
	c.get("/products").has(200, "Wireless Mouse", "!New product", "!Live", "!Audit")
	c.get("/products/2").has(200, "!Restock")
	for _, path := range []string{"/live/events", "/failed-jobs", "/failed-jobs/confirm", "/try", "/audit"} {
		c.get(path).has(403)
	}
	for _, path := range []string{"/products", "/products/2", "/products/2/restock", "/failed-jobs", "/try/race", "/try/faults", "/audit"} {
		c.post(path).has(403)
	}
	if s.order(his).Status != order.Pending || s.stock(5) != 1 {
		t.Error("a user performed an action of admins")
	}
	_, waits := s.failJob("waits") // customers do not see the gateway's messages
	c.get(href(waits)).has(200, "Charge 2 had no answer", "The order waits for an operator.", "!no &lt;answer&gt;", "!Failed jobs")
	s.settle(s.place(1, "paid", 2), order.Succeeded, "secret-reference")
	s.settle(s.place(1, "declined", 2), order.Declined, "no money")
	c.get(href(waits+1)).has(200, "Charge 1 succeeded", "!secret-reference")
	c.get(href(waits+2)).has(200, "Charge 1 was declined", "Failed; its units are back in stock</strong> <span class=\"note\">no money") // from the event
}

// A token without a user and without admin rights sees nothing: user 0 must not select the orders of all users.
func TestPagesWithoutAUser(t *testing.T) {
	t.Parallel()
	s := newEnv(t, false)
	c := s.open(func(o *Options) { o.Local, o.Authenticator = false, fakeAuthenticator{s.api} })
	id := s.place(1, "hers", 2)
	c.cookie = "no-user"
	for _, path := range []string{"/", "/orders", "/orders?key=hers", "/orders?id=1", href(id), "/products"} {
		c.get(path).has(403, "belongs to no user", "!hers")
	}
}

// fakeAuthenticator accepts two tokens.
type fakeAuthenticator struct{ *api.API }

func (fakeAuthenticator) Enter(_ http.ResponseWriter, _ *http.Request, token string) (order.Caller, error) {
	switch token {
	case "user-1":
		return order.Token{ID: 1, UserID: 1}.Caller(), nil
	case "no-user":
		return order.Token{ID: 2}.Caller(), nil
	default:
		return order.Caller{}, order.Errorf(order.CodeUnauthenticated, "Invalid token.")
	}
}
