package store

import (
	"fmt"
	"slices"
	"strings"

	"orderflow/internal/order"
	"orderflow/internal/sqldb"
)

// lockOrders locks and reads order rows, ascending, without their items. locked are those that exist and that other transactions
// keep locked; with skip it does not wait for any (see lockFree).
func (t *tx) lockOrders(ids []int64, skip bool) (orders map[int64]*order.Order, locked map[int64]bool, err error) {
	ids = ascending(ids)
	orders = make(map[int64]*order.Order, len(ids))
	locked, err = t.lockFree(rowLock{"orders", ids, func(skip bool) error {
		return t.Lock(func(scan sqldb.Scan) error {
			o, err := scanOrder(scan)
			orders[o.ID] = o
			return err
		}, orderColumns, "orders", " o", ids, skip)
	}, func(id int64) bool { return orders[id] != nil }}, skip)
	return orders, locked, err
}

// markClaim makes the new lease the commit marker: it is random. The lease of any claimed order suffices, since a late answer may
// settle one of them before the marker is looked up. Where that happens to all of them, the claim counts as not committed and
// runs again: it finds every order changed, and claims none.
func (t *tx) markClaim(answers []order.Claimed) {
	var ids []int64
	lease := ""
	for _, a := range answers {
		if a.Task != order.TaskNone {
			ids, lease = append(ids, a.Order.ID), a.Order.Lease
		}
	}
	if len(ids) > 0 {
		t.SetCommitMarker("SELECT 1 FROM "+t.s.dialect.ByPrimaryKey("orders")+" WHERE lease_token = ? AND id IN "+
			sqldb.Placeholders(len(ids))+" LIMIT 1", append([]any{lease}, sqldb.Anys(ids)...)...)
	}
}

// readItems reads the items of those of orders that ids names. Items never change, so their rows need no lock.
func (t *tx) readItems(orders map[int64]*order.Order, ids []int64) error {
	return t.QueryIn(addItem(orders), selectItems, ascending(ids), orderItems)
}

// readIDs reads back the ids of orders that this transaction has inserted.
func (t *tx) readIDs(orders []*order.Order) error {
	byKey := make(map[order.OrderKey]*order.Order, len(orders))
	args := make([]any, 0, 2*len(orders))
	for _, o := range orders {
		byKey[order.OrderKey{UserID: o.UserID, Key: o.Key}] = o
		args = append(args, o.UserID, t.s.dialect.Key(o.Key))
	}
	found := 0
	err := t.Query(func(scan sqldb.Scan) error {
		var id int64
		var ref order.OrderKey
		if err := scan(&id, &ref.UserID, &ref.Key); err != nil {
			return err
		}
		if o := byKey[ref]; o != nil {
			o.ID = id
			found++
		}
		return nil
	}, t.s.dialect.SelectPairs("o.id, o.user_id, o.idempotency_key", orderKeys, len(orders)), args...)
	if err == nil && found != len(orders) {
		err = fmt.Errorf("%d of %d orders were found after they were inserted", found, len(orders))
	}
	return err
}

// ascending is ids sorted, each once.
func ascending(ids []int64) []int64 {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return slices.Compact(ids)
}

const (
	orderColumns = "o.id, o.user_id, o.status, o.total_amount, o.currency, o.idempotency_key, o.fingerprint, o.payment_method, " +
		"o.claims, o.attempts_left, o.lease_token, o.due_at, o.version, o.cancelled_at, o.created_at, o.updated_at"
	selectItems = "SELECT order_id, product_id, quantity, unit_price FROM order_items WHERE order_id IN "
	orderItems  = " ORDER BY order_id, product_id"
)

func scanOrder(scan sqldb.Scan) (*order.Order, error) {
	o := &order.Order{}
	var mark []byte
	err := scan(&o.ID, &o.UserID, &o.Status, scanMoney{&o.Total}, &o.Currency, &o.Key, &mark, &o.PaymentMethod,
		&o.Claims, &o.AttemptsLeft, &o.Lease, sqldb.ScanTime(&o.DueAt), &o.Version, sqldb.ScanTime(&o.CancelledAt),
		sqldb.ScanTime(&o.CreatedAt), sqldb.ScanTime(&o.UpdatedAt))
	copy(o.Fingerprint[:], mark)
	return o, err
}

// addItem returns a reader of rows of selectItems that puts each into its order.
func addItem(orders map[int64]*order.Order) func(scan sqldb.Scan) error {
	return func(scan sqldb.Scan) error {
		var id int64
		var item order.Item
		if err := scan(&id, &item.ProductID, &item.Quantity, scanMoney{&item.UnitPrice}); err != nil {
			return err
		}
		if o := orders[id]; o != nil {
			o.Items = append(o.Items, item)
		}
		return nil
	}
}

// orderRows returns the text of the values of orders, whose fingerprints may stand in it.
func (t *tx) orderRows(orders []*order.Order) func(from, n int) string {
	d := t.s.dialect
	const before, after = "(?,?,?,?,?,", ",?,?,?,?,?,?,?,?,?)"
	if d.Prepares() {
		return func(_, n int) string { return sqldb.Rows(n, 15) }
	}
	return func(from, n int) string {
		var b strings.Builder
		b.Grow(n * (len(before) + len(after) + 80))
		for i, o := range orders[from : from+n] {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(before)
			b.WriteString(d.BinaryMark(o.Fingerprint[:]))
			b.WriteString(after)
		}
		return b.String()
	}
}

// insertOrders inserts new orders with their items, in the order given, and fills in their ids.
func (t *tx) insertOrders(orders []*order.Order) error {
	if len(orders) == 0 {
		return nil
	}
	if err := t.insertOrderRows(orders); err != nil {
		return err
	}
	return t.insertItems(orders)
}

// insertOrderRows inserts new orders without their items, in the order given, and fills in their ids.
func (t *tx) insertOrderRows(orders []*order.Order) error {
	d := t.s.dialect
	release, err := t.reserveIDFloor()
	if err != nil {
		return err
	}
	err = t.InsertRows("orders (user_id, status, total_amount, currency, idempotency_key, fingerprint, payment_method, claims, attempts_left, "+
		"lease_token, due_at, version, cancelled_at, created_at, updated_at)", t.orderRows(orders), 15, len(orders),
		func(args []any, i int) []any {
			o := orders[i]
			args = d.WithBinary(append(args, o.UserID, string(o.Status), t.s.money(o.Total), o.Currency, d.Key(o.Key)), o.Fingerprint[:])
			return append(args, o.PaymentMethod,
				o.Claims, o.AttemptsLeft, o.Lease, d.Time(o.DueAt), o.Version, d.Time(o.CancelledAt), d.Time(o.CreatedAt), d.Time(o.UpdatedAt))
		}, "", func(ids []int64, from, n int) error {
			if ids == nil {
				return t.readIDs(orders[from : from+n])
			}
			for i, id := range ids {
				orders[from+i].ID = id
			}
			return nil
		})
	if err == nil {
		err = release()
	}
	return err
}

// insertItems inserts the items of orders whose ids are known.
func (t *tx) insertItems(orders []*order.Order) error {
	type row struct {
		id   int64
		item order.Item
	}
	var items []row
	for _, o := range orders {
		for _, item := range o.Items {
			items = append(items, row{o.ID, item})
		}
	}
	return t.Insert("order_items (order_id, product_id, quantity, unit_price)", 4, len(items), func(args []any, i int) []any {
		r := items[i]
		return append(args, r.id, r.item.ProductID, r.item.Quantity, t.s.money(r.item.UnitPrice))
	}, "")
}

// reserveIDFloor lets the ids of the transaction's next orders begin at the floor, unless ids are that high already. SQLite gives
// the largest id plus one. So a row right below the floor exists until release is called, before the COMMIT.
func (t *tx) reserveIDFloor() (release func() error, err error) {
	nothing := func() error { return nil }
	if t.s.idFloor == 0 {
		return nothing, nil
	}
	result, err := t.Exec(t.s.dialect.Insert()+"orders (id, user_id, status, total_amount, currency, idempotency_key, fingerprint, payment_method, "+
		"claims, attempts_left, lease_token, version, created_at, updated_at) SELECT ?, 0, 'CANCELLED', 0, '', '', x'', '', 0, 0, '', 0, 0, 0 "+
		"WHERE (SELECT COALESCE(max(id), 0) FROM orders) < ?", t.s.idFloor-1, t.s.idFloor-1)
	if err != nil {
		return nil, err
	}
	n, err := result.RowsAffected()
	if err == nil && n == 0 {
		t.s.idFloor = 0 // ids are that high, and orders are never deleted; only the one writer uses the field
	}
	if err != nil || n == 0 {
		return nothing, err
	}
	return func() error {
		_, err := t.Exec("DELETE FROM orders WHERE id = ?", t.s.idFloor-1)
		return err
	}, nil
}
