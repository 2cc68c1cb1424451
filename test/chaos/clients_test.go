package chaos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"orderflow/internal/app"
	"orderflow/internal/order"
	"orderflow/internal/payment/paymenttest"
)

// serverList holds the addresses of the running servers.
type serverList struct {
	pause time.Duration // after a server gave no answer

	mu      sync.Mutex
	addrs   []string      // none between two servers
	changed chan struct{} // closed and replaced when addrs changes
}

func newServerList() *serverList {
	return &serverList{pause: 10 * time.Millisecond, changed: make(chan struct{})}
}

// set replaces the addresses of the servers.
func (s *serverList) set(addrs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addrs = slices.Clone(addrs)
	close(s.changed)
	s.changed = make(chan struct{})
}

// next waits for a server; several are used in turn. The error is that of ctx.
func (s *serverList) next(ctx context.Context, n int) (string, error) {
	for {
		s.mu.Lock()
		addrs, changed := s.addrs, s.changed
		s.mu.Unlock()
		if len(addrs) > 0 {
			return addrs[n%len(addrs)], nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// wait pauses after a server gave no answer, at most until the list changes.
func (s *serverList) wait(ctx context.Context) {
	s.mu.Lock()
	changed := s.changed
	s.mu.Unlock()
	timer := time.NewTimer(s.pause)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// acknowledged is the outcome of every key as the clients know it. It is complete when the clients have stopped.
type acknowledged struct {
	t  *testing.T
	mu sync.Mutex

	placed    map[order.OrderKey]int64 // the id of the order that was acknowledged
	refused   map[order.OrderKey]string
	cancelled map[int64]bool // whether the cancellation was accepted or refused

	unknown int // requests whose outcome was not known at first
	replays int // orders that were asked for again
	lost    int // races for a lock, which are to be run again
}

func newAcknowledged(t *testing.T) *acknowledged {
	return &acknowledged{t: t, placed: map[order.OrderKey]int64{}, refused: map[order.OrderKey]string{}, cancelled: map[int64]bool{}}
}

// place records an acknowledgement, 201 or 200.
func (l *acknowledged) place(ref order.OrderKey, id int64, again bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known, ok := l.placed[ref]; ok && known != id {
		l.t.Errorf("key %s of user %d was order %d and is now order %d", ref.Key, ref.UserID, known, id)
	}
	l.placed[ref] = id
	if again {
		l.replays++
	}
}

func (l *acknowledged) refuse(ref order.OrderKey, code string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused[ref] = code
}

func (l *acknowledged) cancel(id int64, accepted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if before, ok := l.cancelled[id]; ok && before != accepted {
		l.t.Errorf("order %d: cancelled was %v, and is now %v", id, before, accepted)
	}
	l.cancelled[id] = accepted
}

func (l *acknowledged) countUnknown() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unknown++
}

func (l *acknowledged) countLockConflict() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost++
}

// orders returns how many orders were acknowledged so far.
func (l *acknowledged) orders() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.placed)
}

// keys returns the acknowledged orders by key.
func (l *acknowledged) keys() map[order.OrderKey]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.placed)
}

// ids returns the orders that were acknowledged so far.
func (l *acknowledged) ids() []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Values(l.placed))
}

// compare compares what the clients saw with the database. Call it after the clients have stopped.
func (l *acknowledged) compare(db *app.Database) map[int64]order.Order {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	found := ordersIn(l.t, db)
	for _, o := range found {
		if id, ok := l.placed[order.OrderKey{UserID: o.UserID, Key: o.Key}]; !ok || id != o.ID {
			l.t.Errorf("order %d exists under key %s of user %d, whom nobody told so (%d, %v)", o.ID, o.Key, o.UserID, id, ok)
		}
	}
	if len(found) != len(l.placed) {
		l.t.Errorf("%d orders were acknowledged, %d exist", len(l.placed), len(found))
	}
	for ref, id := range l.placed {
		if o, ok := found[id]; !ok || o.Key != ref.Key || o.UserID != ref.UserID {
			l.t.Errorf("order %d, key %s of user %d, was acknowledged and does not exist", id, ref.Key, ref.UserID)
		}
	}
	accepted := 0
	for id, yes := range l.cancelled {
		if yes {
			accepted++
		}
		if is := found[id].Status == order.Cancelled; is != yes {
			l.t.Errorf("order %d is %s; its cancellation was accepted: %v", id, found[id].Status, yes)
		}
	}
	l.t.Logf("%d orders, %d refused, %d of %d cancellations accepted, %d replays, %d outcomes unknown at first, %d lock conflicts",
		len(l.placed), len(l.refused), accepted, len(l.cancelled), l.replays, l.unknown, l.lost)
	return found
}

// ordersIn reads all orders of a database.
func ordersIn(t *testing.T, db *app.Database) map[int64]order.Order {
	t.Helper()
	found := map[int64]order.Order{}
	for query := (order.ListQuery{PerPage: 1000}); ; {
		page, err := db.Orders(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Orders {
			found[o.ID] = o
			query.Before = o.ID
		}
		if !page.More {
			return found
		}
	}
}

// checkPayments checks that every order has ended, and that the provider has charged exactly the PAID ones, once.
func checkPayments(t *testing.T, orders map[int64]order.Order, provider *paymenttest.Provider) {
	t.Helper()
	charged := provider.Charged()
	for id, o := range orders {
		want := 0
		switch o.Status {
		case order.Paid:
			want = 1
		case order.Failed, order.Cancelled:
		case order.Pending, order.Processing:
			t.Errorf("order %d is stuck: %s after %d attempts, %d tries left, due %v", id, o.Status, o.Claims, o.AttemptsLeft, o.DueAt)
		}
		if charged[id] != want && o.Status.Terminal() {
			t.Errorf("order %d is %s, and its customer was charged %d times", id, o.Status, charged[id])
		}
		delete(charged, id)
	}
	for id, n := range charged {
		t.Errorf("%d charges for order %d, which does not exist", n, id)
	}
	for _, problem := range provider.Problems() {
		t.Errorf("the provider: %s", problem)
	}
}

// client creates, repeats, reads and cancels orders, one operation after the other.
type client struct {
	name         string
	user         int64
	random       *rand.Rand
	servers      *serverList
	acknowledged *acknowledged
	drains       bool // no answer may be cut off: the server ends in order
	wire         wire
	server       int // which of several servers it goes to; another one when that gives no answer
	orders       []bought
	next         int
}

// bought is an order of one client.
type bought struct {
	id   int64
	ref  order.OrderKey
	body string
}

// startClients starts clients; the function that it returns lets each finish its operation and waits for that.
func startClients(t *testing.T, n int, s *serverList, l *acknowledged, drains bool) (stopAll func()) {
	t.Helper()
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for i := range n {
		c := &client{
			name: fmt.Sprintf("%s-%d", strings.ToLower(t.Name()), i), user: int64(i%3 + 1), random: rand.New(rand.NewPCG(rand.Uint64(), uint64(i))),
			servers: s, acknowledged: l, drains: drains, server: i,
		}
		clients.Go(func() {
			defer c.wire.close()
			for c.act(t.Context()) {
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	return sync.OnceFunc(func() {
		close(stop)
		clients.Wait()
	})
}

// act performs one operation; false when the test is over.
func (c *client) act(ctx context.Context) bool {
	dice := c.random.IntN(100)
	switch {
	case len(c.orders) == 0 || dice < 70:
		return c.order(ctx)
	case dice < 80:
		b := c.orders[c.random.IntN(len(c.orders))]
		a, ok := c.request(ctx, http.MethodPost, "/api/v1/orders", b.body)
		return ok && c.expect(a, b, http.StatusOK)
	case dice < 85:
		b := c.orders[c.random.IntN(len(c.orders))]
		a, ok := c.request(ctx, http.MethodGet, fmt.Sprintf("/api/v1/orders/%d", b.id), "")
		return ok && c.expect(a, b, http.StatusOK)
	default:
		b := c.orders[len(c.orders)-1] // the one that is most likely to be PENDING still
		a, ok := c.request(ctx, http.MethodPost, fmt.Sprintf("/api/v1/orders/%d/cancel", b.id), "")
		switch {
		case !ok:
			return false
		case a.status == http.StatusUnprocessableEntity && a.code() == "order_not_cancellable":
			c.acknowledged.cancel(b.id, false)
		case a.status == http.StatusOK:
			c.acknowledged.cancel(b.id, true)
		default:
			c.acknowledged.t.Errorf("cancel of order %d: %v", b.id, a)
		}
		return true
	}
}

// order places an order. Product 2 is ordered in quantities so large that it is often sold out, and back in stock when such an order
// fails or is cancelled.
func (c *client) order(ctx context.Context) bool {
	product, quantity := c.random.IntN(3)+3, c.random.IntN(3)+1
	if c.random.IntN(10) == 0 {
		product, quantity = 2, 300_000
	}
	c.next++
	ref := order.OrderKey{UserID: c.user, Key: fmt.Sprintf("%s-%d", c.name, c.next)}
	body := fmt.Sprintf(`{"user_id":%d,"idempotency_key":%q,"items":[{"product_id":%d,"quantity":%d},{"product_id":1,"quantity":1}]}`,
		ref.UserID, ref.Key, product, quantity)
	a, ok := c.request(ctx, http.MethodPost, "/api/v1/orders", body)
	switch {
	case !ok:
		return false
	case a.status == http.StatusConflict && a.code() == "insufficient_stock":
		c.acknowledged.refuse(ref, a.code())
		return true
	case a.status == http.StatusOK || a.status == http.StatusCreated:
		o, err := a.order()
		if err != nil || o.Key != ref.Key || o.UserID != ref.UserID {
			c.acknowledged.t.Errorf("key %s: %v, %v", ref.Key, a, err)
			return false
		}
		c.acknowledged.place(ref, o.ID, a.status == http.StatusOK)
		c.orders = append(c.orders, bought{o.ID, ref, body})
		return true
	default:
		c.acknowledged.t.Errorf("key %s: %v", ref.Key, a)
		return false
	}
}

// expect checks a response that must hold an order of this client.
func (c *client) expect(a answer, b bought, status int) bool {
	o, err := a.order()
	if err != nil || a.status != status || o.Key != b.ref.Key || o.UserID != b.ref.UserID {
		c.acknowledged.t.Errorf("order %d, key %s, was acknowledged, and now: %v, %v", b.id, b.ref.Key, a, err)
		return false
	}
	c.acknowledged.place(b.ref, o.ID, true)
	return true
}

// request repeats a request until there is a definite answer; false when the test is over. A 503 or a broken connection is not a
// definite answer.
func (c *client) request(ctx context.Context, method, path, body string) (answer, bool) {
	for ctx.Err() == nil {
		addr, err := c.servers.next(ctx, c.server)
		if err != nil {
			return answer{}, false
		}
		a, err := c.wire.ask(addr, method, path, body)
		switch {
		case err == nil && a.code() == "lock_conflict":
			c.acknowledged.countLockConflict()
		case err == nil && a.status != http.StatusServiceUnavailable:
			return a, true
		case errors.Is(err, errHung), errors.Is(err, errCut) && c.drains:
			c.acknowledged.t.Errorf("%s %s: %v", method, path, err)
			return answer{}, false
		}
		c.acknowledged.countUnknown()
		c.server++
		c.servers.wait(ctx)
	}
	return answer{}, false
}

// refOf returns the reference of an order that create makes.
func refOf(key string) order.OrderKey { return order.OrderKey{UserID: 1, Key: key} }
