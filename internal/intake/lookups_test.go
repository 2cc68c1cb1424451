package intake_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"orderflow/internal/intake"
	"orderflow/internal/order"
	"orderflow/internal/store"
)

// lookedUp is a store that counts the lookups of keys, and whose writes may fail.
type lookedUp struct {
	*store.Store
	lookups atomic.Int64
	fail    atomic.Bool // the next write
	locked  atomic.Bool // the user of the next write
}

func (l *lookedUp) FindOrders(ctx context.Context, wanted []order.OrderKey) (map[order.OrderKey]*order.Order, error) {
	l.lookups.Add(1)
	return l.Store.FindOrders(ctx, wanted)
}

func (l *lookedUp) CreateOrders(ctx context.Context, drafts []order.Draft) ([]order.Placed, order.EventBatch, error) {
	if l.fail.Swap(false) {
		return nil, order.EventBatch{}, order.Errorf(order.CodeUnavailable, "the write failed")
	}
	if l.locked.Swap(false) {
		return []order.Placed{{Err: order.LockedUser(drafts[0].UserID)}}, order.EventBatch{}, nil
	}
	return l.Store.CreateOrders(ctx, drafts)
}

// quiet returns a Service to which no request has been repeated for so long that it no longer looks keys up.
func quiet(t *testing.T) (*house, *lookedUp) {
	t.Helper()
	var db *lookedUp
	h := build(t, func(o *intake.Options) {
		db = &lookedUp{Store: o.Orders.(*store.Store)}
		o.Orders = db
	})
	for i := range 110 {
		h.mustCreate(t, fmt.Sprint("new", i))
	}
	if got := db.lookups.Load(); got != 100 {
		t.Errorf("%d lookups in 110 batches of new keys, want 100", got)
	}
	db.lookups.Store(0)
	return h, db
}

// mustCreate places an order of one unit of product 2, whose key is new.
func (h *house) mustCreate(t *testing.T, key string) {
	t.Helper()
	if placed, err := h.Create(t.Context(), two(t, key)); err != nil || placed.Replayed {
		t.Fatalf("order %s: %+v, %v", key, placed, err)
	}
}

func two(t *testing.T, key string) order.Draft {
	t.Helper()
	return draft(t, 1, key, order.Line{ProductID: 2, Quantity: 1})
}

func TestLookupsFollowRepeatedRequests(t *testing.T) {
	for name, c := range map[string]struct {
		repeat func(h *house, db *lookedUp) error
	}{
		"the same request": {func(h *house, _ *lookedUp) error {
			placed, err := h.Create(t.Context(), two(t, "new0"))
			if err == nil && !placed.Replayed {
				err = errors.New("the order was placed again")
			}
			return err
		}},
		"another request under the key": {func(h *house, _ *lookedUp) error {
			_, err := h.Create(t.Context(), draft(t, 1, "new0", order.Line{ProductID: 1, Quantity: 1}))
			if order.CodeOf(err) == order.CodeKeyReused {
				err = nil
			}
			return err
		}},
		"a user whose row is locked": {func(h *house, db *lookedUp) error {
			db.locked.Store(true)
			_, err := h.Create(t.Context(), two(t, "locked"))
			if errors.Is(err, order.ErrLocked) {
				err = nil
			}
			return err
		}},
		"a write that failed": {func(h *house, db *lookedUp) error {
			db.fail.Store(true)
			_, err := h.Create(t.Context(), two(t, "failed"))
			if order.CodeOf(err) == order.CodeUnavailable {
				err = nil
			}
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h, db := quiet(t)
			if err := c.repeat(h, db); err != nil {
				t.Error(err)
			}
			if got := db.lookups.Load(); got != 0 {
				t.Errorf("%d lookups before keys in use were expected, want 0", got)
			}
			h.mustCreate(t, "next")
			if got := db.lookups.Load(); got != 1 {
				t.Errorf("%d lookups in the next batch, want 1", got)
			}
			h.audit(t)
		})
	}
}

// Requests under one key arrive together while keys are not looked up.
func TestRepeatedAtOnceWithoutLookup(t *testing.T) {
	h, _ := quiet(t)
	var placed, repeated atomic.Int64
	var callers sync.WaitGroup
	for range 50 {
		callers.Go(func() {
			switch answer, err := h.Create(t.Context(), two(t, "one")); {
			case err != nil:
				t.Error(err)
			case answer.Replayed:
				repeated.Add(1)
			default:
				placed.Add(1)
			}
		})
	}
	callers.Wait()
	if placed.Load() != 1 || repeated.Load() != 49 {
		t.Errorf("%d placed, %d repeated, want 1 and 49", placed.Load(), repeated.Load())
	}
	h.audit(t)
}

// An order that is there already is the answer, although its product is locked by another process and keys are not looked up.
func TestRepeatedRequestOfABusyProduct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, db := quiet(t)
		defer h.stop()
		h.locker.hold(2, func() string { return "00000000-0000-4000-8000-000000000000" })
		placed, err := h.Create(t.Context(), two(t, "new0"))
		if err != nil || !placed.Replayed {
			t.Errorf("%+v, %v", placed, err)
		}
		if got := db.lookups.Load(); got != 1 {
			t.Errorf("%d lookups, want 1", got)
		}
	})
}
