package worker

import (
	"maps"
	"sync"
	"time"

	"orderflow/internal/order"
)

// Bounds of backoff.
const (
	backoffFirst  = time.Second
	backoffLast   = 10 * time.Second
	backoffOrders = 10_000 // orders
)

// backoff keeps the sweepers of this process from orders that could not be claimed, each for a pause that doubles from
// backoffFirst to backoffLast. Without it every sweep would find the same orders, and later ones would never be claimed.
type backoff struct {
	mu     sync.Mutex
	orders map[int64]pause
}

type pause struct {
	until time.Time
	long  time.Duration
}

// failed starts the next pause of an order, and reports whether it is the first one. Beyond backoffOrders it ignores further orders.
func (b *backoff) failed(id int64) (first bool) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	last, known := b.orders[id]
	if !known && len(b.orders) >= backoffOrders {
		return false
	}
	if b.orders == nil {
		b.orders = map[int64]pause{}
	}
	long := backoffFirst
	if known {
		long = min(2*last.long, backoffLast)
	}
	b.orders[id] = pause{now.Add(long), long}
	return !known
}

// claimed ends the backoff of an order.
func (b *backoff) claimed(id int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.orders, id)
}

// pausing returns the number of orders that must not be claimed now. It removes orders whose pause ended long ago: another process
// has claimed them.
func (b *backoff) pausing() (n int) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.orders, func(_ int64, p pause) bool { return now.Sub(p.until) > 2*backoffLast })
	for _, p := range b.orders {
		if now.Before(p.until) {
			n++
		}
	}
	return n
}

// allowed returns up to limit of the due orders, without the pausing ones.
func (b *backoff) allowed(due []order.ClaimRequest, limit int) (orders []order.ClaimRequest) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range due {
		if len(orders) < limit && !now.Before(b.orders[r.OrderID].until) {
			orders = append(orders, r)
		}
	}
	return orders
}
