package app_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"orderflow/internal/config"
)

// concurrently calls work n times at the same time.
func concurrently(n int, work func(i int)) {
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-start
			work(i)
		})
	}
	close(start)
	all.Wait()
}

// withAndWithoutBatches runs a race with batching and with one transaction per order, on every database.
func withAndWithoutBatches(t *testing.T, race func(t *testing.T, set func(*config.Settings))) {
	t.Helper()
	for name, limit := range map[string]int{"batches": config.Defaults().BatchMax, "batches of 3": 3, "an order a transaction": 1} {
		for ground, on := range databases() {
			t.Run(name+" on "+ground, func(t *testing.T) {
				t.Parallel()
				race(t, func(set *config.Settings) {
					on(t, set)
					set.BatchMax = limit
				})
			})
		}
	}
}

// TestLastItem: of 50 concurrent orders for the last unit one succeeds.
func TestLastItem(t *testing.T) {
	t.Parallel()
	withAndWithoutBatches(t, func(t *testing.T, set func(*config.Settings)) {
		s := serve(t, set)
		replies := make([]response, 50)
		concurrently(len(replies), func(i int) { replies[i] = s.buy(int64(i%3+1), fmt.Sprintf("buyer-%d", i), 5, 1) })
		created, refused := 0, 0
		for _, r := range replies {
			switch {
			case r.status == http.StatusCreated:
				created++
				s.await(r.order().ID, "PAID")
			case r.status == http.StatusConflict && r.errorBody().Error == "insufficient_stock":
				refused++
			default:
				t.Errorf("%+v", r)
			}
		}
		if created != 1 || refused != 49 || s.stock(5) != 0 {
			t.Errorf("%d orders, %d refused, stock %d", created, refused, s.stock(5))
		}
	})
}

// TestOneKey: 50 concurrent requests with one key create one order.
func TestOneKey(t *testing.T) {
	t.Parallel()
	withAndWithoutBatches(t, func(t *testing.T, set func(*config.Settings)) {
		s := serve(t, set)
		replies := make([]response, 50)
		concurrently(len(replies), func(i int) { replies[i] = s.buy(1, "the key", 1, 2) })
		created, replayed := 0, 0
		for _, r := range replies {
			switch {
			case r.order().ID == 0 || r.order().ID != replies[0].order().ID:
				t.Errorf("%+v, and the first: %+v", r, replies[0])
			case r.status == http.StatusCreated && r.header.Get("Idempotent-Replayed") == "":
				created++
			case r.status == http.StatusOK && r.header.Get("Idempotent-Replayed") == "true":
				replayed++
			default:
				t.Errorf("%+v", r)
			}
		}
		if created != 1 || replayed != 49 || s.stock(1) != 48 {
			t.Errorf("%d created, %d replayed, stock %d", created, replayed, s.stock(1))
		}
		s.await(replies[0].order().ID, "PAID")
	})
}

// TestOneKeyTwoBodies: of two bodies with one key, one creates the order, and the requests with the other one are refused.
func TestOneKeyTwoBodies(t *testing.T) {
	t.Parallel()
	withAndWithoutBatches(t, func(t *testing.T, set func(*config.Settings)) {
		s := serve(t, set)
		replies := make([]response, 40)
		concurrently(len(replies), func(i int) { replies[i] = s.buy(1, "the key", 1, int64(i%2+1)) })
		var orders, reused [2]int
		for i, r := range replies {
			switch {
			case r.status == http.StatusCreated || r.status == http.StatusOK:
				orders[i%2]++
			case r.status == 422 && r.errorBody().Error == "idempotency_key_reused":
				reused[i%2]++
			default:
				t.Errorf("%+v", r)
			}
		}
		winner := 0
		if orders[1] > 0 {
			winner = 1
		}
		if orders[winner] != 20 || reused[1-winner] != 20 {
			t.Errorf("%v answered with an order, %v refused", orders, reused)
		}
	})
}

// TestCancelAgainstWorkers: orders are cancelled, several times concurrently, while workers charge them. Each order is either cancelled or paid
// (or failed), all its requests get the same answer, and its stock is restored once.
func TestCancelAgainstWorkers(t *testing.T) {
	t.Parallel()
	withAndWithoutBatches(t, func(t *testing.T, set func(*config.Settings)) {
		s := serve(t, func(c *config.Settings) {
			set(c)
			c.SimulatedSuccess = 0.7
			// Few concurrent charges, so that many orders are still PENDING when they are cancelled.
			c.WorkerConcurrency, c.SimulatedLatency = 2, config.Span{Max: 20 * time.Millisecond}
		})
		const orders, callers = 60, 3
		var mu sync.Mutex
		accepted, refused, sold := 0, 0, int64(0)
		concurrently(20, func(i int) {
			random := rand.New(rand.NewPCG(rand.Uint64(), uint64(i)))
			for k := range orders / 20 {
				o := s.buy(1, fmt.Sprintf("%d-%d", i, k), 2, 1).order()
				if random.IntN(2) == 0 { // else cancel at once, before a worker claims it
					s.await(o.ID, "PROCESSING", "PAID", "FAILED")
				}
				replies := make([]response, callers)
				concurrently(callers, func(c int) { replies[c] = s.cancel(o.ID) })
				final := s.await(o.ID, "CANCELLED", "PAID", "FAILED")
				yes := 0
				for _, r := range replies {
					switch {
					case r.status == http.StatusOK && r.order().Status == "CANCELLED":
						yes++
					case r.status == 422 && r.errorBody().Error == "order_not_cancellable":
					default:
						t.Errorf("%+v", r)
					}
				}
				if yes != 0 && yes != callers || (yes > 0) != (final == "CANCELLED") {
					t.Errorf("order %d is %s; %d of %d cancellations were accepted", o.ID, final, yes, callers)
				}
				mu.Lock()
				if yes > 0 {
					accepted++
				} else {
					refused++
				}
				if final == "PAID" {
					sold++
				}
				mu.Unlock()
			}
		})
		if s.stock(2) != 200-sold || accepted+refused != orders || refused == 0 {
			t.Errorf("%d cancelled, %d not, %d paid, stock %d", accepted, refused, sold, s.stock(2))
		}
		t.Logf("%d cancelled, %d not, %d paid", accepted, refused, sold)
	})
}

// TestBaskets: concurrent orders of several products in any order, some of them scarce, do not deadlock and do not oversell.
func TestBaskets(t *testing.T) {
	t.Parallel()
	withAndWithoutBatches(t, func(t *testing.T, set func(*config.Settings)) {
		s := serve(t, func(c *config.Settings) {
			set(c)
			c.Roles = config.Roles{API: true}
		})
		var mu sync.Mutex
		var taken [6]int64
		concurrently(30, func(i int) {
			random := rand.New(rand.NewPCG(rand.Uint64(), uint64(i)))
			for k := range 6 {
				products := random.Perm(5)[:3]
				r := s.order(fmt.Sprintf(
					`{"user_id":1,"idempotency_key":"%d-%d","items":[{"product_id":%d,"quantity":1},{"product_id":%d,"quantity":2},{"product_id":%d,"quantity":1}]}`,
					i, k, products[0]+1, products[1]+1, products[2]+1))
				switch {
				case r.status == http.StatusCreated, r.status == http.StatusOK: // 200 for a retry
					mu.Lock()
					for n, p := range products {
						taken[p+1] += []int64{1, 2, 1}[n]
					}
					mu.Unlock()
				case r.status == http.StatusConflict && r.errorBody().Error == "insufficient_stock":
				default:
					t.Errorf("%+v", r)
				}
			}
		})
		for product, had := range map[int64]int64{1: 50, 2: 200, 3: 100, 4: 75, 5: 1} {
			if left := s.stock(product); left != had-taken[product] {
				t.Errorf("product %d: %d left of %d, %d taken", product, left, had, taken[product])
			}
		}
	})
}
