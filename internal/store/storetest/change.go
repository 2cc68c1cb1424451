package storetest

import (
	"fmt"
	"slices"

	"github.com/google/go-cmp/cmp"

	"orderflow/internal/order"
)

var cancelTests = map[string]func(*house){
	"gives the stock back, once": cancelOnce,
	"refuses what has begun":     cancelTooLate,
}

func cancelOnce(h *house) {
	h.sample(10)
	a := h.create(h.draft(1, "a", 1, 3, 2, 1))[0].Order
	b := h.create(h.draft(2, "b", 1, 2))[0].Order
	requests := []order.CancelRequest{
		{OrderID: b.ID, Actor: "user:2", Trace: Trace("cancel")}, {OrderID: 777}, {OrderID: a.ID}, {OrderID: b.ID},
	}
	answers, receipt, err := h.CancelOrders(h.Context(), requests)
	if err != nil {
		h.Fatal(err)
	}
	for i, want := range []order.Code{"", order.CodeNotFound, "", ""} {
		h.wantCode(answers[i].Err, want)
	}
	if receipt.ID == "" || len(receipt.Events) != 2 {
		h.Errorf("receipt %q with %d events, want two", receipt.ID, len(receipt.Events))
	}
	if diff := cmp.Diff(answers[0].Order, h.read(b.ID)); diff != "" {
		h.Errorf("the order is not as it was answered (-answered +read):\n%s", diff)
	}
	if o := h.read(b.ID); o.CancelledAt.IsZero() || !o.DueAt.IsZero() || o.Version != 2 || !o.CancelledAt.Equal(o.UpdatedAt) {
		h.Errorf("the cancelled order: %+v", o)
	}
	events, err := h.Events(h.Context(), b.ID, 1)
	if err != nil || len(events) != 1 || events[0].Actor != "user:2" || events[0].Trace != Trace("cancel") {
		h.Errorf("the event: %+v, %v", events, err)
	}
	before := h.read(b.ID)
	if answers, receipt, err = h.CancelOrders(h.Context(), requests); err != nil || answers[0].Err != nil || receipt.ID != "" {
		h.Errorf("again: %+v, receipt %+v, %v", answers, receipt, err)
	}
	if diff := cmp.Diff(before, h.read(b.ID)); diff != "" {
		h.Errorf("cancelling again changed the order:\n%s", diff)
	}
	if h.stock(1) != 10 || h.stock(2) != 10 {
		h.Errorf("stock %d and %d, want 10", h.stock(1), h.stock(2))
	}
	h.books()
}

func cancelTooLate(h *house) {
	h.sample(10)
	o := h.place("k")
	h.claim(o.ID)
	answers, receipt, err := h.CancelOrders(h.Context(), []order.CancelRequest{{OrderID: o.ID}})
	if err != nil || receipt.ID != "" {
		h.Fatal(receipt, err)
	}
	h.wantCode(answers[0].Err, order.CodeNotCancellable)
	h.wantStatus(o.ID, order.Processing)
	h.books()
}

var claimTests = map[string]func(*house){
	"takes a new order, once":           claimOnce,
	"takes what is due again":           claimAgain,
	"dead-letters what has no tries":    claimSpent,
	"takes many in one transaction":     claimMany,
	"takes a failed order for a void":   claimVoid,
	"abandons only what is dead letter": claimAbandon,
}

func claimOnce(h *house) {
	h.sample(10)
	o := h.place("k")
	requests := []order.ClaimRequest{{OrderID: o.ID, Actor: "worker", Trace: Trace("k")}, {OrderID: o.ID}, {OrderID: 777}}
	answers, receipt, err := h.ClaimOrders(h.Context(), requests)
	if err != nil {
		h.Fatal(err)
	}
	if receipt.ID != "" || len(receipt.Events) != 1 || receipt.Events[0].Type != order.OrderProcessing {
		h.Errorf("receipt %+v, want one piece of news that is not owed", receipt)
	}
	first := answers[0]
	if first.Task != order.TaskCharge || first.Trace != Trace("k") || first.Order.Lease == "" || first.Order.Claims != 1 ||
		first.Order.AttemptsLeft != 1 || first.Order.Status != order.Processing {
		h.Errorf("the claim: %+v of %+v", first, first.Order)
	}
	if answers[1].Task != order.TaskNone || answers[2].Task != order.TaskNone || answers[2].Order != nil || answers[2].Err != nil {
		h.Errorf("what cannot be claimed: %+v", answers[1:])
	}
	now := h.read(o.ID)
	if now.Lease != first.Order.Lease || now.Claims != 1 || now.Version != 2 || now.PaymentMethod != "method-of-k" {
		h.Errorf("the row: %+v", now)
	}
	if again := h.claim(o.ID); again.Task != order.TaskNone {
		h.Errorf("claimed twice: %+v", again)
	}
	if diff := cmp.Diff(now, h.read(o.ID)); diff != "" {
		h.Errorf("a claim in vain changed the order:\n%s", diff)
	}
	h.books()
}

func claimAgain(h *house) {
	h = h.under(AtOnce())
	h.sample(10)
	o := h.place("k")
	first, second := h.claim(o.ID), h.claim(o.ID)
	if second.Task != order.TaskCharge || second.Order.Lease == first.Order.Lease || second.Order.Claims != 2 || second.Order.AttemptsLeft != 0 {
		h.Errorf("the second claim: %+v of %+v", second, second.Order)
	}
	if got := h.history(o.ID); len(got) != 2 {
		h.Errorf("a later claim is no event: %v", got)
	}
	h.books()
}

func claimSpent(h *house) {
	h = h.under(AtOnce())
	h.sample(10)
	o := h.place("k")
	h.claim(o.ID)
	h.claim(o.ID)
	if third := h.claim(o.ID); third.Task != order.TaskNone {
		h.Errorf("claimed without a try left: %+v", third)
	}
	if j := h.job(); j.OrderID != o.ID || j.Attempts != 2 || j.Error == "" || !j.ResolvedAt.IsZero() {
		h.Errorf("the dead letter: %+v", j)
	}
	if now := h.read(o.ID); !now.DueAt.IsZero() || now.Lease != "" || now.Status != order.Processing {
		h.Errorf("the order: %+v", now)
	}
	h.books()
}

func claimMany(h *house) {
	h.sample(1_000)
	var drafts []order.Draft
	for i := range 200 {
		drafts = append(drafts, h.draft(1, fmt.Sprint(i), 1, 1))
	}
	var requests []order.ClaimRequest
	for _, a := range h.create(drafts...) {
		requests = append(requests, order.ClaimRequest{OrderID: a.Order.ID})
	}
	slices.Reverse(requests)
	answers, receipt, err := h.ClaimOrders(h.Context(), requests)
	if err != nil || len(receipt.Events) != 200 {
		h.Fatal(len(receipt.Events), err)
	}
	for i, a := range answers {
		if a.Task != order.TaskCharge || a.Order.ID != requests[i].OrderID {
			h.Fatalf("answer %d: %+v", i, a)
		}
	}
	h.books()
}

func claimVoid(h *house) {
	h.sample(10)
	o := h.place("k")
	atOnce := h.under(AtOnce())
	late := report(atOnce.claim(o.ID), order.KindCharge, order.Succeeded) // its lease ends at once
	h.settle(report(h.claim(o.ID), order.KindCharge, order.Declined))
	h.settle(late)
	if got := Figure(h, h.Store, 7, "outstanding voids"); got != 1 {
		h.Errorf("%d voids are outstanding after a late charge, want 1", got)
	}
	void := h.claim(o.ID)
	if void.Task != order.TaskVoid {
		h.Fatalf("the claim: %+v", void)
	}
	h.settle(report(void, order.KindVoid, order.NoAnswer))
	if now := h.read(o.ID); now.DueAt.IsZero() || now.Status != order.Failed {
		h.Errorf("after a void without an answer: %+v", now)
	}
	h.books()
	atOnce.settle(late) // due now
	void = atOnce.claim(o.ID)
	h.settle(report(void, order.KindVoid, order.Succeeded))
	if now := h.read(o.ID); !now.DueAt.IsZero() || now.Status != order.Failed || now.Lease != "" {
		h.Errorf("after the void: %+v", now)
	}
	if got := h.stock(1); got != 10 {
		h.Errorf("stock %d: put back more than once, or never", got)
	}
	h.books()
}

func claimAbandon(h *house) {
	h.sample(10)
	o := h.place("k")
	h.wantCode(h.abandon(o.ID).Err, order.CodeJobInProgress)
	h.wantCode(h.abandon(777).Err, order.CodeNotFound)
	claim := h.claim(o.ID)
	h.wantCode(h.abandon(o.ID).Err, order.CodeJobInProgress)
	h.settle(report(claim, order.KindCharge, order.Succeeded))
	h.wantCode(h.abandon(o.ID).Err, order.CodeJobInProgress)
	h.wantStatus(o.ID, order.Paid)
	h.books()
}

var settleTests = map[string]func(*house){
	"every outcome of a charge":              settleOutcomes,
	"the same twice changes nothing":         settleTwice,
	"a mixed batch":                          settleMixed,
	"only the holder may give no answer":     settleStranger,
	"a claim handed back gives its try back": settleHandedBack,
}

func settleOutcomes(h *house) {
	h.sample(10)
	for outcome, want := range map[order.Outcome]struct {
		status order.Status
		stock  int64 // more than before the order
		events int
	}{
		order.Succeeded: {order.Paid, -1, 1}, order.Declined: {order.Failed, 0, 1},
		order.NoAnswer: {order.Processing, -1, 0}, order.HandedBack: {order.Processing, -1, 0},
	} {
		before := h.stock(1)
		o := h.place(string(outcome))
		answers, receipt, err := h.SettleOrders(h.Context(), []order.Settlement{report(h.claim(o.ID), order.KindCharge, outcome)})
		if err != nil || answers[0].Err != nil {
			h.Fatal(outcome, answers, err)
		}
		if diff := cmp.Diff(answers[0].Order, h.read(o.ID), withoutItems); diff != "" {
			h.Errorf("%s: the order is not as it was answered (-answered +read):\n%s", outcome, diff)
		}
		if got := h.stock(1) - before; got != want.stock || len(receipt.Events) != want.events || (receipt.ID != "") != (want.events > 0) {
			h.Errorf("%s: stock changed by %d, want %d; receipt %+v", outcome, got, want.stock, receipt)
		}
		if want.events == 1 && want.status == order.Failed && receipt.Events[0].Reason != "reason" {
			h.Errorf("the reason got lost: %+v", receipt.Events[0])
		}
		h.wantStatus(o.ID, want.status)
	}
	h.books()
}

// withoutItems leaves out what a settlement reads only where it needs to.
var withoutItems = cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Items" }, cmp.Ignore())

func settleTwice(h *house) {
	h.sample(10)
	paid, failed := h.place("paid"), h.place("failed")
	reports := []order.Settlement{
		report(h.claim(paid.ID), order.KindCharge, order.Succeeded), report(h.claim(failed.ID), order.KindCharge, order.Declined),
	}
	h.settle(append(reports, reports...)...)
	before := []*order.Order{h.read(paid.ID), h.read(failed.ID)}
	answers, receipt, err := h.SettleOrders(h.Context(), reports)
	if err != nil || receipt.ID != "" || answers[0].Order.Status != order.Paid || answers[1].Order.Status != order.Failed {
		h.Errorf("again: %+v, %+v, %v", answers, receipt, err)
	}
	if diff := cmp.Diff(before, []*order.Order{h.read(paid.ID), h.read(failed.ID)}); diff != "" {
		h.Errorf("settling again changed:\n%s", diff)
	}
	if got := h.stock(1); got != 9 {
		h.Errorf("stock %d, want 9", got)
	}
	if got := Figure(h, h.Store, 5, "succeeded charges"); got != 1 {
		h.Errorf("%d charges recorded, want 1", got)
	}
	h.books()
}

func settleMixed(h *house) {
	h.sample(1_000)
	outcomes := []order.Outcome{order.Succeeded, order.Declined, order.NoAnswer, order.HandedBack}
	var reports []order.Settlement
	for i := range 160 {
		o := h.create(h.draft(int64(i%3+1), fmt.Sprint(i), int64(i%5+1), int64(i%3+1)))[0].Order
		reports = append(reports, report(h.claim(o.ID), order.KindCharge, outcomes[i%len(outcomes)]))
	}
	reports = append(reports, order.Settlement{OrderID: 7_777, Kind: order.KindCharge, Outcome: order.Succeeded})
	answers, receipt, err := h.SettleOrders(h.Context(), reports)
	if err != nil || len(receipt.Events) != 80 {
		h.Fatal(len(receipt.Events), err)
	}
	h.wantCode(answers[160].Err, order.CodeNotFound)
	for i, a := range answers[:160] {
		want := []order.Status{order.Paid, order.Failed, order.Processing, order.Processing}[i%4]
		if a.Err != nil || a.Order.ID != reports[i].OrderID || a.Order.Status != want {
			h.Fatalf("answer %d: %+v", i, a)
		}
	}
	h.books()
}

func settleStranger(h *house) {
	h = h.under(AtOnce())
	h.sample(10)
	o := h.place("k")
	first, second := h.claim(o.ID), h.claim(o.ID)
	before := h.read(o.ID)
	h.settle(report(first, order.KindCharge, order.NoAnswer))
	after := h.read(o.ID)
	if diff := cmp.Diff(before, after); diff != "" {
		h.Errorf("no answer from one who lost the lease changed the order:\n%s", diff)
	}
	h.settle(report(first, order.KindCharge, order.Succeeded))
	h.settle(report(second, order.KindCharge, order.Succeeded)) // the same charge
	h.wantStatus(o.ID, order.Paid)
}

func settleHandedBack(h *house) {
	h.sample(10)
	o := h.place("k")
	for range 5 {
		claim := h.claim(o.ID)
		if claim.Task != order.TaskCharge || claim.Order.AttemptsLeft != 1 {
			h.Fatalf("the claim: %+v of %+v", claim, claim.Order)
		}
		h.settle(report(claim, order.KindCharge, order.HandedBack))
	}
	if now := h.read(o.ID); now.Claims != 5 || now.AttemptsLeft != 2 {
		h.Errorf("after five: %+v", now)
	}
	h.books()
}

var deadLetterTests = map[string]func(*house){
	"opened, retried, opened again, abandoned": deadLetterLife,
	"settled by a late answer":                 deadLetterLate,
	"opened and settled in one batch":          deadLetterAtOnce,
	"retry only what waits":                    deadLetterRetry,
	"listed newest first":                      deadLetterList,
}

// bury uses up the order's tries.
func (h *house) bury(id int64) order.Claimed {
	h.Helper()
	for range 10 {
		claim := h.claim(id)
		if claim.Task != order.TaskCharge {
			h.Fatalf("order %d cannot be claimed: %+v", id, claim)
		}
		if h.settle(report(claim, order.KindCharge, order.NoAnswer)); claim.Order.AttemptsLeft == 0 {
			return claim
		}
	}
	h.Fatal("the tries do not run out")
	return order.Claimed{}
}

func deadLetterLife(h *house) {
	h = h.under(AtOnce())
	h.sample(10)
	o := h.place("k")
	h.bury(o.ID)
	job := h.job()
	if job.Attempts != 2 || job.Error != "reason" || !job.ResolvedAt.IsZero() || job.Resolution != "" || h.openJobs() != 1 {
		h.Errorf("the dead letter: %+v", job)
	}
	h.books()

	if answers, err := h.RetryOrders(h.Context(), []int64{o.ID}); err != nil || answers[0].Err != nil || answers[0].Order.AttemptsLeft != 2 {
		h.Fatalf("retry: %+v, %v", answers, err)
	}
	if j := h.job(); j.ID != job.ID || j.Resolution != "retried" || j.ResolvedAt.IsZero() || h.openJobs() != 0 {
		h.Errorf("after the retry: %+v", j)
	}
	h.books()

	h.bury(o.ID)
	if j := h.job(); j.ID != job.ID || j.Attempts != 4 || !j.ResolvedAt.IsZero() || j.Resolution != "" {
		h.Errorf("opened again: %+v, want id %d", j, job.ID)
	}
	h.books()

	void := h.abandon(o.ID)
	if void.Err != nil || void.Task != order.TaskVoid || void.Order.Claims != 5 {
		h.Fatalf("abandon: %+v", void)
	}
	h.books()
	h.settle(report(void, order.KindVoid, order.NoAnswer))
	if j := h.job(); j.ID != job.ID || !j.ResolvedAt.IsZero() || h.stock(1) != 9 {
		h.Errorf("after a void without an answer: %+v, stock %d", j, h.stock(1))
	}
	h.wantStatus(o.ID, order.Processing)
	h.books()

	void = h.abandon(o.ID)
	h.settle(report(void, order.KindVoid, order.Succeeded))
	if j := h.job(); j.ID != job.ID || j.Resolution != "abandoned" || j.ResolvedAt.IsZero() || h.stock(1) != 10 {
		h.Errorf("after the void: %+v, stock %d", j, h.stock(1))
	}
	h.wantStatus(o.ID, order.Failed)
	if got, err := h.FailedJob(h.Context(), job.ID); err != nil || got != h.job() {
		h.Errorf("by id: %+v, %v", got, err)
	}
	_, err := h.FailedJob(h.Context(), 777)
	h.wantCode(err, order.CodeNotFound)
	h.books()
}

func deadLetterLate(h *house) {
	h = h.under(AtOnce())
	h.sample(10)
	for _, outcome := range []order.Outcome{order.Succeeded, order.Declined} {
		o := h.place(string(outcome))
		first := h.claim(o.ID)
		h.bury(o.ID)
		h.settle(report(first, order.KindCharge, outcome))
		if h.openJobs() != 0 {
			h.Errorf("%s: the dead letter stays open", outcome)
		}
		h.books()
	}
}

func deadLetterAtOnce(h *house) {
	h = h.under(AtOnce())
	h.sample(10)
	o := h.place("k")
	first, second := h.claim(o.ID), h.claim(o.ID)
	h.settle(report(second, order.KindCharge, order.NoAnswer), report(first, order.KindCharge, order.Succeeded))
	h.wantStatus(o.ID, order.Paid)
	if j := h.job(); j.Resolution != "settled" || j.ResolvedAt.IsZero() {
		h.Errorf("the dead letter of a paid order: %+v", j)
	}
	h.books()

	// The same in one batch of claims: dead-lettered, and taken by an operator at once.
	o = h.place("claims")
	h.claim(o.ID)
	h.claim(o.ID)
	answers, _, err := h.ClaimOrders(h.Context(), []order.ClaimRequest{{OrderID: o.ID}, {OrderID: o.ID, Abandon: true}})
	if err != nil || answers[0].Task != order.TaskNone || answers[1].Task != order.TaskVoid {
		h.Fatal(answers, err)
	}
	if got := h.openJobs(); got != 0 {
		h.Errorf("%d dead letters are open while an operator has the order", got)
	}
	h.books()
}

func deadLetterRetry(h *house) {
	h.sample(10)
	o := h.place("k")
	answers, err := h.RetryOrders(h.Context(), []int64{o.ID, 777})
	if err != nil {
		h.Fatal(err)
	}
	h.wantCode(answers[0].Err, order.CodeJobInProgress)
	h.wantCode(answers[1].Err, order.CodeNotFound)
	h.books()
}

func deadLetterList(h *house) {
	h = h.under(AtOnce())
	h.sample(100)
	var orders []int64
	for i := range 6 {
		o := h.place(fmt.Sprint(i))
		h.bury(o.ID)
		orders = append(orders, o.ID)
	}
	if _, err := h.RetryOrders(h.Context(), orders[2:4]); err != nil {
		h.Fatal(err)
	}
	for _, test := range []struct {
		open  bool
		limit int
		want  []int64
	}{
		{false, 10, []int64{orders[5], orders[4], orders[3], orders[2], orders[1], orders[0]}},
		{true, 10, []int64{orders[5], orders[4], orders[1], orders[0]}},
		{true, 3, []int64{orders[5], orders[4], orders[1]}},
	} {
		jobs, err := h.FailedJobs(h.Context(), test.open, test.limit)
		var got []int64
		for _, j := range jobs {
			got = append(got, j.OrderID)
		}
		if err != nil || !slices.Equal(got, test.want) {
			h.Errorf("open %t, limit %d: %v (%v), want %v", test.open, test.limit, got, err, test.want)
		}
	}
}
