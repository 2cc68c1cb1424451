package worker

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"orderflow/internal/batch"
	"orderflow/internal/order"
)

// BenchmarkPipeline measures orders from their creation to PAID with a gateway that answers at once, and their creation alone. 256
// callers create them through a batcher, like the API.
func BenchmarkPipeline(b *testing.B) {
	for _, pay := range []bool{false, true} {
		name := "create"
		if pay {
			name = "create, claim and settle"
		}
		b.Run(name, func(b *testing.B) {
			env := newTestEnv(b)
			defer env.close()
			o := env.options()
			o.Concurrency = DefaultConcurrency
			var paid atomic.Int64
			done := make(chan struct{})
			o.Orders = &wrapped{Orders: env.store, settle: func(ctx context.Context, settlements []order.Settlement) ([]order.Changed, order.EventBatch, error) {
				changed, events, err := env.store.SettleOrders(ctx, settlements)
				if paid.Add(int64(len(changed))) == int64(b.N) {
					close(done)
				}
				return changed, events, err
			}}
			var workers []*Worker
			if pay {
				workers = append(workers, env.worker(o))
			}
			stop := env.run(workers...)
			defer stop()
			b.ReportAllocs()
			b.ResetTimer()
			feed(b, env)
			if pay {
				<-done
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "orders/s")
		})
	}
}

// feed creates b.N orders.
func feed(b *testing.B, env *testEnv) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	batcher := batch.New(func(ctx context.Context, drafts []order.Draft) ([]batch.Answer[order.Placed], error) {
		placed, events, err := env.store.CreateOrders(ctx, drafts)
		if err != nil {
			return nil, err
		}
		env.publisher.Publish(events)
		answers := make([]batch.Answer[order.Placed], len(placed))
		for i, p := range placed {
			answers[i] = batch.Answer[order.Placed]{Value: p, Err: p.Err}
		}
		return answers, nil
	}, batch.Options[order.Draft]{Queue: 1024, Max: 512})
	var committer, callers sync.WaitGroup
	committer.Go(func() { _ = batcher.Run(ctx) })
	var next atomic.Int64
	for range 256 {
		callers.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				d, err := order.NewDraft(nil, 1, fmt.Sprintf("bench-%d", i), []order.Line{{ProductID: 1 + i%4, Quantity: 1}}, "")
				if err == nil {
					d.Actor, d.Trace.ID = "user:1", d.Key
					_, err = batcher.Do(ctx, d)
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	callers.Wait()
	cancel()
	committer.Wait()
}
