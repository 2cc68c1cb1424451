package intake_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"orderflow/internal/intake"
	"orderflow/internal/lock"
	"orderflow/internal/order"
	"orderflow/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// env is a Service over a store and the in-process locks, as in the embedded product.
type env struct {
	*intake.Service
	db     *store.Store
	locker *locker
	stop   func()
}

// locker is the in-process Locker with injected faults.
type locker struct {
	*lock.Local
	mu      sync.Mutex
	fail    error
	used    int                     // calls of Unlock that reported a change of stock
	foreign map[int64]func() string // products that are locked elsewhere, with the function of their token
	broken  []int64                 // products whose locks cannot be used
	tries   []time.Time
}

func (l *locker) TryLock(ctx context.Context, products []int64) (lock.Grant, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tries = append(l.tries, time.Now())
	if l.fail != nil {
		return lock.Grant{}, l.fail
	}
	var busy []lock.Busy
	var failed []int64
	products = slices.DeleteFunc(slices.Clone(products), func(p int64) bool {
		if slices.Contains(l.broken, p) {
			failed = append(failed, p)
			return true
		}
		token := l.foreign[p]
		if token != nil {
			busy = append(busy, lock.Busy{Product: p, Token: token(), Released: make(chan struct{})})
		}
		return token != nil
	})
	grant, err := l.Local.TryLock(ctx, products)
	grant.Busy, grant.Failed = append(busy, grant.Busy...), failed
	return grant, err
}

func (l *locker) Unlock(ctx context.Context, token string, products []int64, used bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if used {
		l.used++
	}
	return l.Local.Unlock(ctx, token, products, used)
}

func (l *locker) lockElsewhere(product int64, token func() string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.foreign[product] = token
}

func newEnv(t testing.TB, change func(*intake.Options)) *env {
	t.Helper()
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "t.db"), store.Options{Rules: order.DefaultRules()})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Migrate(t.Context()), db.Seed(t.Context(), store.SeedPlan{})); err != nil {
		t.Fatal(err)
	}
	h := &env{db: db, locker: &locker{Local: lock.NewLocal(lock.TTL), foreign: map[int64]func() string{}}}
	options := intake.Options{Orders: db, Locker: h.locker, Publisher: discard{}, BatchMax: 100, QueueMax: 1000, Lines: 1000}
	if change != nil {
		change(&options)
	}
	h.Service = intake.New(options)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = h.Run(ctx) })
	h.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(h.stop)
	return h
}

func draft(t testing.TB, user int64, key string, lines ...order.Line) order.Draft {
	t.Helper()
	d, err := order.NewDraft(nil, user, key, lines, "")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (h *env) audit(t testing.TB) {
	t.Helper()
	findings, err := h.db.Audit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		if f.ViolationCount > 0 {
			t.Errorf("invariant %d (%s): %v", f.Number, f.Name, f.Violations)
		}
	}
}

func TestCreateAnswers(t *testing.T) {
	h := newEnv(t, nil)
	first := draft(t, 1, "k", order.Line{ProductID: 1, Quantity: 2})
	if placed, err := h.Create(t.Context(), first); err != nil || placed.Replayed || placed.Order.Total != 1999_98 {
		t.Fatalf("first: %+v, %v", placed, err)
	}
	for name, c := range map[string]struct {
		draft order.Draft
		code  order.Code // "" for a replay
	}{
		"the same request":        {first, ""},
		"the same in two lines":   {draft(t, 1, "k", order.Line{ProductID: 1, Quantity: 1}, order.Line{ProductID: 1, Quantity: 1}), ""},
		"other items":             {draft(t, 1, "k", order.Line{ProductID: 1, Quantity: 3}), order.CodeKeyReused},
		"missing user":            {draft(t, 99, "k", order.Line{ProductID: 1, Quantity: 2}), order.CodeValidation},
		"missing product":         {draft(t, 1, "u", order.Line{ProductID: 99, Quantity: 2}), order.CodeValidation},
		"more than the stock":     {draft(t, 1, "m", order.Line{ProductID: 5, Quantity: 2}), order.CodeInsufficientStock},
		"above the largest total": {draft(t, 1, "t", order.Line{ProductID: 1, Quantity: 1_000_000}), order.CodeValidation},
	} {
		t.Run(name, func(t *testing.T) {
			placed, err := h.Create(t.Context(), c.draft)
			if order.CodeOf(err) != c.code || (err == nil) != (c.code == "") || placed.Replayed != (c.code == "") {
				t.Errorf("got %+v, %v", placed, err)
			}
		})
	}
	h.audit(t)
}

// TestRaces runs the two races of the contract, without HTTP.
func TestRaces(t *testing.T) {
	for name, c := range map[string]struct {
		key  func(i int) string
		want map[string]int
	}{
		"50 buyers of the last unit": {func(i int) string { return fmt.Sprint("buyer-", i) }, map[string]int{"created": 1, "insufficient_stock": 49}},
		"50 times one key":           {func(int) string { return "one" }, map[string]int{"created": 1, "replayed": 49}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{1, 7, 100} {
				h := newEnv(t, func(o *intake.Options) {
					o.BatchMax = size
					o.Loops = 3 // more than in the product, so that batches overlap
				})
				var mu sync.Mutex
				got := map[string]int{}
				var callers sync.WaitGroup
				for i := range 50 {
					d := draft(t, 1, c.key(i), order.Line{ProductID: 5, Quantity: 1})
					callers.Go(func() {
						placed, err := h.Create(t.Context(), d)
						outcome := string(order.CodeOf(err))
						switch {
						case err == nil && placed.Replayed:
							outcome = "replayed"
						case err == nil:
							outcome = "created"
						}
						mu.Lock()
						defer mu.Unlock()
						got[outcome]++
					})
				}
				callers.Wait()
				if fmt.Sprint(got) != fmt.Sprint(c.want) {
					t.Errorf("batches of %d: got %v, want %v", size, got, c.want)
				}
				h.audit(t)
				h.stop()
			}
		})
	}
}

func TestLockedProduct(t *testing.T) {
	crashed := lock.NewToken()
	for name, c := range map[string]struct {
		token func() string
		code  order.Code
	}{
		"foreign token":          {func() string { return "00000000-0000-4000-8000-000000000000" }, order.CodeLockConflict},
		"changing token of ours": {lock.NewToken, order.CodeLockConflict},
		"stale token of ours":    {func() string { return crashed }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newEnv(t, nil)
				defer h.stop()
				h.locker.lockElsewhere(1, c.token)
				start := time.Now()
				_, err := h.Create(t.Context(), draft(t, 1, "k", order.Line{ProductID: 1, Quantity: 1}, order.Line{ProductID: 2, Quantity: 1}))
				if order.CodeOf(err) != c.code {
					t.Fatalf("got %v, want code %q", err, c.code)
				}
				if took := time.Since(start); took < 2500*time.Millisecond || took > 3900*time.Millisecond {
					t.Errorf("it took %s", took)
				}
				tries := h.locker.tries
				if want := 6; c.code != "" && len(tries) != want {
					t.Errorf("%d tries, want %d", len(tries), want)
				}
				for i, bounds := range [][2]int{{75, 125}, {150, 250}, {300, 500}, {600, 1000}, {1200, 2000}} {
					if gap := tries[i+1].Sub(tries[i]).Milliseconds(); gap < int64(bounds[0]) || gap > int64(bounds[1]) {
						t.Errorf("try %d followed after %d ms, want %v", i+2, gap, bounds)
					}
				}
				h.audit(t)
			})
		})
	}
}

// TestStaleLocks: a process that crashes with the locks of several products delays their sale by two or three seconds, also for
// orders with other products. Later requests do not wait, until the locks expire.
func TestStaleLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newEnv(t, nil)
		defer h.stop()
		crashed := lock.NewToken()
		for product := range int64(3) {
			h.locker.lockElsewhere(product+1, func() string { return crashed })
		}
		start := time.Now()
		var buyers sync.WaitGroup
		for i := range int64(30) {
			d := draft(t, 1, fmt.Sprint("k", i), order.Line{ProductID: i%3 + 1, Quantity: 1}, order.Line{ProductID: i%4 + 1, Quantity: 1})
			buyers.Go(func() {
				if _, err := h.Create(t.Context(), d); err != nil {
					t.Errorf("%+v: %v", d.Lines, err)
				}
			})
			time.Sleep(30 * time.Millisecond)
		}
		buyers.Wait()
		if took := time.Since(start); took < 2*time.Second || took > 3900*time.Millisecond {
			t.Errorf("it took %s", took)
		}
		start = time.Now()
		if _, err := h.Create(t.Context(), draft(t, 1, "late", order.Line{ProductID: 1, Quantity: 1})); err != nil || time.Since(start) > time.Second {
			t.Errorf("a later request: %v after %s", err, time.Since(start))
		}
		before := h.locker.used
		if _, err := h.Create(t.Context(), draft(t, 1, "last", order.Line{ProductID: 1, Quantity: 1})); err != nil || h.locker.used != before+1 {
			t.Errorf("an order with a stale lock only: %v, %d changes of stock reported", err, h.locker.used-before)
		}
		h.locker.lockElsewhere(1, func() string { return "foreign" })
		if _, err := h.Create(t.Context(), draft(t, 1, "foreign", order.Line{ProductID: 1, Quantity: 1})); order.CodeOf(err) != order.CodeLockConflict {
			t.Errorf("under a foreign lock: %v", err)
		}
		h.audit(t)
	})
}

// TestReleaseWakesWaiters: a release requeues all waiters in order of arrival, whatever tries they had meanwhile: of 20 waiters the
// first ten get the last ten units. Later requests join the waitlist without a try. Requests for other products never wait.
func TestReleaseWakesWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newEnv(t, nil)
		defer h.stop()
		const waiters, stock, released = 20, 10, 500 * time.Millisecond
		restock, err := order.NewRestock(nil, 5, stock-1, "delivery", "restock")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.db.Restock(t.Context(), []order.Restock{restock}); err != nil {
			t.Fatal(err)
		}
		grant, err := h.locker.Local.TryLock(t.Context(), []int64{5})
		if err != nil || len(grant.Locked) != 1 {
			t.Fatal(grant, err)
		}
		var codes [waiters]order.Code
		var callers sync.WaitGroup
		for i := range waiters {
			callers.Go(func() {
				_, err := h.Create(t.Context(), draft(t, 1, fmt.Sprint("k", i), order.Line{ProductID: 5, Quantity: 1}))
				codes[i] = order.CodeOf(err)
			})
			synctest.Wait() // so that they arrive in this order
		}
		start := time.Now()
		if _, err := h.Create(t.Context(), draft(t, 1, "other", order.Line{ProductID: 2, Quantity: 1})); err != nil || time.Since(start) > 0 {
			t.Errorf("an order of another product: %v after %s", err, time.Since(start))
		}
		h.locker.mu.Lock()
		if tries := len(h.locker.tries); tries != 2 {
			t.Errorf("%d tries, want one by the first waiter and one for the other product", tries)
		}
		h.locker.mu.Unlock()
		time.Sleep(released)
		if err := h.locker.Unlock(t.Context(), grant.Token, grant.Locked, true); err != nil {
			t.Fatal(err)
		}
		callers.Wait()
		if took := time.Since(start); took > released {
			t.Errorf("the waiters were answered %s after the release", took-released)
		}
		for i, code := range codes {
			want := order.Code("")
			if i >= stock {
				want = order.CodeInsufficientStock
			}
			if code != want {
				t.Errorf("waiter %d: code %q, want %q", i, code, want)
			}
		}
	})
}

func TestLocksUnavailable(t *testing.T) {
	h := newEnv(t, nil)
	h.locker.fail = errors.New("connection refused")
	if _, err := h.Create(t.Context(), draft(t, 1, "k", order.Line{ProductID: 1, Quantity: 1})); err != nil {
		t.Error("without locks:", err)
	}
	h.locker.mu.Lock()
	defer h.locker.mu.Unlock()
	if h.locker.used != 1 {
		t.Errorf("%d changes of stock were reported to the locker, want 1", h.locker.used)
	}
}

// TestOneLockUnusable: an order with a product whose lock cannot be used is placed with its first try, under the locks of its other
// products. The waiters for this lock are placed as soon as one of them finds it unusable.
func TestOneLockUnusable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newEnv(t, nil)
		defer h.stop()
		h.locker.lockElsewhere(1, lock.NewToken)
		var placed sync.WaitGroup
		for i := range 3 {
			placed.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				if _, err := h.Create(t.Context(), draft(t, 1, fmt.Sprint("waits", i), order.Line{ProductID: 1, Quantity: 1})); err != nil {
					t.Errorf("order %d: %v", i, err)
				}
			})
		}
		time.Sleep(20 * time.Millisecond)
		h.locker.mu.Lock()
		h.locker.foreign, h.locker.broken, h.locker.tries = nil, []int64{1}, nil
		h.locker.mu.Unlock()
		placed.Wait()
		if n := len(h.locker.tries); n > 2 {
			t.Errorf("%d tries for 3 waiters, want one, and one for the waiters that it requeues", n)
		}
		h.locker.tries = nil
		both := []order.Line{{ProductID: 1, Quantity: 1}, {ProductID: 2, Quantity: 1}}
		if _, err := h.Create(t.Context(), draft(t, 1, "both", both...)); err != nil {
			t.Error(err)
		}
		if n := len(h.locker.tries); n != 1 {
			t.Errorf("%d tries, want 1", n)
		}
		h.audit(t)
	})
}

func TestCallerLeavesWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newEnv(t, nil)
		defer h.stop()
		h.locker.lockElsewhere(1, lock.NewToken)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if _, err := h.Create(ctx, draft(t, 1, "k", order.Line{ProductID: 1, Quantity: 1})); !errors.Is(err, context.DeadlineExceeded) {
			t.Error("got", err)
		}
		h.audit(t)
	})
}

// TestShutdown: accepted requests are answered; later ones are refused.
func TestShutdown(t *testing.T) {
	h := newEnv(t, nil)
	var callers sync.WaitGroup
	var mu sync.Mutex
	placed := 0
	for i := range 200 {
		d := draft(t, 1, fmt.Sprint("k", i), order.Line{ProductID: 2, Quantity: 1})
		callers.Go(func() {
			_, err := h.Create(context.Background(), d)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				placed++
			} else if order.CodeOf(err) != order.CodeUnavailable {
				t.Error(err)
			}
			if i == 100 {
				go h.stop()
			}
		})
	}
	callers.Wait()
	h.stop()
	if _, err := h.Create(t.Context(), draft(t, 1, "late", order.Line{ProductID: 2, Quantity: 1})); order.CodeOf(err) != order.CodeUnavailable {
		t.Error("after the end:", err)
	}
	if placed == 0 {
		t.Error("no order was placed")
	}
}

func TestCancel(t *testing.T) {
	h := newEnv(t, nil)
	placed, err := h.Create(t.Context(), draft(t, 1, "k", order.Line{ProductID: 5, Quantity: 1}))
	if err != nil {
		t.Fatal(err)
	}
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			if o, err := h.Cancel(t.Context(), order.CancelRequest{OrderID: placed.Order.ID}); err != nil || o.Status != order.Cancelled {
				t.Error(o, err)
			}
		})
	}
	callers.Wait()
	if _, err := h.Cancel(t.Context(), order.CancelRequest{OrderID: 99}); order.CodeOf(err) != order.CodeNotFound {
		t.Error(err)
	}
	products, err := h.db.Products(t.Context())
	if err != nil || products[4].Stock != 1 {
		t.Error("the stock was not returned exactly once:", products[4].Stock, err)
	}
	h.audit(t)
}

// blockedStore is a store that creates orders only when its gate is open.
type blockedStore struct {
	*store.Store
	gate chan struct{}
}

func (o blockedStore) CreateOrders(ctx context.Context, drafts []order.Draft) ([]order.Placed, order.EventBatch, error) {
	<-o.gate
	return o.Store.CreateOrders(ctx, drafts)
}

func TestQueueFull(t *testing.T) {
	gate := make(chan struct{})
	h := newEnv(t, func(o *intake.Options) {
		o.QueueMax, o.BatchMax = 5, 2
		o.Orders = blockedStore{o.Orders.(*store.Store), gate}
	})
	var callers sync.WaitGroup
	refused := make(chan error, 100)
	for i := range 100 {
		d := draft(t, 1, fmt.Sprint("k", i), order.Line{ProductID: 2, Quantity: 1})
		callers.Go(func() {
			if _, err := h.Create(t.Context(), d); err != nil {
				refused <- err
			}
		})
	}
	for range 100 - 5 - 2 { // all but those in the queue and in the batch are refused while the store is blocked
		if err := <-refused; order.CodeOf(err) != order.CodeOverloaded {
			t.Error(err)
		}
	}
	close(gate)
	callers.Wait()
	h.audit(t)
}
