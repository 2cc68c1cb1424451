package storetest

import (
	"fmt"
	"sync/atomic"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"orderflow/internal/order"
	"orderflow/internal/store"
)

var unbatchedTests = map[string]func(*house){
	"the same rows as in a batch":           unbatchedRows,
	"a key that is used":                    unbatchedReplay,
	"refusals":                              unbatchedRefusals,
	"the last unit is sold once":            unbatchedLast,
	"one order a key, from two connections": unbatchedKeys,
	"beside batches, in any order of lines": unbatchedBeside,
}

func (h *house) unbatched(d order.Draft) order.Placed {
	h.Helper()
	placed, err := h.CreateUnbatched(h.Context(), d)
	if err != nil {
		h.Fatal(err)
	}
	return placed
}

func unbatchedRows(h *house) {
	h.sample(100)
	draft := h.draft(1, "alone", 3, 2, 1, 1)
	batched := draft
	batched.Key = "in a batch"
	alone, together := h.unbatched(draft), h.create(batched)[0]
	if alone.Err != nil || alone.Replayed {
		h.Fatalf("%+v", alone)
	}
	ids := cmpopts.IgnoreFields(order.Order{}, "ID", "Key", "CreatedAt", "UpdatedAt", "DueAt")
	stored := h.read(alone.Order.ID)
	if diff := cmp.Diff(stored, alone.Order); diff != "" {
		h.Errorf("the answer differs from the rows (-rows +answer):\n%s", diff)
	}
	if diff := cmp.Diff(h.read(together.Order.ID), stored, ids); diff != "" {
		h.Errorf("order (-in a batch +alone):\n%s", diff)
	}
	if stored.DueAt.Sub(stored.CreatedAt) != Rules().Grace {
		h.Errorf("due %s after its creation, want %s", stored.DueAt.Sub(stored.CreatedAt), Rules().Grace)
	}
	events := func(id int64) []order.Event {
		list, err := h.Events(h.Context(), id, 0)
		if err != nil {
			h.Fatal(err)
		}
		return list
	}
	if diff := cmp.Diff(events(together.Order.ID), events(alone.Order.ID), cmpopts.IgnoreFields(order.Event{}, "OrderID", "At")); diff != "" {
		h.Errorf("events (-in a batch +alone):\n%s", diff)
	}
	if got := h.stock(3); got != 96 {
		h.Errorf("stock of product 3 is %d, want 96", got)
	}
	h.books()
}

func unbatchedReplay(h *house) {
	h.sample(1)
	first := h.unbatched(h.draft(1, "k", 1, 1))
	again := h.unbatched(h.draft(1, "k", 1, 1)) // although nothing is left
	if !again.Replayed || again.Order == nil || again.Order.ID != first.Order.ID {
		h.Errorf("again: %+v, want order %d", again, first.Order.ID)
	}
	h.wantCode(h.unbatched(h.draft(1, "k", 2, 1)).Err, order.CodeKeyReused)
	if other := h.unbatched(h.draft(2, "k", 2, 1)); other.Err != nil || other.Replayed {
		h.Errorf("the same key of another user: %+v", other)
	}
	h.books()
}

func unbatchedRefusals(h *house) {
	h.sample(2)
	refused := h.unbatched(h.draft(1, "k", 1, 3))
	h.wantCode(refused.Err, order.CodeInsufficientStock)
	if e := coded(refused.Err); e.ProductID != 1 || e.Requested != 3 || e.Available != 2 {
		h.Errorf("%+v", e)
	}
	h.wantCode(h.unbatched(h.draft(1, "k", 99, 1)).Err, order.CodeValidation)
	h.wantCode(h.unbatched(h.draft(99, "k", 1, 1)).Err, order.CodeValidation)
	if placed := h.unbatched(h.draft(1, "k", 1, 2)); placed.Err != nil || placed.Replayed {
		h.Errorf("a refusal has used up its key: %+v", placed)
	}
	h.books()
}

func unbatchedLast(h *house) {
	h.sample(7)
	handles := []*store.Store{h.Store, h.connect(Rules())}
	var sold atomic.Int64
	var g gang
	for buyer := range 20 {
		d := h.draft(1, fmt.Sprint("k", buyer), 5, 1)
		g.Go(func() error {
			placed, err := handles[buyer%2].CreateUnbatched(h.Context(), d)
			if err == nil && placed.Err == nil {
				sold.Add(1)
			} else if order.CodeOf(placed.Err) != order.CodeInsufficientStock {
				return fmt.Errorf("%w, %w", err, placed.Err)
			}
			return nil
		})
	}
	h.wait(&g)
	if got := sold.Load(); got != 7 {
		h.Errorf("%d of 7 units were sold", got)
	}
	h.books()
}

func unbatchedKeys(h *house) {
	h.sample(100)
	handles := []*store.Store{h.Store, h.connect(Rules())}
	var made atomic.Int64
	var g gang
	for buyer := range 12 {
		d := h.draft(1, "k", 1, 1)
		g.Go(func() error {
			placed, err := handles[buyer%2].CreateUnbatched(h.Context(), d)
			if err != nil || placed.Err != nil {
				return fmt.Errorf("%w, %w", err, placed.Err)
			}
			if !placed.Replayed {
				made.Add(1)
			}
			return nil
		})
	}
	h.wait(&g)
	if got := made.Load(); got != 1 {
		h.Errorf("%d orders were answered as new", got)
	}
	if got := h.stock(1); got != 99 {
		h.Errorf("stock %d, want 99", got)
	}
	h.books()
}

func unbatchedBeside(h *house) {
	h.sample(10_000)
	other := h.connect(Rules())
	var g gang
	for buyer := range 8 {
		pairs := [][]int64{{1, 1, 2, 1, 3, 1}, {3, 1, 1, 1}}[buyer%2]
		var drafts []order.Draft
		for i := range 10 {
			drafts = append(drafts, h.draft(1+int64(buyer%3), fmt.Sprint("k", buyer, "-", i), pairs...))
		}
		g.Go(func() error {
			if buyer < 4 {
				_, _, err := other.CreateOrders(h.Context(), drafts)
				return err
			}
			for _, d := range drafts {
				if placed, err := h.CreateUnbatched(h.Context(), d); err != nil || placed.Err != nil {
					return fmt.Errorf("%w, %w", err, placed.Err)
				}
			}
			return nil
		})
	}
	h.wait(&g)
	if got := h.stock(1); got != 10_000-80 {
		h.Errorf("stock of product 1 is %d, want %d", got, 10_000-80)
	}
	h.books()
}
