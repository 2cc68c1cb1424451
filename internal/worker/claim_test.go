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

func TestMessagesThatComeAgainOrOutOfOrderAreHarmless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		ids := h.create(4)
		paid, cancelled, held, gone := ids[0], ids[1], ids[2], int64(987_654)
		if _, _, err := h.store.CancelOrders(t.Context(), []order.CancelRequest{{OrderID: cancelled, Actor: "user:1"}}); err != nil {
			t.Fatal(err)
		}
		h.claim(held) // another worker has it
		stop := h.run(h.worker(h.options()))
		defer stop()
		synctest.Wait()
		h.expect(paid, order.Paid)

		var again []bus.Message
		for range 3 {
			for _, id := range []int64{gone, held, cancelled, paid, ids[3]} {
				e := order.Event{OrderID: id, Seq: 1, Type: order.OrderCreated, UserID: 1, Total: 1, Currency: "USD", At: time.Now()}
				again = append(again, bus.Message{ID: e.ID(), Key: fmt.Sprint(id), Topic: bus.TopicJobs, Body: e.Append(nil)})
			}
		}
		again = append(again, bus.Message{ID: "poison", Topic: bus.TopicJobs, Body: []byte("{not an event")})
		before := h.gateway.count()
		if err := h.bus.Publish(t.Context(), again); err != nil {
			t.Fatal(err)
		}
		after := h.create(1)[0]
		synctest.Wait()
		if n := h.gateway.count() - before; n != 1 {
			t.Errorf("%d calls to the gateway, want the one for the new order", n)
		}
		h.expect(after, order.Paid)
		h.expect(paid, order.Paid)
		h.expect(cancelled, order.Cancelled)
		h.expect(held, order.Processing)
		if left := h.queueDepth(); left != (bus.Depth{}) {
			t.Errorf("the bus still has %+v, want all acknowledged", left)
		}
		stop()
		h.audit()
	})
}

// What waits on the bus while a claim commits is claimed in one transaction after it, as far as there are slots.
func TestWaitingOrdersAreClaimedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		var mu sync.Mutex
		var sizes []int
		o := h.options()
		o.Orders = &wrapped{Orders: h.store, claim: func(ctx context.Context, requests []order.ClaimRequest) ([]order.Claimed, order.EventBatch, error) {
			mu.Lock()
			first := len(sizes) == 0
			sizes = append(sizes, len(requests))
			mu.Unlock()
			if first { // the committer may take a request before those that were handed in with it have arrived
				time.Sleep(100 * time.Millisecond)
			}
			return h.store.ClaimOrders(ctx, requests)
		}}
		h.gateway.setCharge(func(ctx context.Context, _ payment.Request) (order.Outcome, error) {
			return order.Succeeded, slow(ctx, time.Second)
		})
		// The sweeper finds one order before there is anything on the bus, so that the committer is busy when the others come.
		lost := h.create(1)
		h.publisher = h.newPublisher() // its message is lost
		time.Sleep(h.rules.Grace)
		stop := h.run(h.worker(o))
		synctest.Wait()
		ids := h.create(20)
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		mu.Lock()
		if !slices.Equal(sizes, []int{1, 15}) {
			t.Errorf("claims of %v orders, want one of the order that was due, and one of the 15 that there are slots for", sizes)
		}
		mu.Unlock()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		for _, id := range append(ids, lost...) {
			h.expect(id, order.Paid)
		}
		stop()
	})
}

// A claim or settlement that fails alone takes nobody with it.
func TestAFaultOfOneOrderStaysItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		ids := h.create(12)
		bad := ids[5]
		var faulty atomic.Bool
		faulty.Store(true)
		o := h.options()
		o.Orders = &wrapped{Orders: h.store, claim: func(ctx context.Context, requests []order.ClaimRequest) ([]order.Claimed, order.EventBatch, error) {
			for _, r := range requests {
				if r.OrderID == bad && faulty.Load() {
					return nil, order.EventBatch{}, errors.New("a row that cannot be read")
				}
			}
			return h.store.ClaimOrders(ctx, requests)
		}}
		stop := h.run(h.worker(o))
		synctest.Wait()
		for _, id := range ids {
			if id != bad {
				h.expect(id, order.Paid)
			}
		}
		h.expect(bad, order.Pending)
		time.Sleep(h.rules.Grace + 5*time.Second)
		faulty.Store(false)
		time.Sleep(backoffLast + 2*time.Second)
		synctest.Wait()
		stop()
		h.expect(bad, order.Paid)
		h.audit()
	})
}
