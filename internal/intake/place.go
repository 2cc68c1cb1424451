package intake

import (
	"context"
	"errors"
	"slices"

	"orderflow/internal/batch"
	"orderflow/internal/lock"
	"orderflow/internal/order"
	"orderflow/internal/tracing"
)

// busyError is the answer to a request with a busy product. When the product's row is locked, row is the error of the store, and
// Released is nil: no one announces the release of a row.
type busyError struct {
	busy []lock.Busy
	row  *order.Error
}

func (*busyError) Error() string { return "a product is locked by another process" }

// createBatch is one batch on its way through the steps of place.
type createBatch struct {
	requests []*request
	answers  []batch.Answer[order.Placed]
	open     []int // indexes of the requests without an answer, in order of arrival
}

// answer sets the answers of the open requests for which decide returns one.
func (b *createBatch) answer(decide func(r *request) (batch.Answer[order.Placed], bool)) {
	open := b.open[:0]
	for _, i := range b.open {
		answer, done := decide(b.requests[i])
		if done {
			b.answers[i] = answer
		} else {
			open = append(open, i)
		}
	}
	b.open = open
}

// fail answers all open requests with an error.
func (b *createBatch) fail(err error) {
	b.answer(func(*request) (batch.Answer[order.Placed], bool) { return batch.Answer[order.Placed]{Err: err}, true })
}

// place commits a batch of orders. It may run again for a request, whose order it then finds by the key.
func (s *Service) place(ctx context.Context, requests []*request) (_ []batch.Answer[order.Placed], err error) {
	ctx, spans := s.tracer.Batch(ctx, "create", tracing.Internal, len(requests), func(i int) string { return requests[i].draft.Trace.Parent })
	defer func() { spans.End(err) }()
	b := &createBatch{requests: requests, answers: make([]batch.Answer[order.Placed], len(requests)), open: make([]int, len(requests))}
	for i := range requests {
		b.open[i] = i
	}
	for _, step := range []func(context.Context, *createBatch) error{s.refuseMissing, s.replay, s.joinWaiters, s.lockAndCreate} {
		if len(b.open) == 0 {
			break
		}
		if err := step(ctx, b); err != nil {
			if isMemberError(err) && len(requests) > 1 {
				return nil, err // the batcher halves; requests with an answer get the same one again
			}
			b.fail(err)
		}
	}
	return b.answers, nil
}

// refuseMissing refuses orders of users or products that do not exist.
func (s *Service) refuseMissing(ctx context.Context, b *createBatch) error {
	users, products := s.existence.uncached(b)
	if len(users) == 0 && len(products) == 0 {
		return nil
	}
	foundUsers, foundProducts, err := s.orders.Existing(ctx, users, products)
	if err != nil {
		return err
	}
	s.existence.add(foundUsers, foundProducts)
	b.answer(func(r *request) (answer batch.Answer[order.Placed], done bool) {
		err := s.existence.check(r.draft, foundUsers, foundProducts)
		return batch.Answer[order.Placed]{Err: err}, err != nil
	})
	return nil
}

// replay answers requests whose key is in use, if keys are looked up at all (see lookups). It needs no lock: an order keeps its
// key. A request that has waited is looked up once, so that it is not refused for a lock while its order exists.
func (s *Service) replay(ctx context.Context, b *createBatch) error {
	all := s.lookups.next()
	due := func(r *request) bool { return !r.lookedUp && (all || r.waited) }
	var keys []order.OrderKey
	for _, open := range b.open {
		if r := b.requests[open]; due(r) {
			keys = append(keys, r.draft.OrderKey())
		}
	}
	if len(keys) == 0 {
		return nil
	}
	found, err := s.orders.FindOrders(ctx, keys)
	if err != nil {
		return err
	}
	if len(found) > 0 {
		s.lookups.expect()
	}
	b.answer(func(r *request) (answer batch.Answer[order.Placed], done bool) {
		earlier := found[r.draft.OrderKey()]
		if earlier == nil {
			r.lookedUp = r.lookedUp || due(r)
			return answer, false
		}
		return batch.Answer[order.Placed]{Value: order.Replay(r.draft, earlier)}, true
	})
	return nil
}

// joinWaiters sends a new request to the waitlist, without a try of its own, if others wait for one of its products already: a
// try would fail, or overtake them.
func (s *Service) joinWaiters(_ context.Context, b *createBatch) error {
	if s.waitlist.empty() {
		return nil
	}
	b.answer(func(r *request) (answer batch.Answer[order.Placed], done bool) {
		if r.waited {
			return answer, false
		}
		for _, line := range r.draft.Lines {
			if busy, found := s.waitlist.busy(line.ProductID); found {
				return batch.Answer[order.Placed]{Err: &busyError{busy: []lock.Busy{busy}}}, true
			}
		}
		return answer, false
	})
	return nil
}

// lockAndCreate locks the products, creates the orders whose products are locked, and releases the locks.
func (s *Service) lockAndCreate(ctx context.Context, b *createBatch) error {
	token, locked := s.lockProducts(ctx, b)
	used := len(b.open) > 0
	if len(locked) > 0 || used { // also without locks: the stock changes, so the locker must invalidate cached products
		defer func() {
			err := s.locker.Unlock(ctx, token, locked, used)
			failed := err != nil && len(locked) > 0
			if before := s.releaseFailed.Swap(failed); failed && !before { // logged once, until a release succeeds
				s.log.Warn("Product locks were not released; they expire.", "event", "locks.not_released", "error", err.Error())
			}
		}()
	}
	if !used {
		return nil
	}
	drafts := make([]order.Draft, len(b.open))
	for i, open := range b.open {
		drafts[i] = b.requests[open].draft
	}
	placed, events, err := s.orders.CreateOrders(ctx, drafts)
	if err != nil || slices.ContainsFunc(placed, isRepeated) {
		s.lookups.expect()
	}
	if err != nil {
		return err
	}
	s.publisher.Publish(events)
	for i, open := range b.open {
		b.answers[open] = s.answer(placed[i])
		if b.answers[open].Err == nil {
			s.requeueRowWaiters(drafts[i])
		}
	}
	b.open = nil
	return nil
}

// isRepeated reports whether an answer shows, or makes it likely, that clients repeat requests.
func isRepeated(placed order.Placed) bool {
	return placed.Replayed || order.CodeOf(placed.Err) == order.CodeKeyReused || errors.Is(placed.Err, order.ErrLocked)
}

// answer converts an answer of the store. A request whose product's row is locked waits like one whose product lock is taken.
func (s *Service) answer(placed order.Placed) batch.Answer[order.Placed] {
	if row, ok := errors.AsType[*order.Error](placed.Err); ok && errors.Is(row, order.ErrLocked) && row.ProductID != 0 {
		s.metrics.lockedRow.Inc()
		return batch.Answer[order.Placed]{Err: &busyError{busy: []lock.Busy{{Product: row.ProductID}}, row: row}}
	}
	return batch.Answer[order.Placed]{Value: placed}
}

// requeueRowWaiters requeues the requests that wait for the rows of the draft's products: an order could use these rows, and no one
// announces their release.
func (s *Service) requeueRowWaiters(draft order.Draft) {
	if s.waitlist.empty() {
		return
	}
	for _, line := range draft.Lines {
		if busy, found := s.waitlist.busy(line.ProductID); found && busy.Released == nil {
			s.waitlist.requeue(line.ProductID, s.creates.Ahead)
		}
	}
}

// lockProducts tries to lock all products of the open requests at once, and answers requests with a busy product. The batch
// continues without a lock where the lock is stale or cannot be used, or where no lock can be taken: the database decides.
func (s *Service) lockProducts(ctx context.Context, b *createBatch) (token string, locked []int64) {
	var products []int64
	for _, open := range b.open {
		for _, line := range b.requests[open].draft.Lines {
			products = append(products, line.ProductID)
		}
	}
	slices.Sort(products)
	products = slices.Compact(products)
	locking, span := tracing.Start(ctx, "lock products", tracing.Client)
	grant, err := s.locker.TryLock(locking, products)
	span.End(err)
	if err != nil {
		s.metrics.lockless.Inc()
		return "", nil
	}
	if len(grant.Failed) == len(products) {
		s.metrics.lockless.Inc()
	}
	live, stale := s.staleLocks.split(grant)
	if len(live) > 0 {
		b.answer(func(r *request) (answer batch.Answer[order.Placed], done bool) {
			var own []lock.Busy
			for _, busy := range live {
				if r.contains(busy.Product) {
					own = append(own, busy)
				}
			}
			return batch.Answer[order.Placed]{Err: &busyError{busy: own}}, len(own) > 0
		})
	}
	for _, product := range grant.Failed {
		s.waitlist.requeue(product, s.creates.Ahead) // the waiters can continue without this lock
	}
	for _, product := range stale {
		s.waitlist.requeue(product, s.creates.Ahead) // its owner will not release it
		for _, open := range b.open {
			if b.requests[open].contains(product) {
				s.metrics.staleLocks.Add(1)
			}
		}
	}
	return grant.Token, grant.Locked
}
