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

func TestWhatGoesWrongInACallIsThatCallsError(t *testing.T) {
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
				h := newTestEnv(t)
				defer h.close()
				o := h.options()
				o.Gateway = raw(func(ctx context.Context) (order.Outcome, error) { return c.fate(ctx) })
				o.Rules.PaymentAttempts = 3
				stop := h.run(h.worker(o))
				id := h.create(1)[0]
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				stop()
				h.expect(id, order.Processing)
				jobs, err := h.failedJobs().List(t.Context())
				if err != nil || len(jobs) != 1 {
					t.Fatalf("dead letters %+v, error %v; want one", jobs, err)
				}
				if jobs[0].Error != c.reason {
					t.Errorf("the reason is %q, want %q", jobs[0].Error, c.reason)
				}
				if utf8.RuneCountInString(jobs[0].Error) > maxReason {
					t.Errorf("the reason is longer than %d characters", maxReason)
				}
				h.audit()
			})
		})
	}
}

// raw is a gateway that says exactly what the test wants, sense or not.
type raw func(ctx context.Context) (order.Outcome, error)

func (r raw) Charge(ctx context.Context, _ payment.Request) (payment.Result, error) {
	outcome, err := r(ctx)
	return payment.Result{Outcome: outcome}, err
}

func (r raw) Void(ctx context.Context, request payment.Request) (payment.Result, error) {
	return r.Charge(ctx, request)
}

func (raw) Features() payment.Features { return payment.Features{} }

// Charges that hang take their own slots and nobody else's, and there are never more in flight than slots.
func TestSlowChargesHoldNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		slowOnes := map[int64]bool{}
		h.gateway.setCharge(func(ctx context.Context, r payment.Request) (order.Outcome, error) {
			if slowOnes[r.OrderID] {
				return order.Succeeded, slow(ctx, 9*time.Second)
			}
			return order.Succeeded, slow(ctx, 10*time.Millisecond)
		})
		o := h.options()
		o.Concurrency = 8
		hanging := h.create(7)
		for _, id := range hanging {
			slowOnes[id] = true
		}
		stop := h.run(h.worker(o))
		synctest.Wait()
		quick := h.create(50)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		for _, id := range quick {
			h.expect(id, order.Paid)
		}
		for _, id := range hanging {
			h.expect(id, order.Processing)
		}
		if h.gateway.most != 8 {
			t.Errorf("at most %d charges in flight, want the 8 slots used and no more", h.gateway.most)
		}
		stop()
		h.audit()
	})
}
