package store

import (
	"context"

	"orderflow/internal/order"
)

// CreateProducts adds a batch of products in one transaction and answers each: a product, new or found again, or
// CodeKeyReused (see order.AddProducts). On an error nothing was done.
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
		answers, effects = order.AddProducts(s.rules, t.now, free, existing, products)
		answers = withRefused(answers, refused, func(err error) order.Added { return order.Added{Err: err} })
		_, err = t.carry(&effects, false)
		return err
	})
	return answers, err
}

// insertProduct inserts a product and fills in its id. New products are rare, so each is a statement of its own, whose id
// is known whatever the ids of rows inserted together are like.
func (t *tx) insertProduct(p *order.Product) error {
	d := t.s.dialect
	result, err := t.exec(d.insert()+"products (name, price, currency, stock, active, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
		p.Name, d.money(p.Price), p.Currency, p.Stock, p.Active, d.time(p.CreatedAt), d.time(p.CreatedAt))
	if err != nil {
		return err
	}
	p.ID, err = result.LastInsertId()
	return err
}

// ChangeProducts decides a batch of changes of products in one transaction and answers each (see order.ChangeProducts).
// What is sold from then on is sold as changed.
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
		for _, p := range rows {
			err := t.post(1, "products to change", d.update()+d.table("products")+" SET name = ?, price = ?, active = ?, updated_at = ? WHERE id = ?",
				p.Name, d.money(p.Price), p.Active, d.time(t.now), p.ID)
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
		answers, effects = order.ApplyRestocks(t.now, free, existing, products)
		answers = withRefused(answers, refused, func(err error) order.Restocked { return order.Restocked{Err: err} })
		_, err = t.carry(&effects, false)
		return err
	})
	return answers, err
}

// writeKeyed is write for work that looks unique keys up and then takes those that are free: one that somebody else takes
// in between is found when the work runs again. The key is also what makes it harmless to repeat the work after a COMMIT
// of unknown outcome.
func (s *Store) writeKeyed(ctx context.Context, name string, work func(*tx) error) error {
	for try := 1; ; try++ {
		err := s.write(ctx, name, work)
		if s.dialect.classify(err) != classDuplicate || try == placeTries {
			return err
		}
	}
}

// findMovements returns the movements that exist under these unique keys.
func (t *tx) findMovements(keys []string) (map[string]order.Movement, error) {
	found := map[string]order.Movement{}
	return found, chunks(t.s.dialect, keys, func(padded []string, _ int) error {
		return t.query(func(scan func(...any) error) error {
			var m order.Movement
			err := scan(&m.ProductID, &m.Quantity, &m.Reason, &m.UniqueKey, &m.Actor, scanTime{&m.At})
			found[m.UniqueKey] = m
			return err
		}, "SELECT product_id, quantity, reason, unique_key, actor, created_at FROM stock_movements WHERE unique_key IN "+
			placeholders(len(padded)), anys(padded)...)
	})
}

func (t *tx) insertMovements(movements []order.Movement) error {
	return t.insert("stock_movements (product_id, quantity, reason, unique_key, actor, created_at)", 6, len(movements),
		func(args []any, i int) []any {
			m := movements[i]
			return append(args, m.ProductID, m.Quantity, m.Reason, m.UniqueKey, m.Actor, t.s.dialect.time(m.At))
		}, "")
}
