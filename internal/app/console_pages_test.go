package app_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"orderflow/internal/app"
	"orderflow/internal/config"
	"orderflow/internal/order"
	"orderflow/test/env"
)

// visitor is somebody who uses the console in a real browser, and looks into the database.
type visitor struct {
	*page
	site *site
	db   *app.Database

	forgiven []string // what the browser's console may say
}

// visit opens the console of a server in a tab. What the pages say in the browser's console is an error when the test ends.
func (s *site) visit(b *browser) *visitor {
	s.t.Helper()
	db := s.open()
	v := &visitor{page: b.tab(), site: s, db: db}
	s.t.Cleanup(func() {
		if err := db.Close(); err != nil {
			s.t.Error(err)
		}
		for {
			select {
			case line := <-v.lines:
				if slices.ContainsFunc(v.forgiven, func(text string) bool { return strings.Contains(line, text) }) {
					continue
				}
				s.t.Errorf("the browser's console says: %s", line)
			default:
				return
			}
		}
	})
	return v
}

// do does something in the browser.
func (v *visitor) do(steps ...chromedp.Action[chromedp.Void]) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		v.t.Fatal(err)
	}
}

func (v *visitor) goes(path string) {
	v.t.Helper()
	v.do(chromedp.Navigate(v.site.url + "/console" + path))
}

// clicks clicks on what has this text: a button or a link.
func (v *visitor) clicks(text string) {
	v.t.Helper()
	v.do(chromedp.Click(chromedp.Search(fmt.Sprintf(`//main//*[self::button or self::a][normalize-space()=%q]`, text))))
}

// await waits until an expression is true, also when it is another page by then.
func (v *visitor) await(expression string) {
	v.t.Helper()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-look.C {
		is, err := chromedp.Run(v.ctx, chromedp.Evaluate[bool]("!!("+expression+")"))
		if err == nil && is { // an error: it is between two pages
			return
		}
	}
	body, _ := chromedp.Run(v.ctx, chromedp.Evaluate[string]("document.body.innerText")) // what it is like, if it can be said
	v.t.Fatalf("it never came true that %s. The page shows\n%s", expression, body)
}

// shows waits until the page shows a text.
func (v *visitor) shows(text string) {
	v.t.Helper()
	v.await(fmt.Sprintf("document.body?.innerText.includes(%q)", text))
}

// fills writes into a field of a form.
func (v *visitor) fills(selector, text string) {
	v.t.Helper()
	v.do(chromedp.SetValue(chromedp.CSS(selector), text))
}

// counts is how many elements there are of a kind.
func (v *visitor) counts(selector string) int {
	v.t.Helper()
	n, err := chromedp.Run(v.ctx, chromedp.Evaluate[int](fmt.Sprintf("document.querySelectorAll(%q).length", selector)))
	if err != nil {
		v.t.Fatal(err)
	}
	return n
}

// product reads a product from the database.
func (v *visitor) product(id int64) order.Product {
	v.t.Helper()
	products, err := v.db.Products(context.Background())
	if err != nil {
		v.t.Fatal(err)
	}
	for _, p := range products {
		if p.ID == id {
			return p
		}
	}
	v.t.Fatalf("no product %d", id)
	return order.Product{}
}

// fits waits until the page is at most as wide as its window: charts follow a change of its size with the next frame.
func (v *visitor) fits() {
	v.t.Helper()
	v.await("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
}

// TestConsoleDemo: in a real browser, races end as promised, a failing gateway opens the breaker, and orders are paid after the
// repair; the page updates itself.
func TestConsoleDemo(t *testing.T) {
	t.Parallel()
	s := serve(t, func(set *config.Settings) {
		set.SimulatedLatency = config.Span{Min: time.Millisecond, Max: 5 * time.Millisecond}
	})
	v := s.visit(newBrowser(t))
	v.goes("/try")
	v.shows("No demo run yet")
	v.clicks("Race for the last headphones")
	v.shows("of 50 buyers 1 got the last unit")
	if won, lost := v.counts(".cells .won"), v.counts(".cells .lost"); won != 1 || lost != 49 || v.product(5).Stock != 0 {
		t.Errorf("%d cells are green, %d grey, and %d are left", won, lost, v.product(5).Stock)
	}
	v.clicks("Repeat one request")
	v.shows("49 returned that order")
	if won, same := v.counts(".cells .won"), v.counts(".cells .replayed"); won != 1 || same != 49 {
		t.Errorf("%d cells are green, %d framed", won, same)
	}
	v.clicks("Return errors")
	v.shows("Gateway errors")
	v.clicks("Place many orders")
	v.shows("30 of 30 orders were placed")
	v.shows("Breaker open") // by itself: nobody loads the page again
	v.clicks("Repair the gateway")
	v.shows("Gateway working")
	v.shows("Waiting for payment: 0 (0 pending, 0 in payment)")
	v.shows("Breaker closed")
	v.goes("/audit")
	v.shows("No audit has run")
	v.clicks("Run audit")
	v.shows("Audit passed: all 8 invariants hold")
	v.do(chromedp.EmulateViewport(360, 740)) // all of it on a telephone
	for _, path := range []string{"/audit", "/try", "/failed-jobs", "/orders", "/orders/1", "/products"} {
		v.goes(path)
		v.fits()
	}
}

// TestConsoleOrdersAndProducts: the actions of the pages Orders and Products change the database.
func TestConsoleOrdersAndProducts(t *testing.T) {
	t.Parallel()
	s := serve(t, apiOnly)
	v := s.visit(newBrowser(t))
	v.do(chromedp.EmulateViewport(360, 740))
	id := s.buy(1, "one", 2, 3).order().ID
	v.goes("/orders")
	v.shows("PENDING")
	v.fits()
	v.fills("[name=key]", "nothing")
	v.clicks("Search")
	v.shows("No order matches")
	v.fills("[name=key]", "one")
	v.clicks("Search")
	v.clicks(fmt.Sprint(id))
	v.shows("Timeline")
	v.fits()
	v.clicks("Cancel…")
	v.shows("This cannot be undone")
	v.await("document.activeElement?.innerText === 'Cancel the order'")
	v.do(chromedp.KeyEvent(kb.Enter))
	v.shows("Cancelled; its units are back in stock")
	if o, err := v.db.Order(t.Context(), id); err != nil || o.Status != order.Cancelled || v.product(2).Stock != 200 {
		t.Errorf("%+v, %v; %d are left", o, err, v.product(2).Stock)
	}

	v.prefers("dark")
	v.goes("/products")
	v.shows("200 of 200")
	v.fits()
	v.clicks("Wireless Mouse")
	v.fills("[name=quantity]", "-150")
	v.fills("[name=reason]", "lent out")
	v.clicks("Restock")
	v.shows("50 of 50 left")
	v.fills("[name=name]", "Mouse <2>")
	v.fills("[name=price]", "31.5")
	v.clicks("Change")
	v.shows("Mouse <2> 31.50 USD")
	v.clicks("Stop the sale")
	v.shows("stopped")
	v.fits()
	if p := v.product(2); p.Stock != 50 || p.Name != "Mouse <2>" || p.Price != 3150 || p.Active {
		t.Errorf("%+v", p)
	}
	v.goes("/products")
	v.fills("[name=name]", "Lamp")
	v.fills("[name=price]", "12.50")
	v.fills("[name=stock]", "0")
	v.clicks("Add")
	v.shows("sold out")
	if p := v.product(6); p.Name != "Lamp" || p.Stock != 0 {
		t.Errorf("%+v", p)
	}
}

// prefers makes the browser one of somebody who prefers a theme, at once and not by and by.
func (v *visitor) prefers(theme string) {
	v.t.Helper()
	_, err := chromedp.Call(v.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: theme}, //nolint:misspell // CSS
			{Name: "prefers-reduced-motion", Value: "reduce"},
		},
	})
	if err != nil {
		v.t.Fatal(err)
	}
}

// failJob uses up the payment attempts of an order that has one.
func (v *visitor) failJob(id int64) {
	v.t.Helper()
	ctx := context.Background()
	claimed, _, err := v.db.ClaimOrders(ctx, []order.ClaimRequest{{OrderID: id, Actor: "worker:test"}})
	if err == nil {
		_, _, err = v.db.SettleOrders(ctx, []order.Settlement{{
			OrderID: id, Claim: claimed[0].Order.Claims, Lease: claimed[0].Order.Lease, Kind: order.KindCharge, Outcome: order.NoAnswer,
			Reason: "the provider does not answer", Actor: "worker:test",
		}})
	}
	if err != nil {
		v.t.Fatal(err)
	}
}

// TestConsoleFailedJobs: failed jobs are retried and abandoned, several at once, and only after a confirmation.
func TestConsoleFailedJobs(t *testing.T) {
	t.Parallel()
	s := serve(t, func(set *config.Settings) {
		apiOnly(set)
		set.PaymentAttempts = 1
	})
	v := s.visit(newBrowser(t))
	v.goes("/failed-jobs")
	v.shows("There are no failed jobs")
	var ids []int64
	for i := range 3 {
		ids = append(ids, s.buy(1, fmt.Sprint("k", i), 2, 1).order().ID)
		v.failJob(ids[i])
	}
	open := func() int {
		t.Helper()
		jobs, err := v.db.FailedJobs(t.Context(), true, 10)
		if err != nil {
			t.Fatal(err)
		}
		return len(jobs)
	}
	v.goes("/failed-jobs")
	v.shows("the provider does not answer")
	v.do(chromedp.Click(chromedp.CSS("tr:nth-child(1) [name=id]")), chromedp.Click(chromedp.CSS("tr:nth-child(2) [name=id]")))
	v.clicks("Abandon…")
	v.shows("Abandon 2 failed jobs?")
	if n := open(); n != 3 {
		t.Errorf("before the confirmation %d are open", n)
	}
	v.clicks("Abandon 2")
	v.shows("Abandoned: 2 failed jobs.")
	v.do(chromedp.Click(chromedp.CSS("tr [name=id]")))
	v.clicks("Retry…")
	v.clicks("Retry 1")
	v.shows("Retried: 1 failed jobs.")
	if n := open(); n != 0 {
		t.Errorf("%d are open", n)
	}
	for i, want := range []order.Status{order.Processing, order.Failed, order.Failed} {
		o, err := v.db.Order(t.Context(), ids[i])
		if err != nil || o.Status != want || (want == order.Processing) == o.DueAt.IsZero() {
			t.Errorf("%+v, %v; want %s", o, err, want)
		}
	}
	s.logs(`"event":"failed_job.retried","actor":"operator"`)
}

// TestConsoleFollows: the page of an order shows when the server does not answer, and continues when it answers again.
func TestConsoleFollows(t *testing.T) {
	t.Parallel()
	s := serve(t, apiOnly)
	network, proxied := env.Proxy(t, s.url)
	id := s.buy(1, "one", 2, 1).order().ID
	v := s.visit(newBrowser(t))
	v.do(chromedp.Navigate(fmt.Sprintf("%s/console/orders/%d", proxied, id)))
	v.shows("this page updates itself")
	network.Cut()
	v.shows("The server does not answer")
	s.cancel(id)
	network.Restore()
	v.shows("Cancelled; its units are back in stock")
	v.await("!document.querySelector('[data-stale]')")
	v.forgiven = []string{"Failed to load resource", "Failed to fetch"}
}

// TestConsoleDemoAnywhere: demo runs end as promised over every database and bus. Where a payment could be real, there is no page
// Try it.
func TestConsoleDemoAnywhere(t *testing.T) {
	t.Parallel()
	for name, ground := range grounds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(set *config.Settings) { ground(t, set) })
			for kind, says := range map[string]string{
				"race": "of 50 buyers 1 got the last unit (201), and 49", "repeat": "1 created an order (201), and 49", "order": "1 of 1", "many": "30 of 30",
			} {
				if r := s.post("/console/try/"+kind, ""); r.status != http.StatusOK || !strings.Contains(r.body, "As promised:") || !strings.Contains(r.body, says) {
					t.Errorf("%s: %d %s", kind, r.status, r.body)
				}
			}
		})
	}
	for name, change := range map[string]func(*config.Settings){
		"a real gateway": func(set *config.Settings) { set.Gateway = "http://127.0.0.1:9" },
		"others charge":  apiOnly, // really, perhaps: the gateway of this process says nothing about theirs
	} {
		elsewhere := serve(t, change)
		for _, path := range []string{"/console/try", "/console/orders"} {
			r := elsewhere.get(path)
			want := map[bool]int{true: http.StatusNotFound, false: http.StatusOK}[path == "/console/try"]
			if r.status != want || strings.Contains(r.body, "Try it") {
				t.Errorf("%s: %s: %d %s", name, path, r.status, r.body)
			}
		}
		elsewhere.is(elsewhere.post("/console/try/race", ""), http.StatusNotFound, "")
	}
}
