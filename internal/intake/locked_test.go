package intake_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"orderflow/internal/intake"
	"orderflow/internal/order"
	"orderflow/internal/store"
)

// lockedRowStore is a store in which another transaction keeps the row of product 1 locked for a number of batches.
type lockedRowStore struct {
	*store.Store
	left atomic.Int64
}

func (r *lockedRowStore) CreateOrders(ctx context.Context, drafts []order.Draft) ([]order.Placed, order.EventBatch, error) {
	var free []order.Draft
	needed := false
	for _, d := range drafts {
		if d.Lines[0].ProductID == 1 {
			needed = true
		} else {
			free = append(free, d)
		}
	}
	if !needed || r.left.Add(-1) < 0 {
		return r.Store.CreateOrders(ctx, drafts)
	}
	placed, receipt, err := r.Store.CreateOrders(ctx, free)
	if err != nil {
		return nil, receipt, err
	}
	answers := make([]order.Placed, len(drafts))
	for i, d := range drafts {
		if d.Lines[0].ProductID == 1 {
			answers[i].Err = order.LockedProduct(1)
			continue
		}
		answers[i], placed = placed[0], placed[1:]
	}
	return answers, receipt, nil
}

// TestLockedRow: orders of a product whose row is locked wait as long as the schedule. Others do not wait.
func TestLockedRow(t *testing.T) {
	for name, c := range map[string]struct {
		batches int64 // with the row locked
		want    order.Code
	}{
		"it stays locked": {1000, order.CodeUnavailable},
		"it becomes free": {5, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var db *lockedRowStore
				h := newEnv(t, func(o *intake.Options) {
					db = &lockedRowStore{Store: o.Orders.(*store.Store)}
					o.Orders = db
				})
				defer h.stop()
				db.left.Store(c.batches)
				var waiting sync.WaitGroup
				var ends sync.Map // times of placed orders
				for _, key := range []string{"a", "b", "c"} {
					d := draft(t, 1, key, order.Line{ProductID: 1, Quantity: 1})
					waiting.Go(func() {
						_, err := h.Create(t.Context(), d)
						if err == nil {
							ends.Store(time.Now().UnixNano(), key)
						}
						if order.CodeOf(err) != c.want {
							t.Errorf("order %s: %v, want code %q", key, err, c.want)
						}
						if err != nil && !errors.Is(err, order.ErrLocked) {
							t.Errorf("order %s: %v is not ErrLocked", key, err)
						}
					})
				}
				synctest.Wait()
				if _, err := h.Create(t.Context(), draft(t, 1, "other", order.Line{ProductID: 2, Quantity: 1})); err != nil {
					t.Errorf("an order of another product meanwhile: %v", err)
				}
				waiting.Wait()
				moments := 0
				ends.Range(func(any, any) bool { moments++; return true })
				if moments > 1 { // by their schedules they would try at different times
					t.Errorf("the orders were placed at %d different times, want the first one to requeue the others", moments)
				}
				h.audit(t)
			})
		})
	}
}
