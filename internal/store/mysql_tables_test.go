package store_test

import (
	"context"
	"database/sql"
	"testing"

	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
	"orderflow/test/env"
)

// awaiting returns the number of connections that wait for a table.
func awaiting(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	const query = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE '%metadata lock%' AND DB = DATABASE()"
	if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestMySQLTablesBeforeProducts: a migration waits for a reader, and each write that locks product rows waits behind the migration. The
// write must not have locked the rows by then. Otherwise a change that returns stock, which already uses the tables, would wait for the
// write, the write for the migration, and the migration for the change.
func TestMySQLTablesBeforeProducts(t *testing.T) {
	t.Parallel()
	address := newMySQL(t)
	s := openAt(t, address, store.Options{Rules: storetest.Rules(), Pool: 2})
	if err := s.Seed(t.Context(), store.SeedPlan{SetStock: true, Stock: 1000}); err != nil {
		t.Fatal(err)
	}
	admin := env.Admin(t, address)
	writes := map[string]func(ctx context.Context, key string) error{
		"create": func(ctx context.Context, key string) error {
			_, _, err := s.CreateOrders(ctx, []order.Draft{storetest.Draft(t, 1, key, 1, 1)})
			return err
		},
		"restock": func(ctx context.Context, key string) error {
			_, err := s.Restock(ctx, []order.Restock{{ProductID: 1, Quantity: 1, Key: key}})
			return err
		},
	}
	for _, table := range []string{"orders", "order_items", "payments", "order_events", "failed_jobs", "stock_movements"} {
		for name, write := range writes {
			t.Run(table+"/"+name, func(t *testing.T) {
				reading := holdTable(t, admin, table)
				altered, written := make(chan error, 1), make(chan error, 1)
				go func() {
					_, err := admin.ExecContext(t.Context(), "ALTER TABLE "+table+" COMMENT = '"+name+"'")
					altered <- err
				}()
				env.Eventually(t, "the migration waits for the reader", func() bool { return awaiting(t, admin) == 1 })
				go func() { written <- write(t.Context(), table+"-"+name) }()
				env.Eventually(t, "the write waits for the migration", func() bool { return awaiting(t, admin) == 2 })
				var id int64
				if err := admin.QueryRowContext(t.Context(), "SELECT id FROM products WHERE id = 1 FOR UPDATE NOWAIT").Scan(&id); err != nil {
					t.Errorf("the product's row, while the write waits for the table: %v", err)
				}
				if err := reading.Rollback(); err != nil {
					t.Fatal(err)
				}
				for what, ended := range map[string]chan error{"migration": altered, "write": written} {
					if err := <-ended; err != nil {
						t.Errorf("%s: %v", what, err)
					}
				}
			})
		}
	}
	storetest.CheckInvariants(t, s)
}

// holdTable reads from a table in a transaction that stays open, as an audit does.
func holdTable(t *testing.T, db *sql.DB, table string) *sql.Tx {
	t.Helper()
	reading, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reading.Rollback() })
	if _, err := reading.ExecContext(t.Context(), "DO (SELECT COUNT(*) FROM "+table+")"); err != nil {
		t.Fatal(err)
	}
	return reading
}
