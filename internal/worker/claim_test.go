package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"orderflow/internal/bus"
	"orderflow/internal/order"
	"orderflow/internal/payment"
)

func TestDuplicateAndLateMessagesAreSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		ids := env.create(4)
		paid, cancelled, claimed, missing := ids[0], ids[1], ids[2], int64(987_654)
		if _, _, err := env.store.CancelOrders(t.Context(), []order.CancelRequest{{OrderID: cancelled, Actor: "user:1"}}); err != nil {
			t.Fatal(err)
		}
		env.claim(claimed) // by another worker
		stop := env.run(env.worker(env.options()))
		defer stop()
		synctest.Wait()
		env.expect(paid, order.Paid)

		var again []bus.Message
		for range 3 {
			for _, id := range []int64{missing, claimed, cancelled, paid, ids[3]} {
				e := order.Event{OrderID: id, Seq: 1, Type: order.OrderCreated, UserID: 1, Total: 1, Currency: "USD", At: time.Now()}
				again = append(again, bus.Message{ID: e.ID(), Key: fmt.Sprint(id), Topic: bus.TopicJobs, Body: e.Append(nil)})
			}
		}
		again = append(again, bus.Message{ID: "unreadable", Topic: bus.TopicJobs, Body: []byte("{not an event")})
		before := env.gateway.count()
		if err := env.bus.Publish(t.Context(), again); err != nil {
			t.Fatal(err)
		}
		after := env.create(1)[0]
		synctest.Wait()
		if n := env.gateway.count() - before; n != 1 {
			t.Errorf("%d calls to the gateway, want the one for the new order", n)
		}
		env.expect(after, order.Paid)
		env.expect(paid, order.Paid)
		env.expect(cancelled, order.Cancelled)
		env.expect(claimed, order.Processing)
		if left := env.queueDepth(); left != (bus.Depth{}) {
			t.Errorf("queue depth %+v, want all messages acknowledged", left)
		}
		stop()
		env.audit()
	})
}

// Messages that arrive while a claim commits are claimed together in the next transaction, up to the free slots.
func TestWaitingOrdersAreClaimedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		var mu sync.Mutex
		var sizes []int
		o := env.options()
		o.Orders = &wrapped{Orders: env.store, claim: func(ctx context.Context, requests []order.ClaimRequest) ([]order.Claimed, order.EventBatch, error) {
			mu.Lock()
			first := len(sizes) == 0
			sizes = append(sizes, len(requests))
			mu.Unlock()
			if first { // the batcher may take a request before the others of its slice
				time.Sleep(100 * time.Millisecond)
			}
			return env.store.ClaimOrders(ctx, requests)
		}}
		env.gateway.setCharge(func(ctx context.Context, _ payment.Request) (order.Outcome, error) {
			return order.Succeeded, slow(ctx, time.Second)
		})
		// The sweeper finds one order before any message arrives, so that a commit runs when the others come.
		lost := env.create(1)
		env.publisher = env.newPublisher() // its message is lost
		time.Sleep(env.rules.Grace)
		stop := env.run(env.worker(o))
		synctest.Wait()
		ids := env.create(20)
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		mu.Lock()
		if !slices.Equal(sizes, []int{1, 15}) {
			t.Errorf("batch sizes %v, want 1 (the due order) and 15 (the free slots)", sizes)
		}
		mu.Unlock()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		for _, id := range append(ids, lost...) {
			env.expect(id, order.Paid)
		}
		stop()
	})
}

// An error of one order does not fail the others of its batch.
func TestErrorOfOneOrderDoesNotAffectOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		ids := env.create(12)
		bad := ids[5]
		var faulty atomic.Bool
		faulty.Store(true)
		o := env.options()
		o.Orders = &wrapped{Orders: env.store, claim: func(ctx context.Context, requests []order.ClaimRequest) ([]order.Claimed, order.EventBatch, error) {
			for _, r := range requests {
				if r.OrderID == bad && faulty.Load() {
					return nil, order.EventBatch{}, errors.New("unreadable row")
				}
			}
			return env.store.ClaimOrders(ctx, requests)
		}}
		stop := env.run(env.worker(o))
		synctest.Wait()
		for _, id := range ids {
			if id != bad {
				env.expect(id, order.Paid)
			}
		}
		env.expect(bad, order.Pending)
		time.Sleep(env.rules.Grace + 5*time.Second)
		faulty.Store(false)
		time.Sleep(backoffLast + 2*time.Second)
		synctest.Wait()
		stop()
		env.expect(bad, order.Paid)
		env.audit()
	})
}
