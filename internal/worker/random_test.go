package worker

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/payment"
)

// With a gateway of every behaviour, including panics, and three workers, every order ends, and orders and charges agree.
func TestThousandOrdersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		random := rand.New(rand.NewPCG(1, 2))
		env.gateway.setCharge(mixed(env.gateway, random))
		o := env.options()
		o.Concurrency = 64
		stop := env.run(env.worker(o), env.worker(o), env.worker(o))
		var ids []int64
		for range 20 {
			ids = append(ids, env.create(50)...)
			time.Sleep(100 * time.Millisecond)
		}
		ended := func() bool {
			for _, id := range ids {
				if o := env.order(id); !o.Status.Terminal() && !o.DueAt.IsZero() {
					return false
				}
			}
			return true
		}
		for minutes := 0; !ended(); minutes++ {
			if minutes > 10 {
				t.Fatal("orders are still open after ten minutes")
			}
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		stop()
		statuses := map[order.Status]int{}
		for _, id := range ids {
			o := env.order(id)
			statuses[o.Status]++
			if got := env.gateway.key(id); got.charges > 1 || (o.Status == order.Paid) != (got.charged && o.Status.Terminal()) {
				t.Errorf("order %d is %s, charged %d times, charged at present: %t", id, o.Status, got.charges, got.charged)
			}
		}
		if statuses[order.Paid] == 0 || statuses[order.Failed] == 0 || statuses[order.Processing] == 0 {
			t.Errorf("statuses %v: not every final state was reached", statuses)
		}
		env.audit()
	})
}

// mixed scripts random calls: most succeed, some are declined, some fail before or after the charge, some hang or panic.
func mixed(g *fakeGateway, random *rand.Rand) func(ctx context.Context, r payment.Request) (order.Outcome, error) {
	return func(ctx context.Context, r payment.Request) (order.Outcome, error) {
		g.mu.Lock()
		draw, wait := random.IntN(100), time.Duration(random.IntN(300))*time.Millisecond
		g.mu.Unlock()
		if err := slow(ctx, wait); err != nil {
			return "", err
		}
		switch {
		case draw < 50:
			return order.Succeeded, nil
		case draw < 60:
			return order.Declined, nil
		case draw < 75:
			return "", errReset
		case draw < 90:
			g.charge(r.Key, order.Succeeded) // charged, but the answer is lost
			return "", errReset
		case draw < 95:
			return "", slow(ctx, time.Hour)
		default:
			panic("a bug in the gateway")
		}
	}
}
