package store_test

import (
	"maps"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"orderflow/internal/order"
)

// restock adds and removes units by stock movements.
func (m *model) restock(t *rapid.T) {
	var restocks []order.Restock
	for range rapid.IntRange(1, 4).Draw(t, "restocks") {
		r, err := order.NewRestock(nil,
			rapid.SampledFrom([]int64{1, 2, 3, 5, 77}).Draw(t, "product"), rapid.SampledFrom([]int64{-6, -1, 1, 4}).Draw(t, "quantity"),
			"reason", rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g", "h"}).Draw(t, "key"))
		if err != nil {
			t.Fatal(err)
		}
		restocks = append(restocks, r)
	}
	answers, err := m.s.Restock(t.Context(), restocks)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range restocks {
		earlier, replayed := m.moves[r.Key]
		want := order.Code("")
		switch {
		case replayed && earlier != r:
			want, replayed = order.CodeKeyReused, false
		case replayed:
		case r.ProductID == 77:
			want = order.CodeNotFound
		case m.stock[r.ProductID]+r.Quantity < 0:
			want = order.CodeInsufficientStock
		default:
			m.moves[r.Key] = r
			m.stock[r.ProductID] += r.Quantity
		}
		if got := order.CodeOf(answers[i].Err); got != want || answers[i].Replayed != replayed {
			t.Fatalf("restock %+v: %q, replayed %t; want %q, %t", r, got, answers[i].Replayed, want, replayed)
		}
		if want == "" && answers[i].Movement.Quantity != r.Quantity {
			t.Fatalf("restock %+v: %+v", r, answers[i])
		}
	}
}

// stop stops and starts sales.
func (m *model) stop(t *rapid.T) {
	var changes []order.ProductChange
	for range rapid.IntRange(1, 3).Draw(t, "changes") {
		active := rapid.IntRange(0, 2).Draw(t, "active") > 0
		id := rapid.SampledFrom([]int64{1, 2, 3, 5, 77}).Draw(t, "product")
		changes = append(changes, order.ProductChange{ProductID: id, Active: &active})
	}
	answers, err := m.s.ChangeProducts(t.Context(), changes)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range changes {
		if c.ProductID == 77 {
			if order.CodeOf(answers[i].Err) != order.CodeNotFound {
				t.Fatalf("a product that does not exist: %+v", answers[i])
			}
			continue
		}
		m.stopped[c.ProductID] = !*c.Active
		if p := answers[i].Product; answers[i].Err != nil || p.Active != *c.Active || p.Stock != m.stock[p.ID] {
			t.Fatalf("change %+v: %+v", c, answers[i])
		}
	}
}

// figures compares the figures for operators with the model.
func (m *model) figures(t *rapid.T) {
	got, err := m.s.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := order.Stats{
		ByStatus:    map[order.Status]int64{order.Pending: 0, order.Processing: 0, order.Paid: 0, order.Failed: 0, order.Cancelled: 0},
		Unpublished: int64(len(m.unpublished)), Products: 5,
		OldestUnpublished: got.OldestUnpublished, LongestOverdue: got.LongestOverdue, At: got.At,
	}
	for _, o := range m.orders {
		want.ByStatus[o.status]++
		if o.waits {
			want.Due++
		}
		if o.due {
			want.Overdue++
		}
	}
	for open := range maps.Values(m.jobs) {
		if open {
			want.FailedJobs++
		}
	}
	for units := range maps.Values(m.stock) {
		if units == 0 {
			want.SoldOut++
		}
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Fatalf("figures (-model +store):\n%s", diff)
	}
	if got.OldestUnpublished < 0 || (got.LongestOverdue > 0) != (want.Overdue > 0) {
		t.Fatalf("ages: %+v", got)
	}
}
