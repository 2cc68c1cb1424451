package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/payment"
)

// The sweepers of several workers find orders whose message was lost, after the grace period. Each order is charged once.
func TestLostMessagesAreSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		lost := env.publisher
		ids := env.create(100)
		if lost.Waiting() == 0 {
			t.Fatal("the publisher has no events")
		}
		env.publisher = env.newPublisher() // the queue was lost with its process
		env.gateway.setCharge(func(ctx context.Context, _ payment.Request) (order.Outcome, error) {
			return order.Succeeded, slow(ctx, 20*time.Millisecond)
		})
		stop := env.run(env.worker(env.options()), env.worker(env.options()), env.worker(env.options()))
		time.Sleep(env.rules.Grace + 3*time.Second)
		synctest.Wait()
		stop()
		for _, id := range ids {
			env.expect(id, order.Paid)
			if n := len(env.gateway.callsFor(id)); n != 1 {
				t.Errorf("order %d was charged %d times, want once", id, n)
			}
		}
		env.audit()
	})
}

// The sweeper processes many due orders without a pause.
func TestSweeperContinuesWhileItFindsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		ids := env.create(100)
		env.publisher = env.newPublisher() // the queue was lost with its process
		time.Sleep(env.rules.Grace)
		stop := env.run(env.worker(env.options()))
		synctest.Wait() // the clock stands still
		for _, id := range ids {
			env.expect(id, order.Paid)
		}
		events, err := env.store.Events(t.Context(), ids[0], 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Actor != "worker:test" || e.Trace.ID != "trace-1" {
				t.Errorf("%s by %q with trace %q, want worker:test and trace-1", e.Type, e.Actor, e.Trace.ID)
			}
		}
		stop()
		env.audit()
	})
}
