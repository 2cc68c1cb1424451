package worker

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"orderflow/internal/order"
	"orderflow/internal/payment"
)

func TestFailedCallIsRecorded(t *testing.T) {
	long := strings.Repeat("é", 300)
	for _, c := range []struct {
		name   string
		fate   func(ctx context.Context) (order.Outcome, error)
		reason string
	}{
		{"time-out", func(ctx context.Context) (order.Outcome, error) { return "", slow(ctx, time.Hour) }, "no answer within 10s"},
		{"panic", func(context.Context) (order.Outcome, error) { panic("boom") }, "internal error of the gateway"},
		{"nonsense", func(context.Context) (order.Outcome, error) { return "perhaps", nil }, `the gateway returned the unknown outcome "perhaps"`},
		{"secret", func(context.Context) (order.Outcome, error) { return "", errors.New("no token tok_secret\nhere") }, "no token [payment method] here"},
		{"long", func(context.Context) (order.Outcome, error) { return "", errors.New(long) }, strings.Repeat("é", maxReason-1) + "…"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				env := newTestEnv(t)
				defer env.close()
				o := env.options()
				o.Gateway = raw(func(ctx context.Context) (order.Outcome, error) { return c.fate(ctx) })
				o.Rules.PaymentAttempts = 3
				stop := env.run(env.worker(o))
				id := env.create(1)[0]
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				stop()
				env.expect(id, order.Processing)
				jobs, err := env.failedJobs().List(t.Context())
				if err != nil || len(jobs) != 1 {
					t.Fatalf("failed jobs %+v, error %v; want one", jobs, err)
				}
				if jobs[0].Error != c.reason {
					t.Errorf("the reason is %q, want %q", jobs[0].Error, c.reason)
				}
				if utf8.RuneCountInString(jobs[0].Error) > maxReason {
					t.Errorf("the reason is longer than %d characters", maxReason)
				}
				env.audit()
			})
		})
	}
}

// raw is a gateway that returns any outcome, valid or not.
type raw func(ctx context.Context) (order.Outcome, error)

func (r raw) Charge(ctx context.Context, _ payment.Request) (payment.Result, error) {
	outcome, err := r(ctx)
	return payment.Result{Outcome: outcome}, err
}

func (r raw) Void(ctx context.Context, request payment.Request) (payment.Result, error) {
	return r.Charge(ctx, request)
}

func (raw) Features() payment.Features { return payment.Features{} }

// An unanswered charge occupies one slot, and there are never more charges in flight than slots.
func TestSlowChargesDoNotBlockOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		slowOnes := map[int64]bool{}
		env.gateway.setCharge(func(ctx context.Context, r payment.Request) (order.Outcome, error) {
			if slowOnes[r.OrderID] {
				return order.Succeeded, slow(ctx, 9*time.Second)
			}
			return order.Succeeded, slow(ctx, 10*time.Millisecond)
		})
		o := env.options()
		o.Concurrency = 8
		hanging := env.create(7)
		for _, id := range hanging {
			slowOnes[id] = true
		}
		stop := env.run(env.worker(o))
		synctest.Wait()
		quick := env.create(50)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		for _, id := range quick {
			env.expect(id, order.Paid)
		}
		for _, id := range hanging {
			env.expect(id, order.Processing)
		}
		if env.gateway.most != 8 {
			t.Errorf("%d charges in flight, want at most, and at times, 8", env.gateway.most)
		}
		stop()
		env.audit()
	})
}
