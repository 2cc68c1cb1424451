package order

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Effects that several cases have.
const (
	paidNow          = "PROCESSING→PAID due never, OrderPaid(), row"
	failedNow        = "PROCESSING→FAILED due never, OrderFailed(why), row, 1:+1, 2:+2"
	lateCharge       = "FAILED→FAILED due +0s, row"
	abandonedNow     = "PROCESSING→FAILED due never, OrderFailed(abandoned by an operator), row, 1:+1, 2:+2, abandoned"
	abandonedVoidDue = "PROCESSING→FAILED due +0s, OrderFailed(abandoned by an operator), row, 1:+1, 2:+2, abandoned"
	voidFailed       = "PROCESSING→PROCESSING due never, lease abandon:, row, job(abandon: why)"
)

// TestSettle reports every outcome of a charge and of a void to every state: under the current lease, a stale one and none.
func TestSettle(t *testing.T) {
	type report struct {
		kind    PaymentKind
		outcome Outcome
	}
	var (
		charged     = report{KindCharge, Succeeded}
		declined    = report{KindCharge, Declined}
		silent      = report{KindCharge, NoAnswer}
		handedBack  = report{KindCharge, HandedBack}
		voided      = report{KindVoid, Succeeded}
		refused     = report{KindVoid, Declined}
		voidSilent  = report{KindVoid, NoAnswer}
		voidNotDone = report{KindVoid, HandedBack}
	)
	// The effects in any state, except for the cases below.
	usual := map[report]string{
		charged: "", declined: "row", silent: "row", handedBack: "", voided: "row", refused: "row", voidSilent: "row", voidNotDone: "",
	}
	anyLease := map[string]map[report]string{ // under any lease, or none
		charging:        {charged: paidNow, declined: failedNow},
		lastAttempt:     {charged: paidNow, declined: failedNow},
		waitingForRetry: {charged: paidNow, declined: failedNow},
		failedJob:       {charged: paidNow + ", settled", declined: failedNow + ", settled"},
		beingAbandoned:  {charged: abandonedVoidDue, declined: failedNow + ", settled"},
		voidUnanswered:  {charged: abandonedVoidDue, declined: failedNow + ", settled"},
		failed:          {charged: lateCharge},
		voidDue:         {charged: lateCharge},
		voidClaimed:     {charged: lateCharge},
	}
	currentLeaseOnly := map[string]map[report]string{
		charging: {
			silent:     "PROCESSING→PROCESSING due +3s, row",
			handedBack: "PROCESSING→PROCESSING due +0s, claims+0 left+1",
		},
		lastAttempt: {
			silent:     "PROCESSING→PROCESSING due never, row, job(why)",
			handedBack: "PROCESSING→PROCESSING due +0s, claims+0 left+1",
		},
		beingAbandoned: {
			voided: abandonedNow, refused: voidFailed, voidSilent: voidFailed,
			voidNotDone: "PROCESSING→PROCESSING due never, lease abandon:, job(abandon: the gateway was not called)",
		},
		voidClaimed: {
			voided: "FAILED→FAILED due never, row", refused: "FAILED→FAILED due +3s, row", voidSilent: "FAILED→FAILED due +3s, row",
			voidNotDone: "FAILED→FAILED due +3s",
		},
	}
	for _, state := range states() {
		for r, want := range usual {
			if says, ok := anyLease[state][r]; ok {
				want = says
			}
			for _, lease := range []string{orderIn(state).Lease, "stale", ""} {
				want := want
				if says, ok := currentLeaseOnly[state][r]; ok && lease != "" && lease != "stale" {
					want = says
				}
				t.Run(state+"/"+string(r.kind)+" "+string(r.outcome)+"/"+lease, func(t *testing.T) {
					settleOne(t, state, Settlement{
						OrderID: 1, Claim: 2, Lease: lease, Kind: r.kind, Outcome: r.outcome, Reference: "ref", Reason: "why",
						Actor: "node-1", Trace: Trace{"t", "p"},
					}, want)
				})
			}
		}
	}
}

func settleOne(t *testing.T, state string, s Settlement, want string) {
	t.Helper()
	before, o := orderIn(state), orderIn(state)
	answers, effects := Settle(DefaultRules(), noon, map[int64]*Order{1: o}, []Settlement{s})
	if got := describe(effects); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if answers[0].Err != nil || answers[0].Order != o {
		t.Errorf("answer %+v", answers[0])
	}
	sameRow(t, before, o, effects)
	if len(effects.Stock) > 0 && !s.Restocks(before) {
		t.Error("the stock changes although Restocks returns false: the store would not read the items")
	}
	if len(effects.Payments) > 0 {
		wantRow := Payment{1, 2, s.Kind, s.Outcome, "ref", "why", "node-1", noon}
		if diff := cmp.Diff(wantRow, effects.Payments[0]); diff != "" {
			t.Errorf("payment (-want +got):\n%s", diff)
		}
	}
	for _, e := range effects.Events {
		if e.Actor != "node-1" || e.Trace != (Trace{"t", "p"}) {
			t.Errorf("event %+v lacks the actor or the trace", e)
		}
	}
	// Repeating it has no effect except another void of a late charge, or the same payment row, which its key refuses.
	_, again := Settle(DefaultRules(), noon, map[int64]*Order{1: o}, []Settlement{s})
	if got := describe(again); !slices.Contains([]string{"", "row", lateCharge}, got) {
		t.Errorf("repeated, it has the effects %s", got)
	}
}

// batchCase is a batch of settlements of one order in a state, and its effects.
type batchCase struct {
	name, state string
	batch       []Settlement
	want        string
}

func charge(claim int, outcome Outcome, lease string) Settlement {
	return Settlement{OrderID: 1, Claim: claim, Lease: lease, Kind: KindCharge, Outcome: outcome, Reason: "why"}
}

func void(outcome Outcome, lease string) Settlement {
	return Settlement{OrderID: 1, Claim: 3, Lease: lease, Kind: KindVoid, Outcome: outcome, Reason: "why"}
}

// TestSettleBatch: several settlements of one order in one batch are one change of its row.
func TestSettleBatch(t *testing.T) {
	settleBatches(t, []batchCase{
		{
			"two attempts succeed: paid once", charging,
			[]Settlement{charge(2, Succeeded, currentLease), charge(1, Succeeded, "old")},
			paidNow,
		},
		{"a repeated report", charging, []Settlement{charge(2, Succeeded, currentLease), charge(2, Succeeded, currentLease)}, paidNow},
		{
			"no answer, then a late charge", charging,
			[]Settlement{charge(2, NoAnswer, currentLease), charge(1, Succeeded, "old")},
			"PROCESSING→PAID due never, OrderPaid(), row, row",
		},
		{
			"a late charge, then no answer", charging,
			[]Settlement{charge(1, Succeeded, "old"), charge(2, NoAnswer, currentLease)},
			"PROCESSING→PAID due never, OrderPaid(), row, row",
		},
		{
			"failed and paid at once", lastAttempt,
			[]Settlement{charge(2, NoAnswer, currentLease), charge(1, Succeeded, "old")},
			"PROCESSING→PAID due never, OrderPaid(), row, row, job(why), settled",
		},
		{
			"no answer counts once", charging,
			[]Settlement{charge(2, NoAnswer, currentLease), charge(2, NoAnswer, currentLease)},
			"PROCESSING→PROCESSING due +3s, row",
		},
		{
			"handed back counts once", charging,
			[]Settlement{charge(2, HandedBack, currentLease), charge(2, HandedBack, currentLease)},
			"PROCESSING→PROCESSING due +0s, claims+0 left+1",
		},
		{
			"handed back, then a late charge", charging,
			[]Settlement{charge(2, HandedBack, currentLease), charge(1, Succeeded, "old")},
			"PROCESSING→PAID due never, claims+0 left+1, OrderPaid(), row",
		},
		{
			"declined, then charged: due for a void", charging,
			[]Settlement{charge(1, Declined, "old"), charge(2, Succeeded, currentLease)},
			"PROCESSING→FAILED due +0s, OrderFailed(why), row, row, 1:+1, 2:+2",
		},
		{
			"charged, then declined: stays paid", charging,
			[]Settlement{charge(2, Succeeded, currentLease), charge(1, Declined, "old")},
			"PROCESSING→PAID due never, OrderPaid(), row, row",
		},
		{
			"declined twice: units returned once", charging,
			[]Settlement{charge(2, Declined, currentLease), charge(1, Declined, "old")},
			"PROCESSING→FAILED due never, OrderFailed(why), row, row, 1:+1, 2:+2",
		},
	})
}

// TestSettleBatchWithVoids is the same for charges and voids in one batch.
func TestSettleBatchWithVoids(t *testing.T) {
	settleBatches(t, []batchCase{
		{
			"abandoned, then charged: due for another void", beingAbandoned,
			[]Settlement{void(Succeeded, abandonMark+currentLease), charge(2, Succeeded, "old")},
			"PROCESSING→FAILED due +0s, OrderFailed(abandoned by an operator), row, row, 1:+1, 2:+2, abandoned",
		},
		{
			"charged, then abandoned: due for another void", beingAbandoned,
			[]Settlement{charge(2, Succeeded, "old"), void(Succeeded, abandonMark+currentLease)},
			"PROCESSING→FAILED due +0s, OrderFailed(abandoned by an operator), row, row, 1:+1, 2:+2, abandoned",
		},
		{
			"a void without an answer, then charged", beingAbandoned,
			[]Settlement{void(NoAnswer, abandonMark+currentLease), charge(2, Succeeded, "old")},
			"PROCESSING→FAILED due +0s, OrderFailed(abandoned by an operator), row, row, 1:+1, 2:+2, job(abandon: why), abandoned",
		},
		{
			"a void without an answer, twice", beingAbandoned,
			[]Settlement{void(NoAnswer, abandonMark+currentLease), void(NoAnswer, abandonMark+currentLease)},
			voidFailed,
		},
		{
			"voided, then charged again late", voidClaimed,
			[]Settlement{void(Succeeded, currentLease), charge(2, Succeeded, "old")},
			"FAILED→FAILED due +0s, row, row",
		},
		{
			"charged again late, then voided: the void may precede the charge", voidClaimed,
			[]Settlement{charge(2, Succeeded, "old"), void(Succeeded, currentLease)},
			"FAILED→FAILED due +0s, row, row",
		},
		{
			"charge and void of one attempt are two records", voidClaimed,
			[]Settlement{charge(3, NoAnswer, "old"), void(Succeeded, currentLease)},
			"FAILED→FAILED due never, row, row",
		},
	})
}

func settleBatches(t *testing.T, cases []batchCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			before, o := orderIn(c.state), orderIn(c.state)
			_, effects := Settle(DefaultRules(), noon, map[int64]*Order{1: o}, c.batch)
			if got := describe(effects); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			sameRow(t, before, o, effects)
			if len(effects.Stock) > 0 && !slices.ContainsFunc(c.batch, func(s Settlement) bool { return s.Restocks(before) }) {
				t.Error("the stock changes although Restocks returns false for all: the store would not read the items")
			}
			keys := map[paymentKey]bool{}
			for _, p := range effects.Payments {
				keys[paymentKey{p.OrderID, p.Claim, p.Kind}] = true
			}
			if len(keys) != len(effects.Payments) {
				t.Errorf("payments %+v repeat a key", effects.Payments)
			}
		})
	}
}

func TestSettleRefuses(t *testing.T) {
	o := orderIn(charging)
	answers, effects := Settle(DefaultRules(), noon, map[int64]*Order{1: o}, []Settlement{
		{OrderID: 9, Kind: KindCharge, Outcome: Succeeded},
		{OrderID: 1, Kind: KindCharge},
		{OrderID: 1, Outcome: Succeeded},
		{OrderID: 1, Kind: "refund", Outcome: Succeeded},
		{OrderID: 1, Kind: KindCharge, Outcome: "maybe"},
	})
	for i, want := range []Code{CodeNotFound, CodeInternal, CodeInternal, CodeInternal, CodeInternal} {
		if got := CodeOf(answers[i].Err); got != want || answers[i].Order != nil {
			t.Errorf("settlement %d: %+v, want %s", i, answers[i], want)
		}
	}
	wantEffects(t, Effects{}, effects)
}

// TestLeaseIsValidForItsTaskOnly: the lease of a charge is not valid for a void, nor that of a void for a charge.
func TestLeaseIsValidForItsTaskOnly(t *testing.T) {
	for _, c := range []struct {
		state string
		kind  PaymentKind
	}{{charging, KindVoid}, {beingAbandoned, KindCharge}} {
		for _, outcome := range []Outcome{NoAnswer, HandedBack} {
			o := orderIn(c.state)
			s := Settlement{OrderID: 1, Claim: 2, Lease: o.Lease, Kind: c.kind, Outcome: outcome}
			if _, effects := Settle(DefaultRules(), noon, map[int64]*Order{1: o}, []Settlement{s}); len(effects.Changes) > 0 {
				t.Errorf("%s, %s %s: %s", c.state, c.kind, outcome, describe(effects))
			}
		}
	}
}
