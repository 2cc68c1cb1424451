package chaos

import (
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"orderflow/test/env"
)

// TestChaosManyLockedRows holds locks on a product and on an unfinished order. All other products are sold and all other orders paid
// meanwhile, and those two once the locks are released.
func TestChaosManyLockedRows(t *testing.T) {
	t.Parallel()
	_, database := ownDatabase(t)
	redis, prefix := env.Redis(t)
	g := serverAndRedis(database, redis, prefix)
	g.clients = 64 // one of them after the other comes to insist on the locked product
	m := startInstallation(t, g)
	db := env.Admin(t, database)
	m.repeat(func() {
		m.awaitOrders(20, "before")
		locked, order := lockUnfinished(m, db)
		defer func() { _ = locked.Rollback() }() // where the test has failed before
		if _, err := locked.ExecContext(t.Context(), "SELECT id FROM products WHERE id = 2 FOR UPDATE"); err != nil {
			t.Fatal(err)
		}
		m.awaitOrders(50, "of other products")
		var newest int64
		if err := db.QueryRowContext(t.Context(), "SELECT MAX(id) FROM orders").Scan(&newest); err != nil {
			t.Fatal(err)
		}
		m.awaitOrders(20, "that are looked for next")
		m.until("orders behind the locked one are paid", func() (string, bool) {
			var paid int
			if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM orders WHERE id > ? AND status = 'PAID'", newest).Scan(&paid); err != nil {
				t.Fatal(err)
			}
			return fmt.Sprintf("%d are paid", paid), paid >= 10
		})
		if err := locked.Rollback(); err != nil {
			t.Fatal(err)
		}
		m.until("the order that was locked ends", func() (status string, ended bool) {
			if err := db.QueryRowContext(t.Context(), "SELECT status FROM orders WHERE id = ?", order).Scan(&status); err != nil {
				t.Fatal(err)
			}
			return status, status != "PENDING" && status != "PROCESSING"
		})
		m.awaitOrders(20, "of all products")
	})
	m.close()
}

// lockUnfinished locks an order that is PENDING or PROCESSING, and returns the transaction and the order's id.
func lockUnfinished(m *installation, db *sql.DB) (locked *sql.Tx, id int64) {
	m.t.Helper()
	m.until("an unfinished order is locked", func() (string, bool) {
		var err error
		if locked, err = db.BeginTx(m.t.Context(), &sql.TxOptions{Isolation: sql.LevelReadCommitted}); err != nil {
			m.t.Fatal(err)
		}
		err = locked.QueryRowContext(m.t.Context(), "SELECT MAX(id) FROM orders").Scan(&id)
		if err == nil {
			var status string
			err = locked.QueryRowContext(m.t.Context(),
				"SELECT status FROM orders FORCE INDEX (PRIMARY) WHERE id = ? AND status IN ('PENDING', 'PROCESSING') FOR UPDATE", id).Scan(&status)
			if err == nil {
				return status, true
			}
		}
		if !errors.Is(err, sql.ErrNoRows) {
			m.t.Fatal(err)
		}
		_ = locked.Rollback() // it has locked nothing
		return "the newest order had ended", false
	})
	return locked, id
}
