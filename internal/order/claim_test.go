package order

import (
	"testing"
)

func TestClaim(t *testing.T) {
	const (
		charge  = "PROCESSING→PROCESSING due +30s, claims+1 left-1, lease T"
		void    = "FAILED→FAILED due +30s, claims+1 left+0, lease T"
		first   = "PENDING→PROCESSING due +30s, claims+1 left-1, lease T, OrderProcessing()"
		dead    = "PROCESSING→PROCESSING due never, job(the last attempt had no answer before its lease expired)"
		noVoid  = "PROCESSING→PROCESSING due never, lease abandon:, job(abandon: the void had no answer before its lease expired)"
		abandon = "PROCESSING→PROCESSING due +30s, claims+1 left+0, lease abandon:T, abandoning"
	)
	cases := []struct {
		state   string
		due     bool
		task    Task
		want    string
		abandon string // the effects of an operator's claim; "" for job_in_progress
	}{
		{pending, false, TaskCharge, first, ""},
		{pending, true, TaskCharge, first, ""},
		{charging, false, TaskNone, "", ""},
		{charging, true, TaskCharge, charge, ""},
		{lastAttempt, false, TaskNone, "", ""},
		{lastAttempt, true, TaskNone, dead, ""},
		{waitingForRetry, false, TaskNone, "", ""},
		{waitingForRetry, true, TaskCharge, charge, ""},
		{failedJob, false, TaskNone, "", abandon},
		{beingAbandoned, false, TaskNone, "", ""},
		{beingAbandoned, true, TaskNone, noVoid, ""},
		{voidUnanswered, false, TaskNone, "", abandon},
		{paid, false, TaskNone, "", ""},
		{failed, false, TaskNone, "", ""},
		{voidDue, false, TaskNone, "", ""},
		{voidDue, true, TaskVoid, void, ""},
		{voidClaimed, false, TaskNone, "", ""},
		{voidClaimed, true, TaskVoid, void, ""},
		{cancelled, false, TaskNone, "", ""},
	}
	for _, c := range cases {
		name, build := c.state, orderIn
		if c.due {
			name, build = c.state+" and due", func(state string) *Order { return overdue(orderIn(state)) }
		}
		t.Run(name, func(t *testing.T) {
			before, o := build(c.state), build(c.state)
			request := ClaimRequest{OrderID: 1, Actor: "node-1", Trace: Trace{"t", "p"}}
			answers, effects := Claim(DefaultRules(), noon, "T", map[int64]*Order{1: o}, []ClaimRequest{request})
			if got := describe(effects); got != c.want || answers[0].Task != c.task {
				t.Errorf("task %q\ngot  %s\nwant %s", answers[0].Task, got, c.want)
			}
			if answers[0].Order != o || answers[0].Trace != request.Trace || answers[0].Err != nil {
				t.Errorf("answer %+v", answers[0])
			}
			sameRow(t, before, o, effects)
		})
		t.Run(name+", abandoned", func(t *testing.T) {
			before, o := build(c.state), build(c.state)
			answers, effects := Claim(DefaultRules(), noon, "T", map[int64]*Order{1: o}, []ClaimRequest{{OrderID: 1, Abandon: true}})
			task, code := TaskVoid, Code("")
			if c.abandon == "" {
				task, code = TaskNone, CodeJobInProgress
			}
			if got := describe(effects); got != c.abandon || answers[0].Task != task || CodeOf(answers[0].Err) != code {
				t.Errorf("task %q, error %v\ngot  %s\nwant %s", answers[0].Task, answers[0].Err, got, c.abandon)
			}
			sameRow(t, before, o, effects)
		})
	}
}

func TestClaimMissing(t *testing.T) {
	answers, effects := Claim(DefaultRules(), noon, "T", nil, []ClaimRequest{{OrderID: 8}, {OrderID: 9, Abandon: true}})
	if answers[0].Task != TaskNone || answers[0].Order != nil || answers[0].Err != nil {
		t.Errorf("a claim of a missing order: %+v, want no task", answers[0])
	}
	if answers[1].Task != TaskNone || CodeOf(answers[1].Err) != CodeNotFound {
		t.Errorf("an operator's claim of a missing order: %+v, want not_found", answers[1])
	}
	wantEffects(t, Effects{}, effects)
}

func TestClaimTwiceInABatch(t *testing.T) {
	cases := []struct {
		name   string
		order  *Order
		second ClaimRequest
		tasks  [2]Task
		code   Code
		want   string
	}{
		{
			"a duplicate message", orderIn(pending),
			ClaimRequest{OrderID: 1},
			[2]Task{TaskCharge, TaskNone},
			"",
			"PENDING→PROCESSING due +30s, claims+1 left-1, lease T, OrderProcessing()",
		},
		{
			"two sweepers", overdue(orderIn(voidDue)),
			ClaimRequest{OrderID: 1},
			[2]Task{TaskVoid, TaskNone},
			"",
			"FAILED→FAILED due +30s, claims+1 left+0, lease T",
		},
		{
			"an operator after a worker", orderIn(pending),
			ClaimRequest{OrderID: 1, Abandon: true},
			[2]Task{TaskCharge, TaskNone},
			CodeJobInProgress,
			"PENDING→PROCESSING due +30s, claims+1 left-1, lease T, OrderProcessing()",
		},
		{
			"failed and abandoned at once", overdue(orderIn(lastAttempt)),
			ClaimRequest{OrderID: 1, Abandon: true},
			[2]Task{TaskNone, TaskVoid},
			"",
			"PROCESSING→PROCESSING due +30s, claims+1 left+0, lease abandon:T, " +
				"job(the last attempt had no answer before its lease expired), abandoning",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			before := *c.order
			requests := []ClaimRequest{{OrderID: 1}, c.second}
			answers, effects := Claim(DefaultRules(), noon, "T", map[int64]*Order{1: c.order}, requests)
			if got := describe(effects); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if got := [2]Task{answers[0].Task, answers[1].Task}; got != c.tasks || CodeOf(answers[1].Err) != c.code {
				t.Errorf("tasks %q, error %v", got, answers[1].Err)
			}
			sameRow(t, &before, c.order, effects)
		})
	}
}

func TestRetry(t *testing.T) {
	for _, state := range states() {
		t.Run(state, func(t *testing.T) {
			want, code := "", CodeJobInProgress
			if state == failedJob || state == voidUnanswered {
				want, code = "PROCESSING→PROCESSING due +0s, claims+0 left+3, retried", ""
			}
			before, o := orderIn(state), orderIn(state)
			answers, effects := Retry(DefaultRules(), noon, map[int64]*Order{1: o}, []int64{1, 1, 9})
			if got := describe(effects); got != want || CodeOf(answers[0].Err) != code {
				t.Errorf("error %v\ngot  %s\nwant %s", answers[0].Err, got, want)
			}
			if CodeOf(answers[1].Err) != CodeJobInProgress || CodeOf(answers[2].Err) != CodeNotFound {
				t.Errorf("a second retry: %v, a retry of a missing order: %v", answers[1].Err, answers[2].Err)
			}
			sameRow(t, before, o, effects)
			if code == "" && (o.AttemptsLeft != 3 || answers[0].Order != o) {
				t.Errorf("answer %+v, want all attempts again", answers[0])
			}
		})
	}
}

// TestLoweredPaymentAttempts: after a restart with another setting, an order may have more attempts left than there are in all.
func TestLoweredPaymentAttempts(t *testing.T) {
	rules := DefaultRules()
	rules.PaymentAttempts = 1
	o := orderIn(charging)
	o.AttemptsLeft = 4
	s := Settlement{OrderID: 1, Lease: currentLease, Kind: KindCharge, Outcome: NoAnswer}
	_, effects := Settle(rules, noon, map[int64]*Order{1: o}, []Settlement{s})
	if got, want := describe(effects), "PROCESSING→PROCESSING due +1s, row"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
