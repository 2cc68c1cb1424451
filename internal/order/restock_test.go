package order

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestNewRestock(t *testing.T) {
	long := strings.Repeat("é", 255)
	for _, quantity := range []int64{1, -1, MaxMove, -MaxMove} {
		r, err := NewRestock(nil, 7, quantity, long, long)
		if want := (Restock{ProductID: 7, Quantity: quantity, Reason: long, Key: long}); err != nil || r != want {
			t.Errorf("%d: %+v, %v", quantity, r, err)
		}
	}
	for _, bad := range []struct {
		quantity    int64
		reason, key string
		want        []string
	}{
		{0, "r", "k", []string{"quantity"}},
		{MaxMove + 1, "r", "k", []string{"quantity"}},
		{-MaxMove - 1, "r", "k", []string{"quantity"}},
		{1, "", "k", []string{"reason"}},
		{1, "\xff", "k", []string{"reason"}},
		{1, "r", long + "x", []string{"idempotency_key"}},
		{0, long + "x", "", []string{"idempotency_key", "quantity", "reason"}},
	} {
		_, err := NewRestock(nil, 7, bad.quantity, bad.reason, bad.key)
		if got := invalidFields(t, err); !slices.Equal(got, bad.want) {
			t.Errorf("%+v: invalid fields %v", bad, got)
		}
	}
}

// Unique keys fit their column, and those of different requests differ.
func TestUniqueKey(t *testing.T) {
	long := strings.Repeat("😀", 255)
	keys := []string{"", "a", ":a", "product:a", long, long[4:] + "😁", strings.Repeat("x", 255)}
	seen := map[string]bool{}
	for _, key := range keys {
		for _, unique := range []string{ProductDraft{Key: key}.UniqueKey(), Restock{Key: key}.UniqueKey()} {
			if seen[unique] || len(unique) > maxUniqueKey || strings.HasPrefix(unique, "seed-") {
				t.Errorf("key %q became %q", key, unique)
			}
			seen[unique] = true
		}
	}
}

func TestApplyRestocks(t *testing.T) {
	known := Movement{ProductID: 1, Quantity: 5, Reason: "delivery", UniqueKey: "restock:known", Actor: "token:1", At: noon}
	full := Product{ID: 5, Stock: MaxID}
	cases := []struct {
		name    string
		restock Restock
		code    Code
		stock   int64 // of the product in the answer
		again   bool
	}{
		{"in", Restock{1, 7, "delivery", "a", "token:2"}, "", 207, false},
		{"out", Restock{2, -1, "broken", "a", "token:2"}, "", 0, false},
		{"an inactive product", Restock{3, 1, "delivery", "a", "token:2"}, "", 11, false},
		{"more than the stock", Restock{2, -2, "broken", "a", "token:2"}, CodeInsufficientStock, 0, false},
		{"a missing product", Restock{99, 1, "delivery", "a", "token:2"}, CodeNotFound, 0, false},
		{"above the largest stock", Restock{5, 1, "delivery", "a", "token:2"}, CodeValidation, 0, false},
		{"repeated by another administrator", Restock{1, 5, "delivery", "known", "token:2"}, "", 200, true},
		{"the key for another product", Restock{2, 5, "delivery", "known", "token:1"}, CodeKeyReused, 0, false},
		{"the key for a missing product", Restock{99, 5, "delivery", "known", "token:1"}, CodeKeyReused, 0, false},
		{"the key for another quantity", Restock{1, 6, "delivery", "known", "token:1"}, CodeKeyReused, 0, false},
		{"the key for another reason", Restock{1, 5, "gift", "known", "token:1"}, CodeKeyReused, 0, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			products := testProducts()
			products[5] = full
			answers, effects := ApplyRestocks(noon, []Restock{c.restock}, map[string]Movement{known.UniqueKey: known}, products)
			got := answers[0]
			if CodeOf(got.Err) != c.code || got.Replayed != c.again || (c.code == "" && got.Product.Stock != c.stock) {
				t.Fatalf("answer %+v", got)
			}
			if c.code != "" || c.again {
				wantEffects(t, Effects{}, effects)
				if c.again && got.Movement != known {
					t.Errorf("the movement is %+v", got.Movement)
				}
				return
			}
			want := Movement{c.restock.ProductID, c.restock.Quantity, c.restock.Reason, "restock:a", "token:2", noon}
			if got.Movement != want {
				t.Errorf("the movement is %+v", got.Movement)
			}
			wantEffects(t, Effects{Stock: map[int64]int64{want.ProductID: want.Quantity}, Movements: []Movement{want}}, effects)
		})
	}
}

// The error has the requested and the available quantity.
func TestRestockBelowZero(t *testing.T) {
	answers, _ := ApplyRestocks(noon, []Restock{{2, -3, "broken", "a", ""}}, nil, testProducts())
	var short *Error
	if !errors.As(answers[0].Err, &short) || short.ProductID != 2 || short.Requested != 3 || short.Available != 1 {
		t.Errorf("%+v", answers[0].Err)
	}
}

// TestRestockSequences applies random batches, of which some roll back: the stock is the sum of the movements, never below zero,
// and each key has one movement.
func TestRestockSequences(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		products, written := map[int64]Product{1: {ID: 1}, 2: {ID: 2}}, map[string]Movement{}
		restock := rapid.Custom(func(t *rapid.T) Restock {
			return Restock{
				ProductID: rapid.Int64Range(1, 3).Draw(t, "product"), Quantity: rapid.SampledFrom([]int64{-4, -1, 1, 3}).Draw(t, "quantity"),
				Reason: rapid.SampledFrom([]string{"r", "s"}).Draw(t, "reason"), Key: fmt.Sprint(rapid.IntRange(0, 9).Draw(t, "key")),
			}
		})
		for range rapid.IntRange(1, 8).Draw(t, "batches") {
			batch := rapid.SliceOfN(restock, 0, 6).Draw(t, "batch")
			after := maps.Clone(products)
			answers, effects := ApplyRestocks(noon, batch, written, after)
			if len(answers) != len(batch) {
				t.Fatalf("%d answers to %d restocks", len(answers), len(batch))
			}
			if rapid.Bool().Draw(t, "lost") {
				continue
			}
			for id, delta := range effects.Stock {
				p := products[id]
				p.Stock += delta
				products[id] = p
			}
			for _, m := range effects.Movements {
				if _, twice := written[m.UniqueKey]; twice {
					t.Fatalf("two movements with the key %s", m.UniqueKey)
				}
				written[m.UniqueKey] = m
			}
			if diff := cmp.Diff(products, after); diff != "" {
				t.Fatalf("the products after the decision differ from the rows:\n%s", diff)
			}
			for i, a := range answers {
				m, found := written[batch[i].UniqueKey()]
				if a.Err == nil && (!found || a.Movement != m || m.Quantity != batch[i].Quantity || m.Reason != batch[i].Reason) {
					t.Fatalf("the answer to %+v is %+v, the movement %+v", batch[i], a, m)
				}
			}
			sums := map[int64]int64{1: 0, 2: 0}
			for _, m := range written {
				sums[m.ProductID] += m.Quantity
			}
			for _, id := range slices.Sorted(maps.Keys(sums)) {
				if products[id].Stock != sums[id] || sums[id] < 0 {
					t.Fatalf("product %d has %d, the sum of its movements is %d", id, products[id].Stock, sums[id])
				}
			}
		}
	})
}
