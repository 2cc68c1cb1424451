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

// testEnv has the parts of the embedded product that a worker uses: SQLite store, in-process bus, publisher and a fake gateway.
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

// newTestEnv opens a testEnv on its own database file. In a synctest bubble, create and close it there.
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
	env := &testEnv{t: t, store: s, bus: bus.NewLocal(bus.Options{}), rules: rules, gateway: newFakeGateway()}
	env.publisher = env.newPublisher()
	return env
}

func (env *testEnv) newPublisher() *outbox.Publisher {
	return outbox.NewPublisher(outbox.PublisherOptions{Bus: env.bus, Marker: env.store})
}

func (env *testEnv) close() {
	env.t.Helper()
	if err := errors.Join(env.bus.Close(), env.store.Close()); err != nil {
		env.t.Error(err)
	}
}

// options returns the options of a worker.
func (env *testEnv) options() Options {
	return Options{
		Orders: env.store, Gateway: env.gateway, Bus: env.bus, Publisher: env.publisher, Installation: "inst", Node: "worker:test",
		Rules: env.rules, Concurrency: 16,
	}
}

func (env *testEnv) worker(o Options) *Worker {
	env.t.Helper()
	w, err := New(o)
	if err != nil {
		env.t.Fatal(err)
	}
	return w
}

func (env *testEnv) failedJobs() *FailedJobService {
	return NewFailedJobService(FailedJobServiceOptions{Jobs: env.store, Gateway: env.gateway, Publisher: env.publisher, Installation: "inst"})
}

// run runs workers and a publisher until stop is called, which waits for them and checks that all slots are free. The publisher
// stops last. It may be called again afterwards, like the start of another process.
func (env *testEnv) run(workers ...*Worker) (stop func()) {
	env.t.Helper()
	if env.ended {
		env.publisher = env.newPublisher()
	}
	publisher := env.publisher
	ctx, cancel := context.WithCancel(context.Background())
	later, end := context.WithCancel(context.Background())
	var first, last sync.WaitGroup
	for _, w := range workers {
		if err := w.Join(ctx); err != nil {
			env.t.Fatal(err)
		}
		first.Go(func() {
			if err := w.Run(ctx); err != nil {
				env.t.Errorf("worker: %v", err)
			}
		})
	}
	last.Go(func() {
		if err := publisher.Run(later); err != nil {
			env.t.Errorf("publisher: %v", err)
		}
	})
	return func() {
		cancel()
		first.Wait()
		end()
		last.Wait()
		env.ended = true
		for _, w := range workers {
			if taken, admitted := w.inFlight(), w.charges.admitted.Load()+w.voids.admitted.Load(); taken != 0 || admitted != 0 {
				env.t.Errorf("%d slots and %d admitted claims remain after the end", taken, admitted)
			}
		}
	}
}

// queueDepth returns the depth of the workers' queue.
func (env *testEnv) queueDepth() bus.Depth {
	env.t.Helper()
	depth, err := env.bus.Depth(context.Background(), bus.TopicJobs, bus.GroupWorkers)
	if err != nil {
		env.t.Fatal(err)
	}
	return depth
}

// create places n orders of one unit each and publishes their events.
func (env *testEnv) create(n int) []int64 {
	env.t.Helper()
	drafts := make([]order.Draft, n)
	for i := range drafts {
		env.keys++
		product := int64(1 + env.keys%4)
		d, err := order.NewDraft(nil, 1, fmt.Sprintf("key-%d", env.keys), []order.Line{{ProductID: product, Quantity: 1}}, "tok_secret")
		if err != nil {
			env.t.Fatal(err)
		}
		d.Actor, d.Trace = "user:1", order.Trace{ID: fmt.Sprintf("trace-%d", env.keys)}
		drafts[i] = d
	}
	placed, events, err := env.store.CreateOrders(context.Background(), drafts)
	if err != nil {
		env.t.Fatal(err)
	}
	ids := make([]int64, n)
	for i, p := range placed {
		if p.Err != nil {
			env.t.Fatal(p.Err)
		}
		ids[i] = p.Order.ID
	}
	env.publisher.Publish(events)
	return ids
}

// flush publishes all batches in the publisher's queue.
func (env *testEnv) flush() {
	env.t.Helper()
	// The bus keeps messages only for an existing group.
	group, err := env.bus.Group(context.Background(), bus.TopicJobs, bus.GroupWorkers)
	if err != nil {
		env.t.Fatal(err)
	}
	ended, end := context.WithCancel(context.Background())
	end()
	env.ended = true
	if err := errors.Join(env.publisher.Run(ended), group.Close()); err != nil {
		env.t.Fatal(err)
	}
}

func (env *testEnv) order(id int64) *order.Order {
	env.t.Helper()
	o, err := env.store.Order(context.Background(), id)
	if err != nil {
		env.t.Fatal(err)
	}
	return o
}

// expect checks the status of an order.
func (env *testEnv) expect(id int64, want order.Status) *order.Order {
	env.t.Helper()
	o := env.order(id)
	if o.Status != want {
		env.t.Fatalf("order %d is %s, want %s (claims %d, attempts left %d, due %v)", id, o.Status, want, o.Claims, o.AttemptsLeft, o.DueAt)
	}
	return o
}

// claim claims one order as another worker.
func (env *testEnv) claim(id int64) order.Claimed {
	env.t.Helper()
	claimed, _, err := env.store.ClaimOrders(context.Background(), []order.ClaimRequest{{OrderID: id, Actor: "worker:other"}})
	if err != nil {
		env.t.Fatal(err)
	}
	return claimed[0]
}

// report settles one charge as another worker.
func (env *testEnv) report(c order.Claimed, outcome order.Outcome) {
	env.t.Helper()
	s := settlement(c, "worker:other")
	s.Outcome = outcome
	changed, events, err := env.store.SettleOrders(context.Background(), []order.Settlement{s})
	if err == nil {
		err = changed[0].Err
	}
	if err != nil {
		env.t.Fatal(err)
	}
	env.publisher.Publish(events)
}

// stock returns the stock of a product.
func (env *testEnv) stock(product int64) int64 {
	env.t.Helper()
	products, err := env.store.Products(context.Background())
	if err != nil {
		env.t.Fatal(err)
	}
	for _, p := range products {
		if p.ID == product {
			return p.Stock
		}
	}
	env.t.Fatalf("no product %d", product)
	return 0
}

// audit checks the invariants.
func (env *testEnv) audit() {
	env.t.Helper()
	if violation := env.violations(); violation != "" {
		env.t.Fatal(violation)
	}
}

// violations describes a violated invariant; "" when all hold.
func (env *testEnv) violations() string {
	findings, err := env.store.Audit(context.Background())
	if err != nil {
		return err.Error()
	}
	for _, f := range findings {
		if f.ViolationCount > 0 || len(f.Violations) > 0 {
			return fmt.Sprintf("invariant %d (%s) is violated by %d rows: %v", f.Number, f.Name, f.ViolationCount, f.Violations)
		}
	}
	return ""
}

// fakeGateway charges each key once and records its calls. The test scripts its answers.
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

// account is the state of a key.
type account struct {
	charges int // times that it was charged: never above 1
	answer  order.Outcome
	charged bool // at present
	voided  bool // ever
	asked   int  // requests to charge
}

// call is one call, in order of arrival.
type call struct {
	kind    order.PaymentKind
	orderID int64
	attempt int
	at      time.Time
}

func newFakeGateway() *fakeGateway { return &fakeGateway{accounts: map[string]*account{}} }

// setCharge scripts later charges; nil: they succeed.
func (g *fakeGateway) setCharge(fate func(ctx context.Context, r payment.Request) (order.Outcome, error)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.onCharge = fate
}

// setVoid scripts later voids; nil: they succeed.
func (g *fakeGateway) setVoid(fate func(ctx context.Context, r payment.Request) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.onVoid = fate
}

func (g *fakeGateway) script() (
	func(ctx context.Context, r payment.Request) (order.Outcome, error), func(ctx context.Context, r payment.Request) error,
) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.onCharge, g.onVoid
}

func (g *fakeGateway) account(key string) *account {
	if g.accounts[key] == nil {
		g.accounts[key] = &account{}
	}
	return g.accounts[key]
}

func (g *fakeGateway) begin(kind order.PaymentKind, r payment.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls = append(g.calls, call{kind, r.OrderID, r.Attempt, time.Now()})
	g.inFlight++
	g.most = max(g.most, g.inFlight)
	if kind == order.KindCharge {
		g.account(r.Key).asked++
	}
}

func (g *fakeGateway) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inFlight--
}

func (g *fakeGateway) Charge(ctx context.Context, r payment.Request) (payment.Result, error) {
	g.begin(order.KindCharge, r)
	defer g.end()
	outcome := order.Succeeded
	if fate, _ := g.script(); fate != nil {
		var err error
		if outcome, err = fate(ctx, r); err != nil {
			return payment.Result{}, err
		}
	}
	return g.charge(r.Key, outcome), nil
}

// charge charges a key, unless it was charged or is blocked.
func (g *fakeGateway) charge(key string, outcome order.Outcome) payment.Result {
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.account(key)
	if a.voided && g.blocks {
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

func (g *fakeGateway) Void(ctx context.Context, r payment.Request) (payment.Result, error) {
	g.begin(order.KindVoid, r)
	defer g.end()
	if _, fate := g.script(); fate != nil {
		if err := fate(ctx, r); err != nil {
			return payment.Result{}, err
		}
	}
	g.void(r.Key)
	return payment.Result{Outcome: order.Succeeded, Reference: "void-" + r.Key}, nil
}

func (g *fakeGateway) void(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.account(key)
	a.charged, a.voided = false, true
}

func (g *fakeGateway) Features() payment.Features {
	return payment.Features{VoidBlocksCharge: g.blocks}
}

// callsFor returns the calls for one order.
func (g *fakeGateway) callsFor(id int64) []call {
	g.mu.Lock()
	defer g.mu.Unlock()
	var found []call
	for _, c := range g.calls {
		if c.orderID == id {
			found = append(found, c)
		}
	}
	return found
}

func (g *fakeGateway) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.calls)
}

// key returns a copy of the account of an order's key.
func (g *fakeGateway) key(id int64) account {
	g.mu.Lock()
	defer g.mu.Unlock()
	return *g.account(fmt.Sprintf("inst-%d", id))
}

// slow waits for d, or until ctx ends.
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
