package store

import (
	"context"
	"crypto/rand"
	"fmt"

	"orderflow/internal/order"
	"orderflow/internal/sqldb"
)

// sampleHash is the argon2id hash of "password", the password of the sample users: a constant, so that seeding costs
// neither time nor memory. Users beyond them have none and cannot log in.
const sampleHash = "$argon2id$v=19$m=19456,t=2,p=1$PGUnUlbB/J6vGpdAGrtLig$OflJ8NdI9uAXEmCV/l6A0/qRVO3AG/bGkpyQy4y+SQQ"

// SeedPlan describes sample data. Rows are only added, never removed.
type SeedPlan struct {
	SetStock bool  // set every product's stock to Stock
	Stock    int64 // units
	Products int64 // at least
	Users    int64
	Orders   int64 // finished ones, with their whole history

	// Progress, if set, receives how many of the orders exist.
	Progress func(done, total int64)
}

const (
	seedChunk  = 2_000 // rows in one transaction
	newStock   = 100   // units of an added product
	seedActor  = "seed"
	seedReason = "sample data"
)

type sampleUser struct{ name, email string }

type sampleProduct struct {
	name  string
	price order.Money
	stock int64
}

// sampleUsers and sampleProducts are the sample data: ids begin at 1, in this order.
func sampleUsers() []sampleUser {
	return []sampleUser{
		{"Alice", "alice@example.com"},
		{"Bob", "bob@example.com"},
		{"Charlie", "charlie@example.com"},
	}
}

func sampleProducts() []sampleProduct {
	return []sampleProduct{
		{"Laptop Pro", 999_99, 50},
		{"Wireless Mouse", 29_99, 200},
		{"USB-C Hub", 29_99, 100},
		{"Mechanical Keyboard", 149_99, 75},
		{"Limited Edition Headphones", 299_99, 1},
	}
}

// Empty reports whether there is neither a user nor a product.
func (s *Store) Empty(ctx context.Context) (bool, error) {
	var some bool
	err := s.read(ctx, func(ctx context.Context) error {
		return s.db.Reader.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM users) OR EXISTS (SELECT 1 FROM products)").Scan(&some)
	})
	return !some, err
}

// SampleLogins returns how many users can log in with the password of the sample users.
func (s *Store) SampleLogins(ctx context.Context) (n int, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		const query = "SELECT count(*) FROM users WHERE id <= ? AND password_hash = ?"
		return s.db.Reader.QueryRowContext(ctx, query, len(sampleUsers()), sampleHash).Scan(&n)
	})
	return n, err
}

// SeedEmpty adds the sample users and products, all of them in one transaction, to a database that has neither users nor
// products, and reports whether it did. Of several processes that call it at once, one adds them.
func (s *Store) SeedEmpty(ctx context.Context) (added bool, err error) {
	empty, err := s.Empty(ctx)
	if err != nil || !empty {
		return false, err
	}
	err = s.write(ctx, "seed", func(t *tx) error {
		if err := t.insertSampleUsers(nextIDs(0, int64(len(sampleUsers())))); err != nil {
			return err
		}
		return t.insertSampleProducts(nextIDs(0, int64(len(sampleProducts()))))
	})
	if s.db.Classify(err) == sqldb.Duplicate { // another process added them
		return false, nil
	}
	return err == nil, err
}

// Seed adds the sample users and products where there are none, and further rows as planned. All stock comes from stock
// movements, and every order has its events and payment, so that the audit passes.
func (s *Store) Seed(ctx context.Context, plan SeedPlan) error {
	if err := s.seedRows(ctx, "users", max(plan.Users, int64(len(sampleUsers()))), (*tx).insertSampleUsers); err != nil {
		return err
	}
	if err := s.seedRows(ctx, "products", max(plan.Products, int64(len(sampleProducts()))), (*tx).insertSampleProducts); err != nil {
		return err
	}
	if plan.Orders > 0 {
		if err := s.seedOrders(ctx, plan.Orders, plan.Progress); err != nil {
			return err
		}
	}
	if plan.SetStock {
		return s.setStock(ctx, plan.Stock)
	}
	return nil
}

// count returns the number of rows and the largest id of a table.
func (s *Store) count(ctx context.Context, table string) (rows, last int64, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		return s.db.Reader.QueryRowContext(ctx, "SELECT count(*), COALESCE(max(id), 0) FROM "+table).Scan(&rows, &last)
	})
	return rows, last, err
}

// insertSampleUsers adds the users with these ids. Only those with a name and an address of their own can log in.
func (t *tx) insertSampleUsers(ids []int64) error {
	if err := t.NeedClock(); err != nil {
		return err
	}
	if err := t.ReserveIDs("users", ids[len(ids)-1]); err != nil {
		return err
	}
	samples := sampleUsers()
	return t.Insert("users (id, name, email, password_hash, created_at)", 5, len(ids), func(args []any, i int) []any {
		name, email, hash := fmt.Sprintf("User %d", ids[i]), fmt.Sprintf("user%d@example.com", ids[i]), ""
		if ids[i] <= int64(len(samples)) {
			name, email, hash = samples[ids[i]-1].name, samples[ids[i]-1].email, sampleHash
		}
		return append(args, ids[i], name, email, hash, t.s.dialect.Time(t.Now))
	}, "")
}

// insertSampleProducts adds the products with these ids, and their stock.
func (t *tx) insertSampleProducts(ids []int64) error {
	if err := t.NeedClock(); err != nil {
		return err
	}
	if err := t.ReserveIDs("products", ids[len(ids)-1]); err != nil {
		return err
	}
	d, samples := t.s.dialect, sampleProducts()
	sample := func(i int) sampleProduct {
		if ids[i] <= int64(len(samples)) {
			return samples[ids[i]-1]
		}
		return sampleProduct{fmt.Sprintf("Product %d", ids[i]), 19_99, newStock}
	}
	err := t.Insert("products (id, name, price, currency, stock, active, created_at, updated_at)", 8, len(ids), func(args []any, i int) []any {
		p := sample(i)
		return append(args, ids[i], p.name, t.s.money(p.price), t.s.rules.Currency, p.stock, true, d.Time(t.Now), d.Time(t.Now))
	}, "")
	if err != nil {
		return err
	}
	moves := make([]order.Movement, len(ids))
	for i, id := range ids {
		moves[i] = t.sampleMove(id, sample(i).stock)
	}
	return t.insertMovements(moves)
}

// seedRows adds rows with the ids that follow until the table has as many as wanted.
func (s *Store) seedRows(ctx context.Context, table string, want int64, add func(t *tx, ids []int64) error) error {
	have, last, err := s.count(ctx, table)
	for err == nil && have < want {
		ids := nextIDs(last, min(seedChunk, want-have))
		err = s.write(ctx, "seed", func(t *tx) error { return add(t, ids) })
		have += int64(len(ids))
		last += int64(len(ids))
	}
	return err
}

// nextIDs are the n ids that follow last.
func nextIDs(last, n int64) []int64 {
	ids := make([]int64, n)
	for i := range ids {
		ids[i] = last + 1 + int64(i)
	}
	return ids
}

// sampleMove is a movement of the sample data, with a random key.
func (t *tx) sampleMove(product, quantity int64) order.Movement {
	return order.Movement{
		ProductID: product, Quantity: quantity, Reason: seedReason, UniqueKey: seedActor + "-" + rand.Text(), Actor: seedActor, At: t.Now,
	}
}

// setStock brings every product to the same stock, by a movement of the difference.
func (s *Store) setStock(ctx context.Context, stock int64) error {
	products, err := s.Products(ctx)
	if err != nil {
		return err
	}
	ids := make([]int64, len(products))
	for i, p := range products {
		ids[i] = p.ID
	}
	for len(ids) > 0 {
		n := min(len(ids), seedChunk)
		err := s.write(ctx, "seed", func(t *tx) error {
			products, locked, err := t.lockProducts(ids[:n])
			if err != nil {
				return err
			}
			for id := range locked {
				return order.LockedProduct(id) // the sample data is all or nothing
			}
			var moves []order.Movement
			effects := order.Effects{Stock: map[int64]int64{}}
			for _, id := range ids[:n] {
				if delta := stock - products[id].Stock; delta != 0 {
					moves = append(moves, t.sampleMove(id, delta))
					effects.Stock[id] = delta
				}
			}
			if err := t.insertMovements(moves); err != nil {
				return err
			}
			return t.moveStock(&effects)
		})
		if err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}
