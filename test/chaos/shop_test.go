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

// shop is where the servers of the moment can be found.
type shop struct {
	pause time.Duration // after a server gave no answer

	mu      sync.Mutex
	addrs   []string      // none between two servers
	changed chan struct{} // closed and replaced when addrs changes
}

func newShop() *shop { return &shop{pause: 10 * time.Millisecond, changed: make(chan struct{})} }

// move says where the servers are now, if there are any.
func (s *shop) move(addrs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addrs = slices.Clone(addrs)
	close(s.changed)
	s.changed = make(chan struct{})
}

// find waits for a server; the doors of several are taken in turn. The error is that of ctx.
func (s *shop) find(ctx context.Context, door int) (string, error) {
	for {
		s.mu.Lock()
		addrs, changed := s.addrs, s.changed
		s.mu.Unlock()
		if len(addrs) > 0 {
			return addrs[door%len(addrs)], nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// breathe waits a moment after a server gave no answer, unless another comes up.
func (s *shop) breathe(ctx context.Context) {
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

// ledger is what the clients know: of every key what became of it. It is complete when the clients have come to rest.
type ledger struct {
	t  *testing.T
	mu sync.Mutex

	placed    map[order.OrderKey]int64 // the id of the order that was acknowledged
	refused   map[order.OrderKey]string
	cancelled map[int64]bool // whether the cancellation was accepted or refused

	unknown int // requests whose outcome was not known at first
	replays int // orders that were asked for again
	lost    int // races for a lock, which are to be run again
}

func newLedger(t *testing.T) *ledger {
	return &ledger{t: t, placed: map[order.OrderKey]int64{}, refused: map[order.OrderKey]string{}, cancelled: map[int64]bool{}}
}

// place takes an acknowledgement down: 201 or 200.
func (l *ledger) place(ref order.OrderKey, id int64, again bool) {
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

func (l *ledger) refuse(ref order.OrderKey, code string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused[ref] = code
}

func (l *ledger) cancel(id int64, accepted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if before, ok := l.cancelled[id]; ok && before != accepted {
		l.t.Errorf("order %d: cancelled was %v, and is now %v", id, before, accepted)
	}
	l.cancelled[id] = accepted
}

func (l *ledger) wonder() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unknown++
}

func (l *ledger) lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost++
}

// orders is how many orders were acknowledged so far.
func (l *ledger) orders() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.placed)
}

// told is what was acknowledged so far.
func (l *ledger) told() map[order.OrderKey]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.placed)
}

// ids are the orders that were acknowledged so far.
func (l *ledger) ids() []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Values(l.placed))
}

// compare compares the clients' books with the server's, whose clients have come to rest.
func (l *ledger) compare(db *app.Database) map[int64]order.Order {
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

// settled checks that every order has come to its end, and that the provider's books say the same.
func settled(t *testing.T, orders map[int64]order.Order, provider *paymenttest.Provider) {
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

// shopper is a client that orders, asks again, looks and cancels, one thing after the other.
type shopper struct {
	name   string
	user   int64
	random *rand.Rand
	shop   *shop
	ledger *ledger
	gentle bool // no answer may be cut off: the server ends in order
	wire   wire
	door   int // which of several servers it goes to; another one when that gives no answer
	orders []bought
	next   int
}

// bought is an order of a shopper's own.
type bought struct {
	id   int64
	ref  order.OrderKey
	body string
}

// crowd sets shoppers to work; rest lets each finish what it is doing, to a definite answer, and waits for that.
func crowd(t *testing.T, n int, s *shop, l *ledger, gentle bool) (rest func()) {
	t.Helper()
	stop := make(chan struct{})
	var shoppers sync.WaitGroup
	for i := range n {
		c := &shopper{
			name: fmt.Sprintf("%s-%d", strings.ToLower(t.Name()), i), user: int64(i%3 + 1), random: rand.New(rand.NewPCG(rand.Uint64(), uint64(i))),
			shop: s, ledger: l, gentle: gentle, door: i,
		}
		shoppers.Go(func() {
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
		shoppers.Wait()
	})
}

// act does one thing to its end; false when there can be none.
func (c *shopper) act(ctx context.Context) bool {
	dice := c.random.IntN(100)
	switch {
	case len(c.orders) == 0 || dice < 70:
		return c.order(ctx)
	case dice < 80:
		b := c.orders[c.random.IntN(len(c.orders))]
		a, ok := c.insist(ctx, http.MethodPost, "/api/v1/orders", b.body)
		return ok && c.expect(a, b, http.StatusOK)
	case dice < 85:
		b := c.orders[c.random.IntN(len(c.orders))]
		a, ok := c.insist(ctx, http.MethodGet, fmt.Sprintf("/api/v1/orders/%d", b.id), "")
		return ok && c.expect(a, b, http.StatusOK)
	default:
		b := c.orders[len(c.orders)-1] // the one that is most likely to be PENDING still
		a, ok := c.insist(ctx, http.MethodPost, fmt.Sprintf("/api/v1/orders/%d/cancel", b.id), "")
		switch {
		case !ok:
			return false
		case a.status == http.StatusUnprocessableEntity && a.code() == "order_not_cancellable":
			c.ledger.cancel(b.id, false)
		case a.status == http.StatusOK:
			c.ledger.cancel(b.id, true)
		default:
			c.ledger.t.Errorf("cancel of order %d: %v", b.id, a)
		}
		return true
	}
}

// order buys something. Product 2 is bought in lots so large that it is often sold out, and back in stock when such an
// order fails or is cancelled.
func (c *shopper) order(ctx context.Context) bool {
	product, quantity := c.random.IntN(3)+3, c.random.IntN(3)+1
	if c.random.IntN(10) == 0 {
		product, quantity = 2, 300_000
	}
	c.next++
	ref := order.OrderKey{UserID: c.user, Key: fmt.Sprintf("%s-%d", c.name, c.next)}
	body := fmt.Sprintf(`{"user_id":%d,"idempotency_key":%q,"items":[{"product_id":%d,"quantity":%d},{"product_id":1,"quantity":1}]}`,
		ref.UserID, ref.Key, product, quantity)
	a, ok := c.insist(ctx, http.MethodPost, "/api/v1/orders", body)
	switch {
	case !ok:
		return false
	case a.status == http.StatusConflict && a.code() == "insufficient_stock":
		c.ledger.refuse(ref, a.code())
		return true
	case a.status == http.StatusOK || a.status == http.StatusCreated:
		o, err := a.order()
		if err != nil || o.Key != ref.Key || o.UserID != ref.UserID {
			c.ledger.t.Errorf("key %s: %v, %v", ref.Key, a, err)
			return false
		}
		c.ledger.place(ref, o.ID, a.status == http.StatusOK)
		c.orders = append(c.orders, bought{o.ID, ref, body})
		return true
	default:
		c.ledger.t.Errorf("key %s: %v", ref.Key, a)
		return false
	}
}

// expect checks an answer that must hold an order of the shopper's own.
func (c *shopper) expect(a answer, b bought, status int) bool {
	o, err := a.order()
	if err != nil || a.status != status || o.Key != b.ref.Key || o.UserID != b.ref.UserID {
		c.ledger.t.Errorf("order %d, key %s, was acknowledged, and now: %v, %v", b.id, b.ref.Key, a, err)
		return false
	}
	c.ledger.place(b.ref, o.ID, true)
	return true
}

// insist asks until there is a definite answer; false when the test is over before. A server that cannot do it now, or
// may have done it and died, is asked again.
func (c *shopper) insist(ctx context.Context, method, path, body string) (answer, bool) {
	for ctx.Err() == nil {
		addr, err := c.shop.find(ctx, c.door)
		if err != nil {
			return answer{}, false
		}
		a, err := c.wire.ask(addr, method, path, body)
		switch {
		case err == nil && a.code() == "lock_conflict":
			c.ledger.lose()
		case err == nil && a.status != http.StatusServiceUnavailable:
			return a, true
		case errors.Is(err, errHung), errors.Is(err, errCut) && c.gentle:
			c.ledger.t.Errorf("%s %s: %v", method, path, err)
			return answer{}, false
		}
		c.ledger.wonder()
		c.door++
		c.shop.breathe(ctx)
	}
	return answer{}, false
}

// refOf is the ref of an order that create makes.
func refOf(key string) order.OrderKey { return order.OrderKey{UserID: 1, Key: key} }
