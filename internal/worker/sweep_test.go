package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/payment"
)

// Orders whose message was lost are found by the sweeper when their grace is over, by several workers at once, each by
// one.
func TestLostMessagesAreSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		lost := h.publisher
		ids := h.create(100)
		if lost.Waiting() == 0 {
			t.Fatal("nothing was handed to the publisher")
		}
		h.publisher = h.newPublisher() // the process died with its queue
		h.gateway.setCharge(func(ctx context.Context, _ payment.Request) (order.Outcome, error) {
			return order.Succeeded, slow(ctx, 20*time.Millisecond)
		})
		stop := h.run(h.worker(h.options()), h.worker(h.options()), h.worker(h.options()))
		time.Sleep(h.rules.Grace + 3*time.Second)
		synctest.Wait()
		stop()
		for _, id := range ids {
			h.expect(id, order.Paid)
			if n := len(h.gateway.callsFor(id)); n != 1 {
				t.Errorf("order %d was charged %d times, want once", id, n)
			}
		}
		h.audit()
	})
}

// Many orders that are due are worked on one roundful after the other, without a pause between.
func TestTheSweeperGoesOnWhileItFindsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		ids := h.create(100)
		h.publisher = h.newPublisher() // the process died with its queue
		time.Sleep(h.rules.Grace)
		stop := h.run(h.worker(h.options()))
		synctest.Wait() // the clock stands still
		for _, id := range ids {
			h.expect(id, order.Paid)
		}
		events, err := h.store.Events(t.Context(), ids[0], 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Actor != "worker:test" || e.Trace.ID != "trace-1" {
				t.Errorf("%s by %q of %q, want by worker:test of the order's own trace", e.Type, e.Actor, e.Trace.ID)
			}
		}
		stop()
		h.audit()
	})
}
