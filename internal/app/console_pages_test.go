package app_test

import (
	"context"
	"errors"
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

// visitor uses the console in a real browser, and reads the database.
type visitor struct {
	*page
	site *testServer
	db   *app.Database

	forgiven []string // messages that the browser's console may have
}

// visit opens the console of a server in a tab. A message in the browser's console is an error at the end of the test.
func (s *testServer) visit(b *browser) *visitor {
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
				s.t.Errorf("message in the browser's console: %s", line)
			default:
				return
			}
		}
	})
	return v
}

// do runs actions in the browser.
func (v *visitor) do(steps ...chromedp.Action[chromedp.Void]) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		v.t.Fatal(err)
	}
}

func (v *visitor) open(path string) {
	v.t.Helper()
	v.do(chromedp.Navigate(v.site.url + "/console" + path))
}

// click clicks a button or a link with this text.
func (v *visitor) click(text string) {
	v.t.Helper()
	v.do(chromedp.Click(chromedp.Search(fmt.Sprintf(`//main//*[self::button or self::a][normalize-space()=%q]`, text))))
}

// await waits until an expression is true, also across a change of the page.
func (v *visitor) await(expression string) {
	v.t.Helper()
	err := env.Poll(func() error {
		is, err := chromedp.Run(v.ctx, chromedp.Evaluate[bool]("!!("+expression+")")) // an error between two pages
		if err == nil && !is {
			err = errors.New("false")
		}
		return err
	})
	if err != nil {
		body, _ := chromedp.Run(v.ctx, chromedp.Evaluate[string]("document.body.innerText")) // "" without a page
		v.t.Fatalf("%s: %v. The page shows\n%s", expression, err, body)
	}
}

// awaitText waits until the page shows a text.
func (v *visitor) awaitText(text string) {
	v.t.Helper()
	v.await(fmt.Sprintf("document.body?.innerText.includes(%q)", text))
}

// fill writes into a field of a form.
func (v *visitor) fill(selector, text string) {
	v.t.Helper()
	v.do(chromedp.SetValue(chromedp.CSS(selector), text))
}

// count returns the number of elements.
func (v *visitor) count(selector string) int {
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

// awaitFit waits until the page is at most as wide as its window. Charts adapt to a new size in the next frame.
func (v *visitor) awaitFit() {
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
	v.open("/try")
	v.awaitText("No demo run yet")
	v.click("Race for the last headphones")
	v.awaitText("of 50 buyers 1 got the last unit")
	if won, lost := v.count(".cells .won"), v.count(".cells .lost"); won != 1 || lost != 49 || v.product(5).Stock != 0 {
		t.Errorf("%d cells are green, %d grey, and %d are left", won, lost, v.product(5).Stock)
	}
	v.click("Repeat one request")
	v.awaitText("49 returned that order")
	if won, same := v.count(".cells .won"), v.count(".cells .replayed"); won != 1 || same != 49 {
		t.Errorf("%d cells are green, %d framed", won, same)
	}
	v.click("Return errors")
	v.awaitText("Gateway errors")
	v.click("Place many orders")
	v.awaitText("30 of 30 orders were placed")
	v.awaitText("Breaker open") // without reloading the page
	v.click("Repair the gateway")
	v.awaitText("Gateway working")
	v.awaitText("Waiting for payment: 0 (0 pending, 0 in payment)")
	v.awaitText("Breaker closed")
	v.open("/audit")
	v.awaitText("No audit has run")
	v.click("Run audit")
	v.awaitText("Audit passed: all 8 invariants hold")
	v.do(chromedp.EmulateViewport(360, 740)) // on a phone
	for _, path := range []string{"/audit", "/try", "/failed-jobs", "/orders", "/orders/1", "/products"} {
		v.open(path)
		v.awaitFit()
	}
}

// TestConsoleOrdersAndProducts: the actions of the pages Orders and Products change the database.
func TestConsoleOrdersAndProducts(t *testing.T) {
	t.Parallel()
	s := serve(t, apiOnly)
	v := s.visit(newBrowser(t))
	v.do(chromedp.EmulateViewport(360, 740))
	id := s.buy(1, "one", 2, 3).order().ID
	v.open("/orders")
	v.awaitText("PENDING")
	v.awaitFit()
	v.fill("[name=key]", "nothing")
	v.click("Search")
	v.awaitText("No order matches")
	v.fill("[name=key]", "one")
	v.click("Search")
	v.click(fmt.Sprint(id))
	v.awaitText("Timeline")
	v.awaitFit()
	v.click("Cancel…")
	v.awaitText("This cannot be undone")
	v.await("document.activeElement?.innerText === 'Cancel the order'")
	v.do(chromedp.KeyEvent(kb.Enter))
	v.awaitText("Cancelled; its units are back in stock")
	if o, err := v.db.Order(t.Context(), id); err != nil || o.Status != order.Cancelled || v.product(2).Stock != 200 {
		t.Errorf("%+v, %v; %d are left", o, err, v.product(2).Stock)
	}

	v.setTheme("dark")
	v.open("/products")
	v.awaitText("200 of 200")
	v.awaitFit()
	v.click("Wireless Mouse")
	v.fill("[name=quantity]", "-150")
	v.fill("[name=reason]", "lent out")
	v.click("Restock")
	v.awaitText("50 of 50 left")
	v.fill("[name=name]", "Mouse <2>")
	v.fill("[name=price]", "31.5")
	v.click("Change")
	v.awaitText("Mouse <2> 31.50 USD")
	v.click("Stop the sale")
	v.awaitText("stopped")
	v.awaitFit()
	if p := v.product(2); p.Stock != 50 || p.Name != "Mouse <2>" || p.Price != 3150 || p.Active {
		t.Errorf("%+v", p)
	}
	v.open("/products")
	v.fill("[name=name]", "Lamp")
	v.fill("[name=price]", "12.50")
	v.fill("[name=stock]", "0")
	v.click("Add")
	v.awaitText("sold out")
	if p := v.product(6); p.Name != "Lamp" || p.Stock != 0 {
		t.Errorf("%+v", p)
	}
}

// setTheme sets the preferred theme of the browser.
func (v *visitor) setTheme(theme string) {
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
	v.open("/failed-jobs")
	v.awaitText("There are no failed jobs")
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
	v.open("/failed-jobs")
	v.awaitText("the provider does not answer")
	v.do(chromedp.Click(chromedp.CSS("tr:nth-child(1) [name=id]")), chromedp.Click(chromedp.CSS("tr:nth-child(2) [name=id]")))
	v.click("Abandon…")
	v.awaitText("Abandon 2 failed jobs?")
	if n := open(); n != 3 {
		t.Errorf("before the confirmation %d are open", n)
	}
	v.click("Abandon 2")
	v.awaitText("Abandoned: 2 failed jobs.")
	v.do(chromedp.Click(chromedp.CSS("tr [name=id]")))
	v.click("Retry…")
	v.click("Retry 1")
	v.awaitText("Retried: 1 failed jobs.")
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
	v.awaitText("this page updates itself")
	network.Cut()
	v.awaitText("The server does not answer")
	s.cancel(id)
	network.Restore()
	v.awaitText("Cancelled; its units are back in stock")
	v.await("!document.querySelector('[data-stale]')")
	v.forgiven = []string{"Failed to load resource", "Failed to fetch"}
}

// TestConsoleDemoAnywhere: demo runs succeed on every database and bus. Where a payment could be real, there is no page
// Try it.
func TestConsoleDemoAnywhere(t *testing.T) {
	t.Parallel()
	for name, ground := range databases() {
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
		"others charge":  apiOnly, // possibly with a real gateway: the setting of this process does not apply to them
	} {
		elsewhere := serve(t, change)
		for _, path := range []string{"/console/try", "/console/orders"} {
			r := elsewhere.get(path)
			want := map[bool]int{true: http.StatusNotFound, false: http.StatusOK}[path == "/console/try"]
			if r.status != want || strings.Contains(r.body, "Try it") {
				t.Errorf("%s: %s: %d %s", name, path, r.status, r.body)
			}
		}
		elsewhere.expect(elsewhere.post("/console/try/race", ""), http.StatusNotFound, "")
	}
}
