package outbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"orderflow/internal/bus"
	"orderflow/internal/order"
	"orderflow/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testEnv has the SQLite store and the in-process bus, with a subscription to each topic.
type testEnv struct {
	t       *testing.T
	store   *store.Store
	bus     *refusingBus
	jobs    bus.Subscription
	changes bus.Subscription
	keys    int
}

// refusingBus is a bus that refuses the topics that a test sets.
type refusingBus struct {
	*bus.Local
	mu      sync.Mutex
	refuse  map[string]error
	refused int
	largest int // the largest slice published
}

func (g *refusingBus) Publish(ctx context.Context, messages []bus.Message) error {
	g.mu.Lock()
	err := g.refuse[messages[0].Topic]
	if err != nil {
		g.refused++
	}
	g.largest = max(g.largest, len(messages))
	g.mu.Unlock()
	if err != nil {
		return err
	}
	return g.Local.Publish(ctx, messages)
}

func (g *refusingBus) set(topic string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refuse[topic] = err
}

func (g *refusingBus) refusals() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refused
}

func newTestEnv(t *testing.T) *testEnv {
	t.Helper()
	ctx := context.Background()
	s, err := store.Open(ctx, "sqlite:"+filepath.Join(t.TempDir(), "test.db"), store.Options{Rules: order.DefaultRules()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Seed(ctx, store.SeedPlan{SetStock: true, Stock: 100_000}); err != nil {
		t.Fatal(err)
	}
	env := &testEnv{t: t, store: s, bus: &refusingBus{Local: bus.NewLocal(bus.Options{}), refuse: map[string]error{}}}
	if env.jobs, err = env.bus.Subscribe(ctx, bus.TopicJobs); err != nil {
		t.Fatal(err)
	}
	if env.changes, err = env.bus.Subscribe(ctx, bus.TopicChanges); err != nil {
		t.Fatal(err)
	}
	return env
}

func (env *testEnv) close() {
	env.t.Helper()
	if err := errors.Join(env.jobs.Close(), env.changes.Close(), env.bus.Close(), env.store.Close()); err != nil {
		env.t.Error(err)
	}
}

// create places n orders in one transaction.
func (env *testEnv) create(n int) order.EventBatch {
	env.t.Helper()
	drafts := make([]order.Draft, n)
	for i := range drafts {
		env.keys++
		draft, err := order.NewDraft(nil, 1, fmt.Sprintf("key-%d", env.keys), []order.Line{{ProductID: 1, Quantity: 1}}, "")
		if err != nil {
			env.t.Fatal(err)
		}
		draft.Actor, draft.Trace = "user:1", order.Trace{ID: fmt.Sprintf("trace-%d", env.keys), Parent: "00-parent"}
		drafts[i] = draft
	}
	_, batch, err := env.store.CreateOrders(context.Background(), drafts)
	if err != nil {
		env.t.Fatal(err)
	}
	if batch.ID == "" || len(batch.Events) != n {
		env.t.Fatalf("batch %q with %d events, want an id and %d events", batch.ID, len(batch.Events), n)
	}
	return batch
}

// cancel cancels the orders of a batch and returns the events of that transaction.
func (env *testEnv) cancel(created order.EventBatch) order.EventBatch {
	env.t.Helper()
	var requests []order.CancelRequest
	for _, e := range created.Events {
		requests = append(requests, order.CancelRequest{OrderID: e.OrderID, Actor: "user:1"})
	}
	_, batch, err := env.store.CancelOrders(context.Background(), requests)
	if err != nil {
		env.t.Fatal(err)
	}
	return batch
}

func (env *testEnv) publisher(o PublisherOptions) *Publisher {
	o.Bus, o.Marker = env.bus, env.store
	return NewPublisher(o)
}

func (env *testEnv) relay() *Relay {
	return NewRelay(RelayOptions{Bus: env.bus, Store: env.store, Random: rand.NewPCG(1, 2)})
}

// received returns the ids of the messages that arrived; only for a synctest bubble, whose clock waits for the subscription.
func (env *testEnv) received(subscription bus.Subscription) []string {
	env.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Microsecond)
	defer cancel()
	messages, err := subscription.Next(ctx)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		env.t.Fatal(err)
	}
	var ids []string
	for _, m := range messages {
		ids = append(ids, m.ID)
	}
	return ids
}

// unpublished writes the marks and returns the number of unpublished rows.
func (env *testEnv) unpublished() int {
	env.t.Helper()
	ctx := context.Background()
	if err := env.store.FlushPublished(ctx); err != nil {
		env.t.Fatal(err)
	}
	// A lease of no duration only reads.
	batches, err := env.store.LeaseOutbox(ctx, -time.Hour, 0, 10_000)
	if err != nil {
		env.t.Fatal(err)
	}
	return len(batches)
}

// busFull returns the audit's figure for a full bus.
func (env *testEnv) busFull() int64 {
	env.t.Helper()
	findings, err := env.store.Audit(context.Background())
	if err != nil {
		env.t.Fatal(err)
	}
	for _, figure := range findings[7].Figures {
		if figure.Name == "bus full" {
			return figure.Value
		}
	}
	env.t.Fatalf("the audit has no figure for a full bus: %+v", findings[7])
	return 0
}

func ids(batches ...order.EventBatch) []string {
	var list []string
	for _, r := range batches {
		for _, e := range r.Events {
			list = append(list, e.ID())
		}
	}
	return list
}

// start runs a service until stop is called.
func start(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
