package store_test

import (
	"cmp"
	"database/sql"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
)

// model is the expected content of the store, in maps and without time: an order is due or it is not.
type model struct {
	t     *rapid.T
	s     *store.Store
	clock *sql.DB // changes times, so that hours pass

	stock       map[int64]int64
	stopped     map[int64]bool
	moves       map[string]order.Restock // by key
	orders      map[int64]*modelOrder
	byKey       map[order.OrderKey]int64
	claims      []*modelClaim
	jobs        map[int64]bool // order → its failed job is open
	unpublished map[string]int // batch → events
}

type modelOrder struct {
	ref          order.OrderKey
	lines        []order.Line
	status       order.Status
	claims       int
	attemptsLeft int
	lease        int  // the number of the claim with the lease, from 1; 0 for none
	void         bool // the last claim was for a void
	waits        bool // has a due time
	due          bool // the due time has passed
	events       []order.EventType
}

type modelClaim struct {
	order   int64
	number  int
	claim   int
	lease   string
	kind    order.PaymentKind
	outcome order.Outcome // "" until it was reported
}

const modelAttempts = 2

// TestModel applies random writes to the store and to the model, and compares both after each step.
func TestModel(t *testing.T) {
	t.Parallel()
	rules := storetest.Rules()
	rules.PaymentAttempts = modelAttempts
	dir := t.TempDir()
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		path := filepath.Join(dir, fmt.Sprint(run, ".db"))
		if err := os.WriteFile(path, empty, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := store.Open(t.Context(), "sqlite:"+path, store.Options{Rules: rules})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		if err := s.Seed(t.Context(), store.SeedPlan{SetStock: true, Stock: 12}); err != nil {
			t.Fatal(err)
		}
		clock, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = clock.Close() }()
		m := &model{
			t: t, s: s, clock: clock, stock: map[int64]int64{1: 12, 2: 12, 3: 12, 4: 12, 5: 12},
			orders: map[int64]*modelOrder{}, byKey: map[order.OrderKey]int64{}, jobs: map[int64]bool{}, unpublished: map[string]int{},
			stopped: map[int64]bool{}, moves: map[string]order.Restock{},
		}
		t.Repeat(map[string]func(*rapid.T){
			"create": m.create, "cancel": m.cancel, "claim": m.claim, "settle": m.settle, "retry": m.retry,
			"hours pass": m.hoursPass, "pay": m.pay, "restock": m.restock, "stop": m.stop, "figures": m.figures, "": m.compare,
		})
	})
}

func (m *model) create(t *rapid.T) {
	var drafts []order.Draft
	for range rapid.IntRange(1, 5).Draw(t, "drafts") {
		user := rapid.SampledFrom([]int64{1, 2, 3, 99}).Draw(t, "user")
		key := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}).Draw(t, "key")
		lines := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) order.Line {
			return order.Line{
				ProductID: rapid.SampledFrom([]int64{1, 2, 3, 5, 77}).Draw(t, "product"), Quantity: rapid.Int64Range(1, 4).Draw(t, "quantity"),
			}
		}), 1, 3).Draw(t, "lines")
		d, err := order.NewDraft(nil, user, key, lines, "")
		if err != nil {
			t.Fatal(err)
		}
		drafts = append(drafts, d)
	}
	answers, batch, err := m.s.CreateOrders(t.Context(), drafts)
	if err != nil {
		t.Fatal(err)
	}
	made := 0
	for i, d := range drafts {
		if d.UserID == 99 { // the user does not exist: any refusal is valid
			if answers[i].Err == nil {
				t.Fatalf("draft %d of a user that does not exist: %+v", i, answers[i])
			}
			continue
		}
		code, replayed := m.expectPlace(d)
		if got := order.CodeOf(answers[i].Err); got != code || answers[i].Replayed != replayed {
			t.Fatalf("draft %d: %q, replayed %t; want %q, %t", i, got, answers[i].Replayed, code, replayed)
		}
		if code != "" {
			continue
		}
		if replayed {
			if answers[i].Order.ID != m.byKey[d.OrderKey()] {
				t.Fatalf("draft %d: order %d, want %d", i, answers[i].Order.ID, m.byKey[d.OrderKey()])
			}
			continue
		}
		made++
		for _, line := range d.Lines {
			m.stock[line.ProductID] -= line.Quantity
		}
		m.byKey[d.OrderKey()] = answers[i].Order.ID
		m.orders[answers[i].Order.ID] = &modelOrder{
			ref: d.OrderKey(), lines: d.Lines, status: order.Pending, attemptsLeft: modelAttempts, waits: true, events: []order.EventType{order.OrderCreated},
		}
	}
	m.expectOutbox(batch, made)
}

func (m *model) expectPlace(d order.Draft) (code order.Code, replayed bool) {
	if id, ok := m.byKey[d.OrderKey()]; ok {
		if !slices.Equal(m.orders[id].lines, d.Lines) {
			return order.CodeKeyReused, false
		}
		return "", true
	}
	for _, line := range d.Lines {
		if line.ProductID == 77 {
			return order.CodeValidation, false
		}
	}
	for _, line := range d.Lines {
		if m.stopped[line.ProductID] {
			return order.CodeProductInactive, false
		}
	}
	for _, line := range d.Lines {
		if m.stock[line.ProductID] < line.Quantity {
			return order.CodeInsufficientStock, false
		}
	}
	return "", false
}

// expectOutbox checks the outbox row of a write.
func (m *model) expectOutbox(batch order.EventBatch, events int) {
	if (batch.ID != "") != (events > 0) || len(batch.Events) != events {
		m.t.Fatalf("batch %q with %d events, want %d", batch.ID, len(batch.Events), events)
	}
	if events > 0 {
		m.unpublished[batch.ID] = events
	}
}

// some draws ids, a few of which do not exist and some of which are duplicates.
func (m *model) some(t *rapid.T) []int64 {
	ids := append(slices.Sorted(maps.Keys(m.orders)), 777)
	return rapid.SliceOfN(rapid.SampledFrom(ids), 1, 6).Draw(t, "orders")
}

func (m *model) putBack(o *modelOrder) {
	for _, line := range o.lines {
		m.stock[line.ProductID] += line.Quantity
	}
}

func (m *model) cancel(t *rapid.T) {
	var requests []order.CancelRequest
	for _, id := range m.some(t) {
		requests = append(requests, order.CancelRequest{OrderID: id})
	}
	answers, batch, err := m.s.CancelOrders(t.Context(), requests)
	if err != nil {
		t.Fatal(err)
	}
	cancelled := 0
	for i, r := range requests {
		o := m.orders[r.OrderID]
		want := order.Code("")
		switch {
		case o == nil:
			want = order.CodeNotFound
		case o.status == order.Pending:
			m.putBack(o)
			o.status, o.waits, o.due, o.events = order.Cancelled, false, false, append(o.events, order.OrderCancelled)
			cancelled++
		case o.status != order.Cancelled:
			want = order.CodeNotCancellable
		}
		if got := order.CodeOf(answers[i].Err); got != want {
			t.Fatalf("cancel order %d: %q, want %q", r.OrderID, got, want)
		}
	}
	m.expectOutbox(batch, cancelled)
}

func (m *model) claim(t *rapid.T) {
	var requests []order.ClaimRequest
	for _, id := range m.some(t) {
		requests = append(requests, order.ClaimRequest{OrderID: id, Abandon: rapid.IntRange(0, 3).Draw(t, "abandon") == 0})
	}
	answers, _, err := m.s.ClaimOrders(t.Context(), requests)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range requests {
		task, code := m.expectClaim(r)
		if answers[i].Task != task || order.CodeOf(answers[i].Err) != code {
			t.Fatalf("claim %+v: %q, %v; want %q, %q", r, answers[i].Task, answers[i].Err, task, code)
		}
		if task == order.TaskNone {
			continue
		}
		o := m.orders[r.OrderID]
		o.claims++
		o.waits, o.due, o.void = true, false, task == order.TaskVoid
		kind := map[order.Task]order.PaymentKind{order.TaskCharge: order.KindCharge, order.TaskVoid: order.KindVoid}[task]
		m.claims = append(m.claims, &modelClaim{r.OrderID, len(m.claims) + 1, o.claims, answers[i].Order.Lease, kind, ""})
		o.lease = len(m.claims)
	}
}

// expectClaim returns the expected outcome of a claim, and updates the parts of the model that do not depend on its number.
func (m *model) expectClaim(r order.ClaimRequest) (order.Task, order.Code) {
	o := m.orders[r.OrderID]
	switch {
	case r.Abandon && o == nil:
		return order.TaskNone, order.CodeNotFound
	case r.Abandon && m.jobs[r.OrderID]:
		m.jobs[r.OrderID] = false
		return order.TaskVoid, ""
	case r.Abandon:
		return order.TaskNone, order.CodeJobInProgress
	case o == nil:
		return order.TaskNone, ""
	case o.status == order.Pending:
		o.status, o.events = order.Processing, append(o.events, order.OrderProcessing)
		o.attemptsLeft--
		return order.TaskCharge, ""
	case o.status == order.Processing && o.due && o.attemptsLeft > 0:
		o.attemptsLeft--
		return order.TaskCharge, ""
	case o.status == order.Processing && o.due:
		m.fail(r.OrderID, o)
		return order.TaskNone, ""
	case o.status == order.Failed && o.due:
		return order.TaskVoid, ""
	default:
		return order.TaskNone, ""
	}
}

// fail turns an order into a failed job. It remembers whether the last claim was for a void: a charge that is reported later may then
// be voided.
func (m *model) fail(id int64, o *modelOrder) {
	o.waits, o.due, o.lease = false, false, 0
	m.jobs[id] = true
}

func (m *model) settle(t *rapid.T) {
	if len(m.claims) == 0 {
		t.Skip("nothing was claimed")
	}
	var reports []order.Settlement
	events := 0
	for range rapid.IntRange(1, 4).Draw(t, "reports") {
		c := m.claims[rapid.IntRange(max(0, len(m.claims)-8), len(m.claims)-1).Draw(t, "claim")]
		if c.outcome == "" { // one claim, one answer
			c.outcome = rapid.SampledFrom([]order.Outcome{order.Succeeded, order.Declined, order.NoAnswer, order.HandedBack}).Draw(t, "outcome")
		}
		reports = append(reports, order.Settlement{
			OrderID: c.order, Claim: c.claim, Lease: c.lease, Kind: c.kind, Outcome: c.outcome, Reason: "reason",
		})
		events += m.expectSettle(m.orders[c.order], c)
	}
	answers, batch, err := m.s.SettleOrders(t.Context(), reports)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range answers {
		if a.Err != nil || a.Order.ID != reports[i].OrderID {
			t.Fatalf("settle %+v: %+v", reports[i], a)
		}
	}
	m.expectOutbox(batch, events)
}

// expectSettle applies one settlement to the model, and returns the number of its events.
func (m *model) expectSettle(o *modelOrder, c *modelClaim) (events int) {
	holder := o.lease == c.number
	finish := func(to order.Status, event order.EventType) int {
		if to == order.Failed {
			m.putBack(o)
		}
		o.status, o.waits, o.due, o.lease, o.events = to, false, false, 0, append(o.events, event)
		m.jobs[c.order] = false
		return 1
	}
	open := o.status == order.Processing
	switch {
	case c.kind == order.KindVoid && !holder:
	case c.kind == order.KindVoid && open && c.outcome == order.Succeeded:
		return finish(order.Failed, order.OrderFailed)
	case c.kind == order.KindVoid && open:
		m.fail(c.order, o)
	case c.kind == order.KindVoid: // FAILED, and a void due
		o.waits, o.due, o.lease = c.outcome != order.Succeeded, false, 0
	case c.outcome == order.HandedBack && open && holder:
		o.attemptsLeft++
		o.waits, o.due, o.lease = true, true, 0
	case c.outcome == order.NoAnswer && open && holder && o.attemptsLeft == 0:
		m.fail(c.order, o)
	case c.outcome == order.NoAnswer && open && holder:
		o.waits, o.due, o.lease = true, false, 0
	case c.outcome == order.Succeeded && open && o.void:
		finish(order.Failed, order.OrderFailed)
		o.waits, o.due = true, true
		return 1
	case c.outcome == order.Succeeded && open:
		return finish(order.Paid, order.OrderPaid)
	case c.outcome == order.Declined && open:
		return finish(order.Failed, order.OrderFailed)
	case c.outcome == order.Succeeded && o.status == order.Failed:
		o.waits, o.due, o.lease = true, true, 0
	}
	return 0
}

func (m *model) retry(t *rapid.T) {
	ids := m.some(t)
	answers, err := m.s.RetryOrders(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range ids {
		o := m.orders[id]
		want := order.Code("")
		switch {
		case o == nil:
			want = order.CodeNotFound
		case !m.jobs[id]:
			want = order.CodeJobInProgress
		default:
			m.jobs[id] = false
			o.attemptsLeft, o.waits, o.due, o.void = modelAttempts, true, true, false
		}
		if got := order.CodeOf(answers[i].Err); got != want {
			t.Fatalf("retry order %d: %q, want %q", id, got, want)
		}
	}
}

// hoursPass makes all waiting orders due.
func (m *model) hoursPass(t *rapid.T) {
	if _, err := m.clock.ExecContext(t.Context(), "UPDATE orders SET due_at = due_at - ?", (2 * time.Hour).Microseconds()); err != nil {
		t.Fatal(err)
	}
	for _, o := range m.orders {
		o.due = o.waits
	}
}

func (m *model) pay(t *rapid.T) {
	batches, err := m.s.LeaseOutbox(t.Context(), -time.Hour, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, r := range batches {
		got[r.ID] = len(r.Events)
	}
	if diff := gocmp.Diff(m.unpublished, got); diff != "" {
		t.Fatalf("unpublished (-model +store):\n%s", diff)
	}
	for id := range m.unpublished {
		if rapid.Bool().Draw(t, "pay") {
			m.s.MarkPublished([]string{id})
			delete(m.unpublished, id)
		}
	}
	if err := m.s.FlushPublished(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// compare compares every read of the store with the model.
func (m *model) compare(t *rapid.T) {
	ctx := t.Context()
	findings, err := m.s.Audit(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		if f.ViolationCount > 0 {
			t.Fatalf("invariant %d: %q", f.Number, f.Violations)
		}
	}
	products, err := m.s.Products(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range products {
		if p.Stock != m.stock[p.ID] {
			t.Fatalf("stock of product %d is %d, want %d", p.ID, p.Stock, m.stock[p.ID])
		}
	}
	page, err := m.s.Orders(ctx, order.ListQuery{PerPage: 1_000, Page: 1})
	if err != nil || len(page.Orders) != len(m.orders) {
		t.Fatalf("%d orders (%v), want %d", len(page.Orders), err, len(m.orders))
	}
	for _, o := range page.Orders {
		w := m.orders[o.ID]
		if o.Status != w.status || o.Claims != w.claims || o.AttemptsLeft != w.attemptsLeft || o.Version != len(w.events) || !o.DueAt.IsZero() != w.waits {
			t.Fatalf("order %+v, want %+v", o, w)
		}
	}
	due, err := m.s.DueOrders(ctx, 1_000)
	if err != nil {
		t.Fatal(err)
	}
	var gotDue, wantDue []int64
	for _, r := range due {
		gotDue = append(gotDue, r.OrderID)
	}
	for id, o := range m.orders {
		if o.due {
			wantDue = append(wantDue, id)
		}
	}
	slices.SortFunc(gotDue, cmp.Compare)
	slices.Sort(wantDue)
	if !slices.Equal(gotDue, wantDue) {
		t.Fatalf("due: %v, want %v", gotDue, wantDue)
	}
	jobs, err := m.s.FailedJobs(ctx, true, 1_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		if !m.jobs[j.OrderID] {
			t.Fatalf("failed job %+v is open", j)
		}
	}
	if open := len(slices.DeleteFunc(slices.Collect(maps.Values(m.jobs)), func(open bool) bool { return !open })); open != len(jobs) {
		t.Fatalf("%d failed jobs are open, want %d", len(jobs), open)
	}
}
