package worker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"orderflow/internal/bus"
	"orderflow/internal/order"
	"orderflow/internal/payment"
)

// From the commit of the order to its payment there is no timer and no polling: in a bubble, where time stands still
// while anything can go on, the way takes exactly as long as the gateway.
func TestAnOrderIsPaidAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		h.gateway.setCharge(func(ctx context.Context, _ payment.Request) (order.Outcome, error) {
			return order.Succeeded, slow(ctx, 70*time.Millisecond)
		})
		stop := h.run(h.worker(h.options()))
		defer stop()
		start := time.Now()
		id := h.create(1)[0]
		time.Sleep(70 * time.Millisecond)
		synctest.Wait()
		o := h.expect(id, order.Paid)
		if took := o.UpdatedAt.Sub(start); took != 70*time.Millisecond {
			t.Errorf("PAID after %s, want the gateway's 70ms", took)
		}
		events, err := h.store.Events(t.Context(), id, 0)
		if err != nil {
			t.Fatal(err)
		}
		if left := h.queueDepth(); left != (bus.Depth{}) {
			t.Errorf("the bus still has %+v, want all acknowledged", left)
		}
		for i, want := range []order.EventType{order.OrderCreated, order.OrderProcessing, order.OrderPaid} {
			if events[i].Type != want || events[i].Trace.ID != "trace-1" {
				t.Errorf("event %d is %s of %q, want %s of trace-1", i, events[i].Type, events[i].Trace.ID, want)
			}
		}
		stop()
		h.audit()
	})
}

func TestADeclinedOrderFailsAndPutsItsPiecesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		h.gateway.setCharge(func(context.Context, payment.Request) (order.Outcome, error) { return order.Declined, nil })
		stop := h.run(h.worker(h.options()))
		defer stop()
		id := h.create(1)[0]
		synctest.Wait()
		h.expect(id, order.Failed)
		for product := range int64(4) {
			if left := h.stock(1 + product); left != plenty {
				t.Errorf("product %d has %d left, want %d", 1+product, left, plenty)
			}
		}
		stop()
		h.audit()
	})
}

func TestNoAnswerIsTriedAgainAfterTheBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		start := time.Now()
		h.gateway.setCharge(func(_ context.Context, r payment.Request) (order.Outcome, error) {
			if r.Attempt < 3 {
				return "", errors.New("connection reset")
			}
			return order.Succeeded, nil
		})
		stop := h.run(h.worker(h.options()))
		defer stop()
		id := h.create(1)[0]
		time.Sleep(10 * time.Second)
		synctest.Wait()
		h.expect(id, order.Paid)
		var waits []time.Duration
		for _, c := range h.gateway.callsFor(id) {
			waits = append(waits, c.at.Sub(start))
		}
		if len(waits) != 3 || waits[0] != 0 || waits[1] != time.Second || waits[2] != 4*time.Second {
			t.Errorf("charged at %v, want at 0s, 1s and 4s", waits)
		}
		stop()
		h.audit()
	})
}
