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

// busyError is the answer to an order with a product that another process has locked. row is the error of the store when it
// is the product's row that is locked; nobody announces its release, so Released is nil then.
type busyError struct {
	busy []lock.Busy
	row  *order.Error
}

func (*busyError) Error() string { return "a product is locked by another process" }

// round is one batch on its way through place.
type round struct {
	tickets []*ticket
	answers []batch.Answer[order.Placed]
	open    []int // those that have no answer yet, in order of arrival
}

// settle answers the open tickets for which judge has an answer, and keeps the others open.
func (r *round) settle(judge func(t *ticket) (batch.Answer[order.Placed], bool)) {
	left := r.open[:0]
	for _, i := range r.open {
		answer, done := judge(r.tickets[i])
		if done {
			r.answers[i] = answer
		} else {
			left = append(left, i)
		}
	}
	r.open = left
}

// fail answers all open tickets with an error.
func (r *round) fail(err error) {
	r.settle(func(*ticket) (batch.Answer[order.Placed], bool) { return batch.Answer[order.Placed]{Err: err}, true })
}

// place is the commit of a batch of orders. Running it again for a ticket finds that order by its key.
func (s *Service) place(ctx context.Context, tickets []*ticket) (_ []batch.Answer[order.Placed], err error) {
	ctx, spans := s.tracer.Batch(ctx, "create", tracing.Internal, len(tickets), func(i int) string { return tickets[i].draft.Trace.Parent })
	defer func() { spans.End(err) }()
	r := &round{tickets: tickets, answers: make([]batch.Answer[order.Placed], len(tickets)), open: make([]int, len(tickets))}
	for i := range tickets {
		r.open[i] = i
	}
	for _, step := range []func(context.Context, *round) error{s.refuseUnknown, s.replay, s.joinLines, s.lockAndCreate} {
		if len(r.open) == 0 {
			break
		}
		if err := step(ctx, r); err != nil {
			if oneMembersFault(err) && len(tickets) > 1 {
				return nil, err // the batcher halves; who has an answer already gets the same one again
			}
			r.fail(err)
		}
	}
	return r.answers, nil
}

// refuseUnknown answers orders of users or products that do not exist.
func (s *Service) refuseUnknown(ctx context.Context, r *round) error {
	users, products := s.known.missing(r)
	if len(users) == 0 && len(products) == 0 {
		return nil
	}
	foundUsers, foundProducts, err := s.orders.Existing(ctx, users, products)
	if err != nil {
		return err
	}
	s.known.add(foundUsers, foundProducts)
	r.settle(func(t *ticket) (answer batch.Answer[order.Placed], done bool) {
		err := s.known.check(t.draft, foundUsers, foundProducts)
		return batch.Answer[order.Placed]{Err: err}, err != nil
	})
	return nil
}

// replay answers orders whose key is in use, where a lookup is due (see lookups). It needs no lock: an order, once there, keeps
// its key. An order that has waited for a product is looked up once, so that it is not refused for a lock when it is there already.
func (s *Service) replay(ctx context.Context, r *round) error {
	all := s.lookups.next()
	due := func(t *ticket) bool { return !t.looked && (all || t.waited) }
	var refs []order.OrderKey
	for _, open := range r.open {
		if t := r.tickets[open]; due(t) {
			refs = append(refs, t.draft.OrderKey())
		}
	}
	if len(refs) == 0 {
		return nil
	}
	found, err := s.orders.FindOrders(ctx, refs)
	if err != nil {
		return err
	}
	if len(found) > 0 {
		s.lookups.expect()
	}
	r.settle(func(t *ticket) (answer batch.Answer[order.Placed], done bool) {
		earlier := found[t.draft.OrderKey()]
		if earlier == nil {
			t.looked = t.looked || due(t)
			return answer, false
		}
		return batch.Answer[order.Placed]{Value: order.Replay(t.draft, earlier)}, true
	})
	return nil
}

// joinLines answers orders for whose product others of this process wait already as busy too, without asking the lock: it
// would be for nothing, or overtake them.
func (s *Service) joinLines(_ context.Context, r *round) error {
	if s.lot.empty() {
		return nil
	}
	r.settle(func(t *ticket) (answer batch.Answer[order.Placed], done bool) {
		if t.waited {
			return answer, false
		}
		for _, line := range t.draft.Lines {
			if busy, waiting := s.lot.waiting(line.ProductID); waiting {
				return batch.Answer[order.Placed]{Err: &busyError{busy: []lock.Busy{busy}}}, true
			}
		}
		return answer, false
	})
	return nil
}

// lockAndCreate takes the locks, creates the orders that have theirs, and gives the locks back.
func (s *Service) lockAndCreate(ctx context.Context, r *round) error {
	token, held := s.lockProducts(ctx, r)
	used := len(r.open) > 0
	if len(held) > 0 || used { // without locks the stock changes all the same, and what is cached about the products is too old
		defer func() {
			err := s.locker.Unlock(ctx, token, held, used)
			failed := err != nil && len(held) > 0
			if before := s.unreleased.Swap(failed); failed && !before { // once, until a release has worked again
				s.log.Warn("Product locks were not released; they expire.", "event", "locks.not_released", "error", err.Error())
			}
		}()
	}
	if !used {
		return nil
	}
	drafts := make([]order.Draft, len(r.open))
	for i, open := range r.open {
		drafts[i] = r.tickets[open].draft
	}
	placed, receipt, err := s.orders.CreateOrders(ctx, drafts)
	if err != nil || slices.ContainsFunc(placed, isRepeated) {
		s.lookups.expect()
	}
	if err != nil {
		return err
	}
	s.publisher.Publish(receipt)
	for i, open := range r.open {
		r.answers[open] = s.answer(placed[i])
		if r.answers[open].Err == nil {
			s.wakeRows(drafts[i])
		}
	}
	r.open = nil
	return nil
}

// isRepeated reports whether an answer shows, or makes it likely, that clients repeat requests.
func isRepeated(placed order.Placed) bool {
	return placed.Replayed || order.CodeOf(placed.Err) == order.CodeKeyReused || errors.Is(placed.Err, order.ErrLocked)
}

// answer is what an order comes to that was handed to the store. One whose product's row is locked waits like one whose
// product lock is held.
func (s *Service) answer(placed order.Placed) batch.Answer[order.Placed] {
	if row, ok := errors.AsType[*order.Error](placed.Err); ok && errors.Is(row, order.ErrLocked) && row.ProductID != 0 {
		s.metrics.lockedRow.Inc()
		return batch.Answer[order.Placed]{Err: &busyError{busy: []lock.Busy{{Product: row.ProductID}}, row: row}}
	}
	return batch.Answer[order.Placed]{Value: placed}
}

// wakeRows wakes the orders that wait for the row of a product that this order could use: nobody announces its release.
func (s *Service) wakeRows(draft order.Draft) {
	if s.lot.empty() {
		return
	}
	for _, line := range draft.Lines {
		if busy, waiting := s.lot.waiting(line.ProductID); waiting && busy.Released == nil {
			s.lot.wake(line.ProductID, s.creates.Ahead)
		}
	}
}

// lockProducts tries the locks of all products at once. Orders of busy ones are answered so, and what was locked for
// them alone is given back with the rest. When the locks cannot be had at all, the batch goes on without: the database
// decides. It does so for products whose locks alone are unusable, and for stale locks.
func (s *Service) lockProducts(ctx context.Context, r *round) (token string, held []int64) {
	var products []int64
	for _, open := range r.open {
		t := r.tickets[open]
		for _, line := range t.draft.Lines {
			products = append(products, line.ProductID)
		}
	}
	slices.Sort(products)
	products = slices.Compact(products)
	locking, span := tracing.Inside(ctx, "lock products", tracing.Client)
	grant, err := s.locker.TryLock(locking, products)
	span.End(err)
	if err != nil {
		s.metrics.lockless.Inc()
		return "", nil
	}
	if len(grant.Failed) == len(products) {
		s.metrics.lockless.Inc()
	}
	alive, dead := s.holders.judge(grant)
	if len(alive) > 0 {
		r.settle(func(t *ticket) (answer batch.Answer[order.Placed], done bool) {
			var mine []lock.Busy
			for _, busy := range alive {
				if t.wants(busy.Product) {
					mine = append(mine, busy)
				}
			}
			return batch.Answer[order.Placed]{Err: &busyError{busy: mine}}, len(mine) > 0
		})
	}
	for _, product := range grant.Failed {
		s.lot.wake(product, s.creates.Ahead) // orders that wait for this lock can go on without it
	}
	for _, product := range dead {
		s.lot.wake(product, s.creates.Ahead) // nobody will release it
		for _, open := range r.open {
			if r.tickets[open].wants(product) {
				s.metrics.deadHolder.Inc()
			}
		}
	}
	return grant.Token, grant.Held
}
