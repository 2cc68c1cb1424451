package intake_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"orderflow/internal/intake"
	"orderflow/internal/lock"
	"orderflow/internal/order"
	"orderflow/internal/store"
)

type discard struct{}

func (discard) Publish(order.EventBatch) {}

// BenchmarkCreate measures the creation of orders of one hot product, without HTTP.
func BenchmarkCreate(b *testing.B) {
	for _, c := range []struct{ size, buyers int }{{1, 256}, {1000, 256}, {1000, 100}} {
		b.Run(fmt.Sprintf("batch-max=%d/buyers=%d", c.size, c.buyers), func(b *testing.B) {
			db, err := store.Open(b.Context(), "sqlite:"+filepath.Join(b.TempDir(), "b.db"), store.Options{Rules: order.DefaultRules()})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = db.Close() }()
			if err := db.Migrate(b.Context()); err != nil {
				b.Fatal(err)
			}
			if err := db.Seed(b.Context(), store.SeedPlan{SetStock: true, Stock: 1e12}); err != nil {
				b.Fatal(err)
			}
			s := intake.New(intake.Options{Orders: db, Locker: lock.NewLocal(lock.TTL), Publisher: discard{}, BatchMax: c.size, QueueMax: 10000, Lines: 20000})
			ctx, stop := context.WithCancel(b.Context())
			var running, callers sync.WaitGroup
			running.Go(func() { _ = s.Run(ctx) })
			var next atomic.Int64
			b.ResetTimer()
			for range c.buyers {
				callers.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						draft, err := order.NewDraft(nil, 1, rand.Text(), []order.Line{{ProductID: 1, Quantity: 1}}, "")
						draft.Trace.ID = "550e8400-e29b-41d4-a716-446655440000"
						if err == nil {
							_, err = s.Create(b.Context(), draft)
						}
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			callers.Wait()
			b.StopTimer()
			stop()
			running.Wait()
		})
	}
}
