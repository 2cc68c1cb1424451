package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"orderflow/internal/order"
	"orderflow/internal/sqldb"
)

const eventColumns = "order_id, sequence, type, payload, actor, trace_id, traceparent, created_at"

func scanEvent(scan sqldb.Scan) (order.Event, error) {
	var e order.Event
	var payload []byte
	err := scan(&e.OrderID, &e.Seq, &e.Type, &payload, &e.Actor, &e.Trace.ID, &e.Trace.Parent, sqldb.ScanTime(&e.At))
	if err == nil {
		err = e.ReadPayload(payload)
	}
	return e, err
}

// orderKeys is the index of idempotency keys.
var orderKeys = sqldb.PairIndex{ //nolint:gochecknoglobals // a table that nobody changes
	Table: "orders", Alias: "o", Index: "idx_orders_idempotency", First: "user_id", Second: "idempotency_key",
}

// FindOrders returns the orders, with items, that exist under these keys.
func (s *Store) FindOrders(ctx context.Context, wanted []order.OrderKey) (found map[order.OrderKey]*order.Order, err error) {
	err = coded(s.db.Lookup(ctx, func(inner *sqldb.Tx) error {
		t := &tx{inner, s}
		found, err = t.findOrders(wanted)
		return err
	}))
	return found, err
}

func (t *tx) findOrders(wanted []order.OrderKey) (map[order.OrderKey]*order.Order, error) {
	byRef, byID := map[order.OrderKey]*order.Order{}, map[int64]*order.Order{}
	d := t.s.dialect
	err := sqldb.Chunks(d, wanted, func(padded []order.OrderKey, _ int) error {
		args := make([]any, 0, 2*len(padded))
		for _, r := range padded {
			args = append(args, r.UserID, d.Key(r.Key))
		}
		return t.Query(func(scan sqldb.Scan) error {
			o, err := scanOrder(scan)
			ref := order.OrderKey{UserID: o.UserID, Key: o.Key}
			if byRef[ref] == nil {
				byRef[ref], byID[o.ID] = o, o
			}
			return err
		}, d.SelectPairs(orderColumns, orderKeys, len(padded)), args...)
	})
	if err != nil || len(byID) == 0 {
		return byRef, err
	}
	return byRef, t.readItems(byID, slices.Collect(maps.Keys(byID)))
}

// Order returns an order with its items. The error carries CodeNotFound when there is none.
func (s *Store) Order(ctx context.Context, id int64) (*order.Order, error) {
	var orders []*order.Order
	err := s.read(ctx, func(ctx context.Context) (err error) {
		orders, err = s.readOrders(ctx, s.query, "SELECT "+orderColumns+" FROM orders o WHERE id = ?", id)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(orders) == 0 {
		return nil, order.NotFound(fmt.Sprintf("Order %d", id))
	}
	return orders[0], nil
}

// readOrders returns the orders that a query text finds, in its order, with their items.
func (s *Store) readOrders(ctx context.Context, query sqldb.QueryFunc, text string, args ...any) (orders []*order.Order, err error) {
	byID := map[int64]*order.Order{}
	err = query(ctx, func(scan sqldb.Scan) error {
		o, err := scanOrder(scan)
		orders, byID[o.ID] = append(orders, o), o
		return err
	}, text, args...)
	if err != nil {
		return nil, err
	}
	return orders, sqldb.Chunks(s.dialect, slices.Sorted(maps.Keys(byID)), func(padded []int64, _ int) error {
		return query(ctx, addItem(byID), selectItems+sqldb.Placeholders(len(padded))+orderItems, sqldb.Anys(padded)...)
	})
}

// Orders returns a page of orders, newest first, with their items.
func (s *Store) Orders(ctx context.Context, q order.ListQuery) (page order.Page, err error) {
	limit, offset := q.PerPage, 0
	if q.Page > 0 {
		offset = (q.Page - 1) * q.PerPage
	} else {
		limit++ // one more shows whether another page follows
	}
	text, args := listQuery(s.dialect, q, limit, offset)
	var orders []*order.Order
	err = s.readReplica(ctx, func(ctx context.Context, query sqldb.QueryFunc) (err error) {
		if orders, err = s.readOrders(ctx, query, text, args...); err != nil || q.Page == 0 {
			return err
		}
		where, args := listWhere(q)
		return query(ctx, func(scan sqldb.Scan) error { return scan(&page.Total) }, "SELECT count(*) FROM orders"+where, args...)
	})
	if err != nil {
		return order.Page{}, err
	}
	if q.Page == 0 && len(orders) > q.PerPage {
		orders, page.More = orders[:q.PerPage], true
	}
	page.Orders = make([]order.Order, len(orders))
	for i, o := range orders {
		page.Orders[i] = *o
	}
	return page, nil
}

func listWhere(q order.ListQuery) (where string, args []any) {
	and := " WHERE "
	add := func(condition string, arg any) {
		where, args, and = where+and+condition, append(args, arg), " AND "
	}
	if q.UserID > 0 {
		add("user_id = ?", q.UserID)
	}
	if q.Status != "" {
		add("status = ?", string(q.Status))
	}
	if q.Before > 0 {
		add("id < ?", q.Before)
	}
	return where, args
}

// listQuery is the query of one page. A list by status alone goes through idx_orders_status in two halves, each of
// which the index holds in order of id or nearly so: those that are not due (all finished ones), and the few that are.
func listQuery(d sqldb.Dialect, q order.ListQuery, limit, offset int) (text string, args []any) {
	where, whereArgs := listWhere(q)
	if q.Status == "" || q.UserID > 0 {
		from := "orders o"
		if q.UserID > 0 {
			from = d.ByIndex("orders o", "idx_orders_user")
		}
		return "SELECT " + orderColumns + " FROM " + from + where + " ORDER BY id DESC LIMIT ? OFFSET ?", append(whereArgs, limit, offset)
	}
	half := func(due string) string {
		return "SELECT id FROM (SELECT id FROM orders" + where + " AND due_at " + due + " ORDER BY id DESC LIMIT ?) half"
	}
	args = append(args, whereArgs...)
	args = append(args, limit+offset)
	args = append(args, whereArgs...)
	args = append(args, limit+offset, limit, offset)
	return "SELECT " + orderColumns + " FROM orders o JOIN (" + half("IS NULL") + " UNION ALL " + half("IS NOT NULL") +
		") found ON found.id = o.id ORDER BY o.id DESC LIMIT ? OFFSET ?", args
}

// Events returns an order's history after a sequence. The error carries CodeNotFound when there is no such order.
func (s *Store) Events(ctx context.Context, orderID int64, after int) (events []order.Event, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		events = nil
		return s.query(ctx, func(scan sqldb.Scan) error {
			e, err := scanEvent(scan)
			events = append(events, e)
			return err
		}, "SELECT "+eventColumns+" FROM order_events WHERE order_id = ? AND sequence > ? ORDER BY sequence",
			orderID, after)
	})
	if err != nil || len(events) > 0 {
		return events, err
	}
	var count int
	err = s.read(ctx, func(ctx context.Context) error {
		return s.db.Reader.QueryRowContext(ctx, "SELECT count(*) FROM orders WHERE id = ?", orderID).Scan(&count)
	})
	if err == nil && count == 0 {
		err = order.NotFound(fmt.Sprintf("Order %d", orderID))
	}
	return nil, err
}

// DueOrders returns up to limit orders that are due, those due longest first, with the trace of the request that created each;
// empty when the order has no first event. With kinds it returns only those that need a charge, or a void.
func (s *Store) DueOrders(ctx context.Context, limit int, kinds ...order.PaymentKind) (due []order.ClaimRequest, err error) {
	var statuses []order.Status
	if len(kinds) == 0 || slices.Contains(kinds, order.KindCharge) {
		statuses = append(statuses, order.Pending, order.Processing)
	}
	if len(kinds) == 0 || slices.Contains(kinds, order.KindVoid) {
		statuses = append(statuses, order.Failed)
	}
	err = s.read(ctx, func(ctx context.Context) error {
		due = nil
		clock, err := s.db.Clock(ctx)
		if err != nil {
			return err
		}
		now := s.dialect.Time(clock)
		parts := make([]string, len(statuses))
		var args []any
		for i, status := range statuses {
			parts[i] = "SELECT * FROM (SELECT id, due_at FROM orders WHERE status = ? AND due_at <= ? ORDER BY due_at LIMIT ?) " + string('a'+rune(i))
			args = append(args, string(status), now, limit)
		}
		return s.query(ctx, func(scan sqldb.Scan) error {
			var r order.ClaimRequest
			err := scan(&r.OrderID, &r.Trace.ID, &r.Trace.Parent)
			due = append(due, r)
			return err
		}, "SELECT o.id, COALESCE(e.trace_id, ''), COALESCE(e.traceparent, '') FROM ("+strings.Join(parts, " UNION ALL ")+
			") o LEFT OUTER JOIN order_events e ON e.order_id = o.id AND e.sequence = 1 ORDER BY o.due_at LIMIT ?",
			append(args, limit)...)
	})
	return due, err
}

// MissingOrders returns those of ids that no order has.
func (s *Store) MissingOrders(ctx context.Context, ids []int64) ([]int64, error) {
	existing, err := s.existingIDs(ctx, "SELECT id FROM orders WHERE id IN ", ids)
	if err != nil {
		return nil, err
	}
	var missing []int64
	for _, id := range ids {
		if !existing[id] {
			missing = append(missing, id)
		}
	}
	return missing, nil
}

// keyReach is how many of the newest orders OrdersByKey searches for a key of an unknown user: there is no index on the key alone.
const keyReach = 100_000

// OrdersByKey returns up to limit orders with an idempotency key, newest first, with their items: of one user, at most one; with
// user 0, of all users among the newest 100,000 orders. It reads the primary: on a replica that lags, an order that was just
// confirmed would seem not to exist, and an operator might ask the customer to order again.
func (s *Store) OrdersByKey(ctx context.Context, user int64, key string, limit int) (orders []*order.Order, err error) {
	err = s.read(ctx, func(ctx context.Context) (err error) {
		if user > 0 {
			orders, err = s.readOrders(ctx, s.query, "SELECT "+orderColumns+" FROM orders o WHERE user_id = ? AND idempotency_key = ?",
				user, s.dialect.Key(key))
			return err
		}
		var oldest int64 // ids may have gaps, huge ones after a restore
		err = s.query(ctx, func(scan sqldb.Scan) error { return scan(&oldest) },
			"SELECT COALESCE(min(id), 0) FROM (SELECT id FROM orders ORDER BY id DESC LIMIT ?) newest", keyReach)
		if err != nil {
			return err
		}
		orders, err = s.readOrders(ctx, s.query,
			"SELECT "+orderColumns+" FROM orders o WHERE id >= ? AND idempotency_key = ? ORDER BY id DESC LIMIT ?", oldest, s.dialect.Key(key), limit)
		return err
	})
	return orders, err
}

// Payments returns the calls of the gateway for an order, in order of the claims; none for an order that does not exist.
func (s *Store) Payments(ctx context.Context, orderID int64) (payments []order.Payment, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		payments = nil
		return s.query(ctx, func(scan sqldb.Scan) error {
			p := order.Payment{OrderID: orderID}
			err := scan(&p.Claim, &p.Kind, &p.Outcome, &p.Reference, &p.Error, &p.Actor, sqldb.ScanTime(&p.At))
			payments = append(payments, p)
			return err
		}, "SELECT claim, kind, outcome, reference, error, actor, created_at FROM payments WHERE order_id = ? ORDER BY claim, created_at",
			orderID)
	})
	return payments, err
}
