package api_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/api"
	"orderflow/internal/bus"
	"orderflow/internal/intake"
	"orderflow/internal/lock"
	"orderflow/internal/order"
	"orderflow/internal/pusher"
	"orderflow/internal/store"
	"orderflow/test/env"
)

// server is an API with a database of its own and the parts of the embedded product: the real store with the sample data, intake,
// locks and bus.
type server struct {
	*api.API
	store    *store.Store
	path     string
	intake   *testIntake
	bus      *testBus
	logs     *env.Output
	registry *prometheus.Registry
}

// testIntake is the real intake. Tests can inject a fault.
type testIntake struct {
	*intake.Service
	store *store.Store
	bus   bus.Bus
	fault atomic.Pointer[error] // which Create and Cancel return
}

func (i *testIntake) Create(ctx context.Context, draft order.Draft) (order.Placed, error) {
	if fault := i.fault.Load(); fault != nil {
		return order.Placed{}, *fault
	}
	return i.Service.Create(ctx, draft)
}

func (i *testIntake) Cancel(ctx context.Context, request order.CancelRequest) (*order.Order, error) {
	if fault := i.fault.Load(); fault != nil {
		return nil, *fault
	}
	return i.Service.Cancel(ctx, request)
}

// Publish publishes the events of a transaction, as the outbox does.
func (i *testIntake) Publish(batch order.EventBatch) {
	var messages []bus.Message
	for _, e := range batch.Events {
		topic := bus.TopicChanges
		if e.Type == order.OrderCreated {
			topic = bus.TopicJobs
		}
		messages = append(messages, bus.Message{ID: e.ID(), Key: strconv.FormatInt(e.OrderID, 10), Topic: topic, Body: e.Append(nil)})
	}
	if len(messages) > 0 {
		_ = i.bus.Publish(context.Background(), messages) // changes may be lost: the table has them
	}
}

// fail makes the intake return err; nil makes it work again.
func (i *testIntake) fail(err error) {
	if err == nil {
		i.fault.Store(nil)
		return
	}
	i.fault.Store(&err)
}

// settle claims a PENDING order and records the outcome of its payment, as a worker does.
func (i *testIntake) settle(t testing.TB, id int64, outcome order.Outcome) {
	t.Helper()
	i.claim(t, id)
	o, err := i.store.Order(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	_, events, err := i.store.SettleOrders(t.Context(), []order.Settlement{{
		OrderID: id, Lease: o.Lease, Claim: o.Claims, Kind: order.KindCharge, Outcome: outcome,
		Reference: "ref", Reason: "card declined", Actor: "worker:test", Trace: order.Trace{ID: "settle"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	i.Publish(events)
}

func (i *testIntake) claim(t testing.TB, id int64) {
	t.Helper()
	_, events, err := i.store.ClaimOrders(t.Context(), []order.ClaimRequest{{OrderID: id, Actor: "worker:test", Trace: order.Trace{ID: "claim"}}})
	if err != nil {
		t.Fatal(err)
	}
	i.Publish(events)
}

// reader is the store. Tests can inject a fault.
type reader struct {
	*store.Store
	fault   atomic.Pointer[error]
	fetches atomic.Int64                  // of products
	gate    atomic.Pointer[chan struct{}] // fetches of products wait for it
	panics  atomic.Bool
}

func (r *reader) fail(err error) {
	if err == nil {
		r.fault.Store(nil)
		return
	}
	r.fault.Store(&err)
}

func (r *reader) err() error {
	if r.panics.Load() {
		panic("secret of the reader")
	}
	if fault := r.fault.Load(); fault != nil {
		return *fault
	}
	return nil
}

func (r *reader) Order(ctx context.Context, id int64) (*order.Order, error) {
	if err := r.err(); err != nil {
		return nil, err
	}
	return r.Store.Order(ctx, id)
}

func (r *reader) Existing(ctx context.Context, users, products []int64) (map[int64]bool, map[int64]bool, error) {
	if err := r.err(); err != nil {
		return nil, nil, err
	}
	return r.Store.Existing(ctx, users, products)
}

func (r *reader) Events(ctx context.Context, id int64, after int) ([]order.Event, error) {
	if err := r.err(); err != nil {
		return nil, err
	}
	return r.Store.Events(ctx, id, after)
}

func (r *reader) Products(ctx context.Context) ([]order.Product, error) {
	r.fetches.Add(1)
	if err := r.err(); err != nil {
		return nil, err
	}
	products, err := r.Store.Products(ctx)
	if gate := r.gate.Load(); gate != nil {
		<-*gate
	}
	return products, err
}

func (r *reader) Ping(ctx context.Context) error {
	if err := r.err(); err != nil {
		return err
	}
	return r.Store.Ping(ctx)
}

// template is one migrated database with the sample data. Each test gets a copy of the file.
var template = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "orderflow-api")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "template.db")
	ctx := context.Background()
	s, err := store.Open(ctx, "sqlite:"+path, store.Options{Rules: order.DefaultRules()})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(s.Migrate(ctx), s.Seed(ctx, store.SeedPlan{}), s.Close()); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// open returns a server; change may alter its options.
func open(t testing.TB, change ...func(*api.Options)) *server {
	t.Helper()
	content, err := template()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "test.db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), "sqlite:"+path, store.Options{Rules: order.DefaultRules()})
	if err != nil {
		t.Fatal(err)
	}
	n := &server{store: s, path: path, bus: newTestBus(), logs: &env.Output{}, registry: prometheus.NewRegistry()}
	n.intake = &testIntake{store: s, bus: n.bus}
	n.intake.Service = intake.New(intake.Options{
		Orders: s, Locker: lock.NewLocal(10 * time.Second), Publisher: n.intake, BatchMax: 10, QueueMax: 100, Lines: 1000,
		Registerer: n.registry,
	})
	ctx, stop := context.WithCancel(context.Background())
	var services sync.WaitGroup
	services.Go(func() { _ = n.intake.Run(ctx) })
	t.Cleanup(func() {
		stop()
		services.Wait()
		if err := errors.Join(n.bus.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	})
	options := api.Options{
		Intake: n.intake, Reader: s, Bus: n.bus, Registerer: n.registry,
		Logger: slog.New(slog.NewJSONHandler(n.logs, nil)),
	}
	options.Realtime = pusher.App{Key: "key", Secret: "secret"}
	withAdmin(t, s, &options)
	for _, c := range change {
		c(&options)
	}
	n.API = api.New(options)
	return n
}

// run calls Run and waits until the API has subscribed to the bus. stop ends it.
func (n *server) run(t testing.TB) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	<-n.bus.subscribed
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// withReader gives an API a reader, and returns it.
func withReader(into **reader) func(*api.Options) {
	return func(o *api.Options) {
		*into = &reader{Store: o.Reader.(*store.Store)}
		o.Reader = *into
	}
}

// answer is an answer whose body has been read.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request, and checks it and its answer against the OpenAPI document.
func (n *server) do(t testing.TB, method, target, body string, headers ...string) answer {
	t.Helper()
	a := n.send(t, newRequest(t.Context(), method, target, body, headers...))
	conforms(t, newRequest(t.Context(), method, target, body, headers...), a)
	return a
}

// send sends a request.
func (n *server) send(t testing.TB, r *http.Request) answer {
	t.Helper()
	recorder := httptest.NewRecorder()
	n.ServeHTTP(recorder, r)
	result := recorder.Result()
	defer func() { _ = result.Body.Close() }()
	content, err := io.ReadAll(result.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{result.StatusCode, result.Header, string(content)}
}

// newRequest returns a request with headers such as "Name: value". A body is JSON unless a header sets another type.
func newRequest(ctx context.Context, method, target, body string, headers ...string) *http.Request {
	var content io.Reader = http.NoBody
	if body != "" {
		content = strings.NewReader(body)
	}
	r := httptest.NewRequestWithContext(ctx, method, target, content)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		switch {
		case name == "Host":
			r.Host = value
		case name == "From":
			r.RemoteAddr = value
		case value == "-":
			r.Header.Del(name)
		default:
			r.Header.Add(name, value)
		}
	}
	return r
}

// place orders one product and returns the id of the order.
func (n *server) place(t testing.TB, key string, product, quantity int64) int64 {
	t.Helper()
	a := n.do(t, "POST", "/api/v1/orders", orderJSON(1, key, product, quantity))
	if a.status != http.StatusCreated {
		t.Fatalf("an order was answered with %d %s", a.status, a.body)
	}
	id, err := strconv.ParseInt(strings.TrimPrefix(a.header.Get("Location"), "/api/v1/orders/"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func orderJSON(user int64, key string, product, quantity int64) string {
	return `{"user_id":` + strconv.FormatInt(user, 10) + `,"idempotency_key":"` + key + `","items":[{"product_id":` +
		strconv.FormatInt(product, 10) + `,"quantity":` + strconv.FormatInt(quantity, 10) + `}]}`
}

// expect fails the test unless the answer has the status, all of want in its body and none of forbid.
func (a answer) expect(t testing.TB, status int, want []string, forbid ...string) {
	t.Helper()
	if a.status != status {
		t.Errorf("status %d, want %d; body %s", a.status, status, a.body)
	}
	for _, w := range want {
		if !strings.Contains(a.body, w) {
			t.Errorf("the body lacks %s:\n%s", w, a.body)
		}
	}
	for _, f := range forbid {
		if strings.Contains(a.body, f) {
			t.Errorf("the body must not have %s:\n%s", f, a.body)
		}
	}
}
