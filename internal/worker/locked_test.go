package worker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"orderflow/internal/bus"
	"orderflow/internal/order"
	"orderflow/internal/payment"
)

// rowLocks is a store in which another transaction keeps the rows of some orders locked.
type rowLocks struct {
	Orders

	mu     sync.Mutex
	locked map[int64]bool
	tries  map[int64]int // claims that met the locked row
}

func (r *rowLocks) keep(ids ...int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.locked, r.tries = map[int64]bool{}, map[int64]int{}
	for _, id := range ids {
		r.locked[id] = true
	}
}

// most is the largest number of claims that met the same locked row.
func (r *rowLocks) most() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, tries := range r.tries {
		n = max(n, tries)
	}
	return n
}

func (r *rowLocks) ClaimOrders(ctx context.Context, requests []order.ClaimRequest) ([]order.Claimed, order.EventBatch, error) {
	r.mu.Lock()
	locked := make([]bool, len(requests))
	var free []order.ClaimRequest
	for i, request := range requests {
		if locked[i] = r.locked[request.OrderID]; locked[i] {
			r.tries[request.OrderID]++
		} else {
			free = append(free, request)
		}
	}
	r.mu.Unlock()
	claimed, receipt, err := r.Orders.ClaimOrders(ctx, free)
	if err != nil {
		return nil, receipt, err
	}
	answers := make([]order.Claimed, len(requests))
	for i, request := range requests {
		if locked[i] {
			answers[i].Err = order.LockedOrder(request.OrderID)
			continue
		}
		answers[i], claimed = claimed[0], claimed[1:]
	}
	return answers, receipt, nil
}

// More orders are locked than there are slots, and they are due before all others: the others are claimed all the same, by the
// consumer and by the sweeper.
func TestLockedOrdersHoldUpNoSweeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		rows := &rowLocks{Orders: h.store}
		o := h.options()
		o.Orders, o.Concurrency = rows, 4
		w := h.worker(o)
		locked := h.create(12)
		rows.keep(locked...)
		stop := h.run(w)
		heard := h.create(3)
		h.publisher = h.newPublisher() // the messages of what follows are lost
		lost := h.create(3)
		time.Sleep(h.rules.Grace + 2*sweepPause)
		synctest.Wait()
		for _, id := range slices.Concat(heard, lost) {
			h.expect(id, order.Paid)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := rows.most(); n > 12 { // one of the consumer, then after 1, 2, 4, 8 s and every 10 s
			t.Errorf("a locked order was tried %d times in 72 s, want growing pauses", n)
		}
		if n := testutil.ToFloat64(w.metrics.locked); n < 24 {
			t.Errorf("%v claims of locked orders were counted, want at least two of each order", n)
		}
		if left := h.queueDepth(); left != (bus.Depth{}) {
			t.Errorf("the bus still has %+v, want the locked orders left to the sweeper", left)
		}
		for _, id := range locked {
			h.expect(id, order.Pending)
		}
		rows.keep()
		time.Sleep(backoffLast + 2*sweepPause)
		synctest.Wait()
		for _, id := range locked {
			h.expect(id, order.Paid)
		}
		stop()
		h.audit()
	})
}

// Settlements of a locked order are tried again for as long as it takes, and those of other orders do not wait for it.
func TestSettlementOfALockedOrderIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		ids := h.create(3)
		free := time.Now().Add(3 * time.Minute)
		o := h.options()
		o.Orders = &wrapped{Orders: h.store, settle: func(ctx context.Context, all []order.Settlement) ([]order.Changed, order.EventBatch, error) {
			answers := make([]order.Changed, len(all))
			var receipt order.EventBatch
			for i, s := range all {
				if s.OrderID == ids[0] && time.Now().Before(free) {
					answers[i].Err = order.LockedOrder(s.OrderID)
					continue
				}
				one, done, err := h.store.SettleOrders(ctx, []order.Settlement{s})
				if err != nil {
					return nil, order.EventBatch{}, err
				}
				answers[i], receipt = one[0], done
			}
			return answers, receipt, nil
		}}
		stop := h.run(h.worker(o))
		synctest.Wait()
		h.expect(ids[0], order.Processing)
		h.expect(ids[1], order.Paid)
		h.expect(ids[2], order.Paid)
		time.Sleep(3*time.Minute + 2*lastPause)
		synctest.Wait()
		if o := h.expect(ids[0], order.Paid); h.gateway.key(o.ID).charges != 1 {
			t.Errorf("order %d was charged %d times, want once", o.ID, h.gateway.key(o.ID).charges)
		}
		stop()
		h.audit()
	})
}

// A message is acknowledged after the claim of its order has committed. Acknowledged before, it would be lost with the process.
func TestNothingIsAcknowledgedBeforeItsClaimCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		ids := h.create(5)
		h.flush()
		var claimed int
		var before, after bus.Depth
		o := h.options()
		o.Orders = &wrapped{Orders: h.store, claim: func(ctx context.Context, requests []order.ClaimRequest) ([]order.Claimed, order.EventBatch, error) {
			time.Sleep(time.Second) // whatever else the worker does meanwhile, it has done
			if claimed == 0 {
				before = h.queueDepth() //nolint:contextcheck // the house asks for itself
			}
			answers, receipt, err := h.store.ClaimOrders(ctx, requests)
			claimed += len(requests)
			return answers, receipt, err
		}}
		stop := h.run(h.worker(o))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		after = h.queueDepth()
		if before.Waiting+before.Unacked != len(ids) {
			t.Errorf("before the first claim commits the bus has %+v, want all %d messages", before, len(ids))
		}
		if after != (bus.Depth{}) {
			t.Errorf("after the claims the bus has %+v, want nothing", after)
		}
		for _, id := range ids {
			h.expect(id, order.Paid)
		}
		stop()
	})
}

// A provider that fails at voids is still asked for charges, and one that fails at charges is still asked for voids.
func TestChargesAndVoidsHaveABreakerEach(t *testing.T) {
	for _, failing := range []order.PaymentKind{order.KindCharge, order.KindVoid} {
		t.Run(fmt.Sprint(failing, "s fail"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newTestEnv(t)
				defer h.close()
				breaker := payment.NewBreaker(h.gateway, payment.BreakerOptions{MinCalls: 4, Delay: time.Hour})
				o := h.options()
				o.Gateway, o.Breaker, o.VoidBreaker = breaker, breaker.Charges(), breaker.Voids()
				void := h.lateCharge()
				circuit := breaker.Charges()
				if failing == order.KindVoid {
					circuit = breaker.Voids()
					h.gateway.setVoid(func(context.Context, payment.Request) error { return errReset })
				} else {
					h.gateway.setCharge(func(context.Context, payment.Request) (order.Outcome, error) { return "", errReset })
				}
				for range 4 { // somebody else's calls open the circuit
					if failing == order.KindVoid {
						_, _ = breaker.Void(t.Context(), payment.Request{Key: "other"})
					} else {
						_, _ = breaker.Charge(t.Context(), payment.Request{Key: "other"})
					}
				}
				if got := circuit.State(); got != payment.StateOpen {
					t.Fatalf("the circuit of %ss is %s, want it open", failing, got)
				}
				stop := h.run(h.worker(o))
				placed := h.create(1)[0]
				time.Sleep(h.rules.Grace + 2*sweepPause)
				synctest.Wait()
				if failing == order.KindVoid {
					h.expect(placed, order.Paid)
				} else if o := h.expect(void, order.Failed); !o.DueAt.IsZero() {
					t.Errorf("the void is still due at %v", o.DueAt)
				}
				if n := h.order(void).Claims; failing == order.KindVoid && n != 2 {
					t.Errorf("the order with the void was claimed %d times, want none since its two charges", n)
				}
				stop()
				h.audit()
			})
		})
	}
}

// lateCharge returns an order that FAILED before its charge was reported, so that the charge has to be voided.
func (h *testEnv) lateCharge() int64 {
	h.t.Helper()
	id := h.create(1)[0]
	h.publisher = h.newPublisher() // its message is lost: the order is left to the sweeper of voids
	late := settlement(h.claim(id), "worker:other")
	time.Sleep(h.rules.Lease) // which runs out
	h.report(h.claim(id), order.Declined)
	h.gateway.charge(fmt.Sprintf("inst-%d", id), order.Succeeded)
	late.Outcome = order.Succeeded
	if _, _, err := h.store.SettleOrders(context.Background(), []order.Settlement{late}); err != nil {
		h.t.Fatal(err)
	}
	return id
}

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b backoff
		due := []order.ClaimRequest{{OrderID: 1}, {OrderID: 2}, {OrderID: 3}}
		var pauses []time.Duration
		for range 6 {
			b.failed(1)
			start := time.Now()
			for len(b.allowed(due[:1], 1)) == 0 {
				time.Sleep(500 * time.Millisecond)
			}
			pauses = append(pauses, time.Since(start))
		}
		want := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 10 * time.Second, 10 * time.Second}
		if diff := cmp.Diff(want, pauses); diff != "" {
			t.Errorf("pauses (-want +got)\n%s", diff)
		}
		b.failed(1)
		if diff := cmp.Diff(due[1:], b.allowed(due, 2)); diff != "" {
			t.Errorf("allowed (-want +got)\n%s", diff)
		}
		if n := b.pausing(); n != 1 {
			t.Errorf("%d orders pause, want 1", n)
		}
		b.claimed(1)
		if diff := cmp.Diff(due, b.allowed(due, 3)); diff != "" {
			t.Errorf("allowed after the claim (-want +got)\n%s", diff)
		}
		for id := range int64(backoffOrders + 10) {
			b.failed(id)
		}
		if n := b.pausing(); n != backoffOrders {
			t.Errorf("%d orders pause, want no more than %d", n, backoffOrders)
		}
		time.Sleep(time.Minute)
		if b.pausing(); len(b.orders) != 0 {
			t.Errorf("%d orders are kept long after their pauses", len(b.orders))
		}
	})
}
