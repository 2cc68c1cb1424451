// Package intake takes orders in: it makes sure of one order a key, keeps the product locks (the first layer of
// protection), and gathers concurrent requests into batches, each of which is one transaction of the store (the second
// layer, which decides).
//
//	Create ──▶ batch ──▶ known? ──▶ key in use? ──▶ lock products ──▶ store.CreateOrders ──▶ unlock ──▶ publish
//	             ▲          │ 422        │ replay        │ busy, or others wait for it
//	             │          ▼            ▼               ▼
//	             └── ahead of the queue ──────── wait: next try of the schedule, or woken by the release
//
// Keys are looked up before a batch only while clients repeat requests; else the unique index finds those that are in use.
//
// One goroutine commits one batch at a time, so orders of one product are served in order of arrival. An order whose
// product is locked elsewhere leaves its batch, waits on its own schedule and comes back ahead of newer ones; it never
// holds the batch up. Newer ones that want the same product join it without a try of their own. LOCKS.md has the argument
// for what happens when the locks themselves fail.
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

// Orders is what intake needs of the database. The writes are one whole transaction each.
type Orders interface {
	// Existing tells which of the users and products exist.
	Existing(ctx context.Context, users, products []int64) (knownUsers, knownProducts map[int64]bool, err error)
	// FindOrders returns the orders that exist under these keys.
	FindOrders(ctx context.Context, wanted []order.OrderKey) (map[order.OrderKey]*order.Order, error)
	CreateOrders(ctx context.Context, drafts []order.Draft) ([]order.Placed, order.EventBatch, error)
	CancelOrders(ctx context.Context, requests []order.CancelRequest) ([]order.Changed, order.EventBatch, error)
}

// Publisher takes the receipts of commits. Publish never blocks and never fails.
type Publisher interface {
	Publish(receipt order.EventBatch)
}

// Options are what a Service works with. All but Random, Logger and Registerer are required.
type Options struct {
	Orders    Orders
	Locker    lock.Locker
	Publisher Publisher

	BatchMax int // orders in a transaction; 1 turns batching off
	QueueMax int // requests that may wait, of creates and of cancels each
	Lines    int // order lines in a transaction
	Loops    int // transactions at once; more than 1 only makes sense with BatchMax 1

	Tracer     tracing.Tracer // of nothing by default
	Random     rand.Source    // of the schedule's jitter; nil for the runtime's
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Service takes orders in and cancels them. Its methods may be called from any goroutine.
type Service struct {
	orders    Orders
	locker    lock.Locker
	publisher Publisher
	log       *slog.Logger
	tracer    tracing.Tracer
	random    rand.Source
	metrics   *metrics
	known     known
	lot       lot
	holders   holders
	lookups   lookups
	arrivals  atomic.Int64

	unreleased atomic.Bool // the last release of locks failed

	creates *batch.Batcher[*ticket, order.Placed]
	cancels *batch.Batcher[order.CancelRequest, *order.Order]
}

// ticket is a draft on its way in.
type ticket struct {
	draft   order.Draft
	arrival int64 // its place among all that came in
	looked  bool  // its key was looked up and is free, but for a race that the database decides
	waited  bool  // it has been in a line
}

// wants reports whether a product is among those of the ticket.
func (t *ticket) wants(product int64) bool {
	return slices.ContainsFunc(t.draft.Lines, func(line order.Line) bool { return line.ProductID == product })
}

// New returns a Service. It answers only while Run does its work.
func New(o Options) *Service {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Random == nil {
		o.Random = lock.Random{}
	}
	s := &Service{
		orders: o.Orders, locker: o.Locker, publisher: o.Publisher, log: o.Logger, tracer: o.Tracer, random: o.Random,
		known: newKnown(),
	}
	s.creates = batch.New(s.place, batch.Options[*ticket]{
		Queue: o.QueueMax, Max: o.BatchMax, Loops: o.Loops, Halve: oneMembersFault,
		Weight: o.Lines, Weigh: func(t *ticket) int { return len(t.draft.Lines) },
		Observe: func(size int, waited, took time.Duration) { s.metrics.batch("create", size, waited, took) },
	})
	s.cancels = batch.New(s.cancel, batch.Options[order.CancelRequest]{
		Queue: o.QueueMax, Max: o.BatchMax, Loops: o.Loops, Halve: oneMembersFault,
		Observe: func(size int, waited, took time.Duration) { s.metrics.batch("cancel", size, waited, took) },
	})
	s.metrics = newMetrics(o.Registerer, s.creates.Queued, s.cancels.Queued)
	return s
}

// oneMembersFault: what the store could not tell the reason of may be one member's doing; that the database is away is
// not.
func oneMembersFault(err error) bool { return order.CodeOf(err) == order.CodeInternal }

// Run commits batches until ctx ends, then commits what was let in, and returns nil. Call it once.
func (s *Service) Run(ctx context.Context) error {
	var loops sync.WaitGroup
	loops.Go(func() { _ = s.creates.Run(ctx) }) // a batcher's Run always returns nil
	loops.Go(func() { _ = s.cancels.Run(ctx) })
	loops.Wait()
	return nil
}

// Create places an order, and returns after it is durable. The errors carry the codes of order.Place (a refusal),
// CodeLockConflict (a product stayed locked through all tries), CodeOverloaded (the queue is full; nothing was done),
// CodeUnavailable (also when a product's row stayed locked through all tries), or the error of ctx, after which the order may
// still be placed: ask again with the same key.
func (s *Service) Create(ctx context.Context, draft order.Draft) (order.Placed, error) {
	t := &ticket{draft: draft, arrival: s.arrivals.Add(1)}
	placed, err := s.creates.Do(ctx, t)
	if busy, ok := errors.AsType[*busyError](err); ok {
		placed, err = s.tryAgain(ctx, t, busy)
	}
	if err == nil {
		err = placed.Err
	}
	s.metrics.created(placed, err)
	return placed, inWords(err)
}

// Cancel cancels a PENDING order, and returns it after that is durable. Cancelling it again is no error. The errors
// carry the codes of order.Cancel, CodeOverloaded or CodeUnavailable.
func (s *Service) Cancel(ctx context.Context, request order.CancelRequest) (*order.Order, error) {
	o, err := s.cancels.Do(ctx, request)
	s.metrics.cancelled(err)
	return o, inWords(err)
}

// OrderRefused counts a request to order that was refused before it came to Create, such as by the rate limit.
func (s *Service) OrderRefused(err error) { s.metrics.failed(s.metrics.refused, err) }

// CancelRefused counts a request to cancel that was refused before it came to Cancel.
func (s *Service) CancelRefused(err error) { s.metrics.failed(s.metrics.cancels, err) }

// inWords gives the batcher's own errors their codes.
func inWords(err error) error {
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

// cancel is the commit of a batch of cancellations.
func (s *Service) cancel(ctx context.Context, requests []order.CancelRequest) (_ []batch.Answer[*order.Order], err error) {
	ctx, spans := s.tracer.Batch(ctx, "cancel", tracing.Internal, len(requests), func(i int) string { return requests[i].Trace.Parent })
	defer func() { spans.End(err) }()
	changed, receipt, err := s.orders.CancelOrders(ctx, requests)
	if err != nil {
		return nil, err
	}
	s.publisher.Publish(receipt)
	answers := make([]batch.Answer[*order.Order], len(changed))
	for i, c := range changed {
		answers[i] = batch.Answer[*order.Order]{Value: c.Order, Err: c.Err}
	}
	return answers, nil
}
