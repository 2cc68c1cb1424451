package storetest

import (
	"fmt"
	"strings"

	"github.com/google/go-cmp/cmp"

	"orderflow/internal/order"
	"orderflow/internal/store"
)

var createTests = map[string]func(*house){
	"answers in order, as they can be read back":                 createAnswers,
	"an empty batch does nothing":                                createNothing,
	"a key found again is a replay":                              createReplay,
	"a replay comes before every refusal":                        createReplayFirst,
	"keys are compared byte for byte":                            createKeys,
	"refusals disturb nobody":                                    createRefusals,
	"duplicates within a batch":                                  createDuplicates,
	"a user that is gone":                                        createGone,
	"stock is used up exactly, first come first served":          createSoldOut,
	"a batch of more than a thousand, some with a hundred lines": createHuge,
}

func createAnswers(h *house) {
	h.sample(100)
	drafts := []order.Draft{
		h.draft(3, "z", 1, 2), h.draft(1, "b", 2, 1, 1, 1), h.draft(2, "y", 5, 3), h.draft(1, "a", 4, 7), h.draft(3, "c", 1, 1, 1, 4),
	}
	answers, receipt, err := h.CreateOrders(h.Context(), drafts)
	if err != nil {
		h.Fatal(err)
	}
	if receipt.ID == "" || len(receipt.Events) != len(drafts) {
		h.Errorf("receipt %q with %d events", receipt.ID, len(receipt.Events))
	}
	totals := []string{"1999.98", "1029.98", "899.97", "1049.93", "4999.95"}
	for i, a := range answers {
		if a.Err != nil || a.Replayed {
			h.Fatalf("answer %d: %+v", i, a)
		}
		o := a.Order
		if refOf(o) != drafts[i].OrderKey() || o.Status != order.Pending || o.Total.String() != totals[i] || o.Currency != "USD" ||
			o.PaymentMethod != drafts[i].PaymentMethod || o.Version != 1 || o.AttemptsLeft != 2 || o.Claims != 0 ||
			!o.DueAt.Equal(o.CreatedAt.Add(Rules().Grace)) {
			h.Errorf("answer %d: %+v", i, o)
		}
		if diff := cmp.Diff(o, h.read(o.ID)); diff != "" {
			h.Errorf("order %d is not as it was answered (-answered +read):\n%s", o.ID, diff)
		}
		want := order.Event{
			OrderID: o.ID, Seq: 1, Type: order.OrderCreated, UserID: o.UserID, Total: o.Total, Currency: "USD",
			Actor: drafts[i].Actor, Trace: drafts[i].Trace, At: o.CreatedAt,
		}
		events, err := h.Events(h.Context(), o.ID, 0)
		if diff := cmp.Diff([]order.Event{want}, events); err != nil || diff != "" {
			h.Errorf("history of order %d: %v (-want +got)\n%s", o.ID, err, diff)
		}
		if diff := cmp.Diff(want, receipt.Events[i]); diff != "" {
			h.Errorf("event %d of the receipt (-want +got):\n%s", i, diff)
		}
	}
	if got := h.stock(1); got != 100-2-1-5 {
		h.Errorf("stock of product 1 is %d", got)
	}
	h.books()
}

func createNothing(h *house) {
	h.sample(1)
	answers, receipt, err := h.CreateOrders(h.Context(), nil)
	if err != nil || len(answers) != 0 || receipt.ID != "" {
		h.Errorf("%v, %+v, %v", answers, receipt, err)
	}
	if got := Figure(h, h.Store, 8, "unpublished"); got != 0 {
		h.Errorf("%d receipts are owed for nothing", got)
	}
}

func createReplay(h *house) {
	h.sample(10)
	first := h.place("k")
	answers, receipt, err := h.CreateOrders(h.Context(), []order.Draft{
		h.draft(1, "new", 1, 1), h.draft(1, "k", 1, 1), h.draft(1, "k", 1, 2), h.draft(2, "k", 1, 3),
	})
	if err != nil {
		h.Fatal(err)
	}
	if !answers[1].Replayed || answers[1].Order.ID != first.ID {
		h.Errorf("the same again: %+v, want order %d replayed", answers[1], first.ID)
	}
	if diff := cmp.Diff(first, answers[1].Order); diff != "" {
		h.Errorf("the replay is another order (-first +replay):\n%s", diff)
	}
	h.wantCode(answers[2].Err, order.CodeKeyReused)
	if o := answers[3].Order; o == nil || o.ID == first.ID || answers[3].Replayed {
		h.Errorf("another user's key: %+v, want a new order", answers[3])
	}
	if len(receipt.Events) != 2 {
		h.Errorf("%d events for two new orders", len(receipt.Events))
	}
	if _, receipt, err = h.CreateOrders(h.Context(), []order.Draft{h.draft(1, "k", 1, 1)}); err != nil || receipt.ID != "" {
		h.Errorf("a replay alone owes %+v (%v)", receipt, err)
	}
	if got := h.stock(1); got != 10-1-1-3 {
		h.Errorf("stock of product 1 is %d", got)
	}
	h.claim(first.ID)
	if again := h.create(h.draft(1, "k", 1, 1))[0]; again.Order.Status != order.Processing {
		h.Errorf("the replay shows the order %s, not as it is now", again.Order.Status)
	}
	h.books()
}

func createReplayFirst(h *house) {
	h.sample(3)
	first := h.create(h.draft(1, "k", 5, 3))[0]
	answers := h.create(
		h.draft(1, "k", 5, 3), h.draft(1, "k", 5, 4), h.draft(1, "k", 777, 1), h.draft(1, "k", 1, 1_000_000), h.draft(2, "k", 5, 3), h.draft(2, "free", 1, 1),
	)
	if !answers[0].Replayed || answers[0].Order.ID != first.Order.ID {
		h.Errorf("the order that took the last pieces, again: %+v", answers[0])
	}
	for i, want := range []order.Code{"", order.CodeKeyReused, order.CodeKeyReused, order.CodeKeyReused, order.CodeInsufficientStock, ""} {
		h.wantCode(answers[i].Err, want)
	}
	h.books()
}

func createKeys(h *house) {
	h.sample(100)
	keys := []string{
		"key", "Key", "KEY", "key ", " key", "key\x00", "key\x00y", "k\u00e9y", "ke\u0301y", "'; DROP TABLE orders; --", "%", "_", "\\",
		strings.Repeat("\U0001f600", order.MaxKeyLength), strings.Repeat("\U0001f600", order.MaxKeyLength-1) + "\U0001f601",
	}
	var drafts []order.Draft
	var refs []order.OrderKey
	for _, key := range keys {
		drafts = append(drafts, h.draft(1, key, 1, 1))
		refs = append(refs, order.OrderKey{UserID: 1, Key: key})
	}
	for _, replayed := range []bool{false, true} {
		for i, a := range h.create(drafts...) {
			if a.Err != nil || a.Replayed != replayed || a.Order.Key != keys[i] {
				h.Errorf("key %q: %+v, want replayed %t", keys[i], a, replayed)
			}
		}
	}
	found, err := h.FindOrders(h.Context(), append(refs, order.OrderKey{UserID: 2, Key: "key"}, order.OrderKey{UserID: 1, Key: "kEY"}))
	if err != nil || len(found) != len(keys) {
		h.Errorf("%d orders found under %d keys: %v", len(found), len(keys), err)
	}
	for ref, o := range found {
		if refOf(o) != ref {
			h.Errorf("under %q stands the order of %q", ref.Key, o.Key)
		}
	}
	h.books()
}

func createRefusals(h *house) {
	if err := h.Seed(h.Context(), store.SeedPlan{}); err != nil {
		h.Fatal(err)
	}
	drafts := []order.Draft{
		h.draft(1, "short", 5, 2), h.draft(1, "good", 5, 1), h.draft(2, "unknown", 1, 1, 777, 1), h.draft(2, "dear", 1, 1_000_000),
		h.draft(3, "also good", 1, 1), h.draft(3, "both short", 1, 10, 5, 1),
	}
	answers := h.create(drafts...)
	h.wantCode(answers[0].Err, order.CodeInsufficientStock)
	if e := coded(answers[0].Err); e.ProductID != 5 || e.Requested != 2 || e.Available != 1 {
		h.Errorf("short of stock: %+v", answers[0].Err)
	}
	h.wantCode(answers[1].Err, "")
	h.wantCode(answers[2].Err, order.CodeValidation)
	if e := coded(answers[2].Err); e.Fields["items.1.product_id"] == nil || len(e.Fields) != 1 {
		h.Errorf("unknown product: %+v", answers[2].Err)
	}
	h.wantCode(answers[3].Err, order.CodeValidation) // above what DECIMAL(10,2) holds
	h.wantCode(answers[4].Err, "")
	h.wantCode(answers[5].Err, order.CodeInsufficientStock)
	if h.stock(1) != 49 || h.stock(5) != 0 {
		h.Errorf("stock %d and %d, want 49 and 0", h.stock(1), h.stock(5))
	}
	if again := h.create(h.draft(1, "short", 1, 1))[0]; again.Err != nil || again.Replayed {
		h.Errorf("a refused order used its key up: %+v", again)
	}
	h.books()
}

func createDuplicates(h *house) {
	h.sample(5)
	answers := h.create(
		h.draft(1, "twice", 1, 1), h.draft(1, "twice", 1, 1), h.draft(1, "twice", 1, 2),
		h.draft(1, "too much", 2, 6), h.draft(1, "too much", 2, 5), h.draft(1, "too much", 2, 6),
	)
	if answers[0].Err != nil || answers[0].Replayed || !answers[1].Replayed || answers[1].Order.ID != answers[0].Order.ID {
		h.Errorf("a duplicate: %+v after %+v", answers[1], answers[0])
	}
	h.wantCode(answers[2].Err, order.CodeKeyReused)
	h.wantCode(answers[3].Err, order.CodeInsufficientStock)
	h.wantCode(answers[4].Err, "")
	h.wantCode(answers[5].Err, order.CodeKeyReused)
	if h.stock(1) != 4 || h.stock(2) != 0 {
		h.Errorf("stock %d and %d, want 4 and 0", h.stock(1), h.stock(2))
	}
	h.books()
}

func createGone(h *house) {
	h.sample(10)
	h.place("there")
	answers := h.create(
		h.draft(99, "a", 1, 1), h.draft(1, "b", 1, 1), h.draft(98, "c", 777, 1), h.draft(1, "there", 1, 1), h.draft(2, "d", 1, 1), h.draft(99, "e", 1, 1),
	)
	for i, want := range []order.Code{order.CodeValidation, "", order.CodeValidation, "", "", order.CodeValidation} {
		h.wantCode(answers[i].Err, want)
		if e := coded(answers[i].Err); want != "" && e.Fields["user_id"] == nil {
			h.Errorf("answer %d does not name the user: %+v", i, e.Fields)
		}
	}
	if !answers[3].Replayed || answers[1].Order.Key != "b" || answers[4].Order.Key != "d" {
		h.Errorf("the others' answers are mixed up: %+v", answers)
	}
	for _, a := range h.create(h.draft(99, "a", 1, 1), h.draft(98, "a", 1, 1)) {
		h.wantCode(a.Err, order.CodeValidation)
	}
	if got := h.stock(1); got != 7 {
		h.Errorf("stock of product 1 is %d, want 7", got)
	}
	h.books()
}

func createSoldOut(h *house) {
	h.sample(50)
	var drafts []order.Draft
	for i := range 60 {
		drafts = append(drafts, h.draft(int64(3-i%3), fmt.Sprint("k", i), 1, 1))
	}
	for i, a := range h.create(drafts...) {
		want := order.Code("")
		if i >= 50 {
			want = order.CodeInsufficientStock
		}
		h.wantCode(a.Err, want)
	}
	answers := h.create(h.draft(1, "all", 2, 50), h.draft(1, "one more", 2, 1))
	h.wantCode(answers[0].Err, "")
	if e := coded(answers[1].Err); e.Code != order.CodeInsufficientStock || e.Available != 0 {
		h.Errorf("after the last piece: %+v", answers[1])
	}
	if h.stock(1) != 0 || h.stock(2) != 0 {
		h.Errorf("stock %d and %d, want none", h.stock(1), h.stock(2))
	}
	h.books()
}

// Patiently writes again, ten times in all, when a machine that is too busy did not do it in the time that a write may take.
func Patiently(write func() error) (err error) {
	for range 10 {
		if err = write(); order.CodeOf(err) != order.CodeUnavailable {
			break
		}
	}
	return err
}

func createHuge(h *house) {
	const batch, lines, wide = 1_200, order.MaxLines, 30 // more rows than a statement takes
	if err := h.Seed(h.Context(), store.SeedPlan{Products: lines, SetStock: true, Stock: batch}); err != nil {
		h.Fatal(err)
	}
	var drafts []order.Draft
	for i := range int64(batch) {
		pairs := []int64{i%lines + 1, 2}
		if i%(batch/wide) == 0 { // the rest are narrow
			pairs = nil
			for product := range int64(lines) {
				pairs = append(pairs, product+1, 1)
			}
		}
		drafts = append(drafts, h.draft(i%3+1, fmt.Sprint("k", i), pairs...))
	}
	var answers []order.Placed
	if err := Patiently(func() (err error) {
		answers, _, err = h.CreateOrders(h.Context(), drafts)
		return err
	}); err != nil {
		h.Fatal(err)
	}
	ids := map[int64]bool{}
	for i, a := range answers {
		if a.Err != nil || refOf(a.Order) != drafts[i].OrderKey() || len(a.Order.Items) != len(drafts[i].Lines) {
			h.Fatalf("answer %d: %+v", i, a)
		}
		ids[a.Order.ID] = true
	}
	if len(ids) != batch {
		h.Errorf("%d ids for %d orders", len(ids), batch)
	}
	for _, i := range []int{0, 1, batch / 2, batch - 1} {
		if diff := cmp.Diff(answers[i].Order, h.read(answers[i].Order.ID)); diff != "" {
			h.Errorf("order %d (-answered +read):\n%s", i, diff)
		}
	}
	if got := Figure(h, h.Store, 4, "lines"); got != wide*lines+batch-wide {
		h.Errorf("%d lines", got)
	}
	h.books()
}
