package order

import "testing"

func TestCancel(t *testing.T) {
	for _, state := range states() {
		t.Run(state, func(t *testing.T) {
			want, code := "", CodeNotCancellable
			switch state {
			case pending:
				want, code = "PENDING→CANCELLED due never, cancelled_at, OrderCancelled(), 1:+1, 2:+2", ""
			case cancelled:
				code = ""
			}
			before, o := orderIn(state), orderIn(state)
			answers, effects := Cancel(noon, map[int64]*Order{1: o}, []CancelRequest{{OrderID: 1, Actor: "user:7", Trace: Trace{"t", "p"}}})
			if got := describe(effects); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			sameRow(t, before, o, effects)
			if got := CodeOf(answers[0].Err); got != code || (code == "") != (answers[0].Order == o) {
				t.Errorf("answer %+v, want code %q", answers[0], code)
			}
			if len(effects.Events) > 0 && (effects.Events[0].Actor != "user:7" || effects.Events[0].Trace != Trace{"t", "p"}) {
				t.Errorf("event %+v lacks the actor or the trace", effects.Events[0])
			}
		})
	}
}

func TestCancelTwiceInABatch(t *testing.T) {
	o := orderIn(pending)
	answers, effects := Cancel(noon, map[int64]*Order{1: o}, []CancelRequest{{OrderID: 1}, {OrderID: 5}, {OrderID: 1}})
	if answers[0].Order != o || answers[2].Order != o || answers[0].Err != nil || answers[2].Err != nil {
		t.Errorf("answers %+v, want the order twice", answers)
	}
	if CodeOf(answers[1].Err) != CodeNotFound || answers[1].Order != nil {
		t.Errorf("answer %+v, want not_found", answers[1])
	}
	if got, want := describe(effects), "PENDING→CANCELLED due never, cancelled_at, OrderCancelled(), 1:+1, 2:+2"; got != want {
		t.Errorf("got  %s\nwant %s: units returned once", got, want)
	}
}
