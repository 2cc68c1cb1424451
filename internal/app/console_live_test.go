package app_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"orderflow/internal/app"
	"orderflow/internal/config"
	"orderflow/internal/order"
	"orderflow/test/env"
)

// state waits until a part of the page Live is in a state.
func (v *visitor) state(part, want string) {
	v.t.Helper()
	v.await(fmt.Sprintf("document.getElementById(%q)?.dataset.state === %q", part, want))
}

// feeds waits until the page Live shows a change of an order, with a link to it.
func (v *visitor) feeds(id int64, status order.Status) {
	v.t.Helper()
	v.await(fmt.Sprintf("[...document.querySelectorAll('#feed tbody tr')].some((row) => row.querySelector(\"a[href='/console/orders/%d']\") && "+
		"row.innerText.includes(%q))", id, status))
}

// said is what the browser's console has said since the last time.
func (v *visitor) said() (lines []string) {
	for {
		select {
		case line := <-v.lines:
			lines = append(lines, line)
		default:
			return lines
		}
	}
}

// TestConsoleLive: the charts move, orders are shown as they change, and both come back after the server was away.
func TestConsoleLive(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "orderflow.db")
	s := serveOn(t, path, nil)
	b := newBrowser(t)
	v := s.visit(b)
	v.goes("/")
	v.state("live-state", "live")
	v.state("feed-state", "live")
	v.shows("No order has changed since this page was opened.")
	var id int64
	for i := range 3 {
		id = s.buy(1, fmt.Sprint("live", i), 2, 1).order().ID
	}
	v.feeds(id, "PAID") // the orders before it are paid in their own time
	v.shows("WebSockets 1")
	if n := v.counts("#charts canvas"); n != 8 {
		t.Errorf("%d charts", n)
	}
	for _, width := range []int64{1280, 360} {
		for _, theme := range []string{"dark", "light"} {
			v.prefers(theme)
			v.do(chromedp.EmulateViewport(width, 740))
			v.fits()
		}
	}

	for _, line := range v.said() {
		t.Errorf("the browser's console says: %s", line)
	}
	// The first time that it asks to be let in again, it is answered with an error; it asks once more.
	v.do(chromedp.Evaluate[chromedp.Void](`{
		const open = XMLHttpRequest.prototype.open
		XMLHttpRequest.prototype.open = function (method, url, ...rest) {
			XMLHttpRequest.prototype.open = open
			document.body.dataset.refused = url
			return open.call(this, method, '/console/nothing', ...rest)
		}
	}`))
	s.stop()
	v.state("live-state", "disconnected")
	v.state("feed-state", "disconnected")
	again := serveOn(t, path, func(set *config.Settings) {
		set.Addr, set.RealtimeAddr = config.Addr(strings.TrimPrefix(s.url, "http://")), config.Addr(strings.TrimPrefix(s.live, "ws://"))
	})
	v.state("live-state", "live")
	v.state("feed-state", "live")
	v.await("document.body.dataset.refused === '/console/broadcasting/auth'")
	v.shows("Orders per second")
	v.feeds(again.buy(1, "again", 2, 1).order().ID, "PAID")
	v.do(chromedp.Navigate("about:blank"))                                                      // before the server goes
	expected := []string{"net::ERR_", "WebSocket connection", "status of 503", "status of 404"} // the server went, was away, and refused
	for _, line := range v.said() {
		if !slices.ContainsFunc(expected, func(text string) bool { return strings.Contains(line, text) }) {
			t.Errorf("the browser's console says: %s", line)
		}
	}
}

// The list of allowed origins never excludes the server's own pages. A page at an address that the server does not know, here
// through a forwarded port, is refused by the WebSocket server, and shows that as a refusal.
func TestConsoleWithAllowedOrigins(t *testing.T) {
	t.Parallel()
	s := serve(t, func(set *config.Settings) { set.AllowedOrigins = []string{"https://shop.example"} })
	v := s.visit(newBrowser(t))
	v.goes("/")
	v.state("feed-state", "live")

	_, forwarded := env.Proxy(t, s.url)
	v.forgiven = []string{"WebSocket connection"} // what the browser says about a connection that is refused
	v.do(chromedp.Navigate(forwarded + "/console/"))
	v.state("feed-state", "failed")
	v.shows("The WebSocket server refused this page (4009): Origin not allowed: add it to the setting allowed-origins.")
	v.do(chromedp.Navigate("about:blank")) // before the proxy goes, which would break its stream off
}

// TestConsoleOfOneRole: the page says which roles the process does not have and where their figures are, and shows no figures of
// theirs.
func TestConsoleOfOneRole(t *testing.T) {
	t.Parallel()
	s := serve(t, apiOnly)
	v := s.visit(newBrowser(t))
	v.forgiven = []string{"WebSocket connection"} // nobody listens there
	v.goes("/")
	v.state("live-state", "live")
	v.shows("This process does not have the role worker.")
	v.state("feed-state", "disconnected")
	v.shows("This process does not have the role realtime.")
	v.shows("charged –")
	if page := s.get("/console/"); !strings.Contains(page.body, `id="no-worker"`) {
		t.Errorf("the page does not name the missing role:\n%s", page.body)
	}
	whole := serve(t, nil).get("/console/")
	if strings.Contains(whole.body, "does not have the role") {
		t.Errorf("a process with every role names a missing one:\n%s", whole.body)
	}
}

// TestConsoleLogIn: with log-ins every page leads to the log-in and from there back; what admins do needs an admin's token, and a
// session that ends shows.
func TestConsoleLogIn(t *testing.T) {
	t.Parallel()
	s := serve(t, func(set *config.Settings) { set.Auth = config.AuthRequired })
	v := s.visit(newBrowser(t))
	v.goes("/orders")
	v.shows("With e-mail and password")
	v.fills("[name=email]", "alice@example.com")
	v.fills("[name=password]", "wrong")
	v.clicks("Log in")
	v.shows("The e-mail address or the password is wrong.")
	v.shows("Trace id")
	v.fills("[name=password]", "password")
	v.clicks("Log in")
	v.shows("user:1")
	v.shows("Orders")
	v.goes("/audit")
	v.shows("This page needs an admin token")
	v.goes("/") // what the page Live shows is for admins
	v.await("location.pathname === '/console/orders' && !document.querySelector('nav').innerText.includes('Live')")
	v.do(chromedp.Click(chromedp.Search(`//header//button[normalize-space()="Log out"]`)))
	v.shows("With a token")

	token, kept, err := v.db.NewToken(t.Context(), app.Token{Admin: true}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	v.fills("[name=token]", token)
	v.clicks("Use the token")
	v.shows("admin (")
	v.goes("/")
	v.state("live-state", "live")
	v.state("feed-state", "live")
	if cookie, err := chromedp.Run(v.ctx, chromedp.Evaluate[string]("document.cookie")); err != nil || cookie != "" {
		t.Errorf("a script reads %q (%v)", cookie, err)
	}
	heard, err := chromedp.Run(v.ctx, chromedp.Evaluate[int]("fetch('/api/v1/orders').then((r) => r.status)", chromedp.EvalAwaitPromise))
	if err != nil || heard != 200 {
		t.Errorf("the API answers the page with %d (%v)", heard, err)
	}
	if err := v.db.RevokeToken(t.Context(), kept.ID); err != nil {
		t.Fatal(err)
	}
	v.shows("You are logged out.")
	v.state("feed-state", "failed")
	v.do(chromedp.Navigate("about:blank"))
	for _, line := range v.said() { // that some things were refused, which was asked for
		if !strings.Contains(line, "status of 40") {
			t.Errorf("the browser's console says: %s", line)
		}
	}
}
