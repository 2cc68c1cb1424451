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

var readTests = map[string]func(*house){
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
func (h *house) mixed(n int) (all []*order.Order) {
	h.Helper()
	for i := range n {
		o := h.create(h.draft(int64(i%3+1), fmt.Sprint("mixed", i), int64(i%5+1), 1, 1+int64((i+2)%5), 2))[0].Order
		switch i % 7 {
		case 0, 1:
		case 2:
			if _, _, err := h.CancelOrders(h.Context(), []order.CancelRequest{{OrderID: o.ID}}); err != nil {
				h.Fatal(err)
			}
		case 3:
			h.claim(o.ID)
		case 4:
			h.settle(report(h.claim(o.ID), order.KindCharge, order.Declined))
		default:
			h.settle(report(h.claim(o.ID), order.KindCharge, order.Succeeded))
		}
		all = append(all, h.read(o.ID))
	}
	return all
}

func readLists(h *house) {
	h.sample(1_000)
	all := h.mixed(48)
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
				h.checkPages(q, want)
				h.checkCursor(q, want)
			}
		}
	}
}

// checkPages reads the list page by page, and one page too far.
func (h *house) checkPages(q order.ListQuery, want []order.Order) {
	h.Helper()
	for q.Page = 1; q.Page <= len(want)/q.PerPage+2; q.Page++ {
		if q.Page > 3 && q.Page < len(want)/q.PerPage {
			continue // the middle of a long list
		}
		page, err := h.Orders(h.Context(), q)
		from := min((q.Page-1)*q.PerPage, len(want))
		to := min(from+q.PerPage, len(want))
		if err != nil || page.Total != int64(len(want)) {
			h.Fatalf("%+v: total %d (%v), want %d", q, page.Total, err, len(want))
		}
		if diff := cmp.Diff(append([]order.Order{}, want[from:to]...), page.Orders); diff != "" {
			h.Fatalf("%+v (-want +got):\n%s", q, diff)
		}
	}
}

// checkCursor reads the list by cursor to its end.
func (h *house) checkCursor(q order.ListQuery, want []order.Order) {
	h.Helper()
	q.Page = 0
	for {
		page, err := h.Orders(h.Context(), q)
		n := min(q.PerPage, len(want))
		if err != nil || page.More != (len(want) > n) {
			h.Fatalf("%+v: more %t (%v), %d left", q, page.More, err, len(want)-n)
		}
		if diff := cmp.Diff(append([]order.Order{}, want[:n]...), page.Orders); diff != "" {
			h.Fatalf("%+v (-want +got):\n%s", q, diff)
		}
		if want = want[n:]; !page.More {
			return
		}
		q.Before = page.Orders[n-1].ID
	}
}

func readEvents(h *house) {
	h.sample(10)
	o := h.place("k")
	claim := h.claim(o.ID)
	_, receipt, err := h.SettleOrders(h.Context(), []order.Settlement{report(claim, order.KindCharge, order.Declined)})
	if err != nil {
		h.Fatal(err)
	}
	types := []order.EventType{order.OrderCreated, order.OrderProcessing, order.OrderFailed}
	for after := range 5 {
		events, err := h.Events(h.Context(), o.ID, after)
		if err != nil || len(events) != max(0, 3-after) {
			h.Fatalf("after %d: %d events, %v", after, len(events), err)
		}
		for i, e := range events {
			if e.Seq != after+1+i || e.Type != types[after+i] || e.OrderID != o.ID || e.UserID != 1 || e.Total != o.Total || e.At.Location() != time.UTC {
				h.Errorf("after %d: %+v", after, e)
			}
		}
	}
	last, err := h.Events(h.Context(), o.ID, 2)
	if diff := cmp.Diff(receipt.Events, last); err != nil || diff != "" {
		h.Errorf("the history is not what the receipt said: %v\n%s", err, diff)
	}
}

func readDue(h *house) {
	h.sample(100)
	rules := AtOnce()
	var want []order.ClaimRequest
	due := func(key string, hoursAgo int) *order.Order {
		rules.Grace = -time.Duration(hoursAgo) * time.Hour
		return h.under(rules).place(key)
	}
	h.place("not due")
	waiting := due("waiting", 5)
	crashed := due("crashed", 7)
	rules.Lease = -7 * time.Hour
	h.under(rules).claim(crashed.ID)
	late := due("late", 1) // a late charge: due at the time of its report
	claim := h.claim(late.ID)
	h.settle(report(claim, order.KindCharge, order.Declined))
	void := report(claim, order.KindCharge, order.Succeeded)
	void.Claim = 9
	h.settle(void)
	fresh := due("fresh", 3)
	for _, o := range []*order.Order{crashed, waiting, fresh, late} {
		want = append(want, order.ClaimRequest{OrderID: o.ID, Trace: Trace(o.Key)})
	}
	for limit := 1; limit <= 5; limit++ {
		got, err := h.DueOrders(h.Context(), limit)
		if diff := cmp.Diff(want[:min(limit, 4)], got); err != nil || diff != "" {
			h.Errorf("limit %d: %v (-want +got)\n%s", limit, err, diff)
		}
	}
	for kind, want := range map[order.PaymentKind][]order.ClaimRequest{order.KindCharge: want[:3], order.KindVoid: want[3:]} {
		got, err := h.DueOrders(h.Context(), 4, kind)
		if err != nil {
			h.Errorf("due for a %s: %v", kind, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			h.Errorf("due for a %s (-want +got)\n%s", kind, diff)
		}
	}
	for _, request := range want {
		if claimed := h.claim(request.OrderID); claimed.Task == order.TaskNone {
			h.Errorf("order %d is due, but cannot be claimed", request.OrderID)
		}
	}
	if got, err := h.DueOrders(h.Context(), 10); err != nil || len(got) != 0 {
		h.Errorf("still due: %v, %v", got, err)
	}
	if got := Figure(h, h.Store, 7, "overdue"); got != 0 {
		h.Errorf("%d overdue", got)
	}
}

func readBacklog(h *house) {
	h.sample(100)
	backlog := func() order.Backlog {
		h.Helper()
		b, err := h.Backlog(h.Context())
		if err != nil {
			h.Fatal(err)
		}
		return b
	}
	if got := backlog(); got != (order.Backlog{}) {
		h.Errorf("of nothing: %+v", got)
	}
	h.place("not due")
	rules := AtOnce()
	rules.Grace = -5 * time.Hour
	old := h.under(rules)
	old.place("due for hours")
	h.claim(h.place("being charged").ID)
	old.bury(old.place("dead").ID)
	h.settle(report(h.claim(h.place("paid").ID), order.KindCharge, order.Succeeded))
	got := backlog()
	if got.Pending != 2 || got.Processing != 1 || got.FailedJobs != 1 || got.Unpublished != 6 {
		h.Errorf("%+v; want 2 pending, 1 processing, 1 dead letter, 6 receipts", got)
	}
	if got.Overdue < 5*time.Hour || got.Overdue > 6*time.Hour || got.OldestUnpublished <= 0 || got.OldestUnpublished > time.Hour {
		h.Errorf("overdue for %s, owed for %s", got.Overdue, got.OldestUnpublished)
	}
	for _, receipt := range h.owed(longAgo) {
		h.MarkPublished([]string{receipt.ID})
	}
	if err := h.FlushPublished(h.Context()); err != nil {
		h.Fatal(err)
	}
	if got := backlog(); got.Unpublished != 0 || got.OldestUnpublished != 0 {
		h.Errorf("all is paid, and it says %+v", got)
	}
}

func readRest(h *house) {
	if err := h.Seed(h.Context(), store.SeedPlan{Users: 100, Products: 100}); err != nil {
		h.Fatal(err)
	}
	products, err := h.Products(h.Context())
	if err != nil || len(products) != 100 || products[0].Name != "Laptop Pro" || products[0].Price.String() != "999.99" ||
		!products[0].Active || products[0].Currency != "USD" || products[0].CreatedAt.IsZero() || products[99].ID != 100 {
		h.Errorf("%d products, first %+v, %v", len(products), products[0], err)
	}
	var ids []int64
	for id := range int64(150) {
		ids = append(ids, 150-id)
	}
	users, known, err := h.Existing(h.Context(), append(ids, 5, 5), ids)
	if err != nil || len(users) != 100 || len(known) != 100 || !users[1] || !known[100] || users[101] {
		h.Errorf("%d users and %d products are known, %v", len(users), len(known), err)
	}
	if users, known, err = h.Existing(h.Context(), nil, nil); err != nil || len(users)+len(known) != 0 {
		h.Errorf("of none, %d are known, %v", len(users)+len(known), err)
	}
	if err := h.Ping(h.Context()); err != nil {
		h.Error(err)
	}
	id, err := h.Installation(h.Context())
	if err != nil || len(id) != 32 {
		h.Errorf("installation %q, %v", id, err)
	}
	if again, err := h.connect(Rules()).Installation(h.Context()); err != nil || again != id {
		h.Errorf("another handle sees installation %q, not %q (%v)", again, id, err)
	}
}

func readMany(h *house) {
	h.sample(1_000)
	var drafts []order.Draft
	for i := range 150 {
		drafts = append(drafts, h.draft(int64(i%3+1), fmt.Sprint(i), 1, 1, 2, 2))
	}
	var wanted []order.OrderKey
	for _, a := range h.create(drafts...) {
		wanted = append(wanted, refOf(a.Order), order.OrderKey{UserID: a.Order.UserID, Key: "no " + a.Order.Key}, refOf(a.Order))
	}
	found, err := h.FindOrders(h.Context(), wanted)
	if err != nil || len(found) != 150 {
		h.Fatal(len(found), err)
	}
	for ref, o := range found {
		if refOf(o) != ref || len(o.Items) != 2 {
			h.Errorf("%v: %+v", ref, o)
		}
	}
}

func readNothing(h *house) {
	_, err := h.Order(h.Context(), 1)
	h.wantCode(err, order.CodeNotFound)
	_, err = h.Events(h.Context(), 1, 0)
	h.wantCode(err, order.CodeNotFound)
	if found, err := h.FindOrders(h.Context(), nil); err != nil || len(found) != 0 {
		h.Error(found, err)
	}
	page, err := h.Orders(h.Context(), order.ListQuery{PerPage: 15, Page: 1})
	if err != nil || len(page.Orders) != 0 || page.Total != 0 {
		h.Error(page, err)
	}
	if due, err := h.DueOrders(h.Context(), 5); err != nil || len(due) != 0 {
		h.Error(due, err)
	}
	if empty, err := h.Empty(h.Context()); err != nil || !empty {
		h.Errorf("a database without rows is not empty (%v)", err)
	}
	h.books()
}

func readCancelled(h *house) {
	if err := h.Seed(h.Context(), store.SeedPlan{Orders: 1_000}); err != nil {
		h.Fatal(err)
	}
	gone, cancel := context.WithCancel(h.Context())
	cancel()
	if _, err := h.Order(gone, 1); !errors.Is(err, context.Canceled) {
		h.Errorf("a read for a caller who is gone: %v", err)
	}
	for i := range 60 { // the end comes at every stage of the read
		ctx, cancel := context.WithCancel(h.Context())
		done := make(chan error, 1)
		go func() {
			_, err := h.Audit(ctx)
			done <- err
		}()
		for range i * i {
			runtime.Gosched()
		}
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			h.Fatalf("a read that was cancelled: %v", err)
		}
	}
	h.books()
	// A write that has begun is not undone by a caller who leaves.
	if answers, _, err := h.CreateOrders(gone, []order.Draft{h.draft(1, "k", 1, 1)}); err != nil || answers[0].Err != nil {
		h.Errorf("a write for a caller who is gone: %+v, %v", answers, err)
	}
}
