package intake_test

import (
	"context"
	"testing"

	"orderflow/internal/intake"
	"orderflow/internal/order"
	"orderflow/internal/store"
)

// lockProbe is a store that tries to lock product 1 after each commit, as another process does.
type lockProbe struct {
	*store.Store
	locker *locker
	busy   []int // busy products of each try
}

func (p *lockProbe) CreateOrders(ctx context.Context, drafts []order.Draft) ([]order.Placed, order.EventBatch, error) {
	placed, events, err := p.Store.CreateOrders(ctx, drafts)
	grant, lockErr := p.locker.TryLock(ctx, []int64{1})
	if lockErr == nil {
		p.busy = append(p.busy, len(grant.Busy))
	}
	return placed, events, err
}

// TestLockedUntilCommit: a product stays locked until its order is committed, and is free afterwards. Otherwise other processes wait
// for database rows instead of locks.
func TestLockedUntilCommit(t *testing.T) {
	probe := &lockProbe{}
	h := newEnv(t, func(o *intake.Options) {
		probe.Store, probe.locker = o.Orders.(*store.Store), o.Locker.(*locker)
		o.Orders = probe
	})
	if _, err := h.Create(t.Context(), draft(t, 1, "a", order.Line{ProductID: 1, Quantity: 1})); err != nil {
		t.Fatal(err)
	}
	if len(probe.busy) != 1 || probe.busy[0] != 1 {
		t.Errorf("busy products at the commit: %v, want one", probe.busy)
	}
	grant, err := h.locker.TryLock(t.Context(), []int64{1})
	if err != nil || len(grant.Locked) != 1 {
		t.Errorf("after the commit the lock is %+v, %v; want product 1 locked", grant, err)
	}
}
