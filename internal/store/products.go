package store

import (
	"context"
	"strings"

	"orderflow/internal/order"
	"orderflow/internal/sqldb"
)

const productColumns = "id, name, price, currency, stock, active, created_at"

func scanProduct(scan sqldb.Scan) (order.Product, error) {
	var p order.Product
	err := scan(&p.ID, &p.Name, scanMoney{&p.Price}, &p.Currency, &p.Stock, &p.Active, sqldb.ScanTime(&p.CreatedAt))
	return p, err
}

// CreateProducts adds a batch of products in one transaction and answers each: a product, new or existing, or CodeKeyReused
// (see order.AddProducts). On an error nothing was done.
func (s *Store) CreateProducts(ctx context.Context, drafts []order.ProductDraft) (answers []order.Added, err error) {
	keys := make([]string, len(drafts))
	for i, d := range drafts {
		keys[i] = d.UniqueKey()
	}
	err = s.writeKeyed(ctx, "create products", func(t *tx) error {
		existing, err := t.findMovements(keys)
		if err != nil {
			return err
		}
		var ids []int64
		for _, m := range existing {
			ids = append(ids, m.ProductID)
		}
		products, locked, err := t.lockProducts(ascending(ids))
		if err != nil {
			return err
		}
		free, refused := answerable(drafts, func(d order.ProductDraft) error {
			return lockedProduct(existing[d.UniqueKey()].ProductID, locked)
		})
		var effects order.Effects
		answers, effects = order.AddProducts(s.rules, t.Now, free, existing, products)
		answers = withRefused(answers, refused, func(err error) order.Added { return order.Added{Err: err} })
		_, err = t.apply(&effects, false)
		return err
	})
	return answers, err
}

// insertProduct inserts a product and fills in its id. New products are rare, so each has a statement of its own: a server may not
// give consecutive ids to rows that are inserted together.
func (t *tx) insertProduct(p *order.Product) (err error) {
	d := t.s.dialect
	p.ID, err = t.InsertOne(d.Insert()+"products (name, price, currency, stock, active, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
		p.Name, t.s.money(p.Price), p.Currency, p.Stock, p.Active, d.Time(p.CreatedAt), d.Time(p.CreatedAt))
	return err
}

// ChangeProducts decides a batch of changes of products in one transaction and answers each (see order.ChangeProducts).
// Orders placed afterwards use the changed product.
func (s *Store) ChangeProducts(ctx context.Context, changes []order.ProductChange) (answers []order.ProductAnswer, err error) {
	ids := make([]int64, len(changes))
	for i, c := range changes {
		ids[i] = c.ProductID
	}
	err = s.write(ctx, "change products", func(t *tx) error {
		products, locked, err := t.lockProducts(ascending(ids))
		if err != nil {
			return err
		}
		free, refused := answerable(changes, func(c order.ProductChange) error { return lockedProduct(c.ProductID, locked) })
		var rows []order.Product
		answers, rows = order.ChangeProducts(products, free)
		answers = withRefused(answers, refused, func(err error) order.ProductAnswer { return order.ProductAnswer{Err: err} })
		d := s.dialect
		update := d.Update() + d.ByPrimaryKey("products") + " SET name = ?, price = ?, active = ?, updated_at = ? WHERE id = ?"
		for _, p := range rows {
			err := t.Enqueue(1, "products to change", update, p.Name, t.s.money(p.Price), p.Active, d.Time(t.Now), p.ID)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return answers, err
}

// Restock decides a batch of restocks in one transaction, under the locks of the products' rows, and answers each (see
// order.ApplyRestocks). On an error nothing was done.
func (s *Store) Restock(ctx context.Context, restocks []order.Restock) (answers []order.Restocked, err error) {
	ids, keys := make([]int64, len(restocks)), make([]string, len(restocks))
	for i, r := range restocks {
		ids[i], keys[i] = r.ProductID, r.UniqueKey()
	}
	err = s.writeKeyed(ctx, "restock", func(t *tx) error {
		products, locked, err := t.lockProducts(ascending(ids))
		if err != nil {
			return err
		}
		existing, err := t.findMovements(keys)
		if err != nil {
			return err
		}
		free, refused := answerable(restocks, func(r order.Restock) error { return lockedProduct(r.ProductID, locked) })
		var effects order.Effects
		answers, effects = order.ApplyRestocks(t.Now, free, existing, products)
		answers = withRefused(answers, refused, func(err error) order.Restocked { return order.Restocked{Err: err} })
		_, err = t.apply(&effects, false)
		return err
	})
	return answers, err
}

// writeKeyed is write for work that looks up unique keys and then takes the free ones. A key that another transaction takes in
// between is found when the work runs again. The key also makes it harmless to repeat the work after a COMMIT of unknown
// outcome.
func (s *Store) writeKeyed(ctx context.Context, name string, work func(*tx) error) error {
	for try := 1; ; try++ {
		err := s.write(ctx, name, work)
		if s.db.Classify(err) != sqldb.Duplicate || try == placeTries {
			return err
		}
	}
}

// findMovements returns the movements that exist under these unique keys.
func (t *tx) findMovements(keys []string) (map[string]order.Movement, error) {
	found := map[string]order.Movement{}
	return found, sqldb.Chunks(t.s.dialect, keys, func(padded []string, _ int) error {
		args := make([]any, len(padded))
		for i, key := range padded {
			args[i] = t.s.dialect.Key(key)
		}
		return t.Query(func(scan sqldb.Scan) error {
			var m order.Movement
			err := scan(&m.ProductID, &m.Quantity, &m.Reason, &m.UniqueKey, &m.Actor, sqldb.ScanTime(&m.At))
			found[m.UniqueKey] = m
			return err
		}, "SELECT product_id, quantity, reason, unique_key, actor, created_at FROM stock_movements WHERE unique_key IN "+
			sqldb.Placeholders(len(padded)), args...)
	})
}

func (t *tx) insertMovements(movements []order.Movement) error {
	return t.Insert("stock_movements (product_id, quantity, reason, unique_key, actor, created_at)", 6, len(movements),
		func(args []any, i int) []any {
			m := movements[i]
			return append(args, m.ProductID, m.Quantity, m.Reason, t.s.dialect.Key(m.UniqueKey), m.Actor, t.s.dialect.Time(m.At))
		}, "")
}

// lockProducts locks and reads product rows; ids ascend. locked are those that exist and that other transactions keep locked (see
// lockFree). It also takes the metadata locks of the tables that changes of orders use before product rows. Otherwise a
// migration of such a table could wait for one of two transactions, and the other for the migration (DESIGN.md, "Order of
// locks").
func (t *tx) lockProducts(ids []int64) (products map[int64]order.Product, locked map[int64]bool, err error) {
	products = make(map[int64]order.Product, len(ids))
	locked, err = t.lockFree(rowLock{"products", ids, func(skip bool) error {
		return t.Lock(func(scan sqldb.Scan) error {
			p, err := scanProduct(scan)
			products[p.ID] = p
			return err
		}, productColumns, "products", "", ids, skip, "orders", "order_items", "payments", "order_events", "failed_jobs", "stock_movements")
	}, func(id int64) bool { _, has := products[id]; return has }}, false)
	return products, locked, err
}

// moveStock writes one UPDATE for all products. The decision, under the rows' locks, lets no stock fall below 0; the CHECK of
// the table refuses it again.
func (t *tx) moveStock(effects *order.Effects) error {
	d := t.s.dialect
	return sqldb.Chunks(d, effects.Products(), func(padded []int64, n int) error {
		if d.LockBeforeUpdate() {
			err := t.Enqueue(sqldb.AnyRows, "", "SELECT id FROM products WHERE id IN "+sqldb.Placeholders(len(padded))+" ORDER BY id"+d.LockRows(),
				sqldb.Anys(padded)...)
			if err != nil {
				return err
			}
		}
		args := make([]any, 0, 3*len(padded)+1)
		for _, id := range padded { // the first WHEN that matches counts, so padding changes nothing
			args = append(args, id, effects.Stock[id])
		}
		args = append(append(args, d.Time(t.Now)), sqldb.Anys(padded)...)
		return t.Enqueue(n, "products to move stock of", d.Update()+d.ByPrimaryKey("products")+" SET stock = stock + CASE id"+
			strings.Repeat(" WHEN ? THEN "+d.IntegerMark(), len(padded))+" END, updated_at = ? WHERE id IN "+sqldb.Placeholders(len(padded)), args...)
	})
}

// Products returns all products by id.
func (s *Store) Products(ctx context.Context) (products []order.Product, err error) {
	err = s.readReplica(ctx, func(ctx context.Context, query sqldb.QueryFunc) error {
		products = nil
		return query(ctx, func(scan sqldb.Scan) error {
			p, err := scanProduct(scan)
			products = append(products, p)
			return err
		}, "SELECT "+productColumns+" FROM products ORDER BY id")
	})
	return products, err
}

// ProductsByID returns those of the products that exist, in no order. It reads the primary, so that the latest changes show.
func (s *Store) ProductsByID(ctx context.Context, ids []int64) (products []order.Product, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		products = nil
		return sqldb.Chunks(s.dialect, ascending(ids), func(padded []int64, _ int) error {
			return s.query(ctx, func(scan sqldb.Scan) error {
				p, err := scanProduct(scan)
				products = append(products, p)
				return err
			}, "SELECT "+productColumns+" FROM products WHERE id IN "+sqldb.Placeholders(len(padded)), sqldb.Anys(padded)...)
		})
	})
	return products, err
}

// ProductPage returns a page of products by id. Pages count from 1. It reads the ids before the page too.
func (s *Store) ProductPage(ctx context.Context, page, perPage int) (found order.ProductPage, err error) {
	err = s.readReplica(ctx, func(ctx context.Context, query sqldb.QueryFunc) error {
		found = order.ProductPage{}
		err := query(ctx, func(scan sqldb.Scan) error {
			p, err := scanProduct(scan)
			found.Products = append(found.Products, p)
			return err
		}, "SELECT "+productColumns+" FROM products ORDER BY id LIMIT ? OFFSET ?", perPage, (page-1)*perPage)
		if err != nil {
			return err
		}
		return query(ctx, func(scan sqldb.Scan) error { return scan(&found.Total, &found.SoldOut) },
			"SELECT (SELECT count(*) FROM products), (SELECT count(*) FROM products WHERE stock = 0)")
	})
	return found, err
}

// StockAdded returns, for each of these products, the units added to stock by hand minus those removed. A product without
// movements is missing.
func (s *Store) StockAdded(ctx context.Context, products []int64) (units map[int64]int64, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		units = map[int64]int64{}
		return sqldb.Chunks(s.dialect, ascending(products), func(padded []int64, _ int) error {
			return s.query(ctx, func(scan sqldb.Scan) error {
				var product, quantity int64
				err := scan(&product, &quantity)
				units[product] = quantity
				return err
			}, "SELECT product_id, sum(quantity) FROM stock_movements WHERE product_id IN "+sqldb.Placeholders(len(padded))+" GROUP BY product_id",
				sqldb.Anys(padded)...)
		})
	})
	return units, err
}
