package chaos

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"orderflow/internal/order"
	"orderflow/test/env"
)

// TestChaosManyDistantDatabase has two processes sell one product with the database 150 ms away. A process is in the middle of a
// lookup nearly all the time, so it misses the moments at which the other one releases the product. Both sell, and no order is
// refused because the product stayed locked.
func TestChaosManyDistantDatabase(t *testing.T) {
	t.Parallel()
	redis, prefix := env.Redis(t)
	g := serverAndRedis(env.MySQL(t), redis, prefix)
	g.clients = 0
	m := startInstallation(t, g)
	m.each(func(n *instance) { n.toDatabase.Delay(150 * time.Millisecond) })

	ctx, stop := context.WithTimeout(t.Context(), env.Patience)
	defer stop()
	const customers, enough = 6, 20 // of each process; orders that each must have sold before it ends
	var sold [2]atomic.Int64
	var conflicts atomic.Int64
	var all sync.WaitGroup
	for i := range 2 * customers {
		all.Go(func() {
			var w wire
			defer w.close()
			for k := 0; ctx.Err() == nil && (sold[0].Load() < enough || sold[1].Load() < enough); k++ {
				ref := order.OrderKey{UserID: 1, Key: fmt.Sprintf("distant-%d-%d", i, k)}
				a, err := w.ask(m.instances[i%2].addr, http.MethodPost, "/api/v1/orders", create(ref.Key))
				if err != nil {
					t.Errorf("%s: %v", ref.Key, err)
					return
				}
				if a.code() == "lock_conflict" {
					conflicts.Add(1)
					continue
				}
				if a.status != http.StatusCreated {
					t.Errorf("%s: %v", ref.Key, a)
					return
				}
				o, err := a.order()
				if err != nil {
					t.Error(err)
					return
				}
				m.acknowledged.place(ref, o.ID, false)
				sold[i%2].Add(1)
			}
		})
	}
	all.Wait()
	one, two := sold[0].Load(), sold[1].Load()
	t.Logf("sold %d and %d", one, two)
	if 4*min(one, two) < one+two { // half of an equal share
		t.Errorf("one process sold %d and the other %d", one, two)
	}
	down := slices.ContainsFunc(m.instances, func(n *instance) bool {
		return strings.Contains(n.Log.String(), `"event":"redis.down"`) // on a busy machine; then turns are not guaranteed
	})
	if n := conflicts.Load(); n > 0 && !down {
		t.Errorf("%d orders were refused because the product stayed locked", n)
	}
	m.each(func(n *instance) { n.toDatabase.Restore() })
	m.close()
}
