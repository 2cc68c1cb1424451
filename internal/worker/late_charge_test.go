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

// The lease has expired and another attempt is in flight when the first one is answered. It is the same charge, so it settles the order.
func TestLateAnswerSettles(t *testing.T) {
	for _, c := range []struct {
		outcome order.Outcome
		want    order.Status
	}{{order.Succeeded, order.Paid}, {order.Declined, order.Failed}} {
		t.Run(string(c.outcome), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				env := newTestEnv(t)
				defer env.close()
				id := env.create(1)[0]
				first := env.claim(id)
				time.Sleep(env.rules.Lease + time.Second)
				second := env.claim(id)
				if first.Task != order.TaskCharge || second.Task != order.TaskCharge {
					t.Fatalf("claims gave %q and %q, want two charges", first.Task, second.Task)
				}
				env.report(first, c.outcome)
				env.expect(id, c.want)
				env.report(second, c.outcome)
				env.expect(id, c.want)
				env.audit()
			})
		})
	}
}

func TestLateChargeIsVoidedUntilConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		var voids atomic.Int64
		env.gateway.setVoid(func(context.Context, payment.Request) error {
			if voids.Add(1) < 4 {
				return errReset
			}
			return nil
		})
		id := env.create(1)[0]
		first := env.claim(id)
		time.Sleep(env.rules.Lease + time.Second)
		second := env.claim(id)
		env.report(second, order.Declined)
		env.expect(id, order.Failed)
		stop := env.run(env.worker(env.options()))
		env.report(first, order.Succeeded)
		env.gateway.charge(fmt.Sprintf("inst-%d", id), order.Succeeded)
		time.Sleep(time.Minute)
		synctest.Wait()
		stop()
		if o := env.expect(id, order.Failed); !o.DueAt.IsZero() {
			t.Errorf("a void is still due at %v", o.DueAt)
		}
		if got := env.gateway.key(id); got.charged || voids.Load() != 4 {
			t.Errorf("charged: %t after %d voids; want the charge voided by the fourth", got.charged, voids.Load())
		}
		env.audit()
	})
}
