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
	claims map[int64]int // claims of the locked row
}

func (r *rowLocks) keep(ids ...int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.locked, r.claims = map[int64]bool{}, map[int64]int{}
	for _, id := range ids {
		r.locked[id] = true
	}
}

// most returns the largest number of claims of one locked row.
func (r *rowLocks) most() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, claims := range r.claims {
		n = max(n, claims)
	}
	return n
}

func (r *rowLocks) ClaimOrders(ctx context.Context, requests []order.ClaimRequest) ([]order.Claimed, order.EventBatch, error) {
	r.mu.Lock()
	locked := make([]bool, len(requests))
	var free []order.ClaimRequest
	for i, request := range requests {
		if locked[i] = r.locked[request.OrderID]; locked[i] {
			r.claims[request.OrderID]++
		} else {
			free = append(free, request)
		}
	}
	r.mu.Unlock()
	claimed, events, err := r.Orders.ClaimOrders(ctx, free)
	if err != nil {
		return nil, events, err
	}
	answers := make([]order.Claimed, len(requests))
	for i, request := range requests {
		if locked[i] {
			answers[i].Err = order.LockedOrder(request.OrderID)
			continue
		}
		answers[i], claimed = claimed[0], claimed[1:]
	}
	return answers, events, nil
}

// There are more locked orders than slots, and they are due first. Consumer and sweeper claim the other orders all the same.
func TestLockedOrdersDoNotBlockOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		rows := &rowLocks{Orders: env.store}
		o := env.options()
		o.Orders, o.Concurrency = rows, 4
		w := env.worker(o)
		locked := env.create(12)
		rows.keep(locked...)
		stop := env.run(w)
		announced := env.create(3)
		env.publisher = env.newPublisher() // the messages of later orders are lost
		lost := env.create(3)
		time.Sleep(env.rules.Grace + 2*sweepPause)
		synctest.Wait()
		for _, id := range slices.Concat(announced, lost) {
			env.expect(id, order.Paid)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := rows.most(); n > 12 { // by the consumer, then after 1, 2, 4, 8 s and every 10 s
			t.Errorf("a locked order was claimed %d times in 72 s, want growing pauses", n)
		}
		if n := testutil.ToFloat64(w.metrics.locked); n < 24 {
			t.Errorf("%v claims of locked orders were counted, want at least 24", n)
		}
		if left := env.queueDepth(); left != (bus.Depth{}) {
			t.Errorf("queue depth %+v, want the locked orders left to the sweeper", left)
		}
		for _, id := range locked {
			env.expect(id, order.Pending)
		}
		rows.keep()
		time.Sleep(backoffLast + 2*sweepPause)
		synctest.Wait()
		for _, id := range locked {
			env.expect(id, order.Paid)
		}
		stop()
		env.audit()
	})
}

// The settlement of a locked order is retried without limit, and settlements of other orders do not wait for it.
func TestSettlementOfALockedOrderIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		ids := env.create(3)
		free := time.Now().Add(3 * time.Minute)
		o := env.options()
		o.Orders = &wrapped{Orders: env.store, settle: func(ctx context.Context, all []order.Settlement) ([]order.Changed, order.EventBatch, error) {
			answers := make([]order.Changed, len(all))
			var events order.EventBatch
			for i, s := range all {
				if s.OrderID == ids[0] && time.Now().Before(free) {
					answers[i].Err = order.LockedOrder(s.OrderID)
					continue
				}
				one, done, err := env.store.SettleOrders(ctx, []order.Settlement{s})
				if err != nil {
					return nil, order.EventBatch{}, err
				}
				answers[i], events = one[0], done
			}
			return answers, events, nil
		}}
		stop := env.run(env.worker(o))
		synctest.Wait()
		env.expect(ids[0], order.Processing)
		env.expect(ids[1], order.Paid)
		env.expect(ids[2], order.Paid)
		time.Sleep(3*time.Minute + 2*lastPause)
		synctest.Wait()
		if o := env.expect(ids[0], order.Paid); env.gateway.key(o.ID).charges != 1 {
			t.Errorf("order %d was charged %d times, want once", o.ID, env.gateway.key(o.ID).charges)
		}
		stop()
		env.audit()
	})
}

// A message that was acknowledged before the claim of its order commits would be lost with the process.
func TestMessagesAreAcknowledgedAfterTheClaimCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		ids := env.create(5)
		env.flush()
		var claimed int
		var before, after bus.Depth
		o := env.options()
		o.Orders = &wrapped{Orders: env.store, claim: func(ctx context.Context, requests []order.ClaimRequest) ([]order.Claimed, order.EventBatch, error) {
			time.Sleep(time.Second) // time for all other steps of the worker
			if claimed == 0 {
				before = env.queueDepth() //nolint:contextcheck // testEnv has its own context
			}
			answers, events, err := env.store.ClaimOrders(ctx, requests)
			claimed += len(requests)
			return answers, events, err
		}}
		stop := env.run(env.worker(o))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		after = env.queueDepth()
		if before.Waiting+before.Unacked != len(ids) {
			t.Errorf("queue depth %+v before the first claim commits, want all %d messages", before, len(ids))
		}
		if after != (bus.Depth{}) {
			t.Errorf("queue depth %+v after the claims, want none", after)
		}
		for _, id := range ids {
			env.expect(id, order.Paid)
		}
		stop()
	})
}

// A provider that fails at voids still gets charges, and one that fails at charges still gets voids.
func TestChargesAndVoidsHaveSeparateBreakers(t *testing.T) {
	for _, failing := range []order.PaymentKind{order.KindCharge, order.KindVoid} {
		t.Run(fmt.Sprint(failing, "s fail"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				env := newTestEnv(t)
				defer env.close()
				breaker := payment.NewBreaker(env.gateway, payment.BreakerOptions{MinCalls: 4, Delay: time.Hour})
				o := env.options()
				o.Gateway, o.Breaker, o.VoidBreaker = breaker, breaker.Charges(), breaker.Voids()
				void := env.lateCharge()
				circuit := breaker.Charges()
				if failing == order.KindVoid {
					circuit = breaker.Voids()
					env.gateway.setVoid(func(context.Context, payment.Request) error { return errReset })
				} else {
					env.gateway.setCharge(func(context.Context, payment.Request) (order.Outcome, error) { return "", errReset })
				}
				for range 4 { // calls of another worker open the circuit
					if failing == order.KindVoid {
						_, _ = breaker.Void(t.Context(), payment.Request{Key: "other"})
					} else {
						_, _ = breaker.Charge(t.Context(), payment.Request{Key: "other"})
					}
				}
				if got := circuit.State(); got != payment.StateOpen {
					t.Fatalf("the circuit of %ss is %s, want it open", failing, got)
				}
				stop := env.run(env.worker(o))
				placed := env.create(1)[0]
				time.Sleep(env.rules.Grace + 2*sweepPause)
				synctest.Wait()
				if failing == order.KindVoid {
					env.expect(placed, order.Paid)
				} else if o := env.expect(void, order.Failed); !o.DueAt.IsZero() {
					t.Errorf("the void is still due at %v", o.DueAt)
				}
				if n := env.order(void).Claims; failing == order.KindVoid && n != 2 {
					t.Errorf("the order with the void was claimed %d times, want 2, for its charges", n)
				}
				stop()
				env.audit()
			})
		})
	}
}

// lateCharge returns an order that FAILED before its charge was reported, so that the charge must be voided.
func (env *testEnv) lateCharge() int64 {
	env.t.Helper()
	id := env.create(1)[0]
	env.publisher = env.newPublisher() // its message is lost, so that only the sweeper of voids finds it
	late := settlement(env.claim(id), "worker:other")
	time.Sleep(env.rules.Lease) // until it expires
	env.report(env.claim(id), order.Declined)
	env.gateway.charge(fmt.Sprintf("inst-%d", id), order.Succeeded)
	late.Outcome = order.Succeeded
	if _, _, err := env.store.SettleOrders(context.Background(), []order.Settlement{late}); err != nil {
		env.t.Fatal(err)
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
			t.Errorf("%d orders pause, want at most %d", n, backoffOrders)
		}
		time.Sleep(time.Minute)
		if b.pausing(); len(b.orders) != 0 {
			t.Errorf("%d orders remain long after their pauses", len(b.orders))
		}
	})
}
