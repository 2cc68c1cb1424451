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

// customer makes a user of the database who may do no more than the product needs: root may write to a server that is
// read-only. It returns the address with that user in it.
func customer(t *testing.T, server *servers.Server, database string) string {
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

// throw closes all connections of the shop at the server.
func throw(t *testing.T, conn *sql.Conn) {
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

// TestChaosManyDatabase takes the database away, in every way that a database goes. Nobody is told of an order that is
// not there, probes tell, and when it is back, all goes on by itself.
func TestChaosManyDatabase(t *testing.T) {
	t.Parallel()
	server, database := ownDatabase(t)
	redis, prefix := env.Redis(t)
	m := open(t, on(customer(t, server, database), redis, prefix))
	back := func(after string) {
		t.Helper()
		m.feel(well)
		m.sells(10, after)
	}
	m.repeat(func() {
		m.sells(20, "on a good day")
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		m.feel(noDatabase)
		if err := server.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		back("after the database was killed")

		if err := server.Freeze(); err != nil {
			t.Fatal(err)
		}
		m.feel(noDatabase)
		if err := server.Thaw(); err != nil {
			t.Fatal(err)
		}
		back("after the database stood still")

		root := admin(t, server)
		execute(t, root, "SET GLOBAL read_only = 1")
		wait(t.Context(), time.Second)
		before := m.books.orders()
		wait(t.Context(), 500*time.Millisecond)
		if now := m.books.orders(); now != before {
			t.Errorf("%d orders were taken by a database that is read-only", now-before)
		}
		execute(t, root, "SET GLOBAL read_only = 0")
		back("after the database was read-only")

		execute(t, root, "SET GLOBAL max_connections = 10") // for four processes that want a dozen each
		throw(t, root)
		wait(t.Context(), 2*time.Second)
		execute(t, root, "SET GLOBAL max_connections = 500")
		back("after the database had no connections left")
	})
	m.close()
}

// TestChaosManyDeadlocks locks products in the wrong order while orders run, and writes so much more than they do that the
// database rolls back theirs. They are taken up again, and nobody hears of it.
func TestChaosManyDeadlocks(t *testing.T) {
	t.Parallel()
	server, database := ownDatabase(t)
	redis, prefix := env.Redis(t)
	m := open(t, on(database, redis, prefix))
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
			won, err := cross(t.Context(), db)
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
		m.sells(50, "after deadlocks")
	})
	if _, err := db.Exec("DROP TABLE ballast"); err != nil {
		t.Fatal(err)
	}
	m.close()
}

// cross locks products 5 and then 1, where orders lock 1 first, in a transaction that has written much. It says whether
// that got through.
func cross(ctx context.Context, db *sql.DB) (won bool, err error) {
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
