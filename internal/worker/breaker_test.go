package worker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"orderflow/internal/order"
	"orderflow/internal/payment"
)


func TestAnOpenBreakerStopsClaimingAndBurnsNoTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		h.gateway.setCharge(func(context.Context, payment.Request) (order.Outcome, error) { return "", errReset })
		breaker := payment.NewBreaker(h.gateway, payment.BreakerOptions{MinCalls: 10, Delay: 20 * time.Second, Probes: 3})
		o := h.options()
		o.Gateway, o.Breaker, o.VoidBreaker, o.Concurrency = breaker, breaker.Charges(), breaker.Voids(), 10
		w := h.worker(o)
		stop := h.run(w)
		tried := h.create(10)
		synctest.Wait() // ten failures: the breaker opens
		if state := breaker.Charges().State(); state != payment.StateOpen {
			t.Fatalf("the breaker is %s, want it open", state)
		}
		waiting := h.create(30)
		time.Sleep(15 * time.Second) // longer than the backoff and the grace
		synctest.Wait()
		if n := h.gateway.count(); n != 10 {
			t.Errorf("the gateway was called %d times, want the 10 that opened the breaker", n)
		}
		for _, id := range waiting {
			if o := h.expect(id, order.Pending); o.Claims != 0 {
				t.Errorf("order %d was claimed %d times while the breaker was open", id, o.Claims)
			}
		}
		h.gateway.setCharge(func(ctx context.Context, _ payment.Request) (order.Outcome, error) {
			return order.Succeeded, slow(ctx, 50*time.Millisecond)
		})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for _, id := range append(tried, waiting...) {
			h.expect(id, order.Paid)
		}
		// Consumer and sweeper want the probes at the same moment, and share them. (A claim may slip in between a call's
		// start here and its start in the breaker.)
		if n := testutil.ToFloat64(w.metrics.calls.WithLabelValues("charge", "handed_back")); n > 2 {
			t.Errorf("%v claims were handed back, want none to speak of", n)
		}
		for _, id := range waiting {
			if left := h.order(id).AttemptsLeft; left != h.rules.PaymentAttempts-1 {
				t.Errorf("order %d has %d tries left, want %d: one charge, one try", id, left, h.rules.PaymentAttempts-1)
			}
		}
		stop()
		h.audit()
	})
}

// The consumer asked for many messages while the breaker was closed and got them when it was open: they wait unclaimed,
// and go through as the probes allow.
func TestWhatWasFetchedBeforeTheBreakerOpenedWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		breaker := payment.NewBreaker(h.gateway, payment.BreakerOptions{MinCalls: 10, Delay: 5 * time.Second, Probes: 3})
		o := h.options()
		o.Gateway, o.Breaker, o.VoidBreaker = breaker, breaker.Charges(), breaker.Voids()
		w := h.worker(o)
		stop := h.run(w)
		synctest.Wait() // the consumer waits for up to 16 messages
		h.gateway.setCharge(func(context.Context, payment.Request) (order.Outcome, error) { return "", errReset })
		for range 10 { // somebody else's calls
			_, err := breaker.Charge(t.Context(), payment.Request{Key: "other", OrderID: -1})
			if !errors.Is(err, errReset) {
				t.Fatalf("error %v, want the gateway's", err)
			}
		}
		ids := h.create(12)
		synctest.Wait()
		for _, id := range ids {
			h.expect(id, order.Pending)
		}
		h.gateway.setCharge(func(ctx context.Context, _ payment.Request) (order.Outcome, error) {
			return order.Succeeded, slow(ctx, time.Second)
		})
		time.Sleep(5500 * time.Millisecond)
		synctest.Wait()
		claimed := 0
		for _, id := range ids {
			claimed += h.order(id).Claims
		}
		if claimed < 3 || claimed > 5 { // a few may slip in between a call's start here and in the breaker
			t.Errorf("%d claims while 3 probes are under way, want 3", claimed)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for _, id := range ids {
			h.expect(id, order.Paid)
		}
		stop()
		h.audit()
	})
}

// A breaker that opens between claim and charge costs the order no try.
func TestAClaimThatTheBreakerRefusesIsHandedBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		var refusals atomic.Int64
		refusals.Store(2)
		h.gateway.setCharge(func(context.Context, payment.Request) (order.Outcome, error) {
			if refusals.Add(-1) >= 0 {
				return "", fmt.Errorf("charge: %w", payment.ErrOpen)
			}
			return order.Succeeded, nil
		})
		stop := h.run(h.worker(h.options()))
		id := h.create(1)[0]
		time.Sleep(5 * time.Second)
		synctest.Wait()
		stop()
		if o := h.expect(id, order.Paid); o.Claims != 3 || o.AttemptsLeft != h.rules.PaymentAttempts-1 {
			t.Errorf("attempts %d, tries left %d; want 3 claims, one try", o.Claims, o.AttemptsLeft)
		}
		h.audit()
	})
}
