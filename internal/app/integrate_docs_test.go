package app_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"orderflow/internal/app"
)

// shownBackEnd returns the back end of docs/integrate.md with this server's address and secrets in place of those on the page.
func (s *site) shownBackEnd() string {
	s.t.Helper()
	page, err := os.ReadFile(filepath.Join(repository, "docs", "integrate.md"))
	if err != nil {
		s.t.Fatal(err)
	}
	programs := regexp.MustCompile("(?ms)^```js\n(.*?)^```$").FindAllStringSubmatch(string(page), -1)
	if len(programs) != 1 {
		s.t.Fatalf("docs/integrate.md has %d programs, and this test runs one", len(programs))
	}
	return strings.NewReplacer(
		"127.0.0.1:8000", strings.TrimPrefix(s.url, "http://"),
		"process.env.ORDERFLOW_TOKEN", strconv.Quote(s.token(app.Token{Admin: true})),
		"process.env.ORDERFLOW_REALTIME_SECRET", strconv.Quote(s.settings.RealtimeSecret.Reveal()),
		"listen(3000,", "listen(0,",
		"request.headers.cookie", "request.headers['x-session']", // pusher-js in Node sends no cookies
	).Replace(programs[0][1])
}

// A shop with its own log-in works as docs/integrate.md describes: its back end orders for the user of its session, whatever user
// the page names, and signs this user's channels only.
func TestShownBackEnd(t *testing.T) {
	t.Parallel()
	s := serve(t, authRequired)
	_, port, _ := strings.Cut(runShown(t, s.shownBackEnd()).sees("listening on "), "listening on ")
	shop := &site{t: t, url: "http://127.0.0.1:" + port, client: s.client}
	page := func(session string) *customer {
		return s.customer("pusher.mjs", func(o *customerOptions) {
			o.Endpoint = shop.url + "/broadcasting/auth"
			o.Headers["X-Session"] = session
		})
	}
	one := page("session=1")
	one.subscribe("private-orders.1")
	for _, channel := range []string{"private-orders.2", "private-cache-orders.2", "private-orders-feed"} {
		one.do("subscribe", "channel", channel)
		one.sees(`"channel":"`+channel+`"`, `"pusher:subscription_error"`, `"status":403`)
	}
	stranger := page("")
	stranger.do("subscribe", "channel", "private-orders.1")
	stranger.sees(`"channel":"private-orders.1"`, `"pusher:subscription_error"`, `"status":401`)

	const body = `{"user_id":2,"idempotency_key":"cart-1","items":[{"product_id":1,"quantity":1}]}`
	if got := shop.post("/orders", body); got.status != http.StatusUnauthorized {
		t.Errorf("an order without a session: %+v", got)
	}
	created := shop.post("/orders", body, "X-Session: session=1")
	if created.status != http.StatusCreated {
		t.Fatalf("%+v", created)
	}
	if user := created.order().UserID; user != 1 {
		t.Errorf("the order belongs to user %d, want 1", user)
	}
	if data := one.hears("private-orders.1", "OrderPaid").Data; data["order_id"] != float64(created.order().ID) {
		t.Errorf("heard %v of order %d", data, created.order().ID)
	}
	if again := shop.post("/orders", body, "X-Session: session=1"); again.status != http.StatusOK {
		t.Errorf("a retry: %+v", again)
	}
}
