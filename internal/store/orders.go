package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"orderflow/internal/order"
)

// placeTries is how often a batch is placed anew because a key or a user was not as it seemed.
const placeTries = 5

// CreateOrders places a batch of drafts in one transaction and answers each: an order, new or found again, or a refusal
// with a code (see order.Place). On an error nothing was done: CodeUnavailable, or a plain error when one member alone
// may be the cause.
func (s *Store) CreateOrders(ctx context.Context, drafts []order.Draft) (answers []order.Placed, receipt order.EventBatch, err error) {
	existing := map[order.OrderKey]*order.Order{}
	gone := map[int64]bool{} // users that turned out not to exist
	for try := 1; ; try++ {
		answers, receipt, err = s.place(ctx, drafts, existing, gone)
		if err == nil {
			return answers, receipt, nil
		}
		class := s.dialect.classify(err)
		if try == placeTries && class == classDuplicate {
			return nil, order.EventBatch{}, &order.Error{
				Code: order.CodeUnavailable, Message: "Other requests keep taking the same keys; try again with the same key.", Cause: err,
			}
		}
		if try == placeTries {
			return nil, order.EventBatch{}, err
		}
		switch class {
		case classDuplicate: // another request was faster with a key: that order is the answer
			existing, err = s.findWritten(ctx, refs(drafts))
		case classForeignKey: // products are read under lock, so it is a user
			err = s.findGone(ctx, drafts, gone)
		default:
			return nil, order.EventBatch{}, err
		}
		if err != nil {
			return nil, order.EventBatch{}, err
		}
	}
}

// findWritten is FindOrders on a connection for writes: an order that a unique key has just named is on the server for writes,
// and connections for reads may still lead to one that it has replaced.
func (s *Store) findWritten(ctx context.Context, wanted []order.OrderKey) (found map[order.OrderKey]*order.Order, err error) {
	err = s.write(ctx, "find", func(t *tx) error {
		found, err = t.findOrders(wanted)
		return err
	})
	return found, err
}

// place is one transaction of CreateOrders.
func (s *Store) place(
	ctx context.Context, drafts []order.Draft, existing map[order.OrderKey]*order.Order, gone map[int64]bool,
) (answers []order.Placed, receipt order.EventBatch, err error) {
	placeable, ofGone := answerable(drafts, func(d order.Draft) error {
		if gone[d.UserID] {
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
				return nil // the order is there already, and needs no row
			case users[d.UserID]:
				return order.LockedUser(d.UserID)
			}
			return lockedLine(d, locked)
		}
		free, ofLocked := answerable(placeable, refusal)
		if ofLocked != nil { // an order that is there already is the answer, whoever has its user or product locked
			if known, err = t.alsoTaken(known, refusedOf(placeable, ofLocked)); err != nil {
				return err
			}
			free, ofLocked = answerable(placeable, refusal)
		}
		var effects order.Effects
		answers, effects = order.Place(s.rules, t.now, free, known, products)
		// A refusal counts only where the key is free: an order that took it, and the last unit with it, is the answer.
		// With the product rows locked, what is not there now comes after this transaction.
		if refused := refusedRefs(free, answers, known); len(refused) > 0 {
			before := len(known)
			if known, err = t.alsoTaken(known, refused); err != nil {
				return err
			}
			if len(known) > before {
				answers, effects = order.Place(s.rules, t.now, free, known, products)
			}
		}
		answers = withRefused(answers, ofLocked, refuse)
		receipt, err = t.carry(&effects, true)
		return err
	})
	if err == nil {
		answers = withRefused(answers, ofGone, refuse)
	}
	return answers, receipt, err
}

// findGone adds to gone the users of drafts that do not exist; it fails when all do.
func (s *Store) findGone(ctx context.Context, drafts []order.Draft, gone map[int64]bool) error {
	var users []int64
	for _, d := range drafts {
		users = append(users, d.UserID)
	}
	known, _, err := s.Existing(ctx, users, nil)
	if err != nil {
		return err
	}
	before := len(gone)
	for _, user := range users {
		if !known[user] {
			gone[user] = true
		}
	}
	if len(gone) == before {
		return errors.New("a foreign key failed though every user exists")
	}
	return nil
}

// CancelOrders decides a batch of cancellations in one transaction and answers each (see order.Cancel).
func (s *Store) CancelOrders(ctx context.Context, requests []order.CancelRequest) (answers []order.Changed, receipt order.EventBatch, err error) {
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
		answers, effects = order.Cancel(t.now, orders, free)
		answers = withRefused(answers, refused, refusedChange)
		receipt, err = t.carry(&effects, true)
		return err
	})
	return answers, receipt, err
}

// ClaimOrders decides a batch of claims in one transaction and answers each (see order.Claim). The receipt owes
// nothing: its events are news that may get lost.
func (s *Store) ClaimOrders(ctx context.Context, requests []order.ClaimRequest) (answers []order.Claimed, receipt order.EventBatch, err error) {
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
		answers, effects = order.Claim(s.rules, t.now, t.id, orders, free)
		t.proveClaim(answers)
		answers = withRefused(answers, refused, func(err error) order.Claimed { return order.Claimed{Err: err} })
		receipt, err = t.carry(&effects, false)
		return err
	})
	return answers, receipt, err
}

// SettleOrders decides what a batch of the gateway's answers means, in one transaction, and answers each (see
// order.Settle). Settling the same twice changes nothing the second time.
func (s *Store) SettleOrders(ctx context.Context, settlements []order.Settlement) (answers []order.Changed, receipt order.EventBatch, err error) {
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
		answers, effects = order.Settle(s.rules, t.now, orders, free)
		answers = withRefused(answers, refused, refusedChange)
		receipt, err = t.carry(&effects, true)
		return err
	})
	return answers, receipt, err
}

// RetryOrders gives dead-lettered orders all their tries again, due at once, and answers each (see order.Retry).
func (s *Store) RetryOrders(ctx context.Context, ids []int64) (answers []order.Changed, err error) {
	err = s.write(ctx, "retry", func(t *tx) error {
		orders, locked, err := t.lockOrders(ids, false)
		if err != nil {
			return err
		}
		free, refused := answerable(ids, func(id int64) error { return lockedOrder(id, locked, nil) })
		var effects order.Effects
		answers, effects = order.Retry(s.rules, t.now, orders, free)
		answers = withRefused(answers, refused, refusedChange)
		_, err = t.carry(&effects, false)
		return err
	})
	return answers, err
}

// alsoTaken returns known with the orders that exist under the keys of refs.
func (t *tx) alsoTaken(known map[order.OrderKey]*order.Order, refs []order.OrderKey) (map[order.OrderKey]*order.Order, error) {
	taken, err := t.findOrders(refs)
	if err != nil || len(taken) == 0 {
		return known, err
	}
	maps.Copy(taken, known)
	return taken, nil
}

// refusedOf names the drafts that have an error.
func refusedOf(drafts []order.Draft, errs []error) (refused []order.OrderKey) {
	for i, err := range errs {
		if err != nil {
			refused = append(refused, drafts[i].OrderKey())
		}
	}
	return refused
}

// refusedRefs names the refused drafts whose keys were not known to be taken.
func refusedRefs(drafts []order.Draft, answers []order.Placed, existing map[order.OrderKey]*order.Order) (refused []order.OrderKey) {
	for i, a := range answers {
		if ref := drafts[i].OrderKey(); a.Err != nil && existing[ref] == nil {
			refused = append(refused, ref)
		}
	}
	return refused
}

func refs(drafts []order.Draft) []order.OrderKey {
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

// lockProducts locks and reads product rows; ids ascend. locked are those that exist and that other transactions keep
// locked (see lockFree). Whoever has them uses other tables afterwards, which changes of
// orders have used before they come to the product rows. Between the two a migration of such a table would wait for the one,
// and be waited for by the other; so the tables come first here as well (DESIGN.md, "Order of locks").
func (t *tx) lockProducts(ids []int64) (products map[int64]order.Product, locked map[int64]bool, err error) {
	products = make(map[int64]order.Product, len(ids))
	locked, err = t.lockFree(rowLock{"products", ids, func(skip bool) error {
		return t.lock(func(scan func(...any) error) error {
			p, err := scanProduct(scan)
			products[p.ID] = p
			return err
		}, productColumns, "products", "", ids, skip, "orders", "order_items", "payments", "order_events", "failed_jobs", "stock_movements")
	}, func(id int64) bool { _, has := products[id]; return has }}, false)
	return products, locked, err
}

// lockOrders locks and reads order rows, ascending, without their items. locked are those that exist and that other
// transactions keep locked; with skip it never waits for one (see lockFree).
func (t *tx) lockOrders(ids []int64, skip bool) (orders map[int64]*order.Order, locked map[int64]bool, err error) {
	ids = ascending(ids)
	orders = make(map[int64]*order.Order, len(ids))
	locked, err = t.lockFree(rowLock{"orders", ids, func(skip bool) error {
		return t.lock(func(scan func(...any) error) error {
			o, err := scanOrder(scan)
			orders[o.ID] = o
			return err
		}, orderColumns, "orders", " o", ids, skip)
	}, func(id int64) bool { return orders[id] != nil }}, skip)
	return orders, locked, err
}

// proveClaim makes the new lease the transaction's proof: nobody else knows it. The lease of any claimed order will do, since
// one of them may have been settled by a late answer before the proof is looked for. Where that happened to all of them, the
// claim counts as not having happened and runs again: it finds every order changed and leaves it alone.
func (t *tx) proveClaim(answers []order.Claimed) {
	var ids []int64
	lease := ""
	for _, a := range answers {
		if a.Task != order.TaskNone {
			ids, lease = append(ids, a.Order.ID), a.Order.Lease
		}
	}
	if len(ids) > 0 {
		t.proof = "SELECT 1 FROM " + t.s.dialect.table("orders") + " WHERE lease_token = ? AND id IN " + placeholders(len(ids)) + " LIMIT 1"
		t.proofArgs = append([]any{lease}, anys(ids)...)
	}
}

// readItems reads the items of those of orders that ids names. Items never change, so their rows need no lock.
func (t *tx) readItems(orders map[int64]*order.Order, ids []int64) error {
	return t.queryIn(addItem(orders), selectItems, ascending(ids), orderItems)
}

// readIDs reads back the ids of orders that this transaction has inserted.
func (t *tx) readIDs(orders []*order.Order) error {
	byRef := make(map[order.OrderKey]*order.Order, len(orders))
	args := make([]any, 0, 2*len(orders))
	for _, o := range orders {
		byRef[order.OrderKey{UserID: o.UserID, Key: o.Key}] = o
		args = append(args, o.UserID, o.Key)
	}
	found := 0
	err := t.query(func(scan func(...any) error) error {
		var id int64
		var ref order.OrderKey
		if err := scan(&id, &ref.UserID, &ref.Key); err != nil {
			return err
		}
		if o := byRef[ref]; o != nil {
			o.ID = id
			found++
		}
		return nil
	}, t.s.dialect.findByRef("o.id, o.user_id, o.idempotency_key", len(orders)), args...)
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
		"o.attempts, o.tries_left, o.lease_token, o.due_at, o.version, o.cancelled_at, o.created_at, o.updated_at"
	selectItems = "SELECT order_id, product_id, quantity, unit_price FROM order_items WHERE order_id IN "
	orderItems  = " ORDER BY order_id, product_id"
)

func scanOrder(scan func(...any) error) (*order.Order, error) {
	o := &order.Order{}
	var mark []byte
	err := scan(&o.ID, &o.UserID, &o.Status, scanMoney{&o.Total}, &o.Currency, &o.Key, &mark, &o.PaymentMethod,
		&o.Claims, &o.AttemptsLeft, &o.Lease, scanTime{&o.DueAt}, &o.Version, scanTime{&o.CancelledAt},
		scanTime{&o.CreatedAt}, scanTime{&o.UpdatedAt})
	copy(o.Fingerprint[:], mark)
	return o, err
}

// addItem returns a reader of rows of selectItems that puts each into its order.
func addItem(orders map[int64]*order.Order) func(scan func(...any) error) error {
	return func(scan func(...any) error) error {
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
	if d.prepares() {
		return func(_, n int) string { return rows(n, 15) }
	}
	return func(from, n int) string {
		var b strings.Builder
		b.Grow(n * (len(before) + len(after) + 80))
		for i, o := range orders[from : from+n] {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(before)
			b.WriteString(d.binaryMark(o.Fingerprint[:]))
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
	lower, err := t.raise()
	if err != nil {
		return err
	}
	err = t.insertRows("orders (user_id, status, total_amount, currency, idempotency_key, fingerprint, payment_method, attempts, tries_left, "+
		"lease_token, due_at, version, cancelled_at, created_at, updated_at)", t.orderRows(orders), 15, len(orders),
		func(args []any, i int) []any {
			o := orders[i]
			args = d.withBinary(append(args, o.UserID, string(o.Status), d.money(o.Total), o.Currency, o.Key), o.Fingerprint[:])
			return append(args, o.PaymentMethod,
				o.Claims, o.AttemptsLeft, o.Lease, d.time(o.DueAt), o.Version, d.time(o.CancelledAt), d.time(o.CreatedAt), d.time(o.UpdatedAt))
		}, "", func(result sql.Result, from, n int) error {
			first, known, err := d.firstID(t.w, result, n)
			if err != nil || !known {
				return cmp.Or(err, t.readIDs(orders[from:from+n]))
			}
			for i := range n {
				orders[from+i].ID = first + int64(i)
			}
			return nil
		})
	if err == nil {
		err = lower()
	}
	return err
}

// insertItems inserts the items of orders whose ids are known.
func (t *tx) insertItems(orders []*order.Order) error {
	d := t.s.dialect
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
	return t.insert("order_items (order_id, product_id, quantity, unit_price)", 4, len(items), func(args []any, i int) []any {
		r := items[i]
		return append(args, r.id, r.item.ProductID, r.item.Quantity, d.money(r.item.UnitPrice))
	}, "")
}
