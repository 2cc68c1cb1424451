package order

import (
	"testing"
)

func TestClaim(t *testing.T) {
	const (
		charge  = "PROCESSING→PROCESSING due +30s, attempts+1 tries-1, lease T"
		void    = "FAILED→FAILED due +30s, attempts+1 tries+0, lease T"
		first   = "PENDING→PROCESSING due +30s, attempts+1 tries-1, lease T, OrderProcessing()"
		dead    = "PROCESSING→PROCESSING due never, dead(the last attempt gave no answer before its lease ran out)"
		noVoid  = "PROCESSING→PROCESSING due never, lease abandon:, dead(abandon: the void gave no answer before its lease ran out)"
		abandon = "PROCESSING→PROCESSING due +30s, attempts+1 tries+0, lease abandon:T, abandoning"
	)
	cases := []struct {
		state   string
		due     bool
		task    Task
		want    string
		abandon string // what an operator's claim of the same order does; "" for job_in_progress
	}{
		{pending, false, TaskCharge, first, ""},
		{pending, true, TaskCharge, first, ""},
		{working, false, TaskNone, "", ""},
		{working, true, TaskCharge, charge, ""},
		{lastTry, false, TaskNone, "", ""},
		{lastTry, true, TaskNone, dead, ""},
		{waiting, false, TaskNone, "", ""},
		{waiting, true, TaskCharge, charge, ""},
		{parked, false, TaskNone, "", abandon},
		{voiding, false, TaskNone, "", ""},
		{voiding, true, TaskNone, noVoid, ""},
		{doubtful, false, TaskNone, "", abandon},
		{paid, false, TaskNone, "", ""},
		{failed, false, TaskNone, "", ""},
		{voidOwed, false, TaskNone, "", ""},
		{voidOwed, true, TaskVoid, void, ""},
		{voidUnderWay, false, TaskNone, "", ""},
		{voidUnderWay, true, TaskVoid, void, ""},
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

func TestClaimUnknown(t *testing.T) {
	answers, effects := Claim(DefaultRules(), noon, "T", nil, []ClaimRequest{{OrderID: 8}, {OrderID: 9, Abandon: true}})
	if answers[0].Task != TaskNone || answers[0].Order != nil || answers[0].Err != nil {
		t.Errorf("a message about no order: %+v, want nothing to do", answers[0])
	}
	if answers[1].Task != TaskNone || CodeOf(answers[1].Err) != CodeNotFound {
		t.Errorf("an operator's claim of no order: %+v, want not_found", answers[1])
	}
	if !effects.Empty() {
		t.Errorf("effects %+v", effects)
	}
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
			"a message that comes twice", orderIn(pending),
			ClaimRequest{OrderID: 1},
			[2]Task{TaskCharge, TaskNone},
			"",
			"PENDING→PROCESSING due +30s, attempts+1 tries-1, lease T, OrderProcessing()",
		},
		{
			"a void by two sweepers", overdue(orderIn(voidOwed)),
			ClaimRequest{OrderID: 1},
			[2]Task{TaskVoid, TaskNone},
			"",
			"FAILED→FAILED due +30s, attempts+1 tries+0, lease T",
		},
		{
			"an operator comes after the worker", orderIn(pending),
			ClaimRequest{OrderID: 1, Abandon: true},
			[2]Task{TaskCharge, TaskNone},
			CodeJobInProgress,
			"PENDING→PROCESSING due +30s, attempts+1 tries-1, lease T, OrderProcessing()",
		},
		{
			"dead-lettered and abandoned at once", overdue(orderIn(lastTry)),
			ClaimRequest{OrderID: 1, Abandon: true},
			[2]Task{TaskNone, TaskVoid},
			"",
			"PROCESSING→PROCESSING due +30s, attempts+1 tries+0, lease abandon:T, " +
				"dead(the last attempt gave no answer before its lease ran out), abandoning",
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
			if state == parked || state == doubtful {
				want, code = "PROCESSING→PROCESSING due +0s, attempts+0 tries+3, retried", ""
			}
			before, o := orderIn(state), orderIn(state)
			answers, effects := Retry(DefaultRules(), noon, map[int64]*Order{1: o}, []int64{1, 1, 9})
			if got := describe(effects); got != want || CodeOf(answers[0].Err) != code {
				t.Errorf("error %v\ngot  %s\nwant %s", answers[0].Err, got, want)
			}
			if CodeOf(answers[1].Err) != CodeJobInProgress || CodeOf(answers[2].Err) != CodeNotFound {
				t.Errorf("a second retry: %v, one of no order: %v", answers[1].Err, answers[2].Err)
			}
			sameRow(t, before, o, effects)
			if code == "" && (o.AttemptsLeft != 3 || answers[0].Order != o) {
				t.Errorf("answer %+v, want all tries anew", answers[0])
			}
		})
	}
}

// TestSettingsLowered is an order with more tries left than there are in all, as after a restart with other settings.
func TestSettingsLowered(t *testing.T) {
	rules := DefaultRules()
	rules.PaymentAttempts = 1
	o := orderIn(working)
	o.AttemptsLeft = 4
	s := Settlement{OrderID: 1, Lease: holder, Kind: KindCharge, Outcome: NoAnswer}
	_, effects := Settle(rules, noon, map[int64]*Order{1: o}, []Settlement{s})
	if got, want := describe(effects), "PROCESSING→PROCESSING due +1s, row"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
