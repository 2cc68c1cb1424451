package worker

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/payment"
)

// wrapped is a store with injected faults: each function, if set, replaces the method.
type wrapped struct {
	Orders
	claim  func(ctx context.Context, requests []order.ClaimRequest) ([]order.Claimed, order.EventBatch, error)
	settle func(ctx context.Context, settlements []order.Settlement) ([]order.Changed, order.EventBatch, error)
	due    func(ctx context.Context, limit int, kinds ...order.PaymentKind) ([]order.ClaimRequest, error)
}

func (w *wrapped) ClaimOrders(ctx context.Context, requests []order.ClaimRequest) ([]order.Claimed, order.EventBatch, error) {
	if w.claim != nil {
		return w.claim(ctx, requests)
	}
	return w.Orders.ClaimOrders(ctx, requests)
}

func (w *wrapped) SettleOrders(ctx context.Context, settlements []order.Settlement) ([]order.Changed, order.EventBatch, error) {
	if w.settle != nil {
		return w.settle(ctx, settlements)
	}
	return w.Orders.SettleOrders(ctx, settlements)
}

func (w *wrapped) DueOrders(ctx context.Context, limit int, kinds ...order.PaymentKind) ([]order.ClaimRequest, error) {
	if w.due != nil {
		return w.due(ctx, limit, kinds...)
	}
	return w.Orders.DueOrders(ctx, limit, kinds...)
}

var errUnavailable = order.Errorf(order.CodeUnavailable, "The database is unavailable.")

func TestShutdownHandsBackUnchargedClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		ctx, cancel := context.WithCancel(t.Context())
		o := env.options()
		o.Orders = &wrapped{Orders: env.store, claim: func(ctx context.Context, requests []order.ClaimRequest) ([]order.Claimed, order.EventBatch, error) {
			defer cancel() // the shutdown begins while the claim commits
			return env.store.ClaimOrders(ctx, requests)
		}}
		ids := env.create(5)
		env.flush()
		if err := env.worker(o).Run(ctx); err != nil {
			t.Fatal(err)
		}
		if n := env.gateway.count(); n != 0 {
			t.Fatalf("the gateway was called %d times after the start of the shutdown", n)
		}
		claimed := 0
		for _, id := range ids {
			o := env.order(id)
			if o.AttemptsLeft != 3 {
				t.Errorf("order %d has %d attempts left, want all 3", id, o.AttemptsLeft)
			}
			if o.Status == order.Processing {
				claimed++
				if o.Lease != "" || o.DueAt.After(time.Now()) || o.Claims != 1 {
					t.Errorf("order %d has lease %q, due %v, claims %d; want no lease, due now, and one claim", id, o.Lease, o.DueAt, o.Claims)
				}
			}
		}
		if claimed == 0 {
			t.Fatal("no order was claimed, so the test checks nothing")
		}
		env.audit()
		stop := env.run(env.worker(env.options()))
		time.Sleep(12 * time.Second)
		synctest.Wait()
		stop()
		for _, id := range ids {
			env.expect(id, order.Paid)
		}
		env.audit()
	})
}

func TestShutdownLetsChargesFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		env.gateway.setCharge(func(ctx context.Context, _ payment.Request) (order.Outcome, error) {
			return order.Succeeded, slow(ctx, 8*time.Second)
		})
		stop := env.run(env.worker(env.options()))
		id := env.create(1)[0]
		synctest.Wait()
		start := time.Now()
		stop()
		if took := time.Since(start); took != 8*time.Second {
			t.Errorf("stopped after %s, want the charge's 8s", took)
		}
		env.expect(id, order.Paid)
		env.audit()
	})
}

func TestShutdownCancelsChargesAtTheDrainLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		env.gateway.setCharge(func(ctx context.Context, _ payment.Request) (order.Outcome, error) {
			return order.Succeeded, slow(ctx, time.Hour)
		})
		o := env.options()
		o.DrainLimit = 2 * time.Second
		stop := env.run(env.worker(o))
		id := env.create(1)[0]
		synctest.Wait()
		start := time.Now()
		stop()
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("stopped after %s, want the drain limit's 2s", took)
		}
		if o := env.expect(id, order.Processing); o.AttemptsLeft != 2 || o.Lease != "" || o.DueAt.IsZero() {
			t.Errorf("attempts left %d, lease %q, due %v; want one attempt used and the next one scheduled", o.AttemptsLeft, o.Lease, o.DueAt)
		}
		env.audit()
	})
}

// While the database is unavailable, a living process loses neither outcomes nor messages.
func TestDatabaseOutageLosesNoOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		var away atomic.Bool
		o := env.options()
		o.Orders = &wrapped{
			Orders: env.store,
			claim: func(ctx context.Context, requests []order.ClaimRequest) ([]order.Claimed, order.EventBatch, error) {
				if away.Load() {
					return nil, order.EventBatch{}, errUnavailable
				}
				return env.store.ClaimOrders(ctx, requests)
			},
			settle: func(ctx context.Context, settlements []order.Settlement) ([]order.Changed, order.EventBatch, error) {
				if away.Load() {
					return nil, order.EventBatch{}, errUnavailable
				}
				return env.store.SettleOrders(ctx, settlements)
			},
			due: func(ctx context.Context, limit int, kinds ...order.PaymentKind) ([]order.ClaimRequest, error) {
				if away.Load() {
					return nil, errUnavailable
				}
				return env.store.DueOrders(ctx, limit, kinds...)
			},
		}
		env.gateway.setCharge(func(ctx context.Context, _ payment.Request) (order.Outcome, error) {
			return order.Succeeded, slow(ctx, 100*time.Millisecond)
		})
		stop := env.run(env.worker(o))
		first := env.create(8)
		time.Sleep(50 * time.Millisecond)
		away.Store(true)
		second := env.create(8)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		for _, id := range first {
			env.expect(id, order.Processing)
		}
		away.Store(false)
		// In total less than the grace period, so that the sweeper finds no order.
		time.Sleep(5500 * time.Millisecond)
		synctest.Wait()
		for _, id := range append(first, second...) {
			env.expect(id, order.Paid)
			if n := len(env.gateway.callsFor(id)); n != 1 {
				t.Errorf("order %d was charged %d times, want once", id, n)
			}
		}
		stop()
		env.audit()
	})
}

// The process is killed between the charge and its settlement. Another one repeats the charge with the same key: it is one charge.
func TestChargeOfAKilledWorkerIsNotDoubled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		o := env.options()
		o.Orders = &wrapped{Orders: env.store, settle: func(context.Context, []order.Settlement) ([]order.Changed, order.EventBatch, error) {
			return nil, order.EventBatch{}, errUnavailable
		}}
		o.DrainLimit = time.Millisecond
		stop := env.run(env.worker(o))
		ids := env.create(10)
		synctest.Wait()
		stop() // no outcome was recorded
		for _, id := range ids {
			env.expect(id, order.Processing)
			if got := env.gateway.key(id); got.charges != 1 {
				t.Fatalf("order %d was charged %d times before the crash, want once", id, got.charges)
			}
		}
		env.audit()
		start := time.Now()
		stop = env.run(env.worker(env.options()))
		time.Sleep(env.rules.Lease + 2*time.Second)
		synctest.Wait()
		stop()
		for _, id := range ids {
			env.expect(id, order.Paid)
			if got := env.gateway.key(id); got.charges != 1 || got.asked != 2 {
				t.Errorf("order %d: %d requests to charge, charged %d times; want 2 and 1", id, got.asked, got.charges)
			}
			if again := env.gateway.callsFor(id)[1].at.Sub(start); again < env.rules.Lease-time.Second {
				t.Errorf("order %d was charged again after %s, during its lease", id, again)
			}
		}
		env.audit()
	})
}
