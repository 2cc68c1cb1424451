package storetest

import (
	"fmt"
	"sync/atomic"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"orderflow/internal/order"
	"orderflow/internal/store"
)

var unbatchedTests = map[string]func(*testEnv){
	"the same rows as in a batch":           unbatchedRows,
	"a key that is used":                    unbatchedReplay,
	"refusals":                              unbatchedRefusals,
	"the last unit is sold once":            unbatchedLast,
	"one order a key, from two connections": unbatchedKeys,
	"beside batches, in any order of lines": unbatchedBeside,
}

func (env *testEnv) unbatched(d order.Draft) order.Placed {
	env.Helper()
	placed, err := env.CreateUnbatched(env.Context(), d)
	if err != nil {
		env.Fatal(err)
	}
	return placed
}

func unbatchedRows(env *testEnv) {
	env.sample(100)
	draft := env.draft(1, "alone", 3, 2, 1, 1)
	batched := draft
	batched.Key = "in a batch"
	alone, together := env.unbatched(draft), env.create(batched)[0]
	if alone.Err != nil || alone.Replayed {
		env.Fatalf("%+v", alone)
	}
	ids := cmpopts.IgnoreFields(order.Order{}, "ID", "Key", "CreatedAt", "UpdatedAt", "DueAt")
	stored := env.read(alone.Order.ID)
	if diff := cmp.Diff(stored, alone.Order); diff != "" {
		env.Errorf("the answer differs from the rows (-rows +answer):\n%s", diff)
	}
	if diff := cmp.Diff(env.read(together.Order.ID), stored, ids); diff != "" {
		env.Errorf("order (-in a batch +alone):\n%s", diff)
	}
	if stored.DueAt.Sub(stored.CreatedAt) != Rules().Grace {
		env.Errorf("due %s after its creation, want %s", stored.DueAt.Sub(stored.CreatedAt), Rules().Grace)
	}
	events := func(id int64) []order.Event {
		list, err := env.Events(env.Context(), id, 0)
		if err != nil {
			env.Fatal(err)
		}
		return list
	}
	if diff := cmp.Diff(events(together.Order.ID), events(alone.Order.ID), cmpopts.IgnoreFields(order.Event{}, "OrderID", "At")); diff != "" {
		env.Errorf("events (-in a batch +alone):\n%s", diff)
	}
	if got := env.stock(3); got != 96 {
		env.Errorf("stock of product 3 is %d, want 96", got)
	}
	env.checkInvariants()
}

func unbatchedReplay(env *testEnv) {
	env.sample(1)
	first := env.unbatched(env.draft(1, "k", 1, 1))
	again := env.unbatched(env.draft(1, "k", 1, 1)) // although nothing is left
	if !again.Replayed || again.Order == nil || again.Order.ID != first.Order.ID {
		env.Errorf("again: %+v, want order %d", again, first.Order.ID)
	}
	env.wantCode(env.unbatched(env.draft(1, "k", 2, 1)).Err, order.CodeKeyReused)
	if other := env.unbatched(env.draft(2, "k", 2, 1)); other.Err != nil || other.Replayed {
		env.Errorf("the same key of another user: %+v", other)
	}
	env.checkInvariants()
}

func unbatchedRefusals(env *testEnv) {
	env.sample(2)
	refused := env.unbatched(env.draft(1, "k", 1, 3))
	env.wantCode(refused.Err, order.CodeInsufficientStock)
	if e := coded(refused.Err); e.ProductID != 1 || e.Requested != 3 || e.Available != 2 {
		env.Errorf("%+v", e)
	}
	env.wantCode(env.unbatched(env.draft(1, "k", 99, 1)).Err, order.CodeValidation)
	env.wantCode(env.unbatched(env.draft(99, "k", 1, 1)).Err, order.CodeValidation)
	if placed := env.unbatched(env.draft(1, "k", 1, 2)); placed.Err != nil || placed.Replayed {
		env.Errorf("a refusal has used up its key: %+v", placed)
	}
	env.checkInvariants()
}

func unbatchedLast(env *testEnv) {
	env.sample(7)
	handles := []*store.Store{env.Store, env.connect(Rules())}
	var sold atomic.Int64
	var g gang
	for buyer := range 20 {
		d := env.draft(1, fmt.Sprint("k", buyer), 5, 1)
		g.Go(func() error {
			placed, err := handles[buyer%2].CreateUnbatched(env.Context(), d)
			if err == nil && placed.Err == nil {
				sold.Add(1)
			} else if order.CodeOf(placed.Err) != order.CodeInsufficientStock {
				return fmt.Errorf("%w, %w", err, placed.Err)
			}
			return nil
		})
	}
	env.wait(&g)
	if got := sold.Load(); got != 7 {
		env.Errorf("%d of 7 units were sold", got)
	}
	env.checkInvariants()
}

func unbatchedKeys(env *testEnv) {
	env.sample(100)
	handles := []*store.Store{env.Store, env.connect(Rules())}
	var made atomic.Int64
	var g gang
	for buyer := range 12 {
		d := env.draft(1, "k", 1, 1)
		g.Go(func() error {
			placed, err := handles[buyer%2].CreateUnbatched(env.Context(), d)
			if err != nil || placed.Err != nil {
				return fmt.Errorf("%w, %w", err, placed.Err)
			}
			if !placed.Replayed {
				made.Add(1)
			}
			return nil
		})
	}
	env.wait(&g)
	if got := made.Load(); got != 1 {
		env.Errorf("%d orders were answered as new", got)
	}
	if got := env.stock(1); got != 99 {
		env.Errorf("stock %d, want 99", got)
	}
	env.checkInvariants()
}

func unbatchedBeside(env *testEnv) {
	env.sample(10_000)
	other := env.connect(Rules())
	var g gang
	for buyer := range 8 {
		pairs := [][]int64{{1, 1, 2, 1, 3, 1}, {3, 1, 1, 1}}[buyer%2]
		var drafts []order.Draft
		for i := range 10 {
			drafts = append(drafts, env.draft(1+int64(buyer%3), fmt.Sprint("k", buyer, "-", i), pairs...))
		}
		g.Go(func() error {
			if buyer < 4 {
				_, _, err := other.CreateOrders(env.Context(), drafts)
				return err
			}
			for _, d := range drafts {
				if placed, err := env.CreateUnbatched(env.Context(), d); err != nil || placed.Err != nil {
					return fmt.Errorf("%w, %w", err, placed.Err)
				}
			}
			return nil
		})
	}
	env.wait(&g)
	if got := env.stock(1); got != 10_000-80 {
		env.Errorf("stock of product 1 is %d, want %d", got, 10_000-80)
	}
	env.checkInvariants()
}
