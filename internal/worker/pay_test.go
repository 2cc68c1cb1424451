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

// Between the commit of an order and its payment there is no timer and no polling: on the clock of a bubble, which stands still while
// any goroutine can run, it takes exactly as long as the gateway.
func TestOrderIsPaidAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		env.gateway.setCharge(func(ctx context.Context, _ payment.Request) (order.Outcome, error) {
			return order.Succeeded, slow(ctx, 70*time.Millisecond)
		})
		stop := env.run(env.worker(env.options()))
		defer stop()
		start := time.Now()
		id := env.create(1)[0]
		time.Sleep(70 * time.Millisecond)
		synctest.Wait()
		o := env.expect(id, order.Paid)
		if took := o.UpdatedAt.Sub(start); took != 70*time.Millisecond {
			t.Errorf("PAID after %s, want 70ms", took)
		}
		events, err := env.store.Events(t.Context(), id, 0)
		if err != nil {
			t.Fatal(err)
		}
		if left := env.queueDepth(); left != (bus.Depth{}) {
			t.Errorf("queue depth %+v, want all messages acknowledged", left)
		}
		for i, want := range []order.EventType{order.OrderCreated, order.OrderProcessing, order.OrderPaid} {
			if events[i].Type != want || events[i].Trace.ID != "trace-1" {
				t.Errorf("event %d is %s of %q, want %s of trace-1", i, events[i].Type, events[i].Trace.ID, want)
			}
		}
		stop()
		env.audit()
	})
}

func TestDeclinedOrderFailsAndReturnsItsStock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		env.gateway.setCharge(func(context.Context, payment.Request) (order.Outcome, error) { return order.Declined, nil })
		stop := env.run(env.worker(env.options()))
		defer stop()
		id := env.create(1)[0]
		synctest.Wait()
		env.expect(id, order.Failed)
		for product := range int64(4) {
			if left := env.stock(1 + product); left != plenty {
				t.Errorf("product %d has %d left, want %d", 1+product, left, plenty)
			}
		}
		stop()
		env.audit()
	})
}

func TestUnansweredChargeIsRetriedAfterTheBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		start := time.Now()
		env.gateway.setCharge(func(_ context.Context, r payment.Request) (order.Outcome, error) {
			if r.Attempt < 3 {
				return "", errors.New("connection reset")
			}
			return order.Succeeded, nil
		})
		stop := env.run(env.worker(env.options()))
		defer stop()
		id := env.create(1)[0]
		time.Sleep(10 * time.Second)
		synctest.Wait()
		env.expect(id, order.Paid)
		var waits []time.Duration
		for _, c := range env.gateway.callsFor(id) {
			waits = append(waits, c.at.Sub(start))
		}
		if len(waits) != 3 || waits[0] != 0 || waits[1] != time.Second || waits[2] != 4*time.Second {
			t.Errorf("charged at %v, want at 0s, 1s and 4s", waits)
		}
		stop()
		env.audit()
	})
}
