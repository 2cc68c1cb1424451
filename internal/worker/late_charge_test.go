package worker

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/payment"
)

// The lease ran out, another attempt is under way, and then the first one answers: it is the same charge, so it settles
// the order.
func TestALateAnswerSettles(t *testing.T) {
	for _, c := range []struct {
		outcome order.Outcome
		want    order.Status
	}{{order.Succeeded, order.Paid}, {order.Declined, order.Failed}} {
		t.Run(string(c.outcome), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newTestEnv(t)
				defer h.close()
				id := h.create(1)[0]
				first := h.claim(id)
				time.Sleep(h.rules.Lease + time.Second)
				second := h.claim(id)
				if first.Task != order.TaskCharge || second.Task != order.TaskCharge {
					t.Fatalf("claims gave %q and %q, want two charges", first.Task, second.Task)
				}
				h.report(first, c.outcome)
				h.expect(id, c.want)
				h.report(second, c.outcome)
				h.expect(id, c.want)
				h.audit()
			})
		})
	}
}

func TestAChargeAfterTheOrderFailedIsVoidedUntilThatIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		var voids atomic.Int64
		h.gateway.setVoid(func(context.Context, payment.Request) error {
			if voids.Add(1) < 4 {
				return errReset
			}
			return nil
		})
		id := h.create(1)[0]
		first := h.claim(id)
		time.Sleep(h.rules.Lease + time.Second)
		second := h.claim(id)
		h.report(second, order.Declined)
		h.expect(id, order.Failed)
		stop := h.run(h.worker(h.options()))
		h.report(first, order.Succeeded)
		h.gateway.charge(fmt.Sprintf("inst-%d", id), order.Succeeded)
		time.Sleep(time.Minute)
		synctest.Wait()
		stop()
		if o := h.expect(id, order.Failed); !o.DueAt.IsZero() {
			t.Errorf("a void is still owed at %v", o.DueAt)
		}
		if got := h.gateway.key(id); got.charged || voids.Load() != 4 {
			t.Errorf("charged: %t after %d voids; want the money back after 4", got.charged, voids.Load())
		}
		h.audit()
	})
}
