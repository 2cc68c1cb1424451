package order

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// ignoreUnexported compares Effects by their exported fields.
var ignoreUnexported = cmpopts.IgnoreUnexported(Effects{})

func wantEffects(t *testing.T, want, got Effects) {
	t.Helper()
	if diff := cmp.Diff(want, got, ignoreUnexported); diff != "" {
		t.Errorf("effects (-want +got):\n%s", diff)
	}
}

func TestChangeTwice(t *testing.T) {
	var effects Effects
	o := &Order{ID: 1, Status: Pending, AttemptsLeft: 3, Version: 1, DueAt: noon}
	later := noon.Add(time.Minute)
	effects.change(o, ChangeSet{To: Processing, Claims: 1, AttemptsLeft: -1, Lease: "L", DueAt: later, Events: 1}, noon)
	effects.change(&Order{ID: 2, Status: Processing}, ChangeSet{To: Processing, DueAt: noon}, noon)
	effects.change(o, ChangeSet{To: Processing, AttemptsLeft: 1, DueAt: noon}, noon)
	effects.change(o, ChangeSet{To: Failed, Events: 1}, later)

	want := []Change{
		{1, ChangeSet{From: Pending, To: Failed, Claims: 1, Events: 2}},
		{2, ChangeSet{From: Processing, To: Processing, DueAt: noon}},
	}
	if diff := cmp.Diff(want, effects.Changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	wantOrder := &Order{ID: 1, Status: Failed, Claims: 1, AttemptsLeft: 3, Version: 3, UpdatedAt: later}
	if diff := cmp.Diff(wantOrder, o); diff != "" {
		t.Errorf("the order after the changes (-want +got):\n%s", diff)
	}
}

func TestChangeKeepsCancelledAt(t *testing.T) {
	var effects Effects
	o := &Order{ID: 1, Status: Pending}
	effects.change(o, ChangeSet{To: Cancelled, CancelledAt: noon}, noon)
	effects.change(o, ChangeSet{To: Cancelled}, noon)
	if !o.CancelledAt.Equal(noon) || !effects.Changes[0].CancelledAt.Equal(noon) {
		t.Errorf("the second change cleared cancelled_at: %+v, %+v", o, effects.Changes)
	}
}

func TestGroupChanges(t *testing.T) {
	var effects Effects
	paid := ChangeSet{To: Paid, Events: 1}
	failed := ChangeSet{To: Failed, Events: 1}
	for _, id := range []int64{9, 3, 7, 1} {
		effects.change(&Order{ID: id, Status: Processing}, map[bool]ChangeSet{true: paid, false: failed}[id != 3], noon)
	}
	effects.change(&Order{ID: 2, Status: Failed}, ChangeSet{To: Failed}, noon) // as the second, but from another status
	effects.change(&Order{ID: 4, Status: Processing}, ChangeSet{To: Processing, DueAt: noon}, noon)
	effects.change(&Order{ID: 5, Status: Processing}, ChangeSet{To: Processing, DueAt: noon.Add(1)}, noon)

	from := func(s Status, c ChangeSet) ChangeSet { c.From = s; return c }
	want := []ChangeGroup{
		{from(Processing, paid), []int64{1, 7, 9}},
		{from(Processing, failed), []int64{3}},
		{from(Failed, ChangeSet{To: Failed}), []int64{2}},
		{from(Processing, ChangeSet{To: Processing, DueAt: noon}), []int64{4}},
		{from(Processing, ChangeSet{To: Processing, DueAt: noon.Add(1)}), []int64{5}},
	}
	if diff := cmp.Diff(want, effects.GroupChanges()); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	var none Effects
	if got := none.GroupChanges(); len(got) != 0 {
		t.Errorf("no changes have the groups %v", got)
	}
}

func TestEffectsProducts(t *testing.T) {
	var effects Effects
	effects.returnStock(&Order{Items: []Item{{9, 1, 1}, {2, 4, 1}}})
	effects.returnStock(&Order{Items: []Item{{9, 2, 1}}})
	if want := map[int64]int64{9: 3, 2: 4}; !cmp.Equal(want, effects.Stock) {
		t.Errorf("stock %v, want %v", effects.Stock, want)
	}
	if got := effects.Products(); !slices.Equal(got, []int64{2, 9}) {
		t.Errorf("products %v, want them ascending", got)
	}
}

func TestReturnStockWithoutItems(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("an order without its items was accepted: its units are lost")
		}
	}()
	new(Effects).returnStock(&Order{ID: 1})
}

func TestBackoff(t *testing.T) {
	rules := DefaultRules()
	for used, want := range map[int]time.Duration{
		-2: time.Second, 0: time.Second, 1: time.Second, 2: 3 * time.Second, 3: 5 * time.Second, 4: 5 * time.Second, 1000: 5 * time.Second,
	} {
		if got := rules.backoffAfter(used); got != want {
			t.Errorf("wait after %d attempts is %v, want %v", used, got, want)
		}
	}
	for attempts, want := range map[int]time.Duration{
		1: time.Second, 3: 5 * time.Second, 4: 10 * time.Second, 5: 20 * time.Second, 12: 2560 * time.Second, 13: time.Hour, 5000: time.Hour,
	} {
		if got := rules.voidBackoff(attempts); got != want {
			t.Errorf("wait after the void of claim %d is %v, want %v", attempts, got, want)
		}
	}
	rules.Backoff = nil
	if got := rules.backoffAfter(3); got != 0 {
		t.Errorf("wait without a backoff is %v", got)
	}
}
