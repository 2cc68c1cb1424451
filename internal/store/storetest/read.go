package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"orderflow/internal/order"
	"orderflow/internal/store"
)

var readTests = map[string]func(*testEnv){
	"lists, against a naive model":  readLists,
	"events after a sequence":       readEvents,
	"what is due, longest first":    readDue,
	"what waits, counted":           readBacklog,
	"products, known rows, its id":  readRest,
	"many keys at once":             readMany,
	"what does not exist":           readNothing,
	"a caller's end ends its reads": readCancelled,
}

// mixed makes orders of three users in every status.
func (env *testEnv) mixed(n int) (all []*order.Order) {
	env.Helper()
	for i := range n {
		o := env.create(env.draft(int64(i%3+1), fmt.Sprint("mixed", i), int64(i%5+1), 1, 1+int64((i+2)%5), 2))[0].Order
		switch i % 7 {
		case 0, 1:
		case 2:
			if _, _, err := env.CancelOrders(env.Context(), []order.CancelRequest{{OrderID: o.ID}}); err != nil {
				env.Fatal(err)
			}
		case 3:
			env.claim(o.ID)
		case 4:
			env.settle(report(env.claim(o.ID), order.KindCharge, order.Declined))
		default:
			env.settle(report(env.claim(o.ID), order.KindCharge, order.Succeeded))
		}
		all = append(all, env.read(o.ID))
	}
	return all
}

func readLists(env *testEnv) {
	env.sample(1_000)
	all := env.mixed(48)
	slices.Reverse(all)
	for _, user := range []int64{0, 1, 3, 99} {
		for _, status := range append(order.Statuses(), "") {
			var want []order.Order
			for _, o := range all {
				if (user == 0 || o.UserID == user) && (status == "" || o.Status == status) {
					want = append(want, *o)
				}
			}
			for _, perPage := range []int{1, 4, 15, 50} {
				q := order.ListQuery{UserID: user, Status: status, PerPage: perPage}
				env.checkPages(q, want)
				env.checkCursor(q, want)
			}
		}
	}
}

// checkPages reads the list page by page, and one page too far.
func (env *testEnv) checkPages(q order.ListQuery, want []order.Order) {
	env.Helper()
	for q.Page = 1; q.Page <= len(want)/q.PerPage+2; q.Page++ {
		if q.Page > 3 && q.Page < len(want)/q.PerPage {
			continue // the middle of a long list
		}
		page, err := env.Orders(env.Context(), q)
		from := min((q.Page-1)*q.PerPage, len(want))
		to := min(from+q.PerPage, len(want))
		if err != nil || page.Total != int64(len(want)) {
			env.Fatalf("%+v: total %d (%v), want %d", q, page.Total, err, len(want))
		}
		if diff := cmp.Diff(append([]order.Order{}, want[from:to]...), page.Orders); diff != "" {
			env.Fatalf("%+v (-want +got):\n%s", q, diff)
		}
	}
}

// checkCursor reads the list by cursor to its end.
func (env *testEnv) checkCursor(q order.ListQuery, want []order.Order) {
	env.Helper()
	q.Page = 0
	for {
		page, err := env.Orders(env.Context(), q)
		n := min(q.PerPage, len(want))
		if err != nil || page.More != (len(want) > n) {
			env.Fatalf("%+v: more %t (%v), %d left", q, page.More, err, len(want)-n)
		}
		if diff := cmp.Diff(append([]order.Order{}, want[:n]...), page.Orders); diff != "" {
			env.Fatalf("%+v (-want +got):\n%s", q, diff)
		}
		if want = want[n:]; !page.More {
			return
		}
		q.Before = page.Orders[n-1].ID
	}
}

func readEvents(env *testEnv) {
	env.sample(10)
	o := env.place("k")
	claim := env.claim(o.ID)
	_, batch, err := env.SettleOrders(env.Context(), []order.Settlement{report(claim, order.KindCharge, order.Declined)})
	if err != nil {
		env.Fatal(err)
	}
	types := []order.EventType{order.OrderCreated, order.OrderProcessing, order.OrderFailed}
	for after := range 5 {
		events, err := env.Events(env.Context(), o.ID, after)
		if err != nil || len(events) != max(0, 3-after) {
			env.Fatalf("after %d: %d events, %v", after, len(events), err)
		}
		for i, e := range events {
			if e.Seq != after+1+i || e.Type != types[after+i] || e.OrderID != o.ID || e.UserID != 1 || e.Total != o.Total || e.At.Location() != time.UTC {
				env.Errorf("after %d: %+v", after, e)
			}
		}
	}
	last, err := env.Events(env.Context(), o.ID, 2)
	if diff := cmp.Diff(batch.Events, last); err != nil || diff != "" {
		env.Errorf("the history is not what the batch said: %v\n%s", err, diff)
	}
}

func readDue(env *testEnv) {
	env.sample(100)
	rules := AtOnce()
	var want []order.ClaimRequest
	due := func(key string, hoursAgo int) *order.Order {
		rules.Grace = -time.Duration(hoursAgo) * time.Hour
		return env.under(rules).place(key)
	}
	env.place("not due")
	waiting := due("waiting", 5)
	crashed := due("crashed", 7)
	rules.Lease = -7 * time.Hour
	env.under(rules).claim(crashed.ID)
	late := due("late", 1) // a late charge: due at the time of its report
	claim := env.claim(late.ID)
	env.settle(report(claim, order.KindCharge, order.Declined))
	void := report(claim, order.KindCharge, order.Succeeded)
	void.Claim = 9
	env.settle(void)
	fresh := due("fresh", 3)
	for _, o := range []*order.Order{crashed, waiting, fresh, late} {
		want = append(want, order.ClaimRequest{OrderID: o.ID, Trace: Trace(o.Key)})
	}
	for limit := 1; limit <= 5; limit++ {
		got, err := env.DueOrders(env.Context(), limit)
		if diff := cmp.Diff(want[:min(limit, 4)], got); err != nil || diff != "" {
			env.Errorf("limit %d: %v (-want +got)\n%s", limit, err, diff)
		}
	}
	for kind, want := range map[order.PaymentKind][]order.ClaimRequest{order.KindCharge: want[:3], order.KindVoid: want[3:]} {
		got, err := env.DueOrders(env.Context(), 4, kind)
		if err != nil {
			env.Errorf("due for a %s: %v", kind, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			env.Errorf("due for a %s (-want +got)\n%s", kind, diff)
		}
	}
	for _, request := range want {
		if claimed := env.claim(request.OrderID); claimed.Task == order.TaskNone {
			env.Errorf("order %d is due, but cannot be claimed", request.OrderID)
		}
	}
	if got, err := env.DueOrders(env.Context(), 10); err != nil || len(got) != 0 {
		env.Errorf("still due: %v, %v", got, err)
	}
	if got := Figure(env, env.Store, 7, "overdue"); got != 0 {
		env.Errorf("%d overdue", got)
	}
}

func readBacklog(env *testEnv) {
	env.sample(100)
	backlog := func() order.Backlog {
		env.Helper()
		b, err := env.Backlog(env.Context())
		if err != nil {
			env.Fatal(err)
		}
		return b
	}
	if got := backlog(); got != (order.Backlog{}) {
		env.Errorf("of nothing: %+v", got)
	}
	env.place("not due")
	rules := AtOnce()
	rules.Grace = -5 * time.Hour
	old := env.under(rules)
	old.place("due for hours")
	env.claim(env.place("being charged").ID)
	old.exhaustAttempts(old.place("dead").ID)
	env.settle(report(env.claim(env.place("paid").ID), order.KindCharge, order.Succeeded))
	got := backlog()
	if got.Pending != 2 || got.Processing != 1 || got.FailedJobs != 1 || got.Unpublished != 6 {
		env.Errorf("%+v; want 2 pending, 1 processing, 1 failed job, 6 batches", got)
	}
	if got.Overdue < 5*time.Hour || got.Overdue > 6*time.Hour || got.OldestUnpublished <= 0 || got.OldestUnpublished > time.Hour {
		env.Errorf("overdue for %s, unpublished for %s", got.Overdue, got.OldestUnpublished)
	}
	for _, batch := range env.unpublished(longAgo) {
		env.MarkPublished([]string{batch.ID})
	}
	if err := env.FlushPublished(env.Context()); err != nil {
		env.Fatal(err)
	}
	if got := backlog(); got.Unpublished != 0 || got.OldestUnpublished != 0 {
		env.Errorf("all is published, and the backlog is %+v", got)
	}
}

func readRest(env *testEnv) {
	if err := env.Seed(env.Context(), store.SeedPlan{Users: 100, Products: 100}); err != nil {
		env.Fatal(err)
	}
	products, err := env.Products(env.Context())
	if err != nil || len(products) != 100 || products[0].Name != "Laptop Pro" || products[0].Price.String() != "999.99" ||
		!products[0].Active || products[0].Currency != "USD" || products[0].CreatedAt.IsZero() || products[99].ID != 100 {
		env.Errorf("%d products, first %+v, %v", len(products), products[0], err)
	}
	var ids []int64
	for id := range int64(150) {
		ids = append(ids, 150-id)
	}
	users, known, err := env.Existing(env.Context(), append(ids, 5, 5), ids)
	if err != nil || len(users) != 100 || len(known) != 100 || !users[1] || !known[100] || users[101] {
		env.Errorf("%d users and %d products are known, %v", len(users), len(known), err)
	}
	if users, known, err = env.Existing(env.Context(), nil, nil); err != nil || len(users)+len(known) != 0 {
		env.Errorf("of none, %d are known, %v", len(users)+len(known), err)
	}
	if err := env.Ping(env.Context()); err != nil {
		env.Error(err)
	}
	id, err := env.Installation(env.Context())
	if err != nil || len(id) != 32 {
		env.Errorf("installation %q, %v", id, err)
	}
	if again, err := env.connect(Rules()).Installation(env.Context()); err != nil || again != id {
		env.Errorf("another handle sees installation %q, not %q (%v)", again, id, err)
	}
}

func readMany(env *testEnv) {
	env.sample(1_000)
	var drafts []order.Draft
	for i := range 150 {
		drafts = append(drafts, env.draft(int64(i%3+1), fmt.Sprint(i), 1, 1, 2, 2))
	}
	var wanted []order.OrderKey
	for _, a := range env.create(drafts...) {
		wanted = append(wanted, keyOf(a.Order), order.OrderKey{UserID: a.Order.UserID, Key: "no " + a.Order.Key}, keyOf(a.Order))
	}
	found, err := env.FindOrders(env.Context(), wanted)
	if err != nil || len(found) != 150 {
		env.Fatal(len(found), err)
	}
	for ref, o := range found {
		if keyOf(o) != ref || len(o.Items) != 2 {
			env.Errorf("%v: %+v", ref, o)
		}
	}
}

func readNothing(env *testEnv) {
	_, err := env.Order(env.Context(), 1)
	env.wantCode(err, order.CodeNotFound)
	_, err = env.Events(env.Context(), 1, 0)
	env.wantCode(err, order.CodeNotFound)
	if found, err := env.FindOrders(env.Context(), nil); err != nil || len(found) != 0 {
		env.Error(found, err)
	}
	page, err := env.Orders(env.Context(), order.ListQuery{PerPage: 15, Page: 1})
	if err != nil || len(page.Orders) != 0 || page.Total != 0 {
		env.Error(page, err)
	}
	if due, err := env.DueOrders(env.Context(), 5); err != nil || len(due) != 0 {
		env.Error(due, err)
	}
	if empty, err := env.Empty(env.Context()); err != nil || !empty {
		env.Errorf("a database without rows is not empty (%v)", err)
	}
	env.checkInvariants()
}

func readCancelled(env *testEnv) {
	if err := env.Seed(env.Context(), store.SeedPlan{Orders: 1_000}); err != nil {
		env.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(env.Context())
	cancel()
	if _, err := env.Order(cancelled, 1); !errors.Is(err, context.Canceled) {
		env.Errorf("a read for a caller that left: %v", err)
	}
	for i := range 60 { // the end comes at every stage of the read
		ctx, cancel := context.WithCancel(env.Context())
		done := make(chan error, 1)
		go func() {
			_, err := env.Audit(ctx)
			done <- err
		}()
		for range i * i {
			runtime.Gosched()
		}
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			env.Fatalf("a read that was cancelled: %v", err)
		}
	}
	env.checkInvariants()
	// A write that has begun is not undone by a caller who leaves.
	if answers, _, err := env.CreateOrders(cancelled, []order.Draft{env.draft(1, "k", 1, 1)}); err != nil || answers[0].Err != nil {
		env.Errorf("a write for a caller that left: %+v, %v", answers, err)
	}
}
