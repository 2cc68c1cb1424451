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

// A gateway of every behaviour, crashes of it included, and three workers: each order ends, and the books and the bank
// agree to the cent.
func TestAThousandOrdersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		random := rand.New(rand.NewPCG(1, 2))
		h.gateway.setCharge(mixed(h.gateway, random))
		o := h.options()
		o.Concurrency = 64
		stop := h.run(h.worker(o), h.worker(o), h.worker(o))
		var ids []int64
		for range 20 {
			ids = append(ids, h.create(50)...)
			time.Sleep(100 * time.Millisecond)
		}
		ended := func() bool {
			for _, id := range ids {
				if o := h.order(id); !o.Status.Terminal() && !o.DueAt.IsZero() {
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
			o := h.order(id)
			statuses[o.Status]++
			if got := h.gateway.key(id); got.charges > 1 || (o.Status == order.Paid) != (got.charged && o.Status.Terminal()) {
				t.Errorf("order %d is %s, the bank charged it %d times, charged now: %t", id, o.Status, got.charges, got.charged)
			}
		}
		if statuses[order.Paid] == 0 || statuses[order.Failed] == 0 || statuses[order.Processing] == 0 {
			t.Errorf("statuses %v: the mix did not reach each end", statuses)
		}
		h.audit()
	})
}

// mixed is a fate for each call by lot: most succeed, some are declined, some break before or after the money moved,
// some hang or panic.
func mixed(b *fakeGateway, random *rand.Rand) func(ctx context.Context, r payment.Request) (order.Outcome, error) {
	return func(ctx context.Context, r payment.Request) (order.Outcome, error) {
		b.mu.Lock()
		lot, wait := random.IntN(100), time.Duration(random.IntN(300))*time.Millisecond
		b.mu.Unlock()
		if err := slow(ctx, wait); err != nil {
			return "", err
		}
		switch {
		case lot < 50:
			return order.Succeeded, nil
		case lot < 60:
			return order.Declined, nil
		case lot < 75:
			return "", errReset
		case lot < 90:
			b.charge(r.Key, order.Succeeded) // the money moved, the answer got lost
			return "", errReset
		case lot < 95:
			return "", slow(ctx, time.Hour)
		default:
			panic("a bug in the gateway")
		}
	}
}
