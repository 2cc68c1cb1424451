package worker

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"orderflow/internal/order"
	"orderflow/internal/payment"
)

// The invariants hold after every step of any sequence of orders, cancellations, claims, calls, lost and late answers, crashes,
// operators and time. Once the faults stop, every order ends, and its charge agrees with its status.
func TestInvariantsHoldAfterAnySequence(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		bubble(t, func(t *testing.T) {
			m := newMachine(t, rt)
			defer m.env.close()
			rt.Repeat(map[string]func(*rapid.T){
				"":        m.check,
				"create":  m.create,
				"cancel":  m.cancel,
				"claim":   m.claim,
				"sweep":   m.sweep,
				"call":    m.call,
				"settle":  m.settle,
				"crash":   m.crash,
				"retry":   m.retry,
				"abandon": m.abandon,
				"time":    m.pass,
			})
			m.heal()
		})
	})
}

// bubble runs f in a bubble and passes its panic on: rapid reports failures by panics.
func bubble(t *testing.T, f func(t *testing.T)) {
	var caught any
	synctest.Test(t, func(t *testing.T) {
		defer func() { caught = recover() }()
		f(t)
	})
	if caught != nil {
		panic(caught)
	}
}

// machine runs each step of a worker as a step of the test.
type machine struct {
	rt     *rapid.T
	env    *testEnv
	caller caller
	ids    []int64
	jobs   []*job         // claims in process
	lost   map[int64]bool // orders with an unreported charge after a void
}

// job is a claim in process.
type job struct {
	claimed order.Claimed
	report  order.Settlement
	called  bool
	unsure  bool // the call charged a voided key: unless it is reported, the charge stays
}

func newMachine(t *testing.T, rt *rapid.T) *machine {
	env := newTestEnv(t)
	env.gateway.blocks = rapid.Bool().Draw(rt, "void blocks charge")
	m := &machine{rt: rt, env: env, lost: map[int64]bool{}}
	m.caller = caller{gateway: env.gateway, installation: "inst", timeout: time.Second, log: env.options().withDefaults().Logger}
	return m
}

func (m *machine) check(rt *rapid.T) {
	if violation := m.env.violations(); violation != "" {
		rt.Fatal(violation)
	}
}

func (m *machine) create(rt *rapid.T) {
	m.ids = append(m.ids, m.env.create(rapid.IntRange(1, 4).Draw(rt, "orders"))...)
}

// pick draws an order, if any exists.
func (m *machine) pick(rt *rapid.T) (int64, bool) {
	if len(m.ids) == 0 {
		return 0, false
	}
	return rapid.SampledFrom(m.ids).Draw(rt, "order"), true
}

func (m *machine) cancel(rt *rapid.T) {
	id, ok := m.pick(rt)
	if !ok {
		return
	}
	_, _, err := m.env.store.CancelOrders(context.Background(), []order.CancelRequest{{OrderID: id, Actor: "user:1"}})
	m.must(err)
}

// claim claims the orders of messages, early or late. A batch may name an order twice.
func (m *machine) claim(rt *rapid.T) {
	if len(m.ids) == 0 {
		return
	}
	var requests []order.ClaimRequest
	for _, id := range rapid.SliceOfN(rapid.SampledFrom(m.ids), 1, 4).Draw(rt, "claims") {
		requests = append(requests, order.ClaimRequest{OrderID: id, Actor: "worker:a"})
	}
	m.take(requests)
}

func (m *machine) sweep(*rapid.T) {
	due, err := m.env.store.DueOrders(context.Background(), 3)
	m.must(err)
	m.take(due)
}

func (m *machine) take(requests []order.ClaimRequest) {
	if len(requests) == 0 {
		return
	}
	claimed, _, err := m.env.store.ClaimOrders(context.Background(), requests)
	m.must(err)
	for _, c := range claimed {
		if c.Err == nil && c.Task != order.TaskNone {
			m.jobs = append(m.jobs, &job{claimed: c, report: settlement(c, "worker:a")})
		}
	}
}

// draw draws a job for which fits returns true.
func (m *machine) draw(rt *rapid.T, fits func(*job) bool) *job {
	var fitting []*job
	for _, j := range m.jobs {
		if fits(j) {
			fitting = append(fitting, j)
		}
	}
	if len(fitting) == 0 {
		return nil
	}
	return fitting[rapid.IntRange(0, len(fitting)-1).Draw(rt, "job")]
}

// call calls the gateway for one job, at any time after its claim, also after its lease.
func (m *machine) call(rt *rapid.T) {
	j := m.draw(rt, func(j *job) bool { return !j.called })
	if j == nil {
		return
	}
	m.ask(j, rapid.SampledFrom([]string{"succeeded", "succeeded", "declined", "unsent", "unanswered", "open"}).Draw(rt, "answer"))
}

func (m *machine) ask(j *job, answer string) {
	b := m.env.gateway
	key := m.caller.key(j.report.OrderID)
	wasVoided := m.env.gateway.key(j.report.OrderID).voided
	outcome := order.Succeeded
	if answer == "declined" {
		outcome = order.Declined
	}
	do := func() error {
		switch answer {
		case "unsent":
			return errReset
		case "open":
			return payment.ErrOpen
		case "unanswered":
			if j.report.Kind == order.KindVoid {
				b.void(key)
			} else {
				b.charge(key, outcome)
			}
			return errReset
		}
		return nil
	}
	b.setCharge(func(context.Context, payment.Request) (order.Outcome, error) { return outcome, do() })
	b.setVoid(func(context.Context, payment.Request) error { return do() })
	m.caller.call(context.Background(), j.claimed.Order, &j.report)
	j.called = true
	// A charge after the void is unknown unless it is reported: the limit of a gateway whose void does not block the key.
	j.unsure = j.report.Kind == order.KindCharge && wasVoided && m.env.gateway.key(j.report.OrderID).charged && !b.blocks
	if j.unsure && j.report.Outcome != order.Succeeded {
		m.lost[j.report.OrderID] = true
	}
}

// settle settles some answers in one batch, once or twice.
func (m *machine) settle(rt *rapid.T) {
	var batch []order.Settlement
	for range rapid.IntRange(1, 3).Draw(rt, "reports") {
		j := m.draw(rt, func(j *job) bool { return j.called })
		if j == nil {
			break
		}
		batch = append(batch, j.report)
		m.drop(j)
	}
	times := rapid.IntRange(1, 2).Draw(rt, "times")
	for range times {
		m.record(batch)
	}
}

func (m *machine) record(batch []order.Settlement) {
	if len(batch) == 0 {
		return
	}
	changed, _, err := m.env.store.SettleOrders(context.Background(), batch)
	m.must(err)
	for _, c := range changed {
		m.must(c.Err)
	}
}

func (m *machine) drop(j *job) {
	m.jobs = slices.DeleteFunc(m.jobs, func(k *job) bool { return k == j })
}

// crash drops a job in any state.
func (m *machine) crash(rt *rapid.T) {
	j := m.draw(rt, func(*job) bool { return true })
	if j == nil {
		return
	}
	m.lost[j.report.OrderID] = m.lost[j.report.OrderID] || j.unsure
	m.drop(j)
}

// failedJob draws the order of an open failed job.
func (m *machine) failedJob(rt *rapid.T) (int64, bool) {
	open, err := m.env.store.FailedJobs(context.Background(), true, 100)
	m.must(err)
	if len(open) == 0 {
		return 0, false
	}
	return rapid.SampledFrom(open).Draw(rt, "failed job").OrderID, true
}

func (m *machine) retry(rt *rapid.T) {
	if id, ok := m.failedJob(rt); ok {
		_, err := m.env.store.RetryOrders(context.Background(), []int64{id})
		m.must(err)
	}
}

func (m *machine) abandon(rt *rapid.T) {
	if id, ok := m.failedJob(rt); ok {
		m.take([]order.ClaimRequest{{OrderID: id, Abandon: true, Actor: "operator:ann"}})
	}
}

func (m *machine) pass(rt *rapid.T) {
	time.Sleep(time.Duration(rapid.IntRange(1, 40).Draw(rt, "seconds")) * time.Second)
}

// heal stops all faults and waits until every order ends.
func (m *machine) heal() {
	for _, j := range slices.Clone(m.jobs) { // jobs in process are answered
		if !j.called {
			m.ask(j, "succeeded")
		}
		m.record([]order.Settlement{j.report})
	}
	m.jobs = nil
	for leases := 0; !m.ended(); leases++ {
		if leases > 20 {
			m.rt.Fatal("orders are still open although all faults have stopped")
		}
		time.Sleep(m.env.rules.Lease)
		open, err := m.env.store.FailedJobs(context.Background(), true, 1000)
		m.must(err)
		for i, job := range open {
			if i%2 == 0 {
				_, err := m.env.store.RetryOrders(context.Background(), []int64{job.OrderID})
				m.must(err)
			} else {
				m.take([]order.ClaimRequest{{OrderID: job.OrderID, Abandon: true, Actor: "operator:ann"}})
			}
		}
		due, err := m.env.store.DueOrders(context.Background(), 1000)
		m.must(err)
		m.take(due)
		for _, j := range slices.Clone(m.jobs) {
			m.ask(j, "succeeded")
			m.record([]order.Settlement{j.report})
			m.drop(j)
		}
		m.check(m.rt)
	}
	m.compare()
}

func (m *machine) ended() bool {
	for _, id := range m.ids {
		if o := m.env.order(id); !o.Status.Terminal() || !o.DueAt.IsZero() {
			return false
		}
	}
	return true
}

// compare compares every order with its charge.
func (m *machine) compare() {
	for _, id := range m.ids {
		o, account := m.env.order(id), m.env.gateway.key(id)
		if m.lost[id] {
			continue
		}
		if paid := o.Status == order.Paid; paid != account.charged {
			m.rt.Fatalf("order %d is %s, charged: %t", id, o.Status, account.charged)
		}
		if !account.voided && account.charges > 1 {
			m.rt.Fatalf("order %d was charged %d times", id, account.charges)
		}
	}
}

func (m *machine) must(err error) {
	if err != nil {
		m.rt.Fatal(fmt.Errorf("%w (%s)", err, order.CodeOf(err)))
	}
}
