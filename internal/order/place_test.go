package order

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// noon is the time of decisions.
var noon = time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)

// testProducts: 1 plentiful, 2 scarce, 3 inactive, 4 at the largest price, 5 priced in another currency.
func testProducts() map[int64]Product {
	return map[int64]Product{
		1: {ID: 1, Name: "Mouse", Price: 2999, Currency: "USD", Stock: 200, Active: true},
		2: {ID: 2, Name: "Headphones", Price: 29999, Currency: "USD", Stock: 1, Active: true},
		3: {ID: 3, Name: "Stopped", Price: 100, Currency: "USD", Stock: 10},
		4: {ID: 4, Name: "Ship", Price: MaxMoney, Currency: "USD", Stock: 10, Active: true},
		5: {ID: 5, Name: "Foreign", Price: 100, Currency: "EUR", Stock: 10, Active: true},
	}
}

func TestPlaceNewOrder(t *testing.T) {
	d := draft(t, 7, "key", Line{2, 1}, Line{1, 3})
	d.PaymentMethod, d.Actor, d.Trace = "tok", "user:7", Trace{"trace", "parent"}
	answers, effects := Place(DefaultRules(), noon, []Draft{d}, nil, testProducts())
	want := &Order{
		UserID: 7, Status: Pending, Total: 3*2999 + 29999, Currency: "USD", Key: "key", Fingerprint: d.Fingerprint, PaymentMethod: "tok",
		Items: []Item{{1, 3, 2999}, {2, 1, 29999}}, AttemptsLeft: 3, DueAt: noon.Add(10 * time.Second), Version: 1,
		CreatedAt: noon, UpdatedAt: noon,
	}
	if diff := cmp.Diff([]Placed{{Order: want}}, answers); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	event := Event{Seq: 1, Type: OrderCreated, UserID: 7, Total: want.Total, Currency: "USD", Actor: "user:7", Trace: d.Trace, At: noon}
	wantEffects(t, Effects{New: []*Order{want}, Stock: map[int64]int64{1: -3, 2: -1}, Events: []Event{event}}, effects)
}

// TestSetIDs: the first event of each new order has the id of its own order, although the rows are inserted in another order.
func TestSetIDs(t *testing.T) {
	drafts := []Draft{draft(t, 2, "b", Line{1, 1}), draft(t, 2, "a", Line{1, 1}), draft(t, 1, "c", Line{1, 1})}
	_, effects := Place(DefaultRules(), noon, drafts, nil, testProducts())
	for i, o := range effects.New {
		o.ID = int64(10 + i)
	}
	effects.SetIDs()
	var got []Event
	for _, e := range effects.Events {
		got = append(got, Event{OrderID: e.OrderID, UserID: e.UserID})
	}
	want := []Event{{OrderID: 12, UserID: 2}, {OrderID: 11, UserID: 2}, {OrderID: 10, UserID: 1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestPlaceRefusals(t *testing.T) {
	cases := []struct {
		name  string
		lines []Line
		want  Error
	}{
		{"insufficient stock", []Line{{1, 1}, {2, 2}}, Error{Code: CodeInsufficientStock, ProductID: 2, Requested: 2, Available: 1}},
		{"inactive", []Line{{3, 1}}, Error{Code: CodeProductInactive, ProductID: 3}},
		{"inactive takes precedence", []Line{{2, 2}, {3, 1}}, Error{Code: CodeProductInactive, ProductID: 3}},
		{"line beyond the largest amount", []Line{{4, 2}}, Error{Code: CodeValidation}},
		{"total beyond the largest amount", []Line{{1, 1}, {4, 1}}, Error{Code: CodeValidation}},
		{"priced in another currency", []Line{{1, 1}, {5, 1}}, Error{Code: CodeValidation}},
		{"missing product", []Line{{1, 1}, {99, 1}}, Error{Code: CodeValidation}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			drafts := []Draft{draft(t, 1, "bad", c.lines...), draft(t, 1, "good", Line{1, 1})}
			answers, effects := Place(DefaultRules(), noon, drafts, nil, testProducts())
			var got *Error
			if !errors.As(answers[0].Err, &got) || answers[0].Order != nil {
				t.Fatalf("answer %+v, want an error and no order", answers[0])
			}
			figures := Error{Code: got.Code, ProductID: got.ProductID, Requested: got.Requested, Available: got.Available}
			if diff := cmp.Diff(c.want, figures); diff != "" || got.Message == "" {
				t.Errorf("error %q (-want +got):\n%s", got.Message, diff)
			}
			if answers[1].Err != nil || len(effects.New) != 1 || !cmp.Equal(effects.Stock, map[int64]int64{1: -1}) {
				t.Errorf("the refusal affected the other order: %+v, %+v", answers[1], effects)
			}
			if len(effects.Events) != 1 {
				t.Errorf("%d events, want one of the one order", len(effects.Events))
			}
		})
	}
}

func TestPlaceLargestTotal(t *testing.T) {
	answers, _ := Place(DefaultRules(), noon, []Draft{draft(t, 1, "k", Line{4, 1})}, nil, testProducts())
	if answers[0].Err != nil || answers[0].Order.Total != MaxMoney {
		t.Errorf("answer %+v, want an order of %s", answers[0], MaxMoney)
	}
}

func TestPlaceReturnsAllMissingProducts(t *testing.T) {
	answers, _ := Place(DefaultRules(), noon, []Draft{draft(t, 1, "k", Line{99, 1}, Line{1, 1}, Line{98, 1})}, nil, testProducts())
	want := []string{"items.0.product_id", "items.2.product_id"}
	if got := invalidFields(t, answers[0].Err); !slices.Equal(got, want) {
		t.Errorf("invalid fields %q, want %q", got, want)
	}
}

func TestPlaceOtherCurrency(t *testing.T) {
	answers, _ := Place(DefaultRules(), noon, []Draft{draft(t, 1, "k", Line{1, 1}, Line{5, 1})}, nil, testProducts())
	var got *Error
	if !errors.As(answers[0].Err, &got) {
		t.Fatalf("answer %+v, want an error", answers[0])
	}
	want := ValidationErrors{"items.1.product_id": {"has a price in EUR, but orders are in USD"}}
	if diff := cmp.Diff(want, got.Fields); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

func TestPlaceFirstComeFirstServed(t *testing.T) {
	drafts := []Draft{
		draft(t, 2, "z", Line{2, 1}),
		draft(t, 1, "a", Line{2, 1}),             // too late
		draft(t, 1, "a", Line{1, 1}),             // the refused key is free
		draft(t, 1, "a", Line{1, 1}),             // a duplicate of the one before
		draft(t, 1, "a", Line{1, 2}),             // the same key for other items
		draft(t, 3, "a", Line{1, 1}),             // another user's key is another key
		draft(t, 4, "old", Line{1, 5}),           // exists
		draft(t, 4, "old", Line{1, 6}),           // exists, other items
		draft(t, 2, "z", Line{2, 1}),             // a duplicate needs no stock
		draft(t, 5, "k", Line{1, 1}, Line{2, 1}), // short of 2: takes nothing of 1 either
	}
	old := &Order{ID: 9, UserID: 4, Key: "old", Status: Paid, Fingerprint: drafts[6].Fingerprint, Version: 3}
	answers, effects := Place(DefaultRules(), noon, drafts, map[OrderKey]*Order{{4, "old"}: old}, testProducts())

	type brief struct {
		Code  Code
		Again bool
		Same  int // index of the first answer with this order
	}
	same := func(o *Order) int { return slices.IndexFunc(answers, func(a Placed) bool { return a.Order == o }) }
	var got []brief
	for _, a := range answers {
		b := brief{CodeOf(a.Err), a.Replayed, -1}
		if a.Order != nil {
			b.Same = same(a.Order)
		}
		got = append(got, b)
	}
	want := []brief{
		{"", false, 0},
		{CodeInsufficientStock, false, -1},
		{"", false, 2},
		{"", true, 2},
		{CodeKeyReused, false, -1},
		{"", false, 5},
		{"", true, 6},
		{CodeKeyReused, false, -1},
		{"", true, 0},
		{CodeInsufficientStock, false, -1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if answers[6].Order != old {
		t.Error("a replay must answer with the order as it is now")
	}
	var short *Error
	if errors.As(answers[1].Err, &short); short.Available != 0 {
		t.Errorf("%d available, want 0: earlier drafts took the stock", short.Available)
	}
	var refs []OrderKey
	for _, o := range effects.New {
		refs = append(refs, OrderKey{o.UserID, o.Key})
	}
	if want := []OrderKey{{1, "a"}, {2, "z"}, {3, "a"}}; !slices.Equal(refs, want) {
		t.Errorf("new orders %v, want %v: by user and key", refs, want)
	}
	if want := map[int64]int64{1: -2, 2: -1}; !cmp.Equal(want, effects.Stock) {
		t.Errorf("stock %v, want %v", effects.Stock, want)
	}
	if len(effects.Events) != 3 {
		t.Errorf("%d events, want one for each of the 3 new orders", len(effects.Events))
	}
}

func TestPlaceNothing(t *testing.T) {
	answers, effects := Place(DefaultRules(), noon, nil, nil, nil)
	if len(answers) != 0 {
		t.Errorf("answers %v, want none", answers)
	}
	wantEffects(t, Effects{}, effects)
}

func TestReplay(t *testing.T) {
	d := draft(t, 1, "k", Line{1, 1})
	o := &Order{Fingerprint: d.Fingerprint, Status: Cancelled}
	if got := Replay(d, o); got.Order != o || !got.Replayed || got.Err != nil {
		t.Errorf("same items: %+v", got)
	}
	o.Fingerprint[0]++
	if got := Replay(d, o); got.Order != nil || got.Replayed || CodeOf(got.Err) != CodeKeyReused {
		t.Errorf("another version of the normal form: %+v", got)
	}
}
