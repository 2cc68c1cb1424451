package order

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What the lines of TestSettle say again and again.
const (
	paidNow       = "PROCESSING→PAID due never, OrderPaid(), row"
	failedNow     = "PROCESSING→FAILED due never, OrderFailed(why), row, 1:+1, 2:+2"
	chargedLate   = "FAILED→FAILED due +0s, row"
	givenUp       = "PROCESSING→FAILED due never, OrderFailed(abandoned by an operator), row, 1:+1, 2:+2, abandoned"
	givenUpOwed   = "PROCESSING→FAILED due +0s, OrderFailed(abandoned by an operator), row, 1:+1, 2:+2, abandoned"
	voidUncertain = "PROCESSING→PROCESSING due never, lease abandon:, row, dead(abandon: why)"
)

// TestSettle walks every state through every answer to a charge and to a void, reported by the holder of the lease and
// by others: by one whose lease is over, and by one that never had any.
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
	// What only keeps a record, whatever the state, unless a line below says otherwise.
	usual := map[report]string{
		charged: "", declined: "row", silent: "row", handedBack: "", voided: "row", refused: "row", voidSilent: "row", voidNotDone: "",
	}
	anybody := map[string]map[report]string{ // lease or no lease
		working:      {charged: paidNow, declined: failedNow},
		lastTry:      {charged: paidNow, declined: failedNow},
		waiting:      {charged: paidNow, declined: failedNow},
		parked:       {charged: paidNow + ", settled", declined: failedNow + ", settled"},
		voiding:      {charged: givenUpOwed, declined: failedNow + ", settled"},
		doubtful:     {charged: givenUpOwed, declined: failedNow + ", settled"},
		failed:       {charged: chargedLate},
		voidOwed:     {charged: chargedLate},
		voidUnderWay: {charged: chargedLate},
	}
	onlyHolder := map[string]map[report]string{
		working: {
			silent:     "PROCESSING→PROCESSING due +3s, row",
			handedBack: "PROCESSING→PROCESSING due +0s, attempts+0 tries+1",
		},
		lastTry: {
			silent:     "PROCESSING→PROCESSING due never, row, dead(why)",
			handedBack: "PROCESSING→PROCESSING due +0s, attempts+0 tries+1",
		},
		voiding: {
			voided: givenUp, refused: voidUncertain, voidSilent: voidUncertain,
			voidNotDone: "PROCESSING→PROCESSING due never, lease abandon:, dead(abandon: the gateway was not called)",
		},
		voidUnderWay: {
			voided: "FAILED→FAILED due never, row", refused: "FAILED→FAILED due +3s, row", voidSilent: "FAILED→FAILED due +3s, row",
			voidNotDone: "FAILED→FAILED due +3s",
		},
	}
	for _, state := range states() {
		for r, want := range usual {
			if says, ok := anybody[state][r]; ok {
				want = says
			}
			for _, lease := range []string{orderIn(state).Lease, "stale", ""} {
				want := want
				if says, ok := onlyHolder[state][r]; ok && lease != "" && lease != "stale" {
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
		t.Error("stock moves, though Restocks says no: the items would not be read")
	}
	if len(effects.Payments) > 0 {
		wantRow := Payment{1, 2, s.Kind, s.Outcome, "ref", "why", "node-1", noon}
		if diff := cmp.Diff(wantRow, effects.Payments[0]); diff != "" {
			t.Errorf("payment (-want +got):\n%s", diff)
		}
	}
	for _, e := range effects.Events {
		if e.Actor != "node-1" || e.Trace != (Trace{"t", "p"}) {
			t.Errorf("event %+v does not say who and why", e)
		}
	}
	// Once more: nothing but the one more void of a late charge, or the same record, which its key refuses.
	_, again := Settle(DefaultRules(), noon, map[int64]*Order{1: o}, []Settlement{s})
	if got := describe(again); !slices.Contains([]string{"", "row", chargedLate}, got) {
		t.Errorf("decided again: %s", got)
	}
}

// TestSettleBatch is several settlements of one order in one batch: written as one change.
func TestSettleBatch(t *testing.T) {
	charge := func(attempt int, outcome Outcome, lease string) Settlement {
		return Settlement{OrderID: 1, Claim: attempt, Lease: lease, Kind: KindCharge, Outcome: outcome, Reason: "why"}
	}
	void := func(outcome Outcome) Settlement {
		return Settlement{OrderID: 1, Claim: 3, Lease: abandonMark + holder, Kind: KindVoid, Outcome: outcome, Reason: "why"}
	}
	lateVoid := func(outcome Outcome) Settlement {
		return Settlement{OrderID: 1, Claim: 3, Lease: holder, Kind: KindVoid, Outcome: outcome, Reason: "why"}
	}
	cases := []struct {
		name, state string
		batch       []Settlement
		want        string
	}{
		{
			"two attempts succeed: one paid it", working,
			[]Settlement{charge(2, Succeeded, holder), charge(1, Succeeded, "old")},
			paidNow,
		},
		{"one report twice", working, []Settlement{charge(2, Succeeded, holder), charge(2, Succeeded, holder)}, paidNow},
		{
			"no answer, then the late one", working,
			[]Settlement{charge(2, NoAnswer, holder), charge(1, Succeeded, "old")},
			"PROCESSING→PAID due never, OrderPaid(), row, row",
		},
		{
			"the late one, then no answer", working,
			[]Settlement{charge(1, Succeeded, "old"), charge(2, NoAnswer, holder)},
			"PROCESSING→PAID due never, OrderPaid(), row, row",
		},
		{
			"dead-lettered and paid at once", lastTry,
			[]Settlement{charge(2, NoAnswer, holder), charge(1, Succeeded, "old")},
			"PROCESSING→PAID due never, OrderPaid(), row, row, dead(why), settled",
		},
		{
			"no answer counts once", working,
			[]Settlement{charge(2, NoAnswer, holder), charge(2, NoAnswer, holder)},
			"PROCESSING→PROCESSING due +3s, row",
		},
		{
			"handed back counts once", working,
			[]Settlement{charge(2, HandedBack, holder), charge(2, HandedBack, holder)},
			"PROCESSING→PROCESSING due +0s, attempts+0 tries+1",
		},
		{
			"handed back, then the late one", working,
			[]Settlement{charge(2, HandedBack, holder), charge(1, Succeeded, "old")},
			"PROCESSING→PAID due never, attempts+0 tries+1, OrderPaid(), row",
		},
		{
			"declined, then charged: owed a void", working,
			[]Settlement{charge(1, Declined, "old"), charge(2, Succeeded, holder)},
			"PROCESSING→FAILED due +0s, OrderFailed(why), row, row, 1:+1, 2:+2",
		},
		{
			"charged, then declined: stays paid", working,
			[]Settlement{charge(2, Succeeded, holder), charge(1, Declined, "old")},
			"PROCESSING→PAID due never, OrderPaid(), row, row",
		},
		{
			"declined twice: put back once", working,
			[]Settlement{charge(2, Declined, holder), charge(1, Declined, "old")},
			"PROCESSING→FAILED due never, OrderFailed(why), row, row, 1:+1, 2:+2",
		},
		{
			"abandoned, then charged: owed another void", voiding,
			[]Settlement{void(Succeeded), charge(2, Succeeded, "old")},
			"PROCESSING→FAILED due +0s, OrderFailed(abandoned by an operator), row, row, 1:+1, 2:+2, abandoned",
		},
		{
			"charged, then abandoned: owed another void", voiding,
			[]Settlement{charge(2, Succeeded, "old"), void(Succeeded)},
			"PROCESSING→FAILED due +0s, OrderFailed(abandoned by an operator), row, row, 1:+1, 2:+2, abandoned",
		},
		{
			"a void of unknown fate, then charged", voiding,
			[]Settlement{void(NoAnswer), charge(2, Succeeded, "old")},
			"PROCESSING→FAILED due +0s, OrderFailed(abandoned by an operator), row, row, 1:+1, 2:+2, dead(abandon: why), abandoned",
		},
		{
			"a void of unknown fate, twice", voiding, []Settlement{void(NoAnswer), void(NoAnswer)}, voidUncertain,
		},
		{
			"voided, then charged again late", voidUnderWay,
			[]Settlement{lateVoid(Succeeded), charge(2, Succeeded, "old")},
			"FAILED→FAILED due +0s, row, row",
		},
		{
			"charged again late, then voided: that void came too early", voidUnderWay,
			[]Settlement{charge(2, Succeeded, "old"), lateVoid(Succeeded)},
			"FAILED→FAILED due +0s, row, row",
		},
		{
			"charge and void of one attempt are two records", voidUnderWay,
			[]Settlement{charge(3, NoAnswer, "old"), lateVoid(Succeeded)},
			"FAILED→FAILED due never, row, row",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			before, o := orderIn(c.state), orderIn(c.state)
			_, effects := Settle(DefaultRules(), noon, map[int64]*Order{1: o}, c.batch)
			if got := describe(effects); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			sameRow(t, before, o, effects)
			if len(effects.Stock) > 0 && !slices.ContainsFunc(c.batch, func(s Settlement) bool { return s.Restocks(before) }) {
				t.Error("stock moves, but nothing in the batch says so: the items would not be read")
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
	o := orderIn(working)
	answers, effects := Settle(DefaultRules(), noon, map[int64]*Order{1: o}, []Settlement{
		{OrderID: 9, Kind: KindCharge, Outcome: Succeeded},
		{OrderID: 1, Kind: KindCharge},
		{OrderID: 1, Outcome: Succeeded},
		{OrderID: 1, Kind: KindRefund, Outcome: Succeeded},
		{OrderID: 1, Kind: KindCharge, Outcome: "maybe"},
	})
	for i, want := range []Code{CodeNotFound, CodeInternal, CodeInternal, CodeInternal, CodeInternal} {
		if got := CodeOf(answers[i].Err); got != want || answers[i].Order != nil {
			t.Errorf("settlement %d: %+v, want %s", i, answers[i], want)
		}
	}
	if !effects.Empty() {
		t.Errorf("effects %+v of what means nothing", effects)
	}
}

// TestLeaseCountsForItsTaskAlone: a claim for a charge cannot void, nor the other way round.
func TestLeaseCountsForItsTaskAlone(t *testing.T) {
	for _, c := range []struct {
		state string
		kind  PaymentKind
	}{{working, KindVoid}, {voiding, KindCharge}} {
		for _, outcome := range []Outcome{NoAnswer, HandedBack} {
			o := orderIn(c.state)
			s := Settlement{OrderID: 1, Claim: 2, Lease: o.Lease, Kind: c.kind, Outcome: outcome}
			if _, effects := Settle(DefaultRules(), noon, map[int64]*Order{1: o}, []Settlement{s}); len(effects.Changes) > 0 {
				t.Errorf("%s, %s %s: %s", c.state, c.kind, outcome, describe(effects))
			}
		}
	}
}
