package outbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"orderflow/internal/bus"
	"orderflow/internal/order"
	"orderflow/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// desk is what the tests work on: the SQLite store and the in-process bus, with a reader of each topic.
type testEnv struct {
	t       *testing.T
	store   *store.Store
	bus     *refusingBus
	jobs    bus.Subscription
	changes bus.Subscription
	keys    int
}

// gate is a bus that refuses a topic when the test says so.
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
	d := &testEnv{t: t, store: s, bus: &refusingBus{Local: bus.NewLocal(bus.Options{}), refuse: map[string]error{}}}
	if d.jobs, err = d.bus.Subscribe(ctx, bus.TopicJobs); err != nil {
		t.Fatal(err)
	}
	if d.changes, err = d.bus.Subscribe(ctx, bus.TopicChanges); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *testEnv) close() {
	d.t.Helper()
	if err := errors.Join(d.jobs.Close(), d.changes.Close(), d.bus.Close(), d.store.Close()); err != nil {
		d.t.Error(err)
	}
}

// create places n orders in one transaction.
func (d *testEnv) create(n int) order.EventBatch {
	d.t.Helper()
	drafts := make([]order.Draft, n)
	for i := range drafts {
		d.keys++
		draft, err := order.NewDraft(nil, 1, fmt.Sprintf("key-%d", d.keys), []order.Line{{ProductID: 1, Quantity: 1}}, "")
		if err != nil {
			d.t.Fatal(err)
		}
		draft.Actor, draft.Trace = "user:1", order.Trace{ID: fmt.Sprintf("trace-%d", d.keys), Parent: "00-parent"}
		drafts[i] = draft
	}
	_, receipt, err := d.store.CreateOrders(context.Background(), drafts)
	if err != nil {
		d.t.Fatal(err)
	}
	if receipt.ID == "" || len(receipt.Events) != n {
		d.t.Fatalf("receipt %q with %d events, want an id and %d", receipt.ID, len(receipt.Events), n)
	}
	return receipt
}

// cancel cancels the orders of a receipt and returns what that owes.
func (d *testEnv) cancel(created order.EventBatch) order.EventBatch {
	d.t.Helper()
	var requests []order.CancelRequest
	for _, e := range created.Events {
		requests = append(requests, order.CancelRequest{OrderID: e.OrderID, Actor: "user:1"})
	}
	_, receipt, err := d.store.CancelOrders(context.Background(), requests)
	if err != nil {
		d.t.Fatal(err)
	}
	return receipt
}

func (d *testEnv) publisher(o PublisherOptions) *Publisher {
	o.Bus, o.Marker = d.bus, d.store
	return NewPublisher(o)
}

func (d *testEnv) relay() *Relay {
	return NewRelay(RelayOptions{Bus: d.bus, Store: d.store, Random: rand.NewPCG(1, 2)})
}

// came returns the ids of what a tail has got since; in a bubble, where the clock waits for the tail.
func (d *testEnv) received(tail bus.Subscription) []string {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Microsecond)
	defer cancel()
	messages, err := tail.Next(ctx)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		d.t.Fatal(err)
	}
	var ids []string
	for _, m := range messages {
		ids = append(ids, m.ID)
	}
	return ids
}

// owed is how many receipts are still unpaid, once the marks are written.
func (d *testEnv) unpublished() int {
	d.t.Helper()
	ctx := context.Background()
	if err := d.store.FlushPublished(ctx); err != nil {
		d.t.Fatal(err)
	}
	// Leasing for no time at all only looks.
	receipts, err := d.store.LeaseOutbox(ctx, -time.Hour, 0, 10_000)
	if err != nil {
		d.t.Fatal(err)
	}
	return len(receipts)
}

// busFull is the audit's figure of a bus that is full.
func (d *testEnv) busFull() int64 {
	d.t.Helper()
	findings, err := d.store.Audit(context.Background())
	if err != nil {
		d.t.Fatal(err)
	}
	for _, figure := range findings[7].Figures {
		if figure.Name == "bus full" {
			return figure.Value
		}
	}
	d.t.Fatalf("no figure of a full bus in %+v", findings[7])
	return 0
}

func ids(receipts ...order.EventBatch) []string {
	var list []string
	for _, r := range receipts {
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

func TestPublisherBringsEachEventToItsTopicAndPays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestEnv(t)
		defer d.close()
		p := d.publisher(PublisherOptions{})
		stop := start(t, p.Run)
		defer stop()
		created := d.create(3)
		p.Publish(created)
		cancelled := d.cancel(created)
		p.Publish(cancelled)
		synctest.Wait()
		if diff := cmp.Diff(ids(created), d.received(d.jobs)); diff != "" {
			t.Errorf("work (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(ids(cancelled), d.received(d.changes)); diff != "" {
			t.Errorf("news (-want +got):\n%s", diff)
		}
		if n := d.unpublished(); n != 0 {
			t.Errorf("%d receipts are still owed", n)
		}
	})
}

func TestMessagesCarryTheirEvents(t *testing.T) {
	at := time.Date(2030, 1, 2, 3, 4, 5, 6000, time.UTC)
	created := order.Event{
		OrderID: 42, Seq: 1, Type: order.OrderCreated, UserID: 7, Total: 1999, Currency: "USD", Actor: "user:7",
		Trace: order.Trace{ID: "abc", Parent: "00-0af7-b7ad-01"}, At: at,
	}
	failed := order.Event{OrderID: 41, Seq: 3, Type: order.OrderFailed, UserID: 7, Currency: "USD", Reason: "déclinée", Actor: "worker:a", At: at}
	work, news := messagesByTopic([]order.EventBatch{{ID: "r", Events: []order.Event{created, failed}}}, 2)
	if len(work.messages) != 1 || len(news.messages) != 1 {
		t.Fatalf("%d messages of work and %d of news, want one of each", len(work.messages), len(news.messages))
	}
	for i, got := range []bus.Message{work.messages[0], news.messages[0]} {
		want := []order.Event{created, failed}[i]
		if got.ID != want.ID() || got.Key != fmt.Sprint(want.OrderID) || got.Topic != topicOf(want.Type) || got.Traceparent != want.Trace.Parent {
			t.Errorf("message %+v does not fit event %s", got, want.ID())
		}
		if cap(got.Body) != len(got.Body) {
			t.Errorf("the body of %s reaches into the next one", got.ID)
		}
		event, err := order.ParseEvent(got.Body)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, event); diff != "" {
			t.Errorf("event %s (-want +got):\n%s", want.ID(), diff)
		}
	}
	for _, kind := range []order.EventType{order.OrderProcessing, order.OrderPaid, order.OrderFailed, order.OrderCancelled} {
		if topicOf(kind) != bus.TopicChanges {
			t.Errorf("%s goes to %s, want news", kind, topicOf(kind))
		}
	}
}

// News without an id goes out, and nothing is paid for it.
func TestNewsIsNotPaidFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestEnv(t)
		defer d.close()
		paid := &markedIDs{}
		p := NewPublisher(PublisherOptions{Bus: d.bus, Marker: paid})
		stop := start(t, p.Run)
		defer stop()
		event := order.Event{OrderID: 1, Seq: 2, Type: order.OrderProcessing, Currency: "USD"}
		p.Publish(order.EventBatch{Events: []order.Event{event}})
		p.Publish(order.EventBatch{})
		synctest.Wait()
		if got := d.received(d.changes); !slices.Equal(got, []string{"1-2"}) {
			t.Errorf("news %v, want 1-2", got)
		}
		if len(paid.ids) != 0 {
			t.Errorf("paid %q, want nothing", paid.ids)
		}
	})
}

// debts remembers what was paid.
type markedIDs struct{ ids []string }

func (d *markedIDs) MarkPublished(ids []string) { d.ids = append(d.ids, ids...) }

// A refused topic leaves its debt, holds up no other topic, and the relay pays it once the bus takes it again.
func TestRefusedIsOwedUntilTheRelayPays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestEnv(t)
		defer d.close()
		p, r := d.publisher(PublisherOptions{}), d.relay()
		defer start(t, p.Run)()
		d.bus.set(bus.TopicJobs, bus.ErrFull)
		created := d.create(2)
		other := d.create(1)
		cancelled := d.cancel(other)
		p.Publish(created)
		p.Publish(other)
		p.Publish(cancelled)
		synctest.Wait()
		if got := d.received(d.changes); !slices.Equal(got, ids(cancelled)) {
			t.Errorf("news %v, want %v", got, ids(cancelled))
		}
		if n := d.unpublished(); n != 2 {
			t.Fatalf("%d receipts are owed, want the 2 that were refused", n)
		}
		time.Sleep(relayAge)
		done, err := r.runOnce(t.Context())
		if !errors.Is(err, bus.ErrFull) || done.found != 2 || done.delivered != 0 {
			t.Fatalf("round %+v, error %v; want 2 found, refused", done, err)
		}
		if got := d.busFull(); got != 1 {
			t.Errorf("the audit's figure of a full bus is %d, want 1", got)
		}
		d.bus.set(bus.TopicJobs, nil)
		if done, err = r.runOnce(t.Context()); err != nil || done.found != 0 {
			t.Fatalf("round %+v, error %v; want nothing while the lease lives", done, err)
		}
		time.Sleep(relayLease)
		if done, err = r.runOnce(t.Context()); err != nil || done.delivered != 2 {
			t.Fatalf("round %+v, error %v; want 2 delivered", done, err)
		}
		got := d.received(d.jobs)
		slices.Sort(got) // the two rows are of the same moment
		if !slices.Equal(got, ids(created, other)) {
			t.Errorf("work %v, want %v", got, ids(created, other))
		}
		if n := d.unpublished(); n != 0 {
			t.Errorf("%d receipts are still owed", n)
		}
	})
}

// A process that died after its commit, at any point, leaves a row that any other process's relay publishes.
func TestARelayPaysForADeadProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestEnv(t)
		defer d.close()
		dead := d.create(3) // its receipt died with the process
		younger := relayAge - time.Second
		time.Sleep(younger)
		r := d.relay()
		if done, err := r.runOnce(t.Context()); err != nil || done.found != 0 {
			t.Fatalf("round %+v, error %v; want the row left to its publisher for %s", done, err, relayAge)
		}
		defer start(t, r.Run)()
		defer start(t, d.relay().Run)()
		time.Sleep(relayAge)
		synctest.Wait()
		if got := d.received(d.jobs); !slices.Equal(got, ids(dead)) {
			t.Errorf("work %v, want %v once: two relays share by lease", got, ids(dead))
		}
		if n := d.unpublished(); n != 0 {
			t.Errorf("%d receipts are still owed", n)
		}
	})
}

func TestTheQueueIsBoundedAndTheRestStaysOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestEnv(t)
		defer d.close()
		p := d.publisher(PublisherOptions{Queue: 5})
		first, second, third := d.create(3), d.create(3), d.create(2)
		p.Publish(first)
		p.Publish(second) // no room
		p.Publish(third)
		if n := p.Waiting(); n != 5 {
			t.Errorf("%d events wait, want 5", n)
		}
		stop := start(t, p.Run)
		synctest.Wait()
		stop()
		if got, want := d.received(d.jobs), ids(first, third); !slices.Equal(got, want) {
			t.Errorf("work %v, want %v", got, want)
		}
		if n := d.unpublished(); n != 1 {
			t.Errorf("%d receipts are owed, want the one without room", n)
		}
	})
}

func TestAShutdownPublishesWhatWaitsAndNothingLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestEnv(t)
		defer d.close()
		p := d.publisher(PublisherOptions{})
		waiting := d.create(2)
		p.Publish(waiting)
		<-p.wake // so that nothing but the shutdown makes it look
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if got := d.received(d.jobs); !slices.Equal(got, ids(waiting)) {
			t.Errorf("work %v, want %v", got, ids(waiting))
		}
		p.Publish(d.create(1))
		if n := p.Waiting(); n != 0 {
			t.Errorf("%d events wait for a publisher that has ended", n)
		}
		if n := d.unpublished(); n != 1 {
			t.Errorf("%d receipts are owed, want the late one", n)
		}
	})
}

// A bus that does not answer holds up neither Publish nor, for long, a shutdown.
func TestABusThatHangsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestEnv(t)
		defer d.close()
		p := NewPublisher(PublisherOptions{Bus: hanging{}, Marker: d.store})
		stop := start(t, p.Run)
		for range 3 {
			p.Publish(d.create(1))
		}
		synctest.Wait()
		began := time.Now()
		stop()
		if took := time.Since(began); took > 2*deliverTimeout {
			t.Errorf("stopped after %s, want at most %s", took, 2*deliverTimeout)
		}
		if n := d.unpublished(); n != 3 {
			t.Errorf("%d receipts are owed, want 3", n)
		}
	})
}

// hanging is a bus whose Publish waits for its context.
type hanging struct{ bus.Bus }

func (hanging) Publish(ctx context.Context, _ []bus.Message) error {
	<-ctx.Done()
	return ctx.Err()
}

// Large queues go out in bites, in order, and a receipt is never split.
func TestDeliveryGoesInBites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestEnv(t)
		defer d.close()
		p := d.publisher(PublisherOptions{})
		var receipts []order.EventBatch
		for range 8 {
			receipts = append(receipts, d.create(300))
		}
		for _, r := range receipts {
			p.Publish(r)
		}
		stop := start(t, p.Run)
		synctest.Wait()
		stop()
		if diff := cmp.Diff(ids(receipts...), d.received(d.jobs)); diff != "" {
			t.Errorf("work (-want +got):\n%s", diff)
		}
		if d.bus.largest != 900 {
			t.Errorf("the largest Publish had %d events, want 3 receipts of 300", d.bus.largest)
		}
		if n := d.unpublished(); n != 0 {
			t.Errorf("%d receipts are still owed", n)
		}
	})
}

// A bus with room for some of a bite takes some, whole receipts, and nothing twice.
func TestABiteIsHalvedUntilItFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestEnv(t)
		defer d.close()
		small := bus.NewLocal(bus.Options{Buffer: 100})
		group, err := small.Group(t.Context(), bus.TopicJobs, bus.GroupWorkers)
		if err != nil {
			t.Fatal(err)
		}
		p := NewPublisher(PublisherOptions{Bus: small, Marker: d.store})
		var receipts []order.EventBatch
		for _, size := range []int{30, 40, 50, 20, 101} { // 30 + 40 + 20 fit
			receipts = append(receipts, d.create(size))
		}
		receipts = append(receipts, d.cancel(receipts[2])) // news for which nobody listens
		for _, r := range receipts {
			p.Publish(r)
		}
		stop := start(t, p.Run)
		synctest.Wait()
		stop()
		deliveries, err := group.Fetch(t.Context(), 1000)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]string, len(deliveries))
		for i, delivery := range deliveries {
			got[i] = delivery.ID
		}
		if diff := cmp.Diff(ids(receipts[0], receipts[1], receipts[3]), got); diff != "" {
			t.Errorf("work (-want +got):\n%s", diff)
		}
		if n := d.unpublished(); n != 2 {
			t.Errorf("%d receipts are owed, want the 2 without room", n)
		}
		if err := errors.Join(group.Close(), small.Close()); err != nil {
			t.Error(err)
		}
	})
}

// More rows than a round takes are paid without a pause between the rounds, and what is paid is purged after a minute.
func TestRelayCatchesUpAndPurges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestEnv(t)
		defer d.close()
		const rows = 3*relayBatchSize + 1
		for range rows {
			d.create(1)
		}
		time.Sleep(relayAge)
		ledger := &countingStore{Store: d.store}
		defer start(t, NewRelay(RelayOptions{Bus: d.bus, Store: ledger}).Run)()
		synctest.Wait() // the clock stands still: four rounds, no pause
		if got := d.received(d.jobs); len(got) != rows {
			t.Errorf("%d of %d events came without a pause", len(got), rows)
		}
		if n := d.unpublished(); n != 0 {
			t.Errorf("%d receipts are still owed", n)
		}
		time.Sleep(purgeAge - 2*time.Second)
		synctest.Wait()
		if n := ledger.purged.Load(); n != 0 {
			t.Errorf("%d rows were purged before the minute was over", n)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := ledger.purged.Load(); n != rows {
			t.Errorf("%d rows were purged after the minute, want all %d", n, rows)
		}
	})
}

// While the bus refuses, a full round is no reason to go on at once.
func TestRelayPausesWhenItIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestEnv(t)
		defer d.close()
		for range 3 * relayBatchSize {
			d.create(1)
		}
		d.bus.set(bus.TopicJobs, bus.ErrFull)
		time.Sleep(relayAge)
		defer start(t, d.relay().Run)()
		synctest.Wait()
		const refusals = 2*relayBatchSize - 1 // of one round, halved down to single receipts
		if n := d.bus.refusals(); n != refusals {
			t.Errorf("%d refusals without a pause, want the %d of one round", n, refusals)
		}
		time.Sleep(10 * relayPause)
		synctest.Wait()
		// Three rounds lease all rows; from then on there is nothing to publish until the leases run out.
		if n := d.bus.refusals(); n != 3*refusals {
			t.Errorf("%d refusals, want the %d of three rounds", n, 3*refusals)
		}
	})
}

// sweeper is a ledger that counts what is purged.
type countingStore struct {
	*store.Store
	purged atomic.Int64
}

func (s *countingStore) PurgeOutbox(ctx context.Context, age time.Duration, limit int) (int, error) {
	n, err := s.Store.PurgeOutbox(ctx, age, limit)
	s.purged.Add(int64(n))
	return n, err
}

// A receipt that cannot be read holds up neither those that can nor the purge.
func TestAnUnreadableReceiptHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestEnv(t)
		defer d.close()
		good := d.create(2)
		ledger := &unreadableStore{Store: d.store, receipts: []order.EventBatch{good}, err: errors.New("a row that cannot be read")}
		r := NewRelay(RelayOptions{Bus: d.bus, Store: ledger})
		done, err := r.runOnce(t.Context())
		if !errors.Is(err, ledger.err) || done.delivered != 1 || !ledger.purged {
			t.Errorf("round %+v, error %v, purged %t; want the good one delivered, the error told, the purge done", done, err, ledger.purged)
		}
		if got := d.received(d.jobs); !slices.Equal(got, ids(good)) {
			t.Errorf("work %v, want %v", got, ids(good))
		}
	})
}

// faulty is a ledger with a row that cannot be read.
type unreadableStore struct {
	*store.Store
	receipts []order.EventBatch
	err      error
	purged   bool
}

func (f *unreadableStore) LeaseOutbox(context.Context, time.Duration, time.Duration, int) ([]order.EventBatch, error) {
	return f.receipts, f.err
}

func (f *unreadableStore) PurgeOutbox(ctx context.Context, age time.Duration, limit int) (int, error) {
	f.purged = true
	return f.Store.PurgeOutbox(ctx, age, limit)
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestEnv(t)
		defer d.close()
		registry := prometheus.NewPedanticRegistry()
		p := NewPublisher(PublisherOptions{Bus: d.bus, Marker: d.store, Queue: 4, Registerer: registry})
		r := NewRelay(RelayOptions{Bus: d.bus, Store: d.store, Registerer: registry})
		d.bus.set(bus.TopicJobs, bus.ErrFull)
		p.Publish(d.create(3))
		p.Publish(d.create(2)) // no room
		if n := testutil.CollectAndCount(registry, "orderflow_outbox_waiting"); n != 1 {
			t.Errorf("%d series of the queue's length, want 1", n)
		}
		stop := start(t, p.Run)
		synctest.Wait()
		stop()
		d.bus.set(bus.TopicJobs, nil)
		time.Sleep(relayAge)
		if _, err := r.runOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			got  prometheus.Collector
			want float64
		}{
			"refused by the publisher":    {p.metrics.refused.WithLabelValues(bus.TopicJobs), 3},
			"dropped by the publisher":    {p.metrics.dropped, 2},
			"published by the relay":      {r.metrics.published.WithLabelValues(bus.TopicJobs), 5},
			"receipts paid by the relay":  {r.metrics.relayed, 2},
			"found by the relay":          {r.metrics.overdue, 2},
			"refused in the relay's turn": {r.metrics.refused.WithLabelValues(bus.TopicJobs), 0},
		} {
			if got := testutil.ToFloat64(c.got); got != c.want {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
		}
	})
}
