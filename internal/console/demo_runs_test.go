package console

import (
	"fmt"
	"net/http"
	"testing"

	"orderflow/internal/order"
)

func newDemo(s *testEnv) *demo { return &demo{api: s.api.InProcess, store: s.store} }

// try performs a demo run, which must end as promised.
func (s *testEnv) try(d *demo, kind string) *demoRun {
	s.Helper()
	done, err := d.run(s.Context(), kind)
	if err != nil {
		s.Fatal(err)
	}
	if !done.Kept() {
		s.Errorf("%s: %d of %d created, %d replayed", kind, done.Count(http.StatusCreated), len(done.Results), done.Count(http.StatusOK))
	}
	for _, result := range done.Results {
		if result.Took <= 0 {
			s.Errorf("%s: no duration: %+v", kind, result)
		}
		if result.Buyer < 1 {
			s.Errorf("%s: no buyer: %+v", kind, result)
		}
		if (result.OrderID == 0) == (result.Err == nil) {
			s.Errorf("%s: neither an order nor an error, or both: %+v", kind, result)
		}
	}
	return done
}

// A run that other clients disturbed is neither kept nor broken.
func TestDemoOutcome(t *testing.T) {
	t.Parallel()
	won := func(id int64) demoResult { return demoResult{Status: http.StatusCreated, OrderID: id} }
	shown := func(id int64) demoResult { return demoResult{Status: http.StatusOK, OrderID: id} }
	soldOut := demoResult{Status: http.StatusConflict, Err: order.Errorf(order.CodeInsufficientStock, "sold out")}
	busy := demoResult{Status: http.StatusServiceUnavailable, Err: order.Errorf(order.CodeOverloaded, "busy")}
	for _, test := range []struct {
		name           string
		kind           string
		results        []demoResult
		kept, isBroken bool
	}{
		{"one buyer got the last unit", demoRace, []demoResult{soldOut, won(1), soldOut}, true, false},
		{"another client got it", demoRace, []demoResult{soldOut, soldOut, soldOut}, false, false},
		{"one request refused", demoRace, []demoResult{busy, won(1), soldOut}, false, false},
		{"oversold", demoRace, []demoResult{won(1), won(2), soldOut}, false, true},
		{"one order", demoRepeat, []demoResult{shown(1), won(1), shown(1)}, true, false},
		{"one order, one request refused", demoRepeat, []demoResult{busy, won(1), shown(1)}, false, false},
		{"two orders", demoRepeat, []demoResult{won(1), won(2), shown(1)}, false, true},
		{"another order returned", demoRepeat, []demoResult{won(1), shown(2), shown(1)}, false, true},
		{"one of many refused", demoMany, []demoResult{won(1), busy}, false, false},
	} {
		done := &demoRun{Kind: test.kind, Results: test.results}
		if done.Kept() != test.kept {
			t.Errorf("%s: kept %t", test.name, done.Kept())
		}
		if done.Broken() != test.isBroken {
			t.Errorf("%s: broken %t", test.name, done.Broken())
		}
	}
}

// Exactly one of fifty buyers gets the last unit, in every run and whatever the stock was before.
func TestDemoRace(t *testing.T) {
	t.Parallel()
	s := newEnv(t, true)
	runs := newDemo(s)
	if last, running := runs.latest(); last != nil || running {
		t.Errorf("before the first run: %+v, %t", last, running)
	}
	for range 3 {
		done := s.try(runs, demoRace)
		if n := len(done.Results); n != crowdSize {
			t.Errorf("%d buyers", n)
		}
		if done.Winner() == 0 {
			t.Error("no winner")
		}
		if done.slowest() > done.Took {
			t.Errorf("the slowest response took %s, the run %s", done.slowest(), done.Took)
		}
		if left := s.stock(raceProduct); left != 0 {
			t.Errorf("stock %d", left)
		}
		if last, _ := runs.latest(); last != done {
			t.Error("the run is not the last one")
		}
	}
	restock, err := order.NewRestock(nil, raceProduct, 70, "many", "many")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.Restock(t.Context(), []order.Restock{restock}); err != nil {
		t.Fatal(err)
	}
	s.try(runs, demoRace)
	if left := s.stock(raceProduct); left < 69 || left > 70 { // the removed units are back
		t.Errorf("stock %d, want 70 or 69", left)
	}
}

// Requests with one key create one order; requests with different keys one each.
func TestDemoRepeatAndMany(t *testing.T) {
	t.Parallel()
	s := newEnv(t, true)
	runs := newDemo(s)
	before := s.stock(plentyProduct)
	s.try(runs, demoRepeat)
	s.try(runs, demoRepeat)
	s.try(runs, demoOrder)
	s.try(runs, demoMany)
	if left := s.stock(plentyProduct); left != before-3-manyOrders {
		t.Errorf("stock %d of %d", left, before)
	}
	for range before / manyOrders { // a run restocks when the stock is low
		s.try(runs, demoMany)
	}
}

// A run is refused while another one continues, without its product, and while the last race's winner is not paid.
func TestDemoRefusals(t *testing.T) {
	t.Parallel()
	s := newEnv(t, false)
	runs := newDemo(s)
	want := func(kind string, code order.Code) {
		t.Helper()
		if _, err := runs.run(t.Context(), kind); order.CodeOf(err) != code {
			t.Errorf("%s: %v, want %s", kind, err, code)
		}
	}
	want("nothing", order.CodeNotFound)
	runs.running = true
	want(demoOrder, order.CodeJobInProgress)
	runs.running = false
	no := false
	if _, err := s.store.ChangeProducts(t.Context(), []order.ProductChange{{ProductID: raceProduct, Active: &no}}); err != nil {
		t.Fatal(err)
	}
	want(demoRace, order.CodeProductInactive)
	no = true
	if _, err := s.store.ChangeProducts(t.Context(), []order.ProductChange{{ProductID: raceProduct, Active: &no}}); err != nil {
		t.Fatal(err)
	}
	winner := s.try(runs, demoRace).Winner()
	want(demoRace, order.CodeUnavailable) // no worker runs
	if _, err := runs.api.call(t.Context(), order.Operator(), "", http.MethodPost, fmt.Sprintf("/api/v1/orders/%d/cancel", winner), nil, nil); err != nil {
		t.Fatal(err)
	}
	s.try(runs, demoRace)
}
