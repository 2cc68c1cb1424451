package store

import (
	"context"
	"crypto/rand"
	"fmt"

	"orderflow/internal/order"
	"orderflow/internal/sqldb"
)

const (
	orderChunk = 500 // orders in one transaction, which a slow machine completes within the time limit of a write
	seedBlock  = 12  // chunks that use the decisions of real orders; the database then copies these, which is several times as fast
)

// seedOrders adds finished orders: of ten, seven are PAID, two FAILED, one CANCELLED. Movements add the units of the PAID ones, so
// that the present stock stays.
func (s *Store) seedOrders(ctx context.Context, want int64, progress func(done, total int64)) error {
	have, _, err := s.count(ctx, "orders")
	if err != nil {
		return err
	}
	users, err := s.ids(ctx, "users")
	if err != nil {
		return err
	}
	products, err := s.Products(ctx)
	if err != nil {
		return err
	}
	type span struct{ first, last int64 } // of ids
	var block []span
	copies := 0
	for have < want {
		n := min(orderChunk, want-have)
		var made span
		err := s.write(ctx, "seed", func(t *tx) (err error) {
			if len(block) == seedBlock && n == orderChunk {
				round := int64(copies/seedBlock + 1)
				from := block[copies%seedBlock]
				return t.copyOrders(from.first, from.last, round*(block[seedBlock-1].last+1-block[0].first))
			}
			made.first, made.last, err = t.seedOrders(have, n, users, products)
			return err
		})
		if err != nil {
			return err
		}
		if len(block) < seedBlock {
			block = append(block, made)
		} else {
			copies++
		}
		have += n
		if progress != nil {
			progress(have, want)
		}
	}
	return nil
}

// copyOrders copies the finished orders with ids from first to last to ids that are higher by a number, and adds the units of the
// copies by movements.
func (t *tx) copyOrders(first, last, by int64) error {
	if err := t.NeedClock(); err != nil {
		return err
	}
	if err := t.ReserveIDs("orders", last+by); err != nil {
		return err
	}
	d := t.s.dialect
	for _, c := range []statement{
		{"orders (id, user_id, status, total_amount, currency, idempotency_key, fingerprint, payment_method, claims, attempts_left, " +
			"lease_token, due_at, version, cancelled_at, created_at, updated_at) SELECT id + ?, user_id, status, total_amount, currency, " +
			d.Concat("idempotency_key", "?") + ", fingerprint, payment_method, claims, attempts_left, " +
			"lease_token, due_at, version, cancelled_at, created_at, updated_at FROM orders WHERE id", []any{by, d.Key(fmt.Sprint("-", by))}},
		{"order_items (order_id, product_id, quantity, unit_price) SELECT order_id + ?, product_id, quantity, unit_price " +
			"FROM order_items WHERE order_id", []any{by}},
		{"order_events (order_id, sequence, type, payload, actor, trace_id, traceparent, created_at) SELECT order_id + ?, sequence, type, " +
			"payload, actor, trace_id, traceparent, created_at FROM order_events WHERE order_id", []any{by}},
		{"payments (order_id, claim, kind, outcome, reference, error, actor, created_at) SELECT order_id + ?, claim, kind, outcome, " +
			"reference, error, actor, created_at FROM payments WHERE order_id", []any{by}},
	} {
		query := d.Insert() + c.query + " BETWEEN ? AND ? ORDER BY 1"
		if err := t.Enqueue(sqldb.AnyRows, "", query, append(c.args, first, last)...); err != nil {
			return err
		}
	}
	var moves []order.Movement
	err := t.Query(func(scan sqldb.Scan) error {
		var product, quantity int64
		err := scan(&product, &quantity)
		moves = append(moves, t.sampleMove(product, quantity))
		return err
	}, "SELECT i.product_id, sum(i.quantity) FROM order_items i JOIN orders o ON o.id = i.order_id "+
		"WHERE o.status = 'PAID' AND o.id BETWEEN ? AND ? GROUP BY i.product_id", first+by, last+by)
	if err != nil {
		return err
	}
	return t.insertMovements(moves)
}

// ids returns the first ids of a table, enough to spread orders over.
func (s *Store) ids(ctx context.Context, table string) (ids []int64, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		ids = nil
		return s.query(ctx, func(scan sqldb.Scan) error {
			var id int64
			err := scan(&id)
			ids = append(ids, id)
			return err
		}, "SELECT id FROM "+table+" ORDER BY id LIMIT 10000")
	})
	return ids, err
}

// seedOrders adds n orders by the decisions of real orders, and returns their first and last ids.
func (t *tx) seedOrders(done, n int64, users []int64, products []order.Product) (first, last int64, err error) {
	if err := t.NeedClock(); err != nil {
		return 0, 0, err
	}
	drafts := make([]order.Draft, n)
	byID := map[int64]order.Product{}
	for i := range drafts {
		k := done + int64(i)
		p := products[k%int64(len(products))]
		p.Stock, p.Active = n*2, true
		byID[p.ID] = p
		d, err := order.NewDraft(nil, users[k%int64(len(users))], "seed-"+rand.Text(), []order.Line{{ProductID: p.ID, Quantity: 1 + k%2}}, "")
		if err != nil {
			return 0, 0, err
		}
		d.Actor, d.Trace.ID = seedActor, fmt.Sprintf("seed-%d", k+1)
		drafts[i] = d
	}
	answers, placed := order.Place(t.s.rules, t.Now, drafts, nil, byID)
	if len(placed.New) != len(drafts) {
		return 0, 0, fmt.Errorf("%d of %d sample orders were placed", len(placed.New), len(drafts))
	}
	if err := t.insertNew(&placed); err != nil {
		return 0, 0, err
	}
	orders := make(map[int64]*order.Order, n)
	var cancels []order.CancelRequest
	var claims []order.ClaimRequest
	for i, a := range answers {
		orders[a.Order.ID] = a.Order
		if i%10 == 9 {
			cancels = append(cancels, order.CancelRequest{OrderID: a.Order.ID, Actor: seedActor, Trace: drafts[i].Trace})
		} else {
			claims = append(claims, order.ClaimRequest{OrderID: a.Order.ID, Actor: seedActor, Trace: drafts[i].Trace})
		}
	}
	if err := t.insertEvents(placed.Events); err != nil {
		return 0, 0, err
	}
	_, cancelled := order.Cancel(t.Now, orders, cancels)
	claimed, processing := order.Claim(t.s.rules, t.Now, t.ID, orders, claims)
	settlements := make([]order.Settlement, len(claimed))
	for i, c := range claimed {
		settlements[i] = order.Settlement{
			OrderID: c.Order.ID, Claim: c.Order.Claims, Lease: c.Order.Lease, Kind: order.KindCharge,
			Outcome: order.Succeeded, Reference: "seed", Actor: seedActor, Trace: c.Trace,
		}
		if i%9 >= 7 {
			settlements[i].Outcome, settlements[i].Reason = order.Declined, "declined by the sample data"
		}
	}
	_, settled := order.Settle(t.s.rules, t.Now, orders, settlements)
	for _, effects := range []*order.Effects{&cancelled, &processing, &settled} {
		effects.Stock = nil // the units were never taken from the present stock
		if _, err := t.apply(effects, false); err != nil {
			return 0, 0, err
		}
	}
	return placed.New[0].ID, placed.New[n-1].ID, t.balance(orders)
}

// balance adds the units of the PAID ones of orders, by movements.
func (t *tx) balance(orders map[int64]*order.Order) error {
	units := map[int64]int64{}
	for _, o := range orders {
		if o.Status == order.Paid {
			for _, item := range o.Items {
				units[item.ProductID] += item.Quantity
			}
		}
	}
	moves := make([]order.Movement, 0, len(units))
	for product, quantity := range units {
		moves = append(moves, t.sampleMove(product, quantity))
	}
	return t.insertMovements(moves)
}
