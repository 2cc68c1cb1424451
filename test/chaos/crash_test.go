package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/payment/paymenttest"
	"orderflow/test/env"
)

// wait waits for d, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// random returns a duration of less than limit.
func random(limit time.Duration) time.Duration { return rand.N(limit) }

// flakyProvider is the script of a provider: most charges succeed, some are declined, and some answers get lost before or after the
// charge, rarely enough that the circuit breaker is closed most of the time.
func flakyProvider(c paymenttest.Call) paymenttest.Behaviour {
	switch lost := c.Nth == 1; {
	case lost && c.OrderID%23 == 0:
		return paymenttest.Disconnect
	case lost && c.OrderID%29 == 0:
		return paymenttest.Garbage
	case lost && c.OrderID%31 == 0:
		return paymenttest.Fail
	case lost && c.OrderID%37 == 0:
		return paymenttest.ExecuteAndFail
	case c.OrderID%5 == 0:
		return paymenttest.Decline
	default:
		return paymenttest.Succeed
	}
}

// awaitAllEnded waits until no order is PENDING or PROCESSING.
func awaitAllEnded(t *testing.T, addr string) {
	t.Helper()
	var w wire
	defer w.close()
	env.Eventually(t, "all orders have ended", func() bool {
		open := false
		for _, status := range []order.Status{order.Pending, order.Processing} {
			a, err := w.ask(addr, http.MethodGet, "/api/v1/orders?per_page=1&status="+string(status), "")
			if err != nil || a.status != http.StatusOK {
				t.Fatalf("list of orders: %v, %v", a, err)
			}
			open = open || !strings.Contains(string(a.body), `"total":0`)
		}
		return !open
	})
}

// launchWithFlakyProvider returns a server that can be launched repeatedly on one database, and its flaky provider. Its leases are
// short, so that the next launch soon continues what the previous one left unfinished.
func launchWithFlakyProvider(t *testing.T) (*paymenttest.Provider, launch) {
	t.Helper()
	provider := paymenttest.NewProvider(t, paymenttest.Options{Script: flakyProvider})
	return provider, launch{database: newDatabase(t, t.TempDir(), 1_000_000), args: []string{
		"--gateway", provider.URL(), "--lease", "7100ms", "--charge-timeout", "2s", "--backoff", "50ms", "--payment-attempts", "100",
	}}
}

// TestChaosKill kills the server repeatedly at random moments under load. Acknowledged orders remain, other orders do not appear
// later, every order ends and no customer pays twice.
func TestChaosKill(t *testing.T) {
	t.Parallel()
	provider, run := launchWithFlakyProvider(t)
	list, acks := newServerList(), newAcknowledged(t)
	stopClients := startClients(t, 12, list, acks, false)
	defer stopClients()

	kills := 0
	enough := func(end time.Time) bool { // on a busy machine a start alone may take seconds
		short := kills < 5 || acks.orders() < 50
		return time.Now().After(end) && (!short || time.Now().After(end.Add(env.Patience)))
	}
	for end := time.Now().Add(span(t, 8*time.Second)); !enough(end) && !t.Failed(); kills++ {
		s := start(t, run)
		if kills%5 == 4 { // while it opens the database and finds what the last one left
			wait(t.Context(), random(300*time.Millisecond))
			s.kill()
			continue
		}
		list.set(s.ready())
		wait(t.Context(), random(1200*time.Millisecond))
		list.set()
		s.kill()
	}
	last := start(t, run)
	addr := last.ready()
	list.set(addr)
	stopClients()
	awaitAllEnded(t, addr)
	last.stop()

	db := openDatabase(t, run.database)
	audit(t, db)
	checkPayments(t, acks.compare(db), provider)
	if kills < 3 || acks.orders() < 50 {
		t.Errorf("%d kills and %d orders are too few to mean anything", kills, acks.orders())
	}
	t.Logf("%d kills", kills)
}

// TestChaosKillBetweenChargeAndSettle kills the server after the provider has recorded a charge and before it answers. After the lease
// the order is charged again under the same key, and so paid once.
func TestChaosKillBetweenChargeAndSettle(t *testing.T) {
	t.Parallel()
	for round, end := 0, time.Now().Add(span(t, 0)); (round == 0 || time.Now().Before(end)) && !t.Failed(); round++ {
		t.Run(strconv.Itoa(round), killBetween)
	}
}

func killBetween(t *testing.T) {
	provider := paymenttest.NewProvider(t, paymenttest.Options{})
	upstream, err := url.Parse(provider.URL())
	if err != nil {
		t.Fatal(err)
	}
	var victim atomic.Pointer[server]
	charged := make(chan struct{})
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: upstream.Scheme, Host: upstream.Host})
		},
		ModifyResponse: func(*http.Response) error { // the charge is booked, the answer on its way
			if s := victim.Swap(nil); s != nil {
				s.kill()
				close(charged)
			}
			return nil
		},
	})
	defer proxy.Close()

	database := newDatabase(t, t.TempDir(), 10)
	run := launch{database: database, args: []string{
		"--gateway", proxy.URL + upstream.Path, "--lease", "5600ms", "--charge-timeout", "500ms", "--payment-attempts", "20",
	}}
	first := start(t, run)
	victim.Store(first)
	var w wire
	defer w.close()
	created, err := w.ask(first.ready(), http.MethodPost, "/api/v1/orders",
		`{"user_id":1,"idempotency_key":"once","items":[{"product_id":1,"quantity":1}]}`)
	if err != nil || created.status != http.StatusCreated {
		t.Fatalf("%v, %v", created, err)
	}
	o, err := created.order()
	if err != nil {
		t.Fatal(err)
	}
	env.Closed(t, "a charge", charged)
	db := openDatabase(t, run.database)
	if left, err := db.Order(t.Context(), o.ID); err != nil || left.Status != order.Processing {
		t.Errorf("the server left the order behind as %+v, %v", left, err)
	}
	audit(t, db)

	second := start(t, run)
	addr := second.ready()
	awaitAllEnded(t, addr)
	a, err := w.ask(addr, http.MethodGet, fmt.Sprintf("/api/v1/orders/%d", o.ID), "")
	if paid, shownErr := a.order(); err != nil || shownErr != nil || paid.Status != string(order.Paid) {
		t.Errorf("%v, %v, %v", a, err, shownErr)
	}
	second.stop()
	audit(t, db)
	entries := provider.Entries()
	if len(entries) != 1 || entries[0].Charges < 2 || provider.Charged()[o.ID] != 1 || len(provider.Problems()) > 0 {
		t.Errorf("the provider's acks: %+v, %v", entries, provider.Problems())
	}
}
