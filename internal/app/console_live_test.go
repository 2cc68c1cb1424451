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

// awaitState waits until a part of the page Live is in a state.
func (v *visitor) awaitState(part, want string) {
	v.t.Helper()
	v.await(fmt.Sprintf("document.getElementById(%q)?.dataset.state === %q", part, want))
}

// awaitFeedOrder waits until the page Live shows a change of an order, with a link to it.
func (v *visitor) awaitFeedOrder(id int64, status order.Status) {
	v.t.Helper()
	v.await(fmt.Sprintf("[...document.querySelectorAll('#feed tbody tr')].some((row) => row.querySelector(\"a[href='/console/orders/%d']\") && "+
		"row.innerText.includes(%q))", id, status))
}

// consoleLines returns the new lines of the browser's console.
func (v *visitor) consoleLines() (lines []string) {
	for {
		select {
		case line := <-v.lines:
			lines = append(lines, line)
		default:
			return lines
		}
	}
}

// TestConsoleLive: the charts are updated, changes of orders are shown, and both continue after a restart of the server.
func TestConsoleLive(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "orderflow.db")
	s := serveOn(t, path, nil)
	b := newBrowser(t)
	v := s.visit(b)
	v.open("/")
	v.awaitState("live-state", "live")
	v.awaitState("feed-state", "live")
	v.awaitText("No order has changed since this page was opened.")
	var id int64
	for i := range 3 {
		id = s.buy(1, fmt.Sprint("live", i), 2, 1).order().ID
	}
	v.awaitFeedOrder(id, "PAID") // earlier orders may be paid later
	v.awaitText("WebSockets 1")
	if n := v.count("#charts canvas"); n != 8 {
		t.Errorf("%d charts", n)
	}
	for _, width := range []int64{1280, 360} {
		for _, theme := range []string{"dark", "light"} {
			v.setTheme(theme)
			v.do(chromedp.EmulateViewport(width, 740))
			v.awaitFit()
		}
	}

	for _, line := range v.consoleLines() {
		t.Errorf("message in the browser's console: %s", line)
	}
	// The first reconnect gets an error, and the page tries again.
	v.do(chromedp.Evaluate[chromedp.Void](`{
		const open = XMLHttpRequest.prototype.open
		XMLHttpRequest.prototype.open = function (method, url, ...rest) {
			XMLHttpRequest.prototype.open = open
			document.body.dataset.refused = url
			return open.call(this, method, '/console/nothing', ...rest)
		}
	}`))
	s.stop()
	v.awaitState("live-state", "disconnected")
	v.awaitState("feed-state", "disconnected")
	again := serveOn(t, path, func(set *config.Settings) {
		set.Addr, set.RealtimeAddr = config.Addr(strings.TrimPrefix(s.url, "http://")), config.Addr(strings.TrimPrefix(s.realtimeURL, "ws://"))
	})
	v.awaitState("live-state", "live")
	v.awaitState("feed-state", "live")
	v.await("document.body.dataset.refused === '/console/broadcasting/auth'")
	v.awaitText("Orders per second")
	v.awaitFeedOrder(again.buy(1, "again", 2, 1).order().ID, "PAID")
	v.do(chromedp.Navigate("about:blank"))                                                      // before the server stops
	expected := []string{"net::ERR_", "WebSocket connection", "status of 503", "status of 404"} // the server stopped, was away, and refused
	for _, line := range v.consoleLines() {
		if !slices.ContainsFunc(expected, func(text string) bool { return strings.Contains(line, text) }) {
			t.Errorf("message in the browser's console: %s", line)
		}
	}
}

// The list of allowed origins never excludes the server's own pages. The WebSocket server refuses a page at an unknown address, here through
// a forwarded port, and the page shows the refusal.
func TestConsoleWithAllowedOrigins(t *testing.T) {
	t.Parallel()
	s := serve(t, func(set *config.Settings) { set.AllowedOrigins = []string{"https://shop.example"} })
	v := s.visit(newBrowser(t))
	v.open("/")
	v.awaitState("feed-state", "live")

	_, forwarded := env.Proxy(t, s.url)
	v.forgiven = []string{"WebSocket connection"} // the browser reports the refused connection
	v.do(chromedp.Navigate(forwarded + "/console/"))
	v.awaitState("feed-state", "failed")
	v.awaitText("The WebSocket server refused this page (4009): Origin not allowed: add it to the setting allowed-origins.")
	v.do(chromedp.Navigate("about:blank")) // before the proxy ends, which would break its stream
}

// TestConsoleOfOneRole: the page names the roles that the process does not have and where their figures are, and hides their figures.
func TestConsoleOfOneRole(t *testing.T) {
	t.Parallel()
	s := serve(t, apiOnly)
	v := s.visit(newBrowser(t))
	v.forgiven = []string{"WebSocket connection"} // without a WebSocket server
	v.open("/")
	v.awaitState("live-state", "live")
	v.awaitText("This process does not have the role worker.")
	v.awaitState("feed-state", "disconnected")
	v.awaitText("This process does not have the role realtime.")
	v.awaitText("charged –")
	if page := s.get("/console/"); !strings.Contains(page.body, `id="no-worker"`) {
		t.Errorf("the page does not name the missing role:\n%s", page.body)
	}
	whole := serve(t, nil).get("/console/")
	if strings.Contains(whole.body, "does not have the role") {
		t.Errorf("a process with every role names a missing one:\n%s", whole.body)
	}
}

// TestConsoleLogIn: without a session every page redirects to the log-in and back. Admin actions need an admin token. The page shows that a
// session has ended.
func TestConsoleLogIn(t *testing.T) {
	t.Parallel()
	s := serve(t, func(set *config.Settings) { set.Auth = config.AuthRequired })
	v := s.visit(newBrowser(t))
	v.open("/orders")
	v.awaitText("With e-mail and password")
	v.fill("[name=email]", "alice@example.com")
	v.fill("[name=password]", "wrong")
	v.click("Log in")
	v.awaitText("The e-mail address or the password is wrong.")
	v.awaitText("Trace id")
	v.fill("[name=password]", "password")
	v.click("Log in")
	v.awaitText("user:1")
	v.awaitText("Orders")
	v.open("/audit")
	v.awaitText("This page needs an admin token")
	v.open("/") // the page Live is for admins
	v.await("location.pathname === '/console/orders' && !document.querySelector('nav').innerText.includes('Live')")
	v.do(chromedp.Click(chromedp.Search(`//header//button[normalize-space()="Log out"]`)))
	v.awaitText("With a token")

	token, kept, err := v.db.NewToken(t.Context(), app.Token{Admin: true}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	v.fill("[name=token]", token)
	v.click("Use the token")
	v.awaitText("admin (")
	v.open("/")
	v.awaitState("live-state", "live")
	v.awaitState("feed-state", "live")
	if cookie, err := chromedp.Run(v.ctx, chromedp.Evaluate[string]("document.cookie")); err != nil || cookie != "" {
		t.Errorf("a script reads %q (%v)", cookie, err)
	}
	received, err := chromedp.Run(v.ctx, chromedp.Evaluate[int]("fetch('/api/v1/orders').then((r) => r.status)", chromedp.EvalAwaitPromise))
	if err != nil || received != 200 {
		t.Errorf("the API answers the page with %d (%v)", received, err)
	}
	if err := v.db.RevokeToken(t.Context(), kept.ID); err != nil {
		t.Fatal(err)
	}
	v.awaitText("You are logged out.")
	v.awaitState("feed-state", "failed")
	v.do(chromedp.Navigate("about:blank"))
	for _, line := range v.consoleLines() { // the expected refusals
		if !strings.Contains(line, "status of 40") {
			t.Errorf("message in the browser's console: %s", line)
		}
	}
}
