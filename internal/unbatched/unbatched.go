// Package unbatched creates orders with one transaction each. `orderflow bench --compare` compares Orderflow with it: a well-written
// service without batches. The HTTP server, the encoding, the connections and the rows are those of the product, so that batching
// is the only difference.
//
//	Create ──▶ [lock products] ──▶ store.CreateUnbatched (one transaction, one commit) ──▶ [unlock]
//
// Product locks are optional. Without them the database serialises the orders of a product by row locks. With locks in Redis, the
// orders of a product form a queue in each process, of which only the first one uses Redis. A release wakes the next order of the
// queue, and Redis announces it to other processes, so that nothing polls.
//
// It does less than the product: it publishes no events and counts no orders in metrics.
package unbatched

import (
	"context"
	"sync"
	"time"

	"orderflow/internal/order"
)

// maxWait is how long an order waits for its locks before it is refused with CodeLockConflict: the longest wait of lock.Schedule.
const maxWait = 3900 * time.Millisecond

// Orders is the database.
type Orders interface {
	CreateUnbatched(ctx context.Context, draft order.Draft) (order.Placed, error)
	CancelOrders(ctx context.Context, requests []order.CancelRequest) ([]order.Changed, order.EventBatch, error)
}

// Locker locks products for all processes.
type Locker interface {
	// Lock locks the products, which must ascend. It waits for the release of locked ones, without polling. Its only error is that
	// of ctx; busy is a product that was locked then. When Redis is unavailable, it locks nothing.
	Lock(ctx context.Context, products []int64) (unlock func(), busy int64, err error)
}

// Service creates and cancels orders. Its methods are safe for concurrent use.
type Service struct {
	orders Orders
	locker Locker // nil for row locks only

	mu    sync.Mutex
	turns map[int64]chan struct{} // by product; a channel has an element while no order of this process has the turn
}

// New returns a Service. Without a locker the rows of the database are the only locks.
func New(orders Orders, locker Locker) *Service {
	return &Service{orders: orders, locker: locker, turns: map[int64]chan struct{}{}}
}

// Create places an order and returns when it is durable. The errors carry the codes of order.Place, CodeLockConflict or
// CodeUnavailable.
func (s *Service) Create(ctx context.Context, draft order.Draft) (order.Placed, error) {
	if s.locker == nil {
		return s.orders.CreateUnbatched(ctx, draft)
	}
	products := make([]int64, len(draft.Lines)) // ascending, so that orders never wait for each other
	for i, line := range draft.Lines {
		products[i] = line.ProductID
	}
	waiting, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	var turns []chan struct{}
	defer func() {
		for _, turn := range turns {
			turn <- struct{}{}
		}
	}()
	for _, product := range products {
		turn := s.turn(product)
		select {
		case <-turn:
			turns = append(turns, turn)
		case <-waiting.Done():
			return order.Placed{}, conflict(ctx, product)
		}
	}
	unlock, busy, err := s.locker.Lock(waiting, products)
	if err != nil {
		return order.Placed{}, conflict(ctx, busy)
	}
	defer unlock()
	return s.orders.CreateUnbatched(ctx, draft)
}

// conflict returns the error for a wait that ended: that of ctx, or CodeLockConflict.
func conflict(ctx context.Context, product int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := order.Errorf(order.CodeLockConflict, "Product %d stayed locked by other orders; try again with the same key.", product)
	err.ProductID = product
	return err
}

// turn returns the channel of a product's turns. Receivers get them in order of arrival.
func (s *Service) turn(product int64) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	turn := s.turns[product]
	if turn == nil {
		turn = make(chan struct{}, 1)
		turn <- struct{}{}
		s.turns[product] = turn
	}
	return turn
}

// Cancel cancels a PENDING order in a transaction of its own. The errors carry the codes of order.Cancel or CodeUnavailable.
func (s *Service) Cancel(ctx context.Context, request order.CancelRequest) (*order.Order, error) {
	changed, _, err := s.orders.CancelOrders(ctx, []order.CancelRequest{request})
	if err != nil {
		return nil, err
	}
	return changed[0].Order, changed[0].Err
}

// OrderRefused does nothing: only the product counts refusals.
func (*Service) OrderRefused(error) {}

// CancelRefused does nothing: only the product counts refusals.
func (*Service) CancelRefused(error) {}
