package order

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func productDraft(t *testing.T, key, name string, price Money, stock int64) ProductDraft {
	t.Helper()
	d, err := NewProductDraft(nil, key, name, price, stock, true)
	if err != nil {
		t.Fatal(err)
	}
	d.Actor = "token:3"
	return d
}

func TestNewProductDraft(t *testing.T) {
	long := strings.Repeat("é", 255)
	for _, good := range []struct {
		key, name string
		price     Money
		stock     int64
	}{
		{"k", "n", 1, 0},
		{long, long, MaxMoney, MaxMove},
	} {
		d, err := NewProductDraft(nil, good.key, good.name, good.price, good.stock, false)
		if want := (ProductDraft{Key: good.key, Name: good.name, Price: good.price, Stock: good.stock}); err != nil || d != want {
			t.Errorf("%+v: %+v, %v", good, d, err)
		}
	}
	for _, bad := range []struct {
		key, name string
		price     Money
		stock     int64
		want      []string
	}{
		{"", "n", 1, 0, []string{"idempotency_key"}},
		{"k", "", 1, 0, []string{"name"}},
		{"k", long + "x", 1, 0, []string{"name"}},
		{"k", "\xff", 1, 0, []string{"name"}},
		{"k", "  ", 1, 0, []string{"name"}},
		{"k", "\u00a0\u3000\u200b", 1, 0, []string{"name"}}, // blanks of other scripts, and of no width
		{"k", "a\nb", 1, 0, []string{"name"}},
		{"k", "a\x00", 1, 0, []string{"name"}},
		{"k", "a\u0085", 1, 0, []string{"name"}},
		{"k", "n", 0, 0, []string{"price"}},
		{"k", "n", -1, 0, []string{"price"}},
		{"k", "n", MaxMoney + 1, 0, []string{"price"}},
		{"k", "n", 1, -1, []string{"stock"}},
		{"k", "n", 1, MaxMove + 1, []string{"stock"}},
		{long + "x", "", 0, -1, []string{"idempotency_key", "name", "price", "stock"}},
	} {
		_, err := NewProductDraft(nil, bad.key, bad.name, bad.price, bad.stock, true)
		if got := invalidFields(t, err); !slices.Equal(got, bad.want) {
			t.Errorf("%+v: invalid fields %v", bad, got)
		}
	}
}

func TestAddProducts(t *testing.T) {
	old := productDraft(t, "old", "Old", 100, 5)
	existing := map[string]Movement{
		old.UniqueKey():    {ProductID: 9, Reason: old.reason()},
		"restock:same key": {ProductID: 1},
	}
	now := Product{ID: 9, Name: "Renamed", Price: 200, Currency: "USD", Stock: 3, Active: false}
	drafts := []ProductDraft{
		productDraft(t, "a", "A", 2997, 10),
		old,
		productDraft(t, "old", "Old", 101, 5),
		productDraft(t, "a", "A", 2997, 10), // the same again within the batch
		productDraft(t, "a", "A", 2997, 11),
		productDraft(t, "same key", "B", 1, 0), // also the key of a restock: no conflict
	}
	stopped := drafts[0]
	stopped.Active = false
	drafts = append(drafts, stopped)
	answers, effects := AddProducts(DefaultRules(), noon, drafts, existing, map[int64]Product{9: now})
	a := &Product{Name: "A", Price: 2997, Currency: "USD", Stock: 10, Active: true, CreatedAt: noon}
	b := &Product{Name: "B", Price: 1, Currency: "USD", Active: true, CreatedAt: noon}
	if diff := cmp.Diff([]*Product{a, b}, effects.NewProducts); diff != "" {
		t.Errorf("added (-want +got):\n%s", diff)
	}
	for i, want := range []Code{"", "", CodeKeyReused, "", CodeKeyReused, "", CodeKeyReused} {
		if got := CodeOf(answers[i].Err); got != want {
			t.Errorf("draft %d: %q, want %q", i, got, want)
		}
		if replayed := i == 1 || i == 3; answers[i].Replayed != replayed || (want == "") != (answers[i].Product != nil) {
			t.Errorf("draft %d: %+v", i, answers[i])
		}
	}
	if *answers[1].Product != now || answers[3].Product != answers[0].Product {
		t.Errorf("replays are %+v and %+v", answers[1].Product, answers[3].Product)
	}
	effects.NewProducts[0].ID, effects.NewProducts[1].ID = 10, 11
	effects.SetIDs()
	movements := []Movement{
		{ProductID: 10, Quantity: 10, Reason: drafts[0].reason(), UniqueKey: "product:a", Actor: "token:3", At: noon},
		{ProductID: 11, Reason: drafts[5].reason(), UniqueKey: "product:same key", Actor: "token:3", At: noon},
	}
	if diff := cmp.Diff(movements, effects.Movements); diff != "" {
		t.Errorf("movements (-want +got):\n%s", diff)
	}
}

func TestNewProductChange(t *testing.T) {
	name, price, active, empty, nothing := "n", Money(1), false, "", Money(0)
	if c, err := NewProductChange(nil, 7, &name, &price, &active); err != nil || c.ProductID != 7 || *c.Name != "n" || *c.Price != 1 || *c.Active {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := NewProductChange(nil, 7, nil, nil, &active); err != nil {
		t.Error(err)
	}
	_, err := NewProductChange(nil, 7, nil, nil, nil)
	if got := invalidFields(t, err); !slices.Equal(got, []string{"body"}) {
		t.Errorf("nothing to change: invalid fields %v", got)
	}
	_, err = NewProductChange(nil, 7, &empty, &nothing, nil)
	if got := invalidFields(t, err); !slices.Equal(got, []string{"name", "price"}) {
		t.Errorf("invalid fields %v", got)
	}
}

func TestChangeProducts(t *testing.T) {
	name, price, dearer, yes, no := "Mouse 2", Money(100), Money(200), true, false
	products := testProducts()
	answers, rows := ChangeProducts(products, []ProductChange{
		{ProductID: 3, Active: &yes},
		{ProductID: 99, Active: &yes},
		{ProductID: 1, Price: &price},
		{ProductID: 1, Name: &name, Price: &dearer},
		{ProductID: 2, Active: &yes}, // it is already
		{ProductID: 1, Active: &no},
	})
	one, three := testProducts()[1], testProducts()[3]
	three.Active = true
	one.Price = price
	cheap := one
	one.Name, one.Price = name, dearer
	dear := one
	one.Active = false
	s := testProducts() // as they were
	want := []ProductAnswer{
		{Before: s[3], Product: three},
		{},
		{Before: s[1], Product: cheap},
		{Before: cheap, Product: dear},
		{Before: s[2], Product: s[2]},
		{Before: dear, Product: one},
	}
	if CodeOf(answers[1].Err) != CodeNotFound {
		t.Errorf("an unknown product: %v", answers[1].Err)
	}
	answers[1].Err = nil
	if diff := cmp.Diff(want, answers); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Product{one, three}, rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}
