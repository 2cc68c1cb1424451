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

func TestOpenBreakerStopsClaimingAndUsesNoAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		env.gateway.setCharge(func(context.Context, payment.Request) (order.Outcome, error) { return "", errReset })
		breaker := payment.NewBreaker(env.gateway, payment.BreakerOptions{MinCalls: 10, Delay: 20 * time.Second, Probes: 3})
		o := env.options()
		o.Gateway, o.Breaker, o.VoidBreaker, o.Concurrency = breaker, breaker.Charges(), breaker.Voids(), 10
		w := env.worker(o)
		stop := env.run(w)
		tried := env.create(10)
		synctest.Wait() // ten failures open the breaker
		if state := breaker.Charges().State(); state != payment.StateOpen {
			t.Fatalf("the breaker is %s, want it open", state)
		}
		waiting := env.create(30)
		time.Sleep(15 * time.Second) // longer than the backoff and the grace
		synctest.Wait()
		if n := env.gateway.count(); n != 10 {
			t.Errorf("the gateway was called %d times, want 10", n)
		}
		for _, id := range waiting {
			if o := env.expect(id, order.Pending); o.Claims != 0 {
				t.Errorf("order %d was claimed %d times while the breaker was open", id, o.Claims)
			}
		}
		env.gateway.setCharge(func(ctx context.Context, _ payment.Request) (order.Outcome, error) {
			return order.Succeeded, slow(ctx, 50*time.Millisecond)
		})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for _, id := range append(tried, waiting...) {
			env.expect(id, order.Paid)
		}
		// Consumer and sweeper share the probes. (A claim may come between the start of a call here and in the breaker.)
		if n := testutil.ToFloat64(w.metrics.calls.WithLabelValues("charge", "handed_back")); n > 2 {
			t.Errorf("%v claims were handed back, want at most 2", n)
		}
		for _, id := range waiting {
			if left := env.order(id).AttemptsLeft; left != env.rules.PaymentAttempts-1 {
				t.Errorf("order %d has %d attempts left, want %d", id, left, env.rules.PaymentAttempts-1)
			}
		}
		stop()
		env.audit()
	})
}

// The consumer asked for many messages while the breaker was closed and got them when it was open. Their orders stay unclaimed until
// the probes allow them.
func TestFetchedMessagesWaitWhileTheBreakerIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		breaker := payment.NewBreaker(env.gateway, payment.BreakerOptions{MinCalls: 10, Delay: 5 * time.Second, Probes: 3})
		o := env.options()
		o.Gateway, o.Breaker, o.VoidBreaker = breaker, breaker.Charges(), breaker.Voids()
		w := env.worker(o)
		stop := env.run(w)
		synctest.Wait() // the consumer waits for up to 16 messages
		env.gateway.setCharge(func(context.Context, payment.Request) (order.Outcome, error) { return "", errReset })
		for range 10 { // calls of another worker
			_, err := breaker.Charge(t.Context(), payment.Request{Key: "other", OrderID: -1})
			if !errors.Is(err, errReset) {
				t.Fatalf("error %v, want the gateway's", err)
			}
		}
		ids := env.create(12)
		synctest.Wait()
		for _, id := range ids {
			env.expect(id, order.Pending)
		}
		env.gateway.setCharge(func(ctx context.Context, _ payment.Request) (order.Outcome, error) {
			return order.Succeeded, slow(ctx, time.Second)
		})
		time.Sleep(5500 * time.Millisecond)
		synctest.Wait()
		claimed := 0
		for _, id := range ids {
			claimed += env.order(id).Claims
		}
		if claimed < 3 || claimed > 5 { // a few may come between the start of a call here and in the breaker
			t.Errorf("%d claims while 3 probes are under way, want 3", claimed)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for _, id := range ids {
			env.expect(id, order.Paid)
		}
		stop()
		env.audit()
	})
}

// A breaker that opens between claim and charge uses no attempt.
func TestClaimRefusedByTheBreakerIsHandedBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		var refusals atomic.Int64
		refusals.Store(2)
		env.gateway.setCharge(func(context.Context, payment.Request) (order.Outcome, error) {
			if refusals.Add(-1) >= 0 {
				return "", fmt.Errorf("charge: %w", payment.ErrOpen)
			}
			return order.Succeeded, nil
		})
		stop := env.run(env.worker(env.options()))
		id := env.create(1)[0]
		time.Sleep(5 * time.Second)
		synctest.Wait()
		stop()
		if o := env.expect(id, order.Paid); o.Claims != 3 || o.AttemptsLeft != env.rules.PaymentAttempts-1 {
			t.Errorf("claims %d, attempts left %d; want 3 claims and one attempt used", o.Claims, o.AttemptsLeft)
		}
		env.audit()
	})
}
