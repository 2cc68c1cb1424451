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

// wrapped is the store with faults: each function, if set, is called in place of the method.
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

var errAway = order.Errorf(order.CodeUnavailable, "The database is away.")

func TestAShutdownHandsBackWhatItHasNotCharged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		ctx, cancel := context.WithCancel(t.Context())
		o := h.options()
		o.Orders = &wrapped{Orders: h.store, claim: func(ctx context.Context, requests []order.ClaimRequest) ([]order.Claimed, order.EventBatch, error) {
			defer cancel() // the signal comes while the claim commits
			return h.store.ClaimOrders(ctx, requests)
		}}
		ids := h.create(5)
		h.flush()
		if err := h.worker(o).Run(ctx); err != nil {
			t.Fatal(err)
		}
		if n := h.gateway.count(); n != 0 {
			t.Fatalf("the gateway was called %d times after the shutdown began", n)
		}
		claimed := 0
		for _, id := range ids {
			o := h.order(id)
			if o.AttemptsLeft != 3 {
				t.Errorf("order %d has %d tries left, want all 3 back", id, o.AttemptsLeft)
			}
			if o.Status == order.Processing {
				claimed++
				if o.Lease != "" || o.DueAt.After(time.Now()) || o.Claims != 1 {
					t.Errorf("order %d has lease %q, due %v, attempts %d; want it free, due now, and the attempt counted", id, o.Lease, o.DueAt, o.Claims)
				}
			}
		}
		if claimed == 0 {
			t.Fatal("nothing was claimed: the test shows nothing")
		}
		h.audit()
		stop := h.run(h.worker(h.options()))
		time.Sleep(12 * time.Second)
		synctest.Wait()
		stop()
		for _, id := range ids {
			h.expect(id, order.Paid)
		}
		h.audit()
	})
}

func TestAShutdownLetsChargesFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		h.gateway.setCharge(func(ctx context.Context, _ payment.Request) (order.Outcome, error) {
			return order.Succeeded, slow(ctx, 8*time.Second)
		})
		stop := h.run(h.worker(h.options()))
		id := h.create(1)[0]
		synctest.Wait()
		start := time.Now()
		stop()
		if took := time.Since(start); took != 8*time.Second {
			t.Errorf("stopped after %s, want the 8s of the charge", took)
		}
		h.expect(id, order.Paid)
		h.audit()
	})
}

func TestAShutdownCutsChargesOffAtTheDrainLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		h.gateway.setCharge(func(ctx context.Context, _ payment.Request) (order.Outcome, error) {
			return order.Succeeded, slow(ctx, time.Hour)
		})
		o := h.options()
		o.DrainLimit = 2 * time.Second
		stop := h.run(h.worker(o))
		id := h.create(1)[0]
		synctest.Wait()
		start := time.Now()
		stop()
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("stopped after %s, want the drain limit's 2s", took)
		}
		if o := h.expect(id, order.Processing); o.AttemptsLeft != 2 || o.Lease != "" || o.DueAt.IsZero() {
			t.Errorf("tries left %d, lease %q, due %v; want a try used up and the next one planned", o.AttemptsLeft, o.Lease, o.DueAt)
		}
		h.audit()
	})
}

// A database that is away loses no answer while the process lives, and no message either.
func TestAnOutageOfTheDatabaseIsWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		var away atomic.Bool
		o := h.options()
		o.Orders = &wrapped{
			Orders: h.store,
			claim: func(ctx context.Context, requests []order.ClaimRequest) ([]order.Claimed, order.EventBatch, error) {
				if away.Load() {
					return nil, order.EventBatch{}, errAway
				}
				return h.store.ClaimOrders(ctx, requests)
			},
			settle: func(ctx context.Context, settlements []order.Settlement) ([]order.Changed, order.EventBatch, error) {
				if away.Load() {
					return nil, order.EventBatch{}, errAway
				}
				return h.store.SettleOrders(ctx, settlements)
			},
			due: func(ctx context.Context, limit int, kinds ...order.PaymentKind) ([]order.ClaimRequest, error) {
				if away.Load() {
					return nil, errAway
				}
				return h.store.DueOrders(ctx, limit, kinds...)
			},
		}
		h.gateway.setCharge(func(ctx context.Context, _ payment.Request) (order.Outcome, error) {
			return order.Succeeded, slow(ctx, 100*time.Millisecond)
		})
		stop := h.run(h.worker(o))
		first := h.create(8)
		time.Sleep(50 * time.Millisecond)
		away.Store(true)
		second := h.create(8)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		for _, id := range first {
			h.expect(id, order.Processing)
		}
		away.Store(false)
		// All in all shorter than the grace, so that it is not the sweeper who finds what got lost.
		time.Sleep(5500 * time.Millisecond)
		synctest.Wait()
		for _, id := range append(first, second...) {
			h.expect(id, order.Paid)
			if n := len(h.gateway.callsFor(id)); n != 1 {
				t.Errorf("order %d was charged %d times, want once", id, n)
			}
		}
		stop()
		h.audit()
	})
}

// The process is killed after the charge and before its settlement: another one asks again with the same key, which is
// the same charge.
func TestAKilledWorkersChargeIsNotDoubled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		o := h.options()
		o.Orders = &wrapped{Orders: h.store, settle: func(context.Context, []order.Settlement) ([]order.Changed, order.EventBatch, error) {
			return nil, order.EventBatch{}, errAway
		}}
		o.DrainLimit = time.Millisecond
		stop := h.run(h.worker(o))
		ids := h.create(10)
		synctest.Wait()
		stop() // gives up: nothing of what it knows was recorded
		for _, id := range ids {
			h.expect(id, order.Processing)
			if got := h.gateway.key(id); got.charges != 1 {
				t.Fatalf("order %d was charged %d times before the crash, want once", id, got.charges)
			}
		}
		h.audit()
		start := time.Now()
		stop = h.run(h.worker(h.options()))
		time.Sleep(h.rules.Lease + 2*time.Second)
		synctest.Wait()
		stop()
		for _, id := range ids {
			h.expect(id, order.Paid)
			if got := h.gateway.key(id); got.charges != 1 || got.asked != 2 {
				t.Errorf("order %d: asked for %d charges, took money %d times; want 2 and 1", id, got.asked, got.charges)
			}
			if again := h.gateway.callsFor(id)[1].at.Sub(start); again < h.rules.Lease-time.Second {
				t.Errorf("order %d was charged again after %s, while its lease lived", id, again)
			}
		}
		h.audit()
	})
}
