package chaos

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"orderflow/test/env"
	"orderflow/test/servers"
)

// createUser creates a database user with only the permissions that the product needs, since root may write to a read-only server. It
// returns the address with that user.
func createUser(t *testing.T, server *servers.Server, database string) string {
	t.Helper()
	const user = "'shop'@'%'"
	db := env.Admin(t, database)
	name := database[strings.LastIndex(database, "/")+1:]
	if _, err := db.Exec("CREATE USER " + user + " IDENTIFIED BY 'secret'; GRANT ALL ON " + name + ".* TO " + user); err != nil {
		t.Fatal(err)
	}
	return "mysql://shop:secret@" + server.Addr() + database[len("mysql://root@"+server.Addr()):]
}

// admin opens one connection to a server as root.
func admin(t *testing.T, server *servers.Server) *sql.Conn {
	t.Helper()
	conn, err := env.Admin(t, servers.MySQLURL(server.Addr(), "")).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func execute(t *testing.T, conn *sql.Conn, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := conn.ExecContext(context.Background(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// killSessions closes all connections of the product's user at the server.
func killSessions(t *testing.T, conn *sql.Conn) {
	t.Helper()
	rows, err := conn.QueryContext(t.Context(), "SELECT id FROM information_schema.processlist WHERE user = 'shop'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		_, _ = conn.ExecContext(t.Context(), "KILL ?", id) // it may have gone by itself
	}
}

// TestChaosManyDatabase makes the database unavailable: killed, frozen, read-only, without connections. No missing order is
// acknowledged, the probes report it, and the processes recover by themselves.
func TestChaosManyDatabase(t *testing.T) {
	t.Parallel()
	server, database := ownDatabase(t)
	redis, prefix := env.Redis(t)
	m := startInstallation(t, serverAndRedis(createUser(t, server, database), redis, prefix))
	back := func(after string) {
		t.Helper()
		m.awaitHealth(healthy)
		m.awaitOrders(10, after)
	}
	m.repeat(func() {
		m.awaitOrders(20, "before the fault")
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		m.awaitHealth(noDatabase)
		if err := server.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		back("after the database was killed")

		if err := server.Freeze(); err != nil {
			t.Fatal(err)
		}
		m.awaitHealth(noDatabase)
		if err := server.Thaw(); err != nil {
			t.Fatal(err)
		}
		back("after the database stood still")

		root := admin(t, server)
		execute(t, root, "SET GLOBAL read_only = 1")
		wait(t.Context(), time.Second)
		before := m.acknowledged.orders()
		wait(t.Context(), 500*time.Millisecond)
		if now := m.acknowledged.orders(); now != before {
			t.Errorf("%d orders were taken by a database that is read-only", now-before)
		}
		execute(t, root, "SET GLOBAL read_only = 0")
		back("after the database was read-only")

		execute(t, root, "SET GLOBAL max_connections = 10") // for four processes that want a dozen each
		killSessions(t, root)
		wait(t.Context(), 2*time.Second)
		execute(t, root, "SET GLOBAL max_connections = 500")
		back("after the database had no connections left")
	})
	m.close()
}

// TestChaosManyDeadlocks locks products in the opposite order in transactions that have written more than those of orders, so that the
// database rolls the latter back. They are retried, and no client sees an error.
func TestChaosManyDeadlocks(t *testing.T) {
	t.Parallel()
	server, database := ownDatabase(t)
	redis, prefix := env.Redis(t)
	m := startInstallation(t, serverAndRedis(database, redis, prefix))
	db := env.Admin(t, database)
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("CREATE TABLE ballast (id INT AUTO_INCREMENT PRIMARY KEY, text CHAR(200)) ENGINE=InnoDB"); err != nil {
		t.Fatal(err)
	}
	root := admin(t, server)
	deadlocks := func() (n int) {
		t.Helper()
		const query = "SELECT count FROM information_schema.innodb_metrics WHERE name = 'lock_deadlocks'"
		if err := root.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	m.repeat(func() {
		victims, before := 0, deadlocks()
		for end := time.Now().Add(env.Patience); victims < 3; {
			if time.Now().After(end) {
				t.Fatalf("only %d transactions of orders were rolled back in a minute", victims)
			}
			won, err := lockInOppositeOrder(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			if now := deadlocks(); now > before {
				if won {
					victims += now - before
				}
				before = now
			}
		}
		m.awaitOrders(50, "after deadlocks")
	})
	if _, err := db.Exec("DROP TABLE ballast"); err != nil {
		t.Fatal(err)
	}
	m.close()
}

// lockInOppositeOrder locks products 5 and then 1, where orders lock 1 first, in a transaction that has written much. It reports
// whether that succeeded.
func lockInOppositeOrder(ctx context.Context, db *sql.DB) (won bool, err error) {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback() }() // nothing of it is to stay
	const numbers = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 500) SELECT n FROM numbers"
	if _, err := tx.ExecContext(ctx, "INSERT INTO ballast (text) "+numbers); err != nil {
		return false, err
	}
	for _, id := range []int{5, 4, 3} {
		if _, err := tx.ExecContext(ctx, "SELECT id FROM products WHERE id = ? FOR UPDATE", id); err != nil {
			return false, nil // the database took it for the victim, or it waited for too long
		}
	}
	wait(ctx, 20*time.Millisecond) // so that an order stands in the way
	_, err = tx.ExecContext(ctx, "SELECT id FROM products WHERE id = 1 FOR UPDATE")
	return err == nil, nil
}
