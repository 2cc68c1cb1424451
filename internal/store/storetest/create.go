package storetest

import (
	"fmt"
	"strings"

	"github.com/google/go-cmp/cmp"

	"orderflow/internal/order"
	"orderflow/internal/store"
)

var createTests = map[string]func(*testEnv){
	"answers in order, as they can be read back":                 createAnswers,
	"an empty batch does nothing":                                createNothing,
	"a key found again is a replay":                              createReplay,
	"a replay comes before every refusal":                        createReplayFirst,
	"keys are compared byte for byte":                            createKeys,
	"refusals do not affect other orders":                        createRefusals,
	"duplicates within a batch":                                  createDuplicates,
	"a user that is missing":                                     createGone,
	"stock is used up exactly, first come first served":          createSoldOut,
	"a batch of more than a thousand, some with a hundred lines": createHuge,
}

func createAnswers(env *testEnv) {
	env.sample(100)
	drafts := []order.Draft{
		env.draft(3, "z", 1, 2), env.draft(1, "b", 2, 1, 1, 1), env.draft(2, "y", 5, 3), env.draft(1, "a", 4, 7), env.draft(3, "c", 1, 1, 1, 4),
	}
	answers, batch, err := env.CreateOrders(env.Context(), drafts)
	if err != nil {
		env.Fatal(err)
	}
	if batch.ID == "" || len(batch.Events) != len(drafts) {
		env.Errorf("batch %q with %d events", batch.ID, len(batch.Events))
	}
	totals := []string{"1999.98", "1029.98", "899.97", "1049.93", "4999.95"}
	for i, a := range answers {
		if a.Err != nil || a.Replayed {
			env.Fatalf("answer %d: %+v", i, a)
		}
		o := a.Order
		if keyOf(o) != drafts[i].OrderKey() || o.Status != order.Pending || o.Total.String() != totals[i] || o.Currency != "USD" ||
			o.PaymentMethod != drafts[i].PaymentMethod || o.Version != 1 || o.AttemptsLeft != 2 || o.Claims != 0 ||
			!o.DueAt.Equal(o.CreatedAt.Add(Rules().Grace)) {
			env.Errorf("answer %d: %+v", i, o)
		}
		if diff := cmp.Diff(o, env.read(o.ID)); diff != "" {
			env.Errorf("order %d is not as it was answered (-answered +read):\n%s", o.ID, diff)
		}
		want := order.Event{
			OrderID: o.ID, Seq: 1, Type: order.OrderCreated, UserID: o.UserID, Total: o.Total, Currency: "USD",
			Actor: drafts[i].Actor, Trace: drafts[i].Trace, At: o.CreatedAt,
		}
		events, err := env.Events(env.Context(), o.ID, 0)
		if diff := cmp.Diff([]order.Event{want}, events); err != nil || diff != "" {
			env.Errorf("history of order %d: %v (-want +got)\n%s", o.ID, err, diff)
		}
		if diff := cmp.Diff(want, batch.Events[i]); diff != "" {
			env.Errorf("event %d of the batch (-want +got):\n%s", i, diff)
		}
	}
	if got := env.stock(1); got != 100-2-1-5 {
		env.Errorf("stock of product 1 is %d", got)
	}
	env.checkInvariants()
}

func createNothing(env *testEnv) {
	env.sample(1)
	answers, batch, err := env.CreateOrders(env.Context(), nil)
	if err != nil || len(answers) != 0 || batch.ID != "" {
		env.Errorf("%v, %+v, %v", answers, batch, err)
	}
	if got := Figure(env, env.Store, 8, "unpublished"); got != 0 {
		env.Errorf("%d outbox rows are unpublished, want none", got)
	}
}

func createReplay(env *testEnv) {
	env.sample(10)
	first := env.place("k")
	answers, batch, err := env.CreateOrders(env.Context(), []order.Draft{
		env.draft(1, "new", 1, 1), env.draft(1, "k", 1, 1), env.draft(1, "k", 1, 2), env.draft(2, "k", 1, 3),
	})
	if err != nil {
		env.Fatal(err)
	}
	if !answers[1].Replayed || answers[1].Order.ID != first.ID {
		env.Errorf("the same again: %+v, want order %d replayed", answers[1], first.ID)
	}
	if diff := cmp.Diff(first, answers[1].Order); diff != "" {
		env.Errorf("the replay is another order (-first +replay):\n%s", diff)
	}
	env.wantCode(answers[2].Err, order.CodeKeyReused)
	if o := answers[3].Order; o == nil || o.ID == first.ID || answers[3].Replayed {
		env.Errorf("another user's key: %+v, want a new order", answers[3])
	}
	if len(batch.Events) != 2 {
		env.Errorf("%d events for two new orders", len(batch.Events))
	}
	if _, batch, err = env.CreateOrders(env.Context(), []order.Draft{env.draft(1, "k", 1, 1)}); err != nil || batch.ID != "" {
		env.Errorf("a replay alone has the batch %+v (%v)", batch, err)
	}
	if got := env.stock(1); got != 10-1-1-3 {
		env.Errorf("stock of product 1 is %d", got)
	}
	env.claim(first.ID)
	if again := env.create(env.draft(1, "k", 1, 1))[0]; again.Order.Status != order.Processing {
		env.Errorf("the replay shows the order %s, not as it is now", again.Order.Status)
	}
	env.checkInvariants()
}

func createReplayFirst(env *testEnv) {
	env.sample(3)
	first := env.create(env.draft(1, "k", 5, 3))[0]
	answers := env.create(
		env.draft(1, "k", 5, 3), env.draft(1, "k", 5, 4), env.draft(1, "k", 777, 1), env.draft(1, "k", 1, 1_000_000), env.draft(2, "k", 5, 3), env.draft(2, "free", 1, 1),
	)
	if !answers[0].Replayed || answers[0].Order.ID != first.Order.ID {
		env.Errorf("the order that took the last units, again: %+v", answers[0])
	}
	for i, want := range []order.Code{"", order.CodeKeyReused, order.CodeKeyReused, order.CodeKeyReused, order.CodeInsufficientStock, ""} {
		env.wantCode(answers[i].Err, want)
	}
	env.checkInvariants()
}

func createKeys(env *testEnv) {
	env.sample(100)
	keys := []string{
		"key", "Key", "KEY", "key ", " key", "key\x00", "key\x00y", "k\u00e9y", "ke\u0301y", "'; DROP TABLE orders; --", "%", "_", "\\",
		strings.Repeat("\U0001f600", order.MaxKeyLength), strings.Repeat("\U0001f600", order.MaxKeyLength-1) + "\U0001f601",
	}
	var drafts []order.Draft
	var refs []order.OrderKey
	for _, key := range keys {
		drafts = append(drafts, env.draft(1, key, 1, 1))
		refs = append(refs, order.OrderKey{UserID: 1, Key: key})
	}
	for _, replayed := range []bool{false, true} {
		for i, a := range env.create(drafts...) {
			if a.Err != nil || a.Replayed != replayed || a.Order.Key != keys[i] {
				env.Errorf("key %q: %+v, want replayed %t", keys[i], a, replayed)
			}
		}
	}
	found, err := env.FindOrders(env.Context(), append(refs, order.OrderKey{UserID: 2, Key: "key"}, order.OrderKey{UserID: 1, Key: "kEY"}))
	if err != nil || len(found) != len(keys) {
		env.Errorf("%d orders found under %d keys: %v", len(found), len(keys), err)
	}
	for ref, o := range found {
		if keyOf(o) != ref {
			env.Errorf("under %q stands the order of %q", ref.Key, o.Key)
		}
	}
	env.checkInvariants()
}

func createRefusals(env *testEnv) {
	if err := env.Seed(env.Context(), store.SeedPlan{}); err != nil {
		env.Fatal(err)
	}
	drafts := []order.Draft{
		env.draft(1, "short", 5, 2), env.draft(1, "good", 5, 1), env.draft(2, "unknown", 1, 1, 777, 1), env.draft(2, "dear", 1, 1_000_000),
		env.draft(3, "also good", 1, 1), env.draft(3, "both short", 1, 10, 5, 1),
	}
	answers := env.create(drafts...)
	env.wantCode(answers[0].Err, order.CodeInsufficientStock)
	if e := coded(answers[0].Err); e.ProductID != 5 || e.Requested != 2 || e.Available != 1 {
		env.Errorf("short of stock: %+v", answers[0].Err)
	}
	env.wantCode(answers[1].Err, "")
	env.wantCode(answers[2].Err, order.CodeValidation)
	if e := coded(answers[2].Err); e.Fields["items.1.product_id"] == nil || len(e.Fields) != 1 {
		env.Errorf("unknown product: %+v", answers[2].Err)
	}
	env.wantCode(answers[3].Err, order.CodeValidation) // above what DECIMAL(10,2) holds
	env.wantCode(answers[4].Err, "")
	env.wantCode(answers[5].Err, order.CodeInsufficientStock)
	if env.stock(1) != 49 || env.stock(5) != 0 {
		env.Errorf("stock %d and %d, want 49 and 0", env.stock(1), env.stock(5))
	}
	if again := env.create(env.draft(1, "short", 1, 1))[0]; again.Err != nil || again.Replayed {
		env.Errorf("a refused order used its key up: %+v", again)
	}
	env.checkInvariants()
}

func createDuplicates(env *testEnv) {
	env.sample(5)
	answers := env.create(
		env.draft(1, "twice", 1, 1), env.draft(1, "twice", 1, 1), env.draft(1, "twice", 1, 2),
		env.draft(1, "too much", 2, 6), env.draft(1, "too much", 2, 5), env.draft(1, "too much", 2, 6),
	)
	if answers[0].Err != nil || answers[0].Replayed || !answers[1].Replayed || answers[1].Order.ID != answers[0].Order.ID {
		env.Errorf("a duplicate: %+v after %+v", answers[1], answers[0])
	}
	env.wantCode(answers[2].Err, order.CodeKeyReused)
	env.wantCode(answers[3].Err, order.CodeInsufficientStock)
	env.wantCode(answers[4].Err, "")
	env.wantCode(answers[5].Err, order.CodeKeyReused)
	if env.stock(1) != 4 || env.stock(2) != 0 {
		env.Errorf("stock %d and %d, want 4 and 0", env.stock(1), env.stock(2))
	}
	env.checkInvariants()
}

func createGone(env *testEnv) {
	env.sample(10)
	env.place("there")
	answers := env.create(
		env.draft(99, "a", 1, 1), env.draft(1, "b", 1, 1), env.draft(98, "c", 777, 1), env.draft(1, "there", 1, 1), env.draft(2, "d", 1, 1), env.draft(99, "e", 1, 1),
	)
	for i, want := range []order.Code{order.CodeValidation, "", order.CodeValidation, "", "", order.CodeValidation} {
		env.wantCode(answers[i].Err, want)
		if e := coded(answers[i].Err); want != "" && e.Fields["user_id"] == nil {
			env.Errorf("answer %d does not name the user: %+v", i, e.Fields)
		}
	}
	if !answers[3].Replayed || answers[1].Order.Key != "b" || answers[4].Order.Key != "d" {
		env.Errorf("the others' answers are mixed up: %+v", answers)
	}
	for _, a := range env.create(env.draft(99, "a", 1, 1), env.draft(98, "a", 1, 1)) {
		env.wantCode(a.Err, order.CodeValidation)
	}
	if got := env.stock(1); got != 7 {
		env.Errorf("stock of product 1 is %d, want 7", got)
	}
	env.checkInvariants()
}

func createSoldOut(env *testEnv) {
	env.sample(50)
	var drafts []order.Draft
	for i := range 60 {
		drafts = append(drafts, env.draft(int64(3-i%3), fmt.Sprint("k", i), 1, 1))
	}
	for i, a := range env.create(drafts...) {
		want := order.Code("")
		if i >= 50 {
			want = order.CodeInsufficientStock
		}
		env.wantCode(a.Err, want)
	}
	answers := env.create(env.draft(1, "all", 2, 50), env.draft(1, "one more", 2, 1))
	env.wantCode(answers[0].Err, "")
	if e := coded(answers[1].Err); e.Code != order.CodeInsufficientStock || e.Available != 0 {
		env.Errorf("after the last piece: %+v", answers[1])
	}
	if env.stock(1) != 0 || env.stock(2) != 0 {
		env.Errorf("stock %d and %d, want none", env.stock(1), env.stock(2))
	}
	env.checkInvariants()
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

func createHuge(env *testEnv) {
	const batch, lines, wide = 1_200, order.MaxLines, 30 // more rows than a statement takes
	if err := env.Seed(env.Context(), store.SeedPlan{Products: lines, SetStock: true, Stock: batch}); err != nil {
		env.Fatal(err)
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
		drafts = append(drafts, env.draft(i%3+1, fmt.Sprint("k", i), pairs...))
	}
	var answers []order.Placed
	if err := Patiently(func() (err error) {
		answers, _, err = env.CreateOrders(env.Context(), drafts)
		return err
	}); err != nil {
		env.Fatal(err)
	}
	ids := map[int64]bool{}
	for i, a := range answers {
		if a.Err != nil || keyOf(a.Order) != drafts[i].OrderKey() || len(a.Order.Items) != len(drafts[i].Lines) {
			env.Fatalf("answer %d: %+v", i, a)
		}
		ids[a.Order.ID] = true
	}
	if len(ids) != batch {
		env.Errorf("%d ids for %d orders", len(ids), batch)
	}
	for _, i := range []int{0, 1, batch / 2, batch - 1} {
		if diff := cmp.Diff(answers[i].Order, env.read(answers[i].Order.ID)); diff != "" {
			env.Errorf("order %d (-answered +read):\n%s", i, diff)
		}
	}
	if got := Figure(env, env.Store, 4, "lines"); got != wide*lines+batch-wide {
		env.Errorf("%d lines", got)
	}
	env.checkInvariants()
}
