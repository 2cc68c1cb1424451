package storetest

import (
	"fmt"
	"slices"

	"github.com/google/go-cmp/cmp"

	"orderflow/internal/order"
)

var cancelTests = map[string]func(*testEnv){
	"gives the stock back, once": cancelOnce,
	"refuses what has begun":     cancelTooLate,
}

func cancelOnce(env *testEnv) {
	env.sample(10)
	a := env.create(env.draft(1, "a", 1, 3, 2, 1))[0].Order
	b := env.create(env.draft(2, "b", 1, 2))[0].Order
	requests := []order.CancelRequest{
		{OrderID: b.ID, Actor: "user:2", Trace: Trace("cancel")}, {OrderID: 777}, {OrderID: a.ID}, {OrderID: b.ID},
	}
	answers, batch, err := env.CancelOrders(env.Context(), requests)
	if err != nil {
		env.Fatal(err)
	}
	for i, want := range []order.Code{"", order.CodeNotFound, "", ""} {
		env.wantCode(answers[i].Err, want)
	}
	if batch.ID == "" || len(batch.Events) != 2 {
		env.Errorf("batch %q with %d events, want two", batch.ID, len(batch.Events))
	}
	if diff := cmp.Diff(answers[0].Order, env.read(b.ID)); diff != "" {
		env.Errorf("the order is not as it was answered (-answered +read):\n%s", diff)
	}
	if o := env.read(b.ID); o.CancelledAt.IsZero() || !o.DueAt.IsZero() || o.Version != 2 || !o.CancelledAt.Equal(o.UpdatedAt) {
		env.Errorf("the cancelled order: %+v", o)
	}
	events, err := env.Events(env.Context(), b.ID, 1)
	if err != nil || len(events) != 1 || events[0].Actor != "user:2" || events[0].Trace != Trace("cancel") {
		env.Errorf("the event: %+v, %v", events, err)
	}
	before := env.read(b.ID)
	if answers, batch, err = env.CancelOrders(env.Context(), requests); err != nil || answers[0].Err != nil || batch.ID != "" {
		env.Errorf("again: %+v, batch %+v, %v", answers, batch, err)
	}
	if diff := cmp.Diff(before, env.read(b.ID)); diff != "" {
		env.Errorf("cancelling again changed the order:\n%s", diff)
	}
	if env.stock(1) != 10 || env.stock(2) != 10 {
		env.Errorf("stock %d and %d, want 10", env.stock(1), env.stock(2))
	}
	env.checkInvariants()
}

func cancelTooLate(env *testEnv) {
	env.sample(10)
	o := env.place("k")
	env.claim(o.ID)
	answers, batch, err := env.CancelOrders(env.Context(), []order.CancelRequest{{OrderID: o.ID}})
	if err != nil || batch.ID != "" {
		env.Fatal(batch, err)
	}
	env.wantCode(answers[0].Err, order.CodeNotCancellable)
	env.wantStatus(o.ID, order.Processing)
	env.checkInvariants()
}

var claimTests = map[string]func(*testEnv){
	"takes a new order, once":                         claimOnce,
	"takes what is due again":                         claimAgain,
	"makes a failed job of an order without attempts": claimSpent,
	"takes many in one transaction":                   claimMany,
	"takes a failed order for a void":                 claimVoid,
	"abandons only failed jobs":                       claimAbandon,
}

func claimOnce(env *testEnv) {
	env.sample(10)
	o := env.place("k")
	requests := []order.ClaimRequest{{OrderID: o.ID, Actor: "worker", Trace: Trace("k")}, {OrderID: o.ID}, {OrderID: 777}}
	answers, batch, err := env.ClaimOrders(env.Context(), requests)
	if err != nil {
		env.Fatal(err)
	}
	if batch.ID != "" || len(batch.Events) != 1 || batch.Events[0].Type != order.OrderProcessing {
		env.Errorf("batch %+v, want one event without an outbox row", batch)
	}
	first := answers[0]
	if first.Task != order.TaskCharge || first.Trace != Trace("k") || first.Order.Lease == "" || first.Order.Claims != 1 ||
		first.Order.AttemptsLeft != 1 || first.Order.Status != order.Processing {
		env.Errorf("the claim: %+v of %+v", first, first.Order)
	}
	if answers[1].Task != order.TaskNone || answers[2].Task != order.TaskNone || answers[2].Order != nil || answers[2].Err != nil {
		env.Errorf("what cannot be claimed: %+v", answers[1:])
	}
	now := env.read(o.ID)
	if now.Lease != first.Order.Lease || now.Claims != 1 || now.Version != 2 || now.PaymentMethod != "method-of-k" {
		env.Errorf("the row: %+v", now)
	}
	if again := env.claim(o.ID); again.Task != order.TaskNone {
		env.Errorf("claimed again: %+v", again)
	}
	if diff := cmp.Diff(now, env.read(o.ID)); diff != "" {
		env.Errorf("a claim in vain changed the order:\n%s", diff)
	}
	env.checkInvariants()
}

func claimAgain(env *testEnv) {
	env = env.under(AtOnce())
	env.sample(10)
	o := env.place("k")
	first, second := env.claim(o.ID), env.claim(o.ID)
	if second.Task != order.TaskCharge || second.Order.Lease == first.Order.Lease || second.Order.Claims != 2 || second.Order.AttemptsLeft != 0 {
		env.Errorf("the second claim: %+v of %+v", second, second.Order)
	}
	if got := env.history(o.ID); len(got) != 2 {
		env.Errorf("a later claim wrote an event: %v", got)
	}
	env.checkInvariants()
}

func claimSpent(env *testEnv) {
	env = env.under(AtOnce())
	env.sample(10)
	o := env.place("k")
	env.claim(o.ID)
	env.claim(o.ID)
	if third := env.claim(o.ID); third.Task != order.TaskNone {
		env.Errorf("claimed without a try left: %+v", third)
	}
	if j := env.job(); j.OrderID != o.ID || j.Attempts != 2 || j.Error == "" || !j.ResolvedAt.IsZero() {
		env.Errorf("the failed job: %+v", j)
	}
	if now := env.read(o.ID); !now.DueAt.IsZero() || now.Lease != "" || now.Status != order.Processing {
		env.Errorf("the order: %+v", now)
	}
	env.checkInvariants()
}

func claimMany(env *testEnv) {
	env.sample(1_000)
	var drafts []order.Draft
	for i := range 200 {
		drafts = append(drafts, env.draft(1, fmt.Sprint(i), 1, 1))
	}
	var requests []order.ClaimRequest
	for _, a := range env.create(drafts...) {
		requests = append(requests, order.ClaimRequest{OrderID: a.Order.ID})
	}
	slices.Reverse(requests)
	answers, batch, err := env.ClaimOrders(env.Context(), requests)
	if err != nil || len(batch.Events) != 200 {
		env.Fatal(len(batch.Events), err)
	}
	for i, a := range answers {
		if a.Task != order.TaskCharge || a.Order.ID != requests[i].OrderID {
			env.Fatalf("answer %d: %+v", i, a)
		}
	}
	env.checkInvariants()
}

func claimVoid(env *testEnv) {
	env.sample(10)
	o := env.place("k")
	atOnce := env.under(AtOnce())
	late := report(atOnce.claim(o.ID), order.KindCharge, order.Succeeded) // its lease ends at once
	env.settle(report(env.claim(o.ID), order.KindCharge, order.Declined))
	env.settle(late)
	if got := Figure(env, env.Store, 7, "outstanding voids"); got != 1 {
		env.Errorf("%d voids are outstanding after a late charge, want 1", got)
	}
	void := env.claim(o.ID)
	if void.Task != order.TaskVoid {
		env.Fatalf("the claim: %+v", void)
	}
	env.settle(report(void, order.KindVoid, order.NoAnswer))
	if now := env.read(o.ID); now.DueAt.IsZero() || now.Status != order.Failed {
		env.Errorf("after a void without an answer: %+v", now)
	}
	env.checkInvariants()
	atOnce.settle(late) // due now
	void = atOnce.claim(o.ID)
	env.settle(report(void, order.KindVoid, order.Succeeded))
	if now := env.read(o.ID); !now.DueAt.IsZero() || now.Status != order.Failed || now.Lease != "" {
		env.Errorf("after the void: %+v", now)
	}
	if got := env.stock(1); got != 10 {
		env.Errorf("stock %d: put back more than once, or never", got)
	}
	env.checkInvariants()
}

func claimAbandon(env *testEnv) {
	env.sample(10)
	o := env.place("k")
	env.wantCode(env.abandon(o.ID).Err, order.CodeJobInProgress)
	env.wantCode(env.abandon(777).Err, order.CodeNotFound)
	claim := env.claim(o.ID)
	env.wantCode(env.abandon(o.ID).Err, order.CodeJobInProgress)
	env.settle(report(claim, order.KindCharge, order.Succeeded))
	env.wantCode(env.abandon(o.ID).Err, order.CodeJobInProgress)
	env.wantStatus(o.ID, order.Paid)
	env.checkInvariants()
}

var settleTests = map[string]func(*testEnv){
	"every outcome of a charge":              settleOutcomes,
	"a repetition changes nothing":           settleTwice,
	"a mixed batch":                          settleMixed,
	"only the holder may give no answer":     settleStranger,
	"a claim handed back gives its try back": settleHandedBack,
}

func settleOutcomes(env *testEnv) {
	env.sample(10)
	for outcome, want := range map[order.Outcome]struct {
		status order.Status
		stock  int64 // more than before the order
		events int
	}{
		order.Succeeded: {order.Paid, -1, 1}, order.Declined: {order.Failed, 0, 1},
		order.NoAnswer: {order.Processing, -1, 0}, order.HandedBack: {order.Processing, -1, 0},
	} {
		before := env.stock(1)
		o := env.place(string(outcome))
		answers, batch, err := env.SettleOrders(env.Context(), []order.Settlement{report(env.claim(o.ID), order.KindCharge, outcome)})
		if err != nil || answers[0].Err != nil {
			env.Fatal(outcome, answers, err)
		}
		if diff := cmp.Diff(answers[0].Order, env.read(o.ID), withoutItems); diff != "" {
			env.Errorf("%s: the order is not as it was answered (-answered +read):\n%s", outcome, diff)
		}
		if got := env.stock(1) - before; got != want.stock || len(batch.Events) != want.events || (batch.ID != "") != (want.events > 0) {
			env.Errorf("%s: stock changed by %d, want %d; batch %+v", outcome, got, want.stock, batch)
		}
		if want.events == 1 && want.status == order.Failed && batch.Events[0].Reason != "reason" {
			env.Errorf("the reason got lost: %+v", batch.Events[0])
		}
		env.wantStatus(o.ID, want.status)
	}
	env.checkInvariants()
}

// withoutItems leaves out what a settlement reads only where it needs to.
var withoutItems = cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Items" }, cmp.Ignore())

func settleTwice(env *testEnv) {
	env.sample(10)
	paid, failed := env.place("paid"), env.place("failed")
	reports := []order.Settlement{
		report(env.claim(paid.ID), order.KindCharge, order.Succeeded), report(env.claim(failed.ID), order.KindCharge, order.Declined),
	}
	env.settle(append(reports, reports...)...)
	before := []*order.Order{env.read(paid.ID), env.read(failed.ID)}
	answers, batch, err := env.SettleOrders(env.Context(), reports)
	if err != nil || batch.ID != "" || answers[0].Order.Status != order.Paid || answers[1].Order.Status != order.Failed {
		env.Errorf("again: %+v, %+v, %v", answers, batch, err)
	}
	if diff := cmp.Diff(before, []*order.Order{env.read(paid.ID), env.read(failed.ID)}); diff != "" {
		env.Errorf("settling again changed:\n%s", diff)
	}
	if got := env.stock(1); got != 9 {
		env.Errorf("stock %d, want 9", got)
	}
	if got := Figure(env, env.Store, 5, "succeeded charges"); got != 1 {
		env.Errorf("%d charges recorded, want 1", got)
	}
	env.checkInvariants()
}

func settleMixed(env *testEnv) {
	env.sample(1_000)
	outcomes := []order.Outcome{order.Succeeded, order.Declined, order.NoAnswer, order.HandedBack}
	var reports []order.Settlement
	for i := range 160 {
		o := env.create(env.draft(int64(i%3+1), fmt.Sprint(i), int64(i%5+1), int64(i%3+1)))[0].Order
		reports = append(reports, report(env.claim(o.ID), order.KindCharge, outcomes[i%len(outcomes)]))
	}
	reports = append(reports, order.Settlement{OrderID: 7_777, Kind: order.KindCharge, Outcome: order.Succeeded})
	answers, batch, err := env.SettleOrders(env.Context(), reports)
	if err != nil || len(batch.Events) != 80 {
		env.Fatal(len(batch.Events), err)
	}
	env.wantCode(answers[160].Err, order.CodeNotFound)
	for i, a := range answers[:160] {
		want := []order.Status{order.Paid, order.Failed, order.Processing, order.Processing}[i%4]
		if a.Err != nil || a.Order.ID != reports[i].OrderID || a.Order.Status != want {
			env.Fatalf("answer %d: %+v", i, a)
		}
	}
	env.checkInvariants()
}

func settleStranger(env *testEnv) {
	env = env.under(AtOnce())
	env.sample(10)
	o := env.place("k")
	first, second := env.claim(o.ID), env.claim(o.ID)
	before := env.read(o.ID)
	env.settle(report(first, order.KindCharge, order.NoAnswer))
	after := env.read(o.ID)
	if diff := cmp.Diff(before, after); diff != "" {
		env.Errorf("no answer from one who lost the lease changed the order:\n%s", diff)
	}
	env.settle(report(first, order.KindCharge, order.Succeeded))
	env.settle(report(second, order.KindCharge, order.Succeeded)) // the same charge
	env.wantStatus(o.ID, order.Paid)
}

func settleHandedBack(env *testEnv) {
	env.sample(10)
	o := env.place("k")
	for range 5 {
		claim := env.claim(o.ID)
		if claim.Task != order.TaskCharge || claim.Order.AttemptsLeft != 1 {
			env.Fatalf("the claim: %+v of %+v", claim, claim.Order)
		}
		env.settle(report(claim, order.KindCharge, order.HandedBack))
	}
	if now := env.read(o.ID); now.Claims != 5 || now.AttemptsLeft != 2 {
		env.Errorf("after five: %+v", now)
	}
	env.checkInvariants()
}

var failedJobTests = map[string]func(*testEnv){
	"opened, retried, opened again, abandoned": failedJobLife,
	"settled by a late answer":                 failedJobLate,
	"opened and settled in one batch":          failedJobAtOnce,
	"retry only what waits":                    failedJobRetry,
	"listed newest first":                      failedJobList,
}

// exhaustAttempts uses up the order's attempts.
func (env *testEnv) exhaustAttempts(id int64) order.Claimed {
	env.Helper()
	for range 10 {
		claim := env.claim(id)
		if claim.Task != order.TaskCharge {
			env.Fatalf("order %d cannot be claimed: %+v", id, claim)
		}
		if env.settle(report(claim, order.KindCharge, order.NoAnswer)); claim.Order.AttemptsLeft == 0 {
			return claim
		}
	}
	env.Fatal("the attempts do not run out")
	return order.Claimed{}
}

func failedJobLife(env *testEnv) {
	env = env.under(AtOnce())
	env.sample(10)
	o := env.place("k")
	env.exhaustAttempts(o.ID)
	job := env.job()
	if job.Attempts != 2 || job.Error != "reason" || !job.ResolvedAt.IsZero() || job.Resolution != "" || env.openJobs() != 1 {
		env.Errorf("the failed job: %+v", job)
	}
	env.checkInvariants()

	if answers, err := env.RetryOrders(env.Context(), []int64{o.ID}); err != nil || answers[0].Err != nil || answers[0].Order.AttemptsLeft != 2 {
		env.Fatalf("retry: %+v, %v", answers, err)
	}
	if j := env.job(); j.ID != job.ID || j.Resolution != "retried" || j.ResolvedAt.IsZero() || env.openJobs() != 0 {
		env.Errorf("after the retry: %+v", j)
	}
	env.checkInvariants()

	env.exhaustAttempts(o.ID)
	if j := env.job(); j.ID != job.ID || j.Attempts != 4 || !j.ResolvedAt.IsZero() || j.Resolution != "" {
		env.Errorf("opened again: %+v, want id %d", j, job.ID)
	}
	env.checkInvariants()

	void := env.abandon(o.ID)
	if void.Err != nil || void.Task != order.TaskVoid || void.Order.Claims != 5 {
		env.Fatalf("abandon: %+v", void)
	}
	env.checkInvariants()
	env.settle(report(void, order.KindVoid, order.NoAnswer))
	if j := env.job(); j.ID != job.ID || !j.ResolvedAt.IsZero() || env.stock(1) != 9 {
		env.Errorf("after a void without an answer: %+v, stock %d", j, env.stock(1))
	}
	env.wantStatus(o.ID, order.Processing)
	env.checkInvariants()

	void = env.abandon(o.ID)
	env.settle(report(void, order.KindVoid, order.Succeeded))
	if j := env.job(); j.ID != job.ID || j.Resolution != "abandoned" || j.ResolvedAt.IsZero() || env.stock(1) != 10 {
		env.Errorf("after the void: %+v, stock %d", j, env.stock(1))
	}
	env.wantStatus(o.ID, order.Failed)
	if got, err := env.FailedJob(env.Context(), job.ID); err != nil || got != env.job() {
		env.Errorf("by id: %+v, %v", got, err)
	}
	_, err := env.FailedJob(env.Context(), 777)
	env.wantCode(err, order.CodeNotFound)
	env.checkInvariants()
}

func failedJobLate(env *testEnv) {
	env = env.under(AtOnce())
	env.sample(10)
	for _, outcome := range []order.Outcome{order.Succeeded, order.Declined} {
		o := env.place(string(outcome))
		first := env.claim(o.ID)
		env.exhaustAttempts(o.ID)
		env.settle(report(first, order.KindCharge, outcome))
		if env.openJobs() != 0 {
			env.Errorf("%s: the failed job stays open", outcome)
		}
		env.checkInvariants()
	}
}

func failedJobAtOnce(env *testEnv) {
	env = env.under(AtOnce())
	env.sample(10)
	o := env.place("k")
	first, second := env.claim(o.ID), env.claim(o.ID)
	env.settle(report(second, order.KindCharge, order.NoAnswer), report(first, order.KindCharge, order.Succeeded))
	env.wantStatus(o.ID, order.Paid)
	if j := env.job(); j.Resolution != "settled" || j.ResolvedAt.IsZero() {
		env.Errorf("the failed job of a paid order: %+v", j)
	}
	env.checkInvariants()

	// The same in one batch of claims: made a failed job, and abandoned by an operator at once.
	o = env.place("claims")
	env.claim(o.ID)
	env.claim(o.ID)
	answers, _, err := env.ClaimOrders(env.Context(), []order.ClaimRequest{{OrderID: o.ID}, {OrderID: o.ID, Abandon: true}})
	if err != nil || answers[0].Task != order.TaskNone || answers[1].Task != order.TaskVoid {
		env.Fatal(answers, err)
	}
	if got := env.openJobs(); got != 0 {
		env.Errorf("%d failed jobs are open while an operator has the order", got)
	}
	env.checkInvariants()
}

func failedJobRetry(env *testEnv) {
	env.sample(10)
	o := env.place("k")
	answers, err := env.RetryOrders(env.Context(), []int64{o.ID, 777})
	if err != nil {
		env.Fatal(err)
	}
	env.wantCode(answers[0].Err, order.CodeJobInProgress)
	env.wantCode(answers[1].Err, order.CodeNotFound)
	env.checkInvariants()
}

func failedJobList(env *testEnv) {
	env = env.under(AtOnce())
	env.sample(100)
	var orders []int64
	for i := range 6 {
		o := env.place(fmt.Sprint(i))
		env.exhaustAttempts(o.ID)
		orders = append(orders, o.ID)
	}
	if _, err := env.RetryOrders(env.Context(), orders[2:4]); err != nil {
		env.Fatal(err)
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
		jobs, err := env.FailedJobs(env.Context(), test.open, test.limit)
		var got []int64
		for _, j := range jobs {
			got = append(got, j.OrderID)
		}
		if err != nil || !slices.Equal(got, test.want) {
			env.Errorf("open %t, limit %d: %v (%v), want %v", test.open, test.limit, got, err, test.want)
		}
	}
}
