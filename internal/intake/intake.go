// Package intake creates and cancels orders. It gathers concurrent requests into batches, each of which is one transaction of
// the store. Before the transaction it locks the products of the batch.
//
//	Create ──▶ batch ──▶ missing? ──▶ key in use? ──▶ lock products ──▶ store.CreateOrders ──▶ unlock ──▶ publish
//	             ▲          │ 422         │ replay       │ busy
//	             │          ▼             ▼              ▼
//	             └── ahead of the queue ────────────── waitlist: until the next try of the schedule, or the release
//
// Two layers protect the stock. Layer 1, the product locks, only keeps contention away from the database. Layer 2, the
// database, decides: it locks the rows and checks the stock. LOCKS.md describes the failures of the locks.
//
// One goroutine commits one batch at a time, so the orders of a product are created in order of arrival. A request with a busy
// product leaves its batch, joins the waitlist, and re-enters ahead of newer requests, so that it never delays the batch. A newer
// request for that product joins the waitlist without trying the lock first.
//
// The unique index of (user, key) ensures one order for each key. Keys are looked up before a batch only while clients repeat
// requests.
package intake

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/batch"
	"orderflow/internal/lock"
	"orderflow/internal/order"
	"orderflow/internal/tracing"
)

// Orders is the database. Each write is one transaction.
type Orders interface {
	// Existing returns which of the users and products exist.
	Existing(ctx context.Context, users, products []int64) (existingUsers, existingProducts map[int64]bool, err error)
	// FindOrders returns the orders with these keys.
	FindOrders(ctx context.Context, keys []order.OrderKey) (map[order.OrderKey]*order.Order, error)
	CreateOrders(ctx context.Context, drafts []order.Draft) ([]order.Placed, order.EventBatch, error)
	CancelOrders(ctx context.Context, requests []order.CancelRequest) ([]order.Changed, order.EventBatch, error)
}

// Publisher publishes the events of commits. Publish does not block and reports no errors.
type Publisher interface {
	Publish(events order.EventBatch)
}

// Options are the parts and limits of a Service. Tracer, Random, Logger and Registerer are optional.
type Options struct {
	Orders    Orders
	Locker    lock.Locker
	Publisher Publisher

	BatchMax int // orders in a transaction; 1 turns batching off
	QueueMax int // creates that may wait, and as many cancels
	Lines    int // order lines in a transaction
	Loops    int // transactions at once; more than 1 only makes sense with BatchMax 1

	Tracer     tracing.Tracer // default: no traces
	Random     rand.Source    // for the schedule's jitter; default: the runtime's generator
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Service creates and cancels orders. Its methods are safe for concurrent use.
type Service struct {
	orders        Orders
	locker        lock.Locker
	publisher     Publisher
	log           *slog.Logger
	tracer        tracing.Tracer
	random        rand.Source
	metrics       *metrics
	existence     existenceCache
	waitlist      waitlist
	staleLocks    staleLocks
	lookups       lookups
	arrivals      atomic.Int64
	releaseFailed atomic.Bool // the last release of locks failed

	creates *batch.Batcher[*request, order.Placed]
	cancels *batch.Batcher[order.CancelRequest, *order.Order]
}

// request is a request to create an order.
type request struct {
	draft    order.Draft
	arrival  int64 // numbers the requests in order of arrival
	lookedUp bool  // its key was looked up and not found; the database decides races
	waited   bool  // it has been on the waitlist
}

// contains reports whether a product is among those of the request.
func (r *request) contains(product int64) bool {
	return slices.ContainsFunc(r.draft.Lines, func(line order.Line) bool { return line.ProductID == product })
}

// New returns a Service. Its methods wait for answers until Run runs.
func New(o Options) *Service {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Random == nil {
		o.Random = lock.Random{}
	}
	s := &Service{
		orders: o.Orders, locker: o.Locker, publisher: o.Publisher, log: o.Logger, tracer: o.Tracer, random: o.Random,
		existence: newExistenceCache(),
	}
	s.creates = batch.New(s.place, batch.Options[*request]{
		Queue: o.QueueMax, Max: o.BatchMax, Loops: o.Loops, Halve: isMemberError,
		Weight: o.Lines, Weigh: func(r *request) int { return len(r.draft.Lines) },
		Observe: func(size int, waited, took time.Duration) { s.metrics.batch("create", size, waited, took) },
	})
	s.cancels = batch.New(s.cancel, batch.Options[order.CancelRequest]{
		Queue: o.QueueMax, Max: o.BatchMax, Loops: o.Loops, Halve: isMemberError,
		Observe: func(size int, waited, took time.Duration) { s.metrics.batch("cancel", size, waited, took) },
	})
	s.metrics = newMetrics(o.Registerer, s.creates.Queued, s.cancels.Queued)
	return s
}

// isMemberError reports whether one member of a batch may have caused an error. A code names another cause, such as an unreachable
// database.
func isMemberError(err error) bool { return order.CodeOf(err) == order.CodeInternal }

// Run commits batches until ctx ends, then those that wait, and returns nil. Call it once.
func (s *Service) Run(ctx context.Context) error {
	var loops sync.WaitGroup
	loops.Go(func() { _ = s.creates.Run(ctx) }) // a batcher's Run always returns nil
	loops.Go(func() { _ = s.cancels.Run(ctx) })
	loops.Wait()
	return nil
}

// Create places an order and returns when it is durable. The errors carry the codes of order.Place (the order is refused),
// CodeLockConflict (a product stayed locked through all tries), CodeOverloaded (the queue is full) or CodeUnavailable (also when
// a product's row stayed locked through all tries). The order is not placed then. After the error of ctx it may still be placed:
// try again with the same key.
func (s *Service) Create(ctx context.Context, draft order.Draft) (order.Placed, error) {
	r := &request{draft: draft, arrival: s.arrivals.Add(1)}
	placed, err := s.creates.Do(ctx, r)
	if busy, ok := errors.AsType[*busyError](err); ok {
		placed, err = s.retry(ctx, r, busy)
	}
	if err == nil {
		err = placed.Err
	}
	s.metrics.created(placed, err)
	return placed, withCode(err)
}

// Cancel cancels a PENDING order and returns it when that is durable. A CANCELLED order is not an error. The errors carry the
// codes of order.Cancel, CodeOverloaded or CodeUnavailable.
func (s *Service) Cancel(ctx context.Context, request order.CancelRequest) (*order.Order, error) {
	o, err := s.cancels.Do(ctx, request)
	s.metrics.cancelled(err)
	return o, withCode(err)
}

// OrderRefused counts a request to order that was refused before Create, such as by the rate limit.
func (s *Service) OrderRefused(err error) { s.metrics.failed(s.metrics.refused, err) }

// CancelRefused counts a request to cancel that was refused before Cancel.
func (s *Service) CancelRefused(err error) { s.metrics.failed(s.metrics.cancels, err) }

// withCode returns the error of the batcher with its code.
func withCode(err error) error {
	switch {
	case errors.Is(err, batch.ErrOverloaded):
		const message = "Too many requests are waiting; try again in a second with the same key."
		return &order.Error{Code: order.CodeOverloaded, Message: message, Cause: err}
	case errors.Is(err, batch.ErrStopped):
		return &order.Error{Code: order.CodeUnavailable, Message: "This server is shutting down; try again with the same key.", Cause: err}
	default:
		return err
	}
}

// cancel commits a batch of cancellations.
func (s *Service) cancel(ctx context.Context, requests []order.CancelRequest) (_ []batch.Answer[*order.Order], err error) {
	ctx, spans := s.tracer.Batch(ctx, "cancel", tracing.Internal, len(requests), func(i int) string { return requests[i].Trace.Parent })
	defer func() { spans.End(err) }()
	changed, events, err := s.orders.CancelOrders(ctx, requests)
	if err != nil {
		return nil, err
	}
	s.publisher.Publish(events)
	answers := make([]batch.Answer[*order.Order], len(changed))
	for i, c := range changed {
		answers[i] = batch.Answer[*order.Order]{Value: c.Order, Err: c.Err}
	}
	return answers, nil
}
