package store

import (
	"context"
	"errors"

	"orderflow/internal/order"
	"orderflow/internal/sqldb"
)

// staleTries is how many times an order is decided whose stock was sold between the decision and the UPDATE.
const staleTries = 5

// CreateUnbatched places one order in one transaction, as a server that does not batch does. `orderflow bench` compares with it;
// the product itself uses CreateOrders. It writes the same rows, with the same durability, and returns the errors of
// CreateOrders.
//
// The statements are chosen for speed. The product is read without a lock, and a new key is not looked up: the unique index
// reports a duplicate. The UPDATE of the stock, which fails to match when too little is left, is the only lock on the product. It
// is sent together with the rest of the rows, one round trip before the COMMIT, so that the lock is held for the shortest time.
// It precedes the rows of order_items, whose foreign key would otherwise share the lock first and end in deadlocks.
//
// The outbox row is written as published, since nothing publishes it.
func (s *Store) CreateUnbatched(ctx context.Context, draft order.Draft) (placed order.Placed, err error) {
	for try := 1; ; try++ {
		placed, err = s.placeUnbatched(ctx, draft)
		if !errors.Is(err, sqldb.ErrRowsChanged) || try == staleTries {
			break
		}
	}
	switch s.db.Classify(err) {
	case sqldb.Duplicate:
		found, err := s.findWritten(ctx, []order.OrderKey{draft.OrderKey()})
		if err != nil {
			return order.Placed{}, err
		}
		if earlier := found[draft.OrderKey()]; earlier != nil {
			return order.Replay(draft, earlier), nil
		}
		return order.Placed{}, order.Errorf(order.CodeUnavailable, "Another request used the key at the same time; try again with the same key.")
	case sqldb.ForeignKey: // the products were read, so the user is missing
		return order.Placed{Err: draft.Missing(false, func(int64) bool { return true })}, nil
	default:
		return placed, err
	}
}

// placeUnbatched is one transaction of CreateUnbatched.
func (s *Store) placeUnbatched(ctx context.Context, draft order.Draft) (placed order.Placed, err error) {
	err = s.write(ctx, "create", func(t *tx) error {
		products, err := t.readProducts(draft.Lines)
		if err != nil {
			return err
		}
		answers, effects := order.Place(s.rules, t.Now, []order.Draft{draft}, nil, products)
		placed = answers[0]
		if placed.Err != nil { // a refusal counts only where the key is free
			taken, err := t.findOrders([]order.OrderKey{draft.OrderKey()})
			if earlier := taken[draft.OrderKey()]; earlier != nil {
				placed = order.Replay(draft, earlier)
			}
			return err
		}
		if err := t.insertOrderRows(effects.New); err != nil {
			return err
		}
		effects.SetIDs()
		for _, line := range draft.Lines { // ascending
			err := t.Enqueue(1, "products with stock", s.dialect.Update()+s.dialect.ByPrimaryKey("products")+
				" SET stock = stock - ?, updated_at = ? WHERE id = ? AND stock >= ? AND active",
				line.Quantity, s.dialect.Time(t.Now), line.ProductID, line.Quantity)
			if err != nil {
				return err
			}
		}
		if err := t.insertItems(effects.New); err != nil {
			return err
		}
		if err := t.insertEvents(effects.Events); err != nil {
			return err
		}
		now := s.dialect.Time(t.Now)
		t.SetCommitMarker("SELECT 1 FROM outbox WHERE id = ?", t.ID)
		return t.Enqueue(sqldb.AnyRows, "", "INSERT INTO outbox (id, events, created_at, leased_until, published_at) VALUES (?, ?, ?, ?, ?)",
			t.ID, encodeRefs(effects.Events), now, now, now)
	})
	return placed, err
}

// readProducts reads the products of an order without locking them.
func (t *tx) readProducts(lines []order.Line) (map[int64]order.Product, error) {
	ids := make([]int64, len(lines))
	for i, line := range lines {
		ids[i] = line.ProductID
	}
	products := make(map[int64]order.Product, len(lines))
	return products, t.FirstRead(func(scan sqldb.Scan) error {
		p, err := scanProduct(scan)
		products[p.ID] = p
		return err
	}, productColumns, "products", ids, "")
}
