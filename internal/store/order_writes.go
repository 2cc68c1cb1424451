package store

import (
	"context"
	"errors"
	"maps"
	"slices"

	"orderflow/internal/order"
	"orderflow/internal/sqldb"
)

// placeTries is how many times a batch runs that meets keys which other requests take, or users that do not exist.
const placeTries = 5

// CreateOrders places a batch of drafts in one transaction and answers each: an order, new or existing, or a refusal with a code
// (see order.Place). On an error nothing was done: CodeUnavailable, or a plain error when a single member may be the cause.
func (s *Store) CreateOrders(ctx context.Context, drafts []order.Draft) (answers []order.Placed, batch order.EventBatch, err error) {
	existing := map[order.OrderKey]*order.Order{}
	missing := map[int64]bool{} // users that do not exist
	for try := 1; ; try++ {
		answers, batch, err = s.place(ctx, drafts, existing, missing)
		if err == nil {
			return answers, batch, nil
		}
		class := s.db.Classify(err)
		if try == placeTries && class == sqldb.Duplicate {
			return nil, order.EventBatch{}, &order.Error{
				Code: order.CodeUnavailable, Message: "Other requests keep taking the same keys; try again with the same key.", Cause: err,
			}
		}
		if try == placeTries {
			return nil, order.EventBatch{}, err
		}
		switch class {
		case sqldb.Duplicate: // another request took a key first: its order is the answer
			existing, err = s.findWritten(ctx, keysOf(drafts))
		case sqldb.ForeignKey: // products are read under lock, so a user is missing
			err = s.findMissing(ctx, drafts, missing)
		default:
			return nil, order.EventBatch{}, err
		}
		if err != nil {
			return nil, order.EventBatch{}, err
		}
	}
}

// findWritten is FindOrders on a connection for writes. An order that a duplicate key has just shown is on the server for writes,
// while connections for reads may still lead to a server that it has replaced.
func (s *Store) findWritten(ctx context.Context, wanted []order.OrderKey) (found map[order.OrderKey]*order.Order, err error) {
	err = s.write(ctx, "find", func(t *tx) error {
		found, err = t.findOrders(wanted)
		return err
	})
	return found, err
}

// place is one transaction of CreateOrders.
func (s *Store) place(
	ctx context.Context, drafts []order.Draft, existing map[order.OrderKey]*order.Order, missing map[int64]bool,
) (answers []order.Placed, batch order.EventBatch, err error) {
	placeable, ofMissing := answerable(drafts, func(d order.Draft) error {
		if missing[d.UserID] {
			return d.Missing(false, func(int64) bool { return true })
		}
		return nil
	})
	refuse := func(err error) order.Placed { return order.Placed{Err: err} }
	err = s.write(ctx, "create", func(t *tx) error {
		products, locked, err := t.lockProducts(productsOf(placeable))
		if err != nil {
			return err
		}
		users, err := t.lockUsers(placeable)
		if err != nil {
			return err
		}
		known := existing
		refusal := func(d order.Draft) error {
			switch {
			case known[d.OrderKey()] != nil:
				return nil // the order exists, and needs no row
			case users[d.UserID]:
				return order.LockedUser(d.UserID)
			}
			return lockedLine(d, locked)
		}
		free, ofLocked := answerable(placeable, refusal)
		if ofLocked != nil { // an existing order is the answer, even if its user or product is locked
			if known, err = t.alsoTaken(known, refusedOf(placeable, ofLocked)); err != nil {
				return err
			}
			free, ofLocked = answerable(placeable, refusal)
		}
		var effects order.Effects
		answers, effects = order.Place(s.rules, t.Now, free, known, products)
		// A refusal counts only where the key is free: an order that took the key, and perhaps the last unit, is the answer.
		// With the product rows locked, an order that does not exist now comes after this transaction.
		if refused := refusedKeys(free, answers, known); len(refused) > 0 {
			before := len(known)
			if known, err = t.alsoTaken(known, refused); err != nil {
				return err
			}
			if len(known) > before {
				answers, effects = order.Place(s.rules, t.Now, free, known, products)
			}
		}
		answers = withRefused(answers, ofLocked, refuse)
		batch, err = t.apply(&effects, true)
		return err
	})
	if err == nil {
		answers = withRefused(answers, ofMissing, refuse)
	}
	return answers, batch, err
}

// findMissing adds to missing the users of drafts that do not exist. It returns an error when all exist.
func (s *Store) findMissing(ctx context.Context, drafts []order.Draft, missing map[int64]bool) error {
	var users []int64
	for _, d := range drafts {
		users = append(users, d.UserID)
	}
	existing, _, err := s.Existing(ctx, users, nil)
	if err != nil {
		return err
	}
	before := len(missing)
	for _, user := range users {
		if !existing[user] {
			missing[user] = true
		}
	}
	if len(missing) == before {
		return errors.New("a foreign key failed though every user exists")
	}
	return nil
}

// CancelOrders decides a batch of cancellations in one transaction and answers each (see order.Cancel).
func (s *Store) CancelOrders(ctx context.Context, requests []order.CancelRequest) (answers []order.Changed, batch order.EventBatch, err error) {
	ids := make([]int64, len(requests))
	for i, r := range requests {
		ids[i] = r.OrderID
	}
	err = s.write(ctx, "cancel", func(t *tx) error {
		orders, locked, err := t.lockOrders(ids, false)
		if err != nil {
			return err
		}
		if err := t.readItems(orders, ids); err != nil {
			return err
		}
		stock, err := t.lockStock(orders, func(o *order.Order) bool { return o.Status.CanBecome(order.Cancelled) })
		if err != nil {
			return err
		}
		free, refused := answerable(requests, func(r order.CancelRequest) error { return lockedOrder(r.OrderID, locked, stock) })
		var effects order.Effects
		answers, effects = order.Cancel(t.Now, orders, free)
		answers = withRefused(answers, refused, refusedChange)
		batch, err = t.apply(&effects, true)
		return err
	})
	return answers, batch, err
}

// ClaimOrders decides a batch of claims in one transaction and answers each (see order.Claim). It writes no outbox row: its events
// only wake streams, and may be lost.
func (s *Store) ClaimOrders(ctx context.Context, requests []order.ClaimRequest) (answers []order.Claimed, batch order.EventBatch, err error) {
	ids := make([]int64, len(requests))
	for i, r := range requests {
		ids[i] = r.OrderID
	}
	abandons := slices.ContainsFunc(requests, func(r order.ClaimRequest) bool { return r.Abandon })
	err = s.write(ctx, "claim", func(t *tx) error {
		orders, locked, err := t.lockOrders(ids, !abandons)
		if err != nil {
			return err
		}
		free, refused := answerable(requests, func(r order.ClaimRequest) error { return lockedOrder(r.OrderID, locked, nil) })
		var effects order.Effects
		answers, effects = order.Claim(s.rules, t.Now, t.ID, orders, free)
		t.markClaim(answers)
		answers = withRefused(answers, refused, func(err error) order.Claimed { return order.Claimed{Err: err} })
		batch, err = t.apply(&effects, false)
		return err
	})
	return answers, batch, err
}

// SettleOrders records a batch of outcomes of payments in one transaction and answers each (see order.Settle). To settle the same
// outcome again changes nothing.
func (s *Store) SettleOrders(ctx context.Context, settlements []order.Settlement) (answers []order.Changed, batch order.EventBatch, err error) {
	ids := make([]int64, len(settlements))
	for i, r := range settlements {
		ids[i] = r.OrderID
	}
	err = s.write(ctx, "settle", func(t *tx) error {
		orders, locked, err := t.lockOrders(ids, false)
		if err != nil {
			return err
		}
		var restock []int64
		for _, r := range settlements {
			if o := orders[r.OrderID]; o != nil && r.Restocks(o) {
				restock = append(restock, o.ID)
			}
		}
		if err := t.readItems(orders, restock); err != nil {
			return err
		}
		stock, err := t.lockStock(orders, func(o *order.Order) bool { return len(o.Items) > 0 })
		if err != nil {
			return err
		}
		free, refused := answerable(settlements, func(r order.Settlement) error { return lockedOrder(r.OrderID, locked, stock) })
		var effects order.Effects
		answers, effects = order.Settle(s.rules, t.Now, orders, free)
		answers = withRefused(answers, refused, refusedChange)
		batch, err = t.apply(&effects, true)
		return err
	})
	return answers, batch, err
}

// RetryOrders gives orders of failed jobs all their payment attempts again, due at once, and answers each (see order.Retry).
func (s *Store) RetryOrders(ctx context.Context, ids []int64) (answers []order.Changed, err error) {
	err = s.write(ctx, "retry", func(t *tx) error {
		orders, locked, err := t.lockOrders(ids, false)
		if err != nil {
			return err
		}
		free, refused := answerable(ids, func(id int64) error { return lockedOrder(id, locked, nil) })
		var effects order.Effects
		answers, effects = order.Retry(s.rules, t.Now, orders, free)
		answers = withRefused(answers, refused, refusedChange)
		_, err = t.apply(&effects, false)
		return err
	})
	return answers, err
}

// alsoTaken returns known with the orders that exist under these keys.
func (t *tx) alsoTaken(known map[order.OrderKey]*order.Order, keys []order.OrderKey) (map[order.OrderKey]*order.Order, error) {
	taken, err := t.findOrders(keys)
	if err != nil || len(taken) == 0 {
		return known, err
	}
	maps.Copy(taken, known)
	return taken, nil
}

// refusedOf returns the keys of the drafts that have an error.
func refusedOf(drafts []order.Draft, errs []error) (refused []order.OrderKey) {
	for i, err := range errs {
		if err != nil {
			refused = append(refused, drafts[i].OrderKey())
		}
	}
	return refused
}

// refusedKeys returns the keys of refused drafts that are not known to be taken.
func refusedKeys(drafts []order.Draft, answers []order.Placed, existing map[order.OrderKey]*order.Order) (refused []order.OrderKey) {
	for i, a := range answers {
		if key := drafts[i].OrderKey(); a.Err != nil && existing[key] == nil {
			refused = append(refused, key)
		}
	}
	return refused
}

func keysOf(drafts []order.Draft) []order.OrderKey {
	list := make([]order.OrderKey, len(drafts))
	for i, d := range drafts {
		list[i] = d.OrderKey()
	}
	return list
}

// productsOf returns the products of all drafts, ascending: the order in which rows are locked.
func productsOf(drafts []order.Draft) []int64 {
	set := map[int64]struct{}{}
	for _, d := range drafts {
		for _, line := range d.Lines {
			set[line.ProductID] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(set))
}
