package order

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestLifeOfOrders drives random batches of every decision over the books, with a gateway that really keeps the money,
// workers that die, reports that come late, twice or with a lease that is over, and transactions that roll back. After
// each step the invariants hold; in the end, everything that is due gets done and the gateway agrees with the books.
func TestLifeOfOrders(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		steps := w.steps()
		steps["create"], steps["cancel"] = w.create, w.cancel
		for range 4 { // long enough for an order to be tried out, abandoned and charged late
			t.Repeat(steps)
		}
		w.finish(t)
	})
}

// TestMoneyOfAbandonedOrder is the same, for one order that was dead-lettered while all its charges are still under way:
// the gateway and the books must agree whatever the void meets.
func TestMoneyOfAbandonedOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		d, err := NewDraft(nil, 1, "k", []Line{{1, 2}}, "")
		if err != nil {
			t.Fatal(err)
		}
		_, effects := Place(w.rules, w.now, []Draft{d}, nil, w.products)
		w.write(t, effects, nil)
		for range w.rules.PaymentAttempts + 1 {
			w.claimAll(t, []int64{1}, []ClaimRequest{{OrderID: 1}}, true)
			w.now = w.now.Add(w.rules.Lease)
		}
		if len(w.calls) != w.rules.PaymentAttempts || w.jobs[1].OrderID != 1 {
			t.Fatalf("%d calls and the dead letter %+v", len(w.calls), w.jobs[1])
		}
		t.Repeat(w.steps())
		w.finish(t)
	})
}

// world is the books and everything around them.
type world struct {
	*books
	calls     []*call      // of claims that work
	delivered []Settlement // what was reported, to be reported again
	gateway   map[int64]*account
	blocks    bool // a void makes the charge's key unusable
}

// call is a claim on its way to the gateway and back.
type call struct {
	settlement Settlement
	done       bool // the gateway was called
	paid       bool // and took the money, whatever the caller heard
}

// account is what the gateway knows of an order.
type account struct {
	declines bool // all attempts are the same charge: it succeeds always or never
	live     bool // the money was taken and not given back
	voided   bool
	unknown  bool // nobody can know better: the report of a charge made after a void was lost, or an operator chose to retry after one
}

func newWorld(t *rapid.T) *world {
	return &world{books: newBooks(), gateway: map[int64]*account{}, blocks: rapid.Bool().Draw(t, "void blocks charge")}
}

// steps are what may happen to orders that are there.
func (w *world) steps() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"claim":   w.claim,
		"retry":   w.retry,
		"gateway": w.callGateway,
		"settle":  w.settle,
		"crash":   w.crash,
		"time":    w.pass,
		"":        w.verify,
	}
}

// someID is mostly an order with something left to happen to it.
func (w *world) someID(t *rapid.T) int64 {
	var open []int64
	for id, o := range w.orders {
		if !o.Status.Terminal() || !o.DueAt.IsZero() {
			open = append(open, id)
		}
	}
	if len(open) == 0 || rapid.IntRange(0, 3).Draw(t, "any") == 0 {
		return rapid.Int64Range(1, w.nextID+1).Draw(t, "order")
	}
	slices.Sort(open)
	return rapid.SampledFrom(open).Draw(t, "open order")
}

func (w *world) someIDs(t *rapid.T) []int64 {
	ids := make([]int64, rapid.IntRange(1, 4).Draw(t, "size"))
	for i := range ids {
		ids[i] = w.someID(t)
	}
	return ids
}

// commits says whether the transaction goes through.
func commits(t *rapid.T) bool { return rapid.IntRange(0, 9).Draw(t, "commit") > 0 }

func never(int64) bool  { return false }
func always(int64) bool { return true }

func (w *world) pass(t *rapid.T) {
	w.now = w.now.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "seconds")) * time.Second)
}

func (w *world) create(t *rapid.T) {
	drafts := make([]Draft, rapid.IntRange(1, 4).Draw(t, "size"))
	found := map[OrderKey]*Order{}
	for i := range drafts {
		lines := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Line {
			return Line{rapid.Int64Range(1, 4).Draw(t, "product"), rapid.Int64Range(1, 3).Draw(t, "quantity")}
		}), 1, 3).Draw(t, "lines")
		d, err := NewDraft(nil, rapid.Int64Range(1, 2).Draw(t, "user"), fmt.Sprint("k", rapid.IntRange(0, 9).Draw(t, "key")), lines, "")
		if err != nil {
			t.Fatal(err)
		}
		drafts[i] = d
		for _, o := range w.orders {
			if o.UserID == d.UserID && o.Key == d.Key {
				found[d.OrderKey()] = o
			}
		}
	}
	answers, effects := Place(w.rules, w.now, drafts, found, w.products)
	if len(answers) != len(drafts) || !commits(t) {
		return
	}
	w.write(t, effects, nil)
	for i, a := range answers {
		if (a.Err == nil) != (a.Order != nil) {
			t.Fatalf("answer %+v is neither an order nor an error", a)
		}
		if a.Order != nil && (a.Order.ID == 0 || a.Order.Fingerprint != drafts[i].Fingerprint || a.Order.UserID != drafts[i].UserID) {
			t.Fatalf("%+v was answered with %+v", drafts[i], a.Order)
		}
	}
}

func (w *world) cancel(t *rapid.T) {
	var requests []CancelRequest
	ids := w.someIDs(t)
	for _, id := range ids {
		requests = append(requests, CancelRequest{OrderID: id})
	}
	rows := w.read(ids, always)
	if _, effects := Cancel(w.now, rows, requests); commits(t) {
		w.write(t, effects, rows)
	}
}

func (w *world) claim(t *rapid.T) {
	var requests []ClaimRequest
	ids := w.someIDs(t)
	for _, id := range ids {
		requests = append(requests, ClaimRequest{OrderID: id, Abandon: rapid.IntRange(0, 2).Draw(t, "abandon") == 0})
	}
	w.claimAll(t, ids, requests, commits(t))
}

func (w *world) claimAll(t *rapid.T, ids []int64, requests []ClaimRequest, commit bool) {
	w.tokens++
	rows := w.read(ids, never)
	answers, effects := Claim(w.rules, w.now, fmt.Sprint("lease-", w.tokens), rows, requests)
	if !commit {
		return
	}
	w.write(t, effects, rows)
	tasks := map[int64]bool{}
	for _, a := range answers {
		if a.Task == TaskNone {
			continue
		}
		if tasks[a.Order.ID] || a.Order.Lease == "" {
			t.Fatalf("order %d was given out twice in one batch, or without a lease", a.Order.ID)
		}
		tasks[a.Order.ID] = true
		w.calls = append(w.calls, &call{settlement: Settlement{
			OrderID: a.Order.ID, Claim: a.Order.Claims, Lease: a.Order.Lease, Kind: PaymentKind(a.Task),
		}})
	}
}

func (w *world) retry(t *rapid.T) {
	ids := w.someIDs(t)
	rows := w.read(ids, never)
	answers, effects := Retry(w.rules, w.now, rows, ids)
	if !commits(t) {
		return
	}
	for i, a := range answers {
		if a.Err == nil && w.orders[ids[i]].abandoning() {
			w.account(t, ids[i]).unknown = true
		}
	}
	w.write(t, effects, rows)
}

func (w *world) account(t *rapid.T, id int64) *account {
	if w.gateway[id] == nil {
		w.gateway[id] = &account{declines: rapid.IntRange(0, 3).Draw(t, "declines") == 0}
	}
	return w.gateway[id]
}

// pick takes a call out of those for which ok holds; nil when there is none.
func (w *world) pick(t *rapid.T, ok func(*call) bool) *call {
	var found []*call
	for _, c := range w.calls {
		if ok(c) {
			found = append(found, c)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return rapid.SampledFrom(found).Draw(t, "call")
}

func (w *world) drop(c *call) {
	w.calls = slices.DeleteFunc(w.calls, func(other *call) bool { return other == c })
}

// callGateway lets a call reach the gateway; its report is for settle.
func (w *world) callGateway(t *rapid.T) {
	if c := w.pick(t, func(c *call) bool { return !c.done }); c != nil {
		w.execute(t, c, rapid.IntRange(0, 5).Draw(t, "fate"))
	}
}

// execute makes the call. With fate 0 it never arrives, with fate 1 its answer gets lost: the caller hears nothing.
func (w *world) execute(t *rapid.T, c *call, fate int) {
	a := w.account(t, c.settlement.OrderID)
	c.done = true
	c.settlement.Reason = "why"
	c.settlement.Outcome = NoAnswer
	if fate == 0 {
		return
	}
	outcome := Succeeded
	switch {
	case c.settlement.Kind == KindVoid:
		a.live, a.voided = false, true
	case a.declines || (a.voided && w.blocks):
		outcome = Declined
	default:
		a.live, c.paid = true, true
	}
	if fate == 1 {
		a.unknown = a.unknown || (c.paid && a.voided)
		return
	}
	c.settlement.Outcome = outcome
}

// settle reports a batch: calls that are back, calls handed back, and reports that were made before, some of them with
// a lease that is not theirs.
func (w *world) settle(t *rapid.T) {
	var batch []Settlement
	var reported []*call
	for range rapid.IntRange(1, 5).Draw(t, "size") {
		switch source := rapid.IntRange(0, 9).Draw(t, "source"); {
		case source < 6:
			c := w.pick(t, func(c *call) bool { return c.done && !slices.Contains(reported, c) })
			if c != nil {
				reported = append(reported, c)
				batch = append(batch, c.settlement)
			}
		case source < 7:
			c := w.pick(t, func(c *call) bool { return !c.done && !slices.Contains(reported, c) })
			if c != nil {
				s := c.settlement
				s.Outcome = HandedBack
				reported = append(reported, c)
				batch = append(batch, s)
			}
		case len(w.delivered) > 0:
			s := rapid.SampledFrom(w.delivered).Draw(t, "again")
			if rapid.Bool().Draw(t, "other lease") {
				s.Lease = rapid.SampledFrom([]string{"", abandonMark, "stale", abandonMark + "stale"}).Draw(t, "lease")
			}
			batch = append(batch, s)
		}
	}
	if w.settleAll(t, batch, commits(t)) {
		for _, c := range reported {
			w.drop(c)
		}
	}
}

func (w *world) settleAll(t *rapid.T, batch []Settlement, commit bool) bool {
	var ids []int64
	for _, s := range batch {
		ids = append(ids, s.OrderID)
	}
	restocks := func(id int64) bool {
		return slices.ContainsFunc(batch, func(s Settlement) bool { return s.OrderID == id && s.Restocks(w.orders[id]) })
	}
	rows := w.read(ids, restocks)
	answers, effects := Settle(w.rules, w.now, rows, batch)
	for _, a := range answers {
		if a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	if !commit {
		return false
	}
	w.write(t, effects, rows)
	w.delivered = append(w.delivered, batch...)

	// The commit's own answer may have got lost, so that the batch is decided again: harmless.
	_, again := Settle(w.rules, w.now, w.read(ids, restocks), batch)
	if len(again.Events)+len(again.Stock)+len(again.FailedJobs)+len(again.Resolved) > 0 {
		t.Fatalf("decided again, the batch does %s", describe(again))
	}
	for _, c := range again.Changes {
		if c.From != Failed || c.Claims != 0 || c.AttemptsLeft != 0 {
			t.Fatalf("decided again, the batch changes %+v", c)
		}
	}
	return true
}

// crash loses a worker, with what it knew.
func (w *world) crash(t *rapid.T) {
	if c := w.pick(t, func(*call) bool { return true }); c != nil {
		a := w.account(t, c.settlement.OrderID)
		a.unknown = a.unknown || (c.paid && a.voided)
		w.drop(c)
	}
}

// verify holds the books against the invariants, and the gateway against the books.
func (w *world) verify(t *rapid.T) {
	w.check(t)
	for id, a := range w.gateway {
		o := w.orders[id]
		onTheWay := slices.ContainsFunc(w.calls, func(c *call) bool { return c.settlement.OrderID == id })
		switch {
		case a.unknown || onTheWay:
		case o.Status == Failed && o.DueAt.IsZero() && a.live:
			t.Fatalf("order %d is FAILED, its money was taken and nobody gives it back", id)
		case o.Status == Paid && !a.live:
			t.Fatalf("order %d is PAID, its money was not taken or was given back", id)
		}
	}
}

// finish lets the gateway answer, the sweeper sweep and operators give up what is left, until nothing is to be done.
func (w *world) finish(t *rapid.T) {
	for range 12 {
		var batch []Settlement
		for _, c := range w.calls {
			if !c.done {
				w.execute(t, c, 2)
			}
			batch = append(batch, c.settlement)
		}
		w.calls = nil
		w.settleAll(t, batch, true)
		w.verify(t)
		w.now = w.now.Add(maxVoidBackoff) // no wait is longer, however many attempts an order has had
		var requests []ClaimRequest
		ids := slices.Sorted(maps.Keys(w.orders))
		for _, id := range ids {
			o := w.orders[id]
			requests = append(requests, ClaimRequest{OrderID: id, Abandon: o.Status == Processing && o.DueAt.IsZero()})
		}
		w.claimAll(t, ids, requests, true)
		w.verify(t)
	}
	for id, o := range w.orders {
		if !o.Status.Terminal() || !o.DueAt.IsZero() {
			t.Fatalf("order %d is %s, due at %v: it never ends", id, o.Status, o.DueAt)
		}
	}
}
