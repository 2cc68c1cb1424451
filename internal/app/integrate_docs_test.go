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
	"orderflow/internal/config"
	"orderflow/internal/payment"
	"orderflow/internal/payment/paymenttest"
)

// shownIn returns the program below a heading of docs/integrate.md, with replacements.
func shownIn(t *testing.T, heading string, oldnew ...string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(repository, "docs", "integrate.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, chapter, _ := strings.Cut(string(page), "\n## "+heading+"\n")
	chapter, _, _ = strings.Cut(chapter, "\n## ")
	programs := regexp.MustCompile("(?ms)^```js\n(.*?)^```$").FindAllStringSubmatch(chapter, -1)
	if len(programs) != 1 {
		t.Fatalf("docs/integrate.md has %d programs below %q, want 1", len(programs), heading)
	}
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(programs[0][1], oldnew[i]) {
			t.Fatalf("the program below %q has no %q", heading, oldnew[i])
		}
	}
	return strings.NewReplacer(oldnew...).Replace(programs[0][1])
}

// startShown runs a server of docs/integrate.md in Node and returns its URL.
func startShown(t *testing.T, program string) string {
	t.Helper()
	_, port, _ := strings.Cut(runShown(t, program).awaitLine("listening on "), "listening on ")
	return "http://127.0.0.1:" + port
}

// A shop with its own log-in works as docs/integrate.md describes: its back end orders for the user of its session, whatever user
// the page names, and signs this user's channels only.
func TestShownBackEnd(t *testing.T) {
	t.Parallel()
	s := serve(t, authRequired)
	program := shownIn(t, "Your own log-in",
		"127.0.0.1:8000", strings.TrimPrefix(s.url, "http://"),
		"process.env.ORDERFLOW_TOKEN", strconv.Quote(s.token(app.Token{Admin: true})),
		"process.env.ORDERFLOW_REALTIME_SECRET", strconv.Quote(s.settings.RealtimeSecret.Reveal()),
		"listen(3000,", "listen(0,",
		"request.headers.cookie", "request.headers['x-session']", // pusher-js in Node sends no cookies
	)
	shop := &testServer{t: t, url: startShown(t, program), client: s.client}
	page := func(session string) *nodeClient {
		return s.startClient("pusher.mjs", func(o *nodeOptions) {
			o.Endpoint = shop.url + "/broadcasting/auth"
			o.Headers["X-Session"] = session
		})
	}
	one := page("session=1")
	one.subscribe("private-orders.1")
	for _, channel := range []string{"private-orders.2", "private-cache-orders.2", "private-orders-feed"} {
		one.do("subscribe", "channel", channel)
		one.awaitLine(`"channel":"`+channel+`"`, `"pusher:subscription_error"`, `"status":403`)
	}
	stranger := page("")
	stranger.do("subscribe", "channel", "private-orders.1")
	stranger.awaitLine(`"channel":"private-orders.1"`, `"pusher:subscription_error"`, `"status":401`)

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
	if data := one.awaitEvent("private-orders.1", "OrderPaid").Data; data["order_id"] != float64(created.order().ID) {
		t.Errorf("received %v of order %d", data, created.order().ID)
	}
	if again := shop.post("/orders", body, "X-Session: session=1"); again.status != http.StatusOK {
		t.Errorf("a retry: %+v", again)
	}
}

// The payment adapter of docs/integrate.md keeps the contract of a gateway, and refuses requests with another secret.
func TestShownPaymentAdapter(t *testing.T) {
	t.Parallel()
	url := startShown(t, shownIn(t, "Your payment provider", "process.env.ORDERFLOW_GATEWAY_SECRET", `"whsec_shown"`, "listen(3001,", "listen(0,")) + "/v1"
	open := func(t *testing.T, secret string) payment.Gateway {
		t.Helper()
		gateway, err := payment.NewHTTP(payment.HTTPOptions{URL: url, Secret: secret, MaxConns: 16})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(gateway.Close)
		return gateway
	}
	t.Run("contract", func(t *testing.T) {
		paymenttest.Run(t, func(t *testing.T) payment.Gateway { return open(t, "whsec_shown") })
	})
	for _, secret := range []string{"", "another"} {
		_, err := open(t, secret).Charge(t.Context(), paymenttest.NewRequest("stranger", 1))
		if err == nil || !strings.Contains(err.Error(), "status 401") {
			t.Errorf("a charge signed with the secret %q: %v, want status 401", secret, err)
		}
	}
	s := serve(t, func(set *config.Settings) {
		set.Gateway, set.GatewaySecret = url, config.NewSecret("whsec_shown")
	})
	order := s.buy(1, "shown", 1, 1).order()
	s.await(order.ID, "PAID")
}
