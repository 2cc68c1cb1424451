package worker

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"orderflow/internal/bus"
	"orderflow/internal/order"
	"orderflow/internal/outbox"
	"orderflow/internal/payment"
	"orderflow/internal/store"
)

// template is a database file with the schema and the sample data: migrated once, copied for each test.
var template []byte

func TestMain(m *testing.M) {
	flag.Parse()
	err := prepare()
	if raced && err == nil {
		// The property test has one goroutine: the race detector finds nothing in it and makes it very slow.
		err = flag.Set("rapid.checks", "10")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func prepare() error {
	dir, err := os.MkdirTemp("", "worker")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // the system clears the folder of temporary files
	path := filepath.Join(dir, "template.db")
	ctx := context.Background()
	s, err := store.Open(ctx, "sqlite:"+path, store.Options{Rules: order.DefaultRules()})
	if err != nil {
		return err
	}
	err = errors.Join(s.Migrate(ctx), s.Seed(ctx, store.SeedPlan{SetStock: true, Stock: plenty}), s.Close())
	if err != nil {
		return err
	}
	template, err = os.ReadFile(path)
	return err
}

// house is the embedded product without its doors: the SQLite store, the in-process bus, the publisher and a bank.
type testEnv struct {
	t         testing.TB
	store     *store.Store
	bus       *bus.Local
	publisher *outbox.Publisher
	gateway   *fakeGateway
	rules     order.Rules
	keys      int
	ended     bool // the publisher has been run
}

const plenty = 1_000_000

// newTestEnv opens a house on a file of its own; inside a synctest bubble it must be made, and closed, there.
func newTestEnv(t testing.TB) *testEnv {
	t.Helper()
	rules := order.DefaultRules()
	path := filepath.Join(t.TempDir(), "test.db")
	if err := os.WriteFile(path, template, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(context.Background(), "sqlite:"+path, store.Options{Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	h := &testEnv{t: t, store: s, bus: bus.NewLocal(bus.Options{}), rules: rules, gateway: newFakeGateway()}
	h.publisher = h.newPublisher()
	return h
}

func (h *testEnv) newPublisher() *outbox.Publisher {
	return outbox.NewPublisher(outbox.PublisherOptions{Bus: h.bus, Marker: h.store})
}

func (h *testEnv) close() {
	h.t.Helper()
	if err := errors.Join(h.bus.Close(), h.store.Close()); err != nil {
		h.t.Error(err)
	}
}

// options are those of a worker of this house.
func (h *testEnv) options() Options {
	return Options{
		Orders: h.store, Gateway: h.gateway, Bus: h.bus, Publisher: h.publisher, Installation: "inst", Node: "worker:test",
		Rules: h.rules, Concurrency: 16,
	}
}

func (h *testEnv) worker(o Options) *Worker {
	h.t.Helper()
	w, err := New(o)
	if err != nil {
		h.t.Fatal(err)
	}
	return w
}

func (h *testEnv) failedJobs() *FailedJobService {
	return NewFailedJobService(FailedJobServiceOptions{Jobs: h.store, Gateway: h.gateway, Publisher: h.publisher, Installation: "inst"})
}

// run runs workers and a publisher until stop is called, which waits for them and checks that they ended well. The
// publisher ends last. It may be called again afterwards, as another process would start.
func (h *testEnv) run(workers ...*Worker) (stop func()) {
	h.t.Helper()
	if h.ended {
		h.publisher = h.newPublisher()
	}
	publisher := h.publisher
	ctx, cancel := context.WithCancel(context.Background())
	later, end := context.WithCancel(context.Background())
	var first, last sync.WaitGroup
	for _, w := range workers {
		if err := w.Join(ctx); err != nil {
			h.t.Fatal(err)
		}
		first.Go(func() {
			if err := w.Run(ctx); err != nil {
				h.t.Errorf("worker: %v", err)
			}
		})
	}
	last.Go(func() {
		if err := publisher.Run(later); err != nil {
			h.t.Errorf("publisher: %v", err)
		}
	})
	return func() {
		cancel()
		first.Wait()
		end()
		last.Wait()
		h.ended = true
		for _, w := range workers {
			if taken, entering := w.inFlight(), w.charges.admitted.Load()+w.voids.admitted.Load(); taken != 0 || entering != 0 {
				h.t.Errorf("%d slots are still taken after the end, %d claims still entering", taken, entering)
			}
		}
	}
}

// unread is what the bus still has for the workers.
func (h *testEnv) queueDepth() bus.Depth {
	h.t.Helper()
	depth, err := h.bus.Depth(context.Background(), bus.TopicJobs, bus.GroupWorkers)
	if err != nil {
		h.t.Fatal(err)
	}
	return depth
}

// create places n orders of one piece each and announces them.
func (h *testEnv) create(n int) []int64 {
	h.t.Helper()
	drafts := make([]order.Draft, n)
	for i := range drafts {
		h.keys++
		product := int64(1 + h.keys%4)
		d, err := order.NewDraft(nil, 1, fmt.Sprintf("key-%d", h.keys), []order.Line{{ProductID: product, Quantity: 1}}, "tok_secret")
		if err != nil {
			h.t.Fatal(err)
		}
		d.Actor, d.Trace = "user:1", order.Trace{ID: fmt.Sprintf("trace-%d", h.keys)}
		drafts[i] = d
	}
	placed, receipt, err := h.store.CreateOrders(context.Background(), drafts)
	if err != nil {
		h.t.Fatal(err)
	}
	ids := make([]int64, n)
	for i, p := range placed {
		if p.Err != nil {
			h.t.Fatal(p.Err)
		}
		ids[i] = p.Order.ID
	}
	h.publisher.Publish(receipt)
	return ids
}

// flush brings all that waits for the publisher to the bus.
func (h *testEnv) flush() {
	h.t.Helper()
	// Somebody has to be in the group for the bus to keep the messages.
	group, err := h.bus.Group(context.Background(), bus.TopicJobs, bus.GroupWorkers)
	if err != nil {
		h.t.Fatal(err)
	}
	ended, end := context.WithCancel(context.Background())
	end()
	h.ended = true
	if err := errors.Join(h.publisher.Run(ended), group.Close()); err != nil {
		h.t.Fatal(err)
	}
}

func (h *testEnv) order(id int64) *order.Order {
	h.t.Helper()
	o, err := h.store.Order(context.Background(), id)
	if err != nil {
		h.t.Fatal(err)
	}
	return o
}

// expect checks an order's status.
func (h *testEnv) expect(id int64, want order.Status) *order.Order {
	h.t.Helper()
	o := h.order(id)
	if o.Status != want {
		h.t.Fatalf("order %d is %s, want %s (attempts %d, tries left %d, due %v)", id, o.Status, want, o.Claims, o.AttemptsLeft, o.DueAt)
	}
	return o
}

// claim claims one order behind the workers' back.
func (h *testEnv) claim(id int64) order.Claimed {
	h.t.Helper()
	claimed, _, err := h.store.ClaimOrders(context.Background(), []order.ClaimRequest{{OrderID: id, Actor: "worker:other"}})
	if err != nil {
		h.t.Fatal(err)
	}
	return claimed[0]
}

// report settles one charge behind the workers' back.
func (h *testEnv) report(c order.Claimed, outcome order.Outcome) {
	h.t.Helper()
	s := settlement(c, "worker:other")
	s.Outcome = outcome
	changed, receipt, err := h.store.SettleOrders(context.Background(), []order.Settlement{s})
	if err == nil {
		err = changed[0].Err
	}
	if err != nil {
		h.t.Fatal(err)
	}
	h.publisher.Publish(receipt)
}

// stock is what is left of a product.
func (h *testEnv) stock(product int64) int64 {
	h.t.Helper()
	products, err := h.store.Products(context.Background())
	if err != nil {
		h.t.Fatal(err)
	}
	for _, p := range products {
		if p.ID == product {
			return p.Stock
		}
	}
	h.t.Fatalf("no product %d", product)
	return 0
}

// audit proves the books, and the bank against them.
func (h *testEnv) audit() {
	h.t.Helper()
	if fault := h.violations(); fault != "" {
		h.t.Fatal(fault)
	}
}

// books says what is wrong with the books; "" when they are right.
func (h *testEnv) violations() string {
	findings, err := h.store.Audit(context.Background())
	if err != nil {
		return err.Error()
	}
	for _, f := range findings {
		if f.ViolationCount > 0 || len(f.Violations) > 0 {
			return fmt.Sprintf("invariant %d (%s) is broken by %d: %v", f.Number, f.Name, f.ViolationCount, f.Violations)
		}
	}
	return ""
}

// bank is a gateway that remembers: it charges a key once, whoever asks, and counts what it was asked. Its answers are
// scripted by the test.
type fakeGateway struct {
	blocks bool // a voided key can never be charged

	mu       sync.Mutex
	onCharge func(ctx context.Context, r payment.Request) (order.Outcome, error) // nil: succeeded
	onVoid   func(ctx context.Context, r payment.Request) error                  // nil: succeeded
	accounts map[string]*account
	calls    []call
	inFlight int
	most     int // the most calls in flight
}

// account is what the bank knows of a key.
type account struct {
	charges int // money taken: never above 1
	answer  order.Outcome
	charged bool // now
	voided  bool // ever
	asked   int  // charges asked for
}

// call is one call, in order of arrival.
type call struct {
	kind    order.PaymentKind
	orderID int64
	attempt int
	at      time.Time
}

func newFakeGateway() *fakeGateway { return &fakeGateway{accounts: map[string]*account{}} }

// says scripts the charges from now on; nil: they succeed.
func (b *fakeGateway) setCharge(fate func(ctx context.Context, r payment.Request) (order.Outcome, error)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.onCharge = fate
}

// voids scripts the voids from now on; nil: they succeed.
func (b *fakeGateway) setVoid(fate func(ctx context.Context, r payment.Request) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.onVoid = fate
}

func (b *fakeGateway) script() (
	func(ctx context.Context, r payment.Request) (order.Outcome, error), func(ctx context.Context, r payment.Request) error,
) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.onCharge, b.onVoid
}

func (b *fakeGateway) account(key string) *account {
	if b.accounts[key] == nil {
		b.accounts[key] = &account{}
	}
	return b.accounts[key]
}

func (b *fakeGateway) begin(kind order.PaymentKind, r payment.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = append(b.calls, call{kind, r.OrderID, r.Attempt, time.Now()})
	b.inFlight++
	b.most = max(b.most, b.inFlight)
	if kind == order.KindCharge {
		b.account(r.Key).asked++
	}
}

func (b *fakeGateway) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inFlight--
}

func (b *fakeGateway) Charge(ctx context.Context, r payment.Request) (payment.Result, error) {
	b.begin(order.KindCharge, r)
	defer b.end()
	outcome := order.Succeeded
	if fate, _ := b.script(); fate != nil {
		var err error
		if outcome, err = fate(ctx, r); err != nil {
			return payment.Result{}, err
		}
	}
	return b.charge(r.Key, outcome), nil
}

// charge moves the money, unless that was done or is blocked.
func (b *fakeGateway) charge(key string, outcome order.Outcome) payment.Result {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.account(key)
	if a.voided && b.blocks {
		return payment.Result{Outcome: order.Declined, Reason: "voided"}
	}
	if a.answer == "" {
		a.answer = outcome
	}
	if a.answer == order.Declined {
		return payment.Result{Outcome: order.Declined, Reason: "card declined"}
	}
	if !a.charged {
		a.charged = true
		a.charges++
	}
	return payment.Result{Outcome: order.Succeeded, Reference: "ref-" + key}
}

func (b *fakeGateway) Void(ctx context.Context, r payment.Request) (payment.Result, error) {
	b.begin(order.KindVoid, r)
	defer b.end()
	if _, fate := b.script(); fate != nil {
		if err := fate(ctx, r); err != nil {
			return payment.Result{}, err
		}
	}
	b.void(r.Key)
	return payment.Result{Outcome: order.Succeeded, Reference: "void-" + r.Key}, nil
}

func (b *fakeGateway) void(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.account(key)
	a.charged, a.voided = false, true
}

func (b *fakeGateway) Features() payment.Features {
	return payment.Features{VoidBlocksCharge: b.blocks}
}

// of returns the calls for one order.
func (b *fakeGateway) callsFor(id int64) []call {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []call
	for _, c := range b.calls {
		if c.orderID == id {
			found = append(found, c)
		}
	}
	return found
}

func (b *fakeGateway) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.calls)
}

// key is a copy of what the bank knows of an order's key.
func (b *fakeGateway) key(id int64) account {
	b.mu.Lock()
	defer b.mu.Unlock()
	return *b.account(fmt.Sprintf("inst-%d", id))
}

// slow is a wait that keeps to its context.
func slow(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
