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

	"orderflow/internal/api"
	"orderflow/internal/order"
	"orderflow/internal/payment"
	"orderflow/internal/telemetry"
	"orderflow/internal/web"
)

// switched is the shop's gateway as the console sees it.
type switched struct {
	faults  *payment.Faults
	breaker *payment.Breaker
}

func (s switched) State() string { return s.breaker.Charges().State() }

func (s switched) Fault() (bool, time.Duration) {
	return s.faults.Fault().Errors, s.faults.Fault().Delay
}

func (s switched) MaxDelay() time.Duration { return payment.MaxDelay }

func (s switched) SetFault(errors bool, delay time.Duration) {
	s.faults.Set(payment.Fault{Errors: errors, Delay: delay})
}

// counter is a console over a shop, as a browser reaches it.
type counter struct {
	*shop
	console *Console
	cookie  string // of the session; "" for none
}

// open opens a console for whoever sits at the machine; change may alter its options.
func (s *shop) open(change ...func(*Options)) *counter {
	s.Helper()
	options := Options{
		Door: s.api, Inside: s.api.InProcess, Shop: s.store, Try: switched{s.faults, s.breaker},
		Feed:  Feed{Key: "key", URL: func(*http.Request) string { return "ws://127.0.0.1:1" }},
		Local: true, FromHere: web.FromLoopback, MayTake: web.ExtendDeadline, Secure: func(*http.Request) bool { return false }, Status: web.StatusOf,
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
	return &counter{shop: s, console: made}
}

// shown is an answer of the console.
type shown struct {
	t      testing.TB
	status int
	where  string // that it leads to
	text   string
}

// send sends a request as a browser does.
func (c *counter) send(method, path string, form url.Values, headers ...string) shown {
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

func (c *counter) get(path string) shown { c.Helper(); return c.send(http.MethodGet, path, nil) }

// post sends a form, given as pairs of name and value.
func (c *counter) post(path string, pairs ...string) shown {
	c.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return c.send(http.MethodPost, path, form)
}

// follow goes where an answer leads.
func (c *counter) follow(s shown) shown {
	c.Helper()
	if s.status != http.StatusSeeOther {
		c.Fatalf("it leads nowhere: %d %s", s.status, s.text)
	}
	return c.get(strings.TrimPrefix(s.where, Prefix))
}

// has fails the test unless the answer has the status and all of want; what begins with "!" it must not have.
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

// hidden is the value of a hidden field of a page.
func (s shown) hidden(name string) string {
	s.t.Helper()
	found := regexp.MustCompile(`name="` + name + `" value="([^"]*)"`).FindStringSubmatch(s.text)
	if found == nil {
		s.t.Fatalf("no field %s in:\n%s", name, s.text)
	}
	return found[1]
}

// place makes an order of one piece.
func (s *shop) place(user int64, key string, product int64) int64 {
	s.Helper()
	body := map[string]any{"user_id": user, "idempotency_key": key, "items": []map[string]any{{"product_id": product, "quantity": 1}}}
	var reply struct{ Data struct{ ID int64 } }
	if _, err := InProcess(s.api.InProcess).ask(context.Background(), order.Caller{}, "trace-"+key, http.MethodPost, "/api/v1/orders", body, &reply); err != nil {
		s.Fatal(err)
	}
	return reply.Data.ID
}

func href(id int64) string { return "/orders/" + strconv.FormatInt(id, 10) }

func TestPageOrders(t *testing.T) {
	t.Parallel()
	s := newShop(t, false)
	c := s.open()
	c.get("/orders").has(200, "There are no orders yet", `aria-current="page"`)
	var last int64
	for i := range 60 {
		last = s.place(int64(i%3+1), fmt.Sprintf("key-%d<b>", i), 2)
	}
	first := c.get("/orders").has(200, fmt.Sprintf(`href="/console/orders/%d"`, last), "key-59&lt;b&gt;", "Older orders", "PENDING", "!Newest orders", "!<b>")
	older := regexp.MustCompile(`href="/console(/orders\?before=[^"]*)"`).FindStringSubmatch(first.text)
	if older == nil {
		t.Fatal("no page follows")
	}
	c.get(strings.ReplaceAll(older[1], "&amp;", "&")).has(200, ">key-0&lt;b&gt;<", "Newest orders", "!Older orders", "!key-59")
	c.get("/orders?id=7").has(200, "key-6&lt;b&gt;", "!key-5&lt;b")
	c.get("/orders?id=700").has(200, "No order is like that")
	c.get("/orders?key="+url.QueryEscape("key-9<b>")).has(200, "key-9&lt;b", "!key-59")
	c.get("/orders?user=2&key="+url.QueryEscape("key-9<b>")).has(200, "No order is like that")
	c.get("/orders?user=2").has(200, "key-58&lt;", "key-1&lt;", "!key-59")
	c.get("/orders?status=PAID").has(200, "No order is like that", "<option selected>PAID")
	c.get("/orders?id=x&user=0").has(422, "id: must be a whole number", "user: must be", `value="x"`)
	c.get("/orders?status=SOLD").has(422, "status: must be")
	c.get("/orders?before=x").has(422)
	c.get("/orders?id=&key=&user=2&status=").has(200, "key-58&lt;", "!key-59")
	c.get("/orders?userid=2").has(422, "userid: is not a parameter of this address, which takes id, key, user, status, before", "!key-59")
	c.get("/orders?user=2&user=1").has(422, "user: must be given once", "!key-59")
	c.get("/orders?user=2;status=PAID").has(422, "query: is no well-formed query string", "!key-59")
}

func TestPageOrder(t *testing.T) {
	t.Parallel()
	s := newShop(t, true)
	c := s.open()
	id := s.place(1, "one", 2)
	s.waitFor("it is paid", func() bool { return s.order(id).Status == order.Paid })
	c.get(href(id)).has(200, "Created", "by user:1, trace <code>trace-one", "Claimed for its payment", "by worker:test", "Charge 1 succeeded", "<strong>Paid</strong>",
		"sim_charge_", "Wireless Mouse", "29.99 USD", "!every 1s", "!Cancel…")
	c.get("/orders/99").has(404, "Order 99 does not exist")
	c.get("/orders/x").has(404)
	c.get(href(id)+"/cancel").has(200, "is PAID and cannot be cancelled")
	c.post(href(id)+"/cancel").has(422, "cannot be cancelled")
	if s.order(id).Status != order.Paid {
		t.Error("it is cancelled all the same")
	}
}

func TestPageCancel(t *testing.T) {
	t.Parallel()
	s := newShop(t, false)
	c := s.open()
	before := s.stock(2)
	id := s.place(1, "one", 2)
	c.get(href(id)).has(200, "every 1s", "Cancel…", "The gateway has not been asked yet")
	c.get(href(id)+"/cancel").has(200, "Cancel order <strong>1</strong> of user 1", `action="/console/orders/1/cancel"`)
	c.follow(c.post(href(id)+"/cancel")).has(200, "CANCELLED", "Cancelled; its pieces are back in stock", "by operator", "!every 1s")
	if o := s.order(id); o.Status != order.Cancelled || s.stock(2) != before {
		t.Errorf("it is %s, and %d of %d are there", o.Status, s.stock(2), before)
	}
	c.send(http.MethodPost, href(id)+"/cancel", url.Values{}, "Origin: http://evil.example").has(403)
}

func TestPageProducts(t *testing.T) {
	t.Parallel()
	s := newShop(t, false)
	c := s.open()
	s.place(1, "one", 5)
	page := c.get("/products").has(200, "5 products", "1 sold out", "<strong>sold out</strong>", "200 of 200", `value="200" max="200"`)
	// A new product, sent twice, is one; and what is wrong is said beside what was filled in.
	c.post("/products", "key", page.hidden("key"), "name", "Lamp & Co", "price", "x", "stock", "many").
		has(422, "price: ", "stock: ", `value="Lamp &amp; Co"`)
	form := []string{"key", page.hidden("key"), "name", "Lamp & Co", "price", "12.50", "stock", "7"}
	made := c.post("/products", form...)
	c.follow(made).has(200, "Lamp &amp; Co", "7 of 7 left")
	if again := c.post("/products", form...); again.where != made.where {
		t.Errorf("sent again, it leads to %s, not %s", again.where, made.where)
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
	if p := products[len(products)-1]; err != nil || len(products) != 6 || p.Name != "Lamp" || p.Price != 1300 || p.Stock != 4 || !p.Active {
		t.Errorf("%d products, the last one %+v, %v", len(products), p, err)
	}
}

// settle charges an order; the gateway answers with outcome and says this, as the reference of a success and as the reason otherwise.
func (s *shop) settle(id int64, outcome order.Outcome, says string) {
	s.Helper()
	var claimed []order.Claimed
	s.waitFor("it can be claimed", func() (ok bool) {
		var err error
		claimed, _, err = s.store.ClaimOrders(context.Background(), []order.ClaimRequest{{OrderID: id, Actor: "worker:test"}})
		if err != nil {
			s.Fatal(err)
		}
		return claimed[0].Task == order.TaskCharge
	})
	settlement := order.Settlement{
		OrderID: id, Claim: claimed[0].Order.Claims, Lease: claimed[0].Order.Lease, Kind: order.KindCharge, Outcome: outcome,
		Reason: says, Actor: "worker:test",
	}
	if outcome == order.Succeeded {
		settlement.Reference, settlement.Reason = says, ""
	}
	if _, _, err := s.store.SettleOrders(context.Background(), []order.Settlement{settlement}); err != nil {
		s.Fatal(err)
	}
}

// bury makes a dead letter of a new order and returns its id and the order's.
func (s *shop) bury(key string) (letter, id int64) {
	s.Helper()
	id = s.place(1, key, 2)
	for range s.rules.PaymentAttempts {
		s.settle(id, order.NoAnswer, "no <answer>")
	}
	jobs, err := s.store.FailedJobs(context.Background(), true, 100)
	if err != nil || len(jobs) == 0 || jobs[0].OrderID != id {
		s.Fatalf("no letter of order %d: %+v, %v", id, jobs, err)
	}
	return jobs[0].ID, id
}

func TestPageDeadLetters(t *testing.T) {
	t.Parallel()
	s := newShop(t, false)
	c := s.open()
	c.get("/dead-letters").has(200, "No payment has used up its tries", "!Retry…")
	var letters, orders []string
	for i := range 4 {
		letter, id := s.bury(fmt.Sprint("k", i))
		letters, orders = append(letters, strconv.FormatInt(letter, 10)), append(orders, strconv.FormatInt(id, 10))
	}
	c.get("/dead-letters").has(200, "no &lt;answer&gt;", `value="`+letters[3]+`"`, "Retry…", "Abandon…", "29.99 USD", "open")
	c.get("/orders/"+orders[0]).has(200, "Charge 2 had no answer", "It waits for an operator")
	c.get("/dead-letters/ask?do=retry").has(422, "must be chosen")
	c.get("/dead-letters/ask?do=burn&id=1").has(422)
	c.get("/dead-letters/ask?do=retry&id=x").has(422)
	c.get("/dead-letters/ask?do=abandon&id="+letters[0]+"&id="+letters[1]).has(200, "Abandon 2 dead letters?", `name="id" value="`+letters[1]+`"`)
	c.get("/dead-letters/ask?do=retry&all=on&page=1").has(200, "the orders of 4 dead letters again")
	c.get("/dead-letters/ask?do=retry&all=on&page=2").has(422)
	before := s.stock(2)
	c.post("/dead-letters", "do", "abandon", "id", letters[0], "id", "77", "id", letters[1]).
		has(200, "3 dealt with, 1 of them in vain", "Letter 77: ", "does not exist", "order "+orders[1]+"</a> is FAILED", "abandoned")
	if s.stock(2) != before+2 {
		t.Errorf("%d pieces came back", s.stock(2)-before)
	}
	c.post("/dead-letters", "do", "retry", "id", letters[2]).has(200, "1 dealt with.", "tried again", "is PROCESSING", "!in vain")
	c.post("/dead-letters", "do", "retry", "id", letters[0]).has(200, "1 of them in vain", "already resolved")
	c.post("/dead-letters", "do", "retry").has(422)
	o := s.order(mustInt(t, orders[2]))
	if o.DueAt.IsZero() || o.AttemptsLeft != s.rules.PaymentAttempts {
		t.Errorf("it is not tried again: %+v", o)
	}
}

// What was begun ends also when the browser leaves: a row of abandons does not stop half-way, and an audit is there afterwards.
func TestActionsOutliveTheirVisitor(t *testing.T) {
	t.Parallel()
	s := newShop(t, false)
	c := s.open()
	values, orders := url.Values{"do": {"abandon"}}, []int64(nil)
	for i := range 3 {
		letter, id := s.bury(fmt.Sprint("k", i))
		values.Add("id", strconv.FormatInt(letter, 10))
		orders = append(orders, id)
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	for path, form := range map[string]url.Values{"/dead-letters": values, "/audit": {}, "/try/order": {}} {
		r := httptest.NewRequestWithContext(gone, http.MethodPost, Prefix+path, strings.NewReader(form.Encode()))
		r.Host, r.RemoteAddr = "127.0.0.1:8000", "127.0.0.1:4711"
		s.api.ServeHTTP(httptest.NewRecorder(), r)
	}
	for _, id := range orders {
		if o := s.order(id); o.Status != order.Failed {
			t.Errorf("order %d is %s still", id, o.Status)
		}
	}
	c.get("/audit").has(200, "The books are right")
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
	s := newShop(t, true)
	c := s.open()
	c.get("/try").has(200, "Nothing has been tried yet", "Race for the last headphones", `breaker-closed">closed`, `hx-trigger="every 1s"`)
	raced := c.follow(c.post("/try/race")).has(200, "As promised:", "of 50 buyers 1 got the last one (201), and 49 were told", "!odd")
	if won, lost := strings.Count(raced.text, `<li class="won"`), strings.Count(raced.text, `<li class="lost"`); won != 1 || lost != 49 {
		t.Errorf("%d cells are green, %d grey", won, lost)
	}
	repeated := c.send(http.MethodPost, "/try/repeat", url.Values{}, "HX-Request: true").has(200, "49 were shown that order (200)", "!<html")
	if won, same := strings.Count(repeated.text, `<li class="won"`), strings.Count(repeated.text, `<li class="replayed"`); won != 1 || same != 49 {
		t.Errorf("%d cells are green, %d are framed", won, same)
	}
	c.follow(c.post("/try/order")).has(200, "1 of 1 orders were placed")
	c.post("/try/nothing").has(404)
	c.send(http.MethodGet, "/try?part=gateway", nil, "HX-Request: true").has(200, "Waiting for payment", "!<h2", "!<html")
}

// A gateway that is broken opens the breaker, orders wait, and drain when it is mended.
func TestPageTryFaults(t *testing.T) {
	t.Parallel()
	s := newShop(t, true)
	c := s.open()
	c.follow(c.post("/try/faults", "errors", "true")).has(200, ">errors<")
	c.post("/try/faults", "delay", "soon").has(422, "delay: must be")
	c.post("/try/faults", "delay", "10001").has(422, "from 0 to 10000 ms")
	c.follow(c.post("/try/many")).has(200, "30 of 30 orders were placed")
	s.waitFor("the breaker opens", func() bool { return strings.Contains(c.get("/try").text, `breaker-open">open`) })
	if waiting, err := s.store.Backlog(t.Context()); err != nil || waiting.Pending+waiting.Processing == 0 {
		t.Errorf("nothing waits: %+v, %v", waiting, err)
	}
	c.follow(c.post("/try/faults", "delay", "1")).has(200, "delayed by 1ms")
	c.follow(c.post("/try/faults")).has(200, ">well<")
	s.waitFor("the orders drain", func() bool {
		left, err := s.store.Backlog(t.Context())
		return err == nil && left.Pending+left.Processing == 0
	})
	s.waitFor("the breaker closes", func() bool { return strings.Contains(c.get("/try").text, `breaker-closed">closed`) })
}

func TestPageAudit(t *testing.T) {
	t.Parallel()
	s := newShop(t, false)
	c := s.open()
	s.place(1, "one", 2)
	c.get("/audit").has(200, "Nothing has been audited")
	c.post("/audit").has(200, "The books are right: all 8 invariants hold", `<li class="good" value="1">`, "ms.")
	c.send(http.MethodPost, "/audit", url.Values{}, "HX-Request: true").has(200, "The books are right", "!<html")
}

// Who is logged in with a user's token sees their own orders, and nothing of what admins do.
func TestPagesOfAUser(t *testing.T) {
	t.Parallel()
	s := newShop(t, false)
	c := s.open(func(o *Options) { o.Local, o.Door = false, known{s.api} })
	hers, his := s.place(1, "hers", 2), s.place(2, "his", 2)
	c.get("/orders").has(303)
	c.cookie = "user-1"
	c.get("/orders").has(200, "hers", "!his<", "!name=\"user\"")
	c.get("/orders?user=2").has(200, "hers", "!his<")
	c.get("/orders?key=his").has(200, "No order is like that")
	c.get(href(his)).has(404)
	c.get(href(his) + "/cancel").has(404)
	c.post(href(his) + "/cancel").has(404)
	c.follow(c.post(href(hers)+"/cancel")).has(200, "by user:1")
	c.get("/").has(303)
	c.get("/products").has(200, "Wireless Mouse", "!New product", "!Live", "!Audit")
	c.get("/products/2").has(200, "!Restock")
	for _, path := range []string{"/live/events", "/dead-letters", "/dead-letters/ask", "/try", "/audit"} {
		c.get(path).has(403)
	}
	for _, path := range []string{"/products", "/products/2", "/products/2/restock", "/dead-letters", "/try/race", "/try/faults", "/audit"} {
		c.post(path).has(403)
	}
	if s.order(his).Status != order.Pending || s.stock(5) != 1 {
		t.Error("a user did what only admins may")
	}
	_, waits := s.bury("waits") // what the gateway said is not for customers
	c.get(href(waits)).has(200, "Charge 2 had no answer", "It waits for an operator.", "!no &lt;answer&gt;", "!Dead letters")
	s.settle(s.place(1, "paid", 2), order.Succeeded, "secret-reference")
	s.settle(s.place(1, "declined", 2), order.Declined, "no money")
	c.get(href(waits+1)).has(200, "Charge 1 succeeded", "!secret-reference")
	c.get(href(waits+2)).has(200, "Charge 1 was declined", "Failed; its pieces are back in stock</strong> <span class=\"note\">no money") // as the event says
}

// A token that is no admin's and nobody's sees nothing: no user is not every user.
func TestPagesOfNobody(t *testing.T) {
	t.Parallel()
	s := newShop(t, false)
	c := s.open(func(o *Options) { o.Local, o.Door = false, known{s.api} })
	id := s.place(1, "hers", 2)
	c.cookie = "nobody"
	for _, path := range []string{"/", "/orders", "/orders?key=hers", "/orders?id=1", href(id), "/products"} {
		c.get(path).has(403, "belongs to nobody", "!hers")
	}
}

// known knows one user by name.
type known struct{ *api.API }

func (known) Enter(_ http.ResponseWriter, _ *http.Request, token string) (order.Caller, error) {
	switch token {
	case "user-1":
		return order.Token{ID: 1, UserID: 1}.Caller(), nil
	case "nobody":
		return order.Token{ID: 2}.Caller(), nil
	default:
		return order.Caller{}, order.Errorf(order.CodeUnauthenticated, "Nobody.")
	}
}
