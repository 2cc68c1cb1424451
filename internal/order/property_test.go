package order

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestLifeOfOrders applies random batches of every decision to a model store, with a gateway that has the money, workers that
// crash, reports that arrive late, repeatedly or with an expired lease, and transactions that roll back. After each step the
// invariants hold. In the end every order is finished, and the gateway agrees with the store.
func TestLifeOfOrders(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newSimulation(t)
		steps := w.steps()
		steps["create"], steps["cancel"] = w.create, w.cancel
		for range 4 { // enough steps to use up the attempts, abandon the order and charge it late
			t.Repeat(steps)
		}
		w.finish(t)
	})
}

// TestChargesOfAnAbandonedOrder is the same for an order that became a failed job while its charges are still in progress: the
// gateway and the store agree whether the void precedes or follows them.
func TestChargesOfAnAbandonedOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newSimulation(t)
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
			t.Fatalf("%d calls and the failed job %+v", len(w.calls), w.jobs[1])
		}
		t.Repeat(w.steps())
		w.finish(t)
	})
}

// simulation is a store, its workers and the gateway.
type simulation struct {
	*modelStore
	calls     []*call      // of claims in progress
	delivered []Settlement // reports, to be repeated
	gateway   map[int64]*account
	blocks    bool // a void makes the charge's key invalid
}

// call is a call of a claim to the gateway.
type call struct {
	settlement Settlement
	done       bool // the gateway received it
	paid       bool // the gateway took the money, whether its answer arrived or not
}

// account is the record of the gateway for an order.
type account struct {
	declines bool // all attempts are the same charge: it succeeds always or never
	live     bool // the money was taken and not returned
	voided   bool
	unknown  bool // the report of a charge after a void was lost, or an operator retried after a void
}

func newSimulation(t *rapid.T) *simulation {
	return &simulation{modelStore: newModelStore(), gateway: map[int64]*account{}, blocks: rapid.Bool().Draw(t, "void blocks charge")}
}

// steps are the events that may happen to existing orders.
func (w *simulation) steps() map[string]func(*rapid.T) {
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

// someID returns the id of an order, mostly of an unfinished one.
func (w *simulation) someID(t *rapid.T) int64 {
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

func (w *simulation) someIDs(t *rapid.T) []int64 {
	ids := make([]int64, rapid.IntRange(1, 4).Draw(t, "size"))
	for i := range ids {
		ids[i] = w.someID(t)
	}
	return ids
}

// commits reports whether a transaction commits.
func commits(t *rapid.T) bool { return rapid.IntRange(0, 9).Draw(t, "commit") > 0 }

func never(int64) bool  { return false }
func always(int64) bool { return true }

func (w *simulation) pass(t *rapid.T) {
	w.now = w.now.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "seconds")) * time.Second)
}

func (w *simulation) create(t *rapid.T) {
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

func (w *simulation) cancel(t *rapid.T) {
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

func (w *simulation) claim(t *rapid.T) {
	var requests []ClaimRequest
	ids := w.someIDs(t)
	for _, id := range ids {
		requests = append(requests, ClaimRequest{OrderID: id, Abandon: rapid.IntRange(0, 2).Draw(t, "abandon") == 0})
	}
	w.claimAll(t, ids, requests, commits(t))
}

func (w *simulation) claimAll(t *rapid.T, ids []int64, requests []ClaimRequest, commit bool) {
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
			t.Fatalf("order %d was claimed twice in one batch, or without a lease", a.Order.ID)
		}
		tasks[a.Order.ID] = true
		w.calls = append(w.calls, &call{settlement: Settlement{
			OrderID: a.Order.ID, Claim: a.Order.Claims, Lease: a.Order.Lease, Kind: PaymentKind(a.Task),
		}})
	}
}

func (w *simulation) retry(t *rapid.T) {
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

func (w *simulation) account(t *rapid.T, id int64) *account {
	if w.gateway[id] == nil {
		w.gateway[id] = &account{declines: rapid.IntRange(0, 3).Draw(t, "declines") == 0}
	}
	return w.gateway[id]
}

// pick returns one of the calls that satisfy ok, or nil.
func (w *simulation) pick(t *rapid.T, ok func(*call) bool) *call {
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

func (w *simulation) drop(c *call) {
	w.calls = slices.DeleteFunc(w.calls, func(other *call) bool { return other == c })
}

// callGateway makes a call; settle reports it.
func (w *simulation) callGateway(t *rapid.T) {
	if c := w.pick(t, func(c *call) bool { return !c.done }); c != nil {
		w.execute(t, c, rapid.IntRange(0, 5).Draw(t, "fate"))
	}
}

// execute makes the call. With fate 0 the call is lost, with fate 1 its answer.
func (w *simulation) execute(t *rapid.T, c *call, fate int) {
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

// settle reports a batch of finished calls, of calls handed back, and of repeated reports, some of these under another lease.
func (w *simulation) settle(t *rapid.T) {
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

func (w *simulation) settleAll(t *rapid.T, batch []Settlement, commit bool) bool {
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

	// The answer of COMMIT may be lost: deciding the batch again is harmless.
	_, again := Settle(w.rules, w.now, w.read(ids, restocks), batch)
	if len(again.Events)+len(again.Stock)+len(again.FailedJobs)+len(again.Resolved) > 0 {
		t.Fatalf("a repeated batch has the effects %s", describe(again))
	}
	for _, c := range again.Changes {
		if c.From != Failed || c.Claims != 0 || c.AttemptsLeft != 0 {
			t.Fatalf("a repeated batch changes %+v", c)
		}
	}
	return true
}

// crash loses a worker with its call.
func (w *simulation) crash(t *rapid.T) {
	if c := w.pick(t, func(*call) bool { return true }); c != nil {
		a := w.account(t, c.settlement.OrderID)
		a.unknown = a.unknown || (c.paid && a.voided)
		w.drop(c)
	}
}

// verify checks the invariants, and compares the gateway with the store.
func (w *simulation) verify(t *rapid.T) {
	w.check(t)
	for id, a := range w.gateway {
		o := w.orders[id]
		onTheWay := slices.ContainsFunc(w.calls, func(c *call) bool { return c.settlement.OrderID == id })
		switch {
		case a.unknown || onTheWay:
		case o.Status == Failed && o.DueAt.IsZero() && a.live:
			t.Fatalf("order %d is FAILED, and its money was not returned", id)
		case o.Status == Paid && !a.live:
			t.Fatalf("order %d is PAID without its money", id)
		}
	}
}

// finish lets the gateway answer, sweeps, and abandons the failed jobs, until every order is finished.
func (w *simulation) finish(t *rapid.T) {
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
		w.now = w.now.Add(maxVoidBackoff) // the longest wait
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
			t.Fatalf("order %d is %s, due at %v: it is never finished", id, o.Status, o.DueAt)
		}
	}
}
