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

// lookupCounter is a store that counts lookups of keys, with injected faults.
type lookupCounter struct {
	*store.Store
	lookups atomic.Int64
	fail    atomic.Bool // fail the next write
	locked  atomic.Bool // lock the user of the next write
}

func (l *lookupCounter) FindOrders(ctx context.Context, wanted []order.OrderKey) (map[order.OrderKey]*order.Order, error) {
	l.lookups.Add(1)
	return l.Store.FindOrders(ctx, wanted)
}

func (l *lookupCounter) CreateOrders(ctx context.Context, drafts []order.Draft) ([]order.Placed, order.EventBatch, error) {
	if l.fail.Swap(false) {
		return nil, order.EventBatch{}, order.Errorf(order.CodeUnavailable, "the write failed")
	}
	if l.locked.Swap(false) {
		return []order.Placed{{Err: order.LockedUser(drafts[0].UserID)}}, order.EventBatch{}, nil
	}
	return l.Store.CreateOrders(ctx, drafts)
}

// withoutLookups returns a Service that no longer looks keys up, since no request was repeated for many batches.
func withoutLookups(t *testing.T) (*env, *lookupCounter) {
	t.Helper()
	var db *lookupCounter
	h := newEnv(t, func(o *intake.Options) {
		db = &lookupCounter{Store: o.Orders.(*store.Store)}
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

// mustCreate places an order of one unit of product 2 with a new key.
func (h *env) mustCreate(t *testing.T, key string) {
	t.Helper()
	if placed, err := h.Create(t.Context(), draftOfProduct2(t, key)); err != nil || placed.Replayed {
		t.Fatalf("order %s: %+v, %v", key, placed, err)
	}
}

func draftOfProduct2(t *testing.T, key string) order.Draft {
	t.Helper()
	return draft(t, 1, key, order.Line{ProductID: 2, Quantity: 1})
}

func TestLookupsFollowRepeatedRequests(t *testing.T) {
	for name, c := range map[string]struct {
		repeat func(h *env, db *lookupCounter) error
	}{
		"the same request": {func(h *env, _ *lookupCounter) error {
			placed, err := h.Create(t.Context(), draftOfProduct2(t, "new0"))
			if err == nil && !placed.Replayed {
				err = errors.New("the order was placed again")
			}
			return err
		}},
		"another request with the key": {func(h *env, _ *lookupCounter) error {
			_, err := h.Create(t.Context(), draft(t, 1, "new0", order.Line{ProductID: 1, Quantity: 1}))
			if order.CodeOf(err) == order.CodeKeyReused {
				err = nil
			}
			return err
		}},
		"a user whose row is locked": {func(h *env, db *lookupCounter) error {
			db.locked.Store(true)
			_, err := h.Create(t.Context(), draftOfProduct2(t, "locked"))
			if errors.Is(err, order.ErrLocked) {
				err = nil
			}
			return err
		}},
		"a write that failed": {func(h *env, db *lookupCounter) error {
			db.fail.Store(true)
			_, err := h.Create(t.Context(), draftOfProduct2(t, "failed"))
			if order.CodeOf(err) == order.CodeUnavailable {
				err = nil
			}
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h, db := withoutLookups(t)
			if err := c.repeat(h, db); err != nil {
				t.Error(err)
			}
			if got := db.lookups.Load(); got != 0 {
				t.Errorf("%d lookups before the repeated request, want 0", got)
			}
			h.mustCreate(t, "next")
			if got := db.lookups.Load(); got != 1 {
				t.Errorf("%d lookups in the next batch, want 1", got)
			}
			h.audit(t)
		})
	}
}

// Requests with one key arrive together while keys are not looked up.
func TestConcurrentRepeatsWithoutLookup(t *testing.T) {
	h, _ := withoutLookups(t)
	var placed, repeated atomic.Int64
	var callers sync.WaitGroup
	for range 50 {
		callers.Go(func() {
			switch answer, err := h.Create(t.Context(), draftOfProduct2(t, "one")); {
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

// A repeated request gets its order, although another process has locked the product and keys are not looked up.
func TestRepeatedRequestOfABusyProduct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, db := withoutLookups(t)
		defer h.stop()
		h.locker.lockElsewhere(2, func() string { return "00000000-0000-4000-8000-000000000000" })
		placed, err := h.Create(t.Context(), draftOfProduct2(t, "new0"))
		if err != nil || !placed.Replayed {
			t.Errorf("%+v, %v", placed, err)
		}
		if got := db.lookups.Load(); got != 1 {
			t.Errorf("%d lookups, want 1", got)
		}
	})
}
