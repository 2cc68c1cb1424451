package console

import (
	"fmt"
	"net/http"
	"testing"

	"orderflow/internal/order"
)

func newTrials(s *shop) *trials { return &trials{inside: s.api.InProcess, reader: s.store} }

// try runs a trial, which must end as promised.
func (s *shop) try(t *trials, kind string) *trial {
	s.Helper()
	done, err := t.run(s.Context(), kind)
	if err != nil {
		s.Fatal(err)
	}
	if !done.AsPromised() {
		s.Errorf("%s: %d of %d won, %d were shown another's", kind, done.Count(http.StatusCreated), len(done.Attempts), done.Count(http.StatusOK))
	}
	for _, a := range done.Attempts {
		if a.Took <= 0 || a.Buyer < 1 || (a.OrderID == 0) == (a.Err == nil) {
			s.Errorf("%s: %+v", kind, a)
		}
	}
	return done
}

// A trial that others disturbed breaks no promise, and keeps none either.
func TestTrialVerdict(t *testing.T) {
	t.Parallel()
	won := func(id int64) attempt { return attempt{Status: http.StatusCreated, OrderID: id} }
	shown := func(id int64) attempt { return attempt{Status: http.StatusOK, OrderID: id} }
	soldOut := attempt{Status: http.StatusConflict, Err: order.Errorf(order.CodeInsufficientStock, "sold out")}
	busy := attempt{Status: http.StatusServiceUnavailable, Err: order.Errorf(order.CodeOverloaded, "busy")}
	for _, test := range []struct {
		name           string
		kind           string
		attempts       []attempt
		kept, isBroken bool
	}{
		{"one got the last piece", trialRace, []attempt{soldOut, won(1), soldOut}, true, false},
		{"somebody else got it", trialRace, []attempt{soldOut, soldOut, soldOut}, false, false},
		{"no time for one", trialRace, []attempt{busy, won(1), soldOut}, false, false},
		{"oversold", trialRace, []attempt{won(1), won(2), soldOut}, false, true},
		{"one order", trialRepeat, []attempt{shown(1), won(1), shown(1)}, true, false},
		{"one order, no time for one", trialRepeat, []attempt{busy, won(1), shown(1)}, false, false},
		{"doubled", trialRepeat, []attempt{won(1), won(2), shown(1)}, false, true},
		{"another's order shown", trialRepeat, []attempt{won(1), shown(2), shown(1)}, false, true},
		{"no time for one of many", trialMany, []attempt{won(1), busy}, false, false},
	} {
		done := &trial{Kind: test.kind, Attempts: test.attempts}
		if done.AsPromised() != test.kept || done.Broken() != test.isBroken {
			t.Errorf("%s: as promised %t, broken %t", test.name, done.AsPromised(), done.Broken())
		}
	}
}

// Of fifty buyers of the last piece one wins, however many there were before, again and again.
func TestTrialRace(t *testing.T) {
	t.Parallel()
	s := newShop(t, true)
	runs := newTrials(s)
	if last, running := runs.latest(); last != nil || running {
		t.Errorf("before the first one: %+v, %t", last, running)
	}
	for range 3 {
		done := s.try(runs, trialRace)
		if len(done.Attempts) != trialCrowd || done.Winner() == 0 || done.Slowest() > done.Took || s.stock(raceProduct) != 0 {
			t.Errorf("%d buyers, order %d won, %d are left", len(done.Attempts), done.Winner(), s.stock(raceProduct))
		}
		if last, _ := runs.latest(); last != done {
			t.Error("it is not kept")
		}
	}
	restock, err := order.NewRestock(nil, raceProduct, 70, "many", "many")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.Restock(t.Context(), []order.Restock{restock}); err != nil {
		t.Fatal(err)
	}
	s.try(runs, trialRace)
	if left := s.stock(raceProduct); left < 69 || left > 70 { // what was taken out for the race is back
		t.Errorf("%d are left of 70", left)
	}
}

// One key is one order, however often it comes; and each buyer with a key of their own has one.
func TestTrialRepeatAndMany(t *testing.T) {
	t.Parallel()
	s := newShop(t, true)
	runs := newTrials(s)
	before := s.stock(trialProduct)
	s.try(runs, trialRepeat)
	s.try(runs, trialRepeat)
	s.try(runs, trialOrder)
	s.try(runs, trialMany)
	if left := s.stock(trialProduct); left != before-3-trialFlood {
		t.Errorf("%d of %d are left", left, before)
	}
	for range before / trialFlood { // what is used up is put back
		s.try(runs, trialMany)
	}
}

// One trial at a time; none without what it needs; and a race waits for the last winner's payment.
func TestTrialRefusals(t *testing.T) {
	t.Parallel()
	s := newShop(t, false)
	runs := newTrials(s)
	want := func(kind string, code order.Code) {
		t.Helper()
		if _, err := runs.run(t.Context(), kind); order.CodeOf(err) != code {
			t.Errorf("%s: %v, want %s", kind, err, code)
		}
	}
	want("nothing", order.CodeNotFound)
	runs.running = true
	want(trialOrder, order.CodeJobInProgress)
	runs.running = false
	no := false
	if _, err := s.store.ChangeProducts(t.Context(), []order.ProductChange{{ProductID: raceProduct, Active: &no}}); err != nil {
		t.Fatal(err)
	}
	want(trialRace, order.CodeProductInactive)
	no = true
	if _, err := s.store.ChangeProducts(t.Context(), []order.ProductChange{{ProductID: raceProduct, Active: &no}}); err != nil {
		t.Fatal(err)
	}
	winner := s.try(runs, trialRace).Winner()
	want(trialRace, order.CodeUnavailable) // nobody charges here
	if _, err := runs.inside.ask(t.Context(), order.Operator(), "", http.MethodPost, fmt.Sprintf("/api/v1/orders/%d/cancel", winner), nil, nil); err != nil {
		t.Fatal(err)
	}
	s.try(runs, trialRace)
}
