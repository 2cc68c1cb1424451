package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
	"orderflow/test/env"
)

// mysqlSchema returns the CREATE TABLE statement of every table.
func mysqlSchema(t *testing.T, db *sql.DB) map[string]string {
	t.Helper()
	found, err := db.QueryContext(t.Context(), "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() "+
		"AND table_name <> 'goose_db_version'")
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	schema := map[string]string{}
	for found.Next() {
		var name, text string
		if err := found.Scan(&name); err != nil {
			t.Fatal(err)
		}
		if err := db.QueryRowContext(t.Context(), "SHOW CREATE TABLE "+name).Scan(&name, &text); err != nil {
			t.Fatal(err)
		}
		schema[name], _, _ = strings.Cut(text, "\n) ENGINE=") // the rest contains the next id
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return schema
}

func TestMySQLMigrateUpDownUp(t *testing.T) {
	t.Parallel()
	address := env.MySQL(t)
	s, db := openAt(t, address, store.Options{Rules: storetest.Rules()}), env.Admin(t, address)
	for range 2 { // the second run has nothing to apply
		if err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	db.SetMaxIdleConns(0) // the schema is not reverted while others are connected
	first, count := mysqlSchema(t, db), len(steps(t, "mysql"))
	for range count {
		if err := down(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	if left := mysqlSchema(t, db); len(left) != 0 {
		t.Errorf("after all steps were reverted, the database has %v", left)
	}
	if err := down(t.Context(), s); order.CodeOf(err) != order.CodeNotFound {
		t.Errorf("below the first step: %v", err)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, mysqlSchema(t, db)); diff != "" {
		t.Errorf("up, down and up again (-first +second):\n%s", diff)
	}
	if err := s.Seed(t.Context(), store.SeedPlan{Orders: 50}); err != nil {
		t.Error(err)
	}
	if err := s.MigrateFresh(t.Context()); err != nil {
		t.Errorf("fresh, with rows: %v", err)
	}
	if empty, err := s.Empty(t.Context()); err != nil || !empty {
		t.Errorf("after fresh the database is not empty (%v)", err)
	}
}

// TestMySQLMigrateBesideServers: the schema cannot be reverted while servers are connected, and can after they have disconnected.
func TestMySQLMigrateBesideServers(t *testing.T) {
	t.Parallel()
	address := env.MySQL(t)
	s, server := filled(t, address, store.Options{Rules: storetest.Rules()}), openAt(t, address, store.Options{Rules: storetest.Rules()})
	if _, err := server.Products(t.Context()); err != nil { // opens a connection, as every server does
		t.Fatal(err)
	}
	for name, change := range map[string]func(context.Context) error{"down": func(ctx context.Context) error { return down(ctx, s) }, "fresh": s.MigrateFresh} {
		if err := change(t.Context()); order.CodeOf(err) != order.CodeUnavailable || !strings.Contains(err.Error(), "stop all servers") {
			t.Errorf("%s beside a server: %v", name, err)
		}
	}
	if products, err := server.Products(t.Context()); err != nil || len(products) == 0 {
		t.Errorf("the server finds %d products, %v", len(products), err)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.MigrateFresh(t.Context()); err != nil {
		t.Errorf("alone: %v", err)
	}
}

// TestMySQLMigrateAtOnce: ten processes migrate at once, and the database does not exist yet.
func TestMySQLMigrateAtOnce(t *testing.T) {
	t.Parallel()
	address := env.MySQL(t)
	var all sync.WaitGroup
	for range 10 {
		s := openAt(t, address, store.Options{Rules: storetest.Rules()})
		all.Go(func() {
			if err := s.Migrate(context.WithoutCancel(t.Context())); err != nil {
				t.Errorf("migrate: %v", err)
			}
		})
	}
	all.Wait()
	for query, want := range map[string]int{
		"SELECT count(*) FROM installation":                       1,
		"SELECT count(*) FROM goose_db_version":                   len(steps(t, "mysql")) + 1,
		"SELECT count(DISTINCT version_id) FROM goose_db_version": len(steps(t, "mysql")) + 1,
	} {
		var got int
		if err := env.Admin(t, address).QueryRowContext(t.Context(), query).Scan(&got); err != nil || got != want {
			t.Errorf("%s: %d (%v), want %d", query, got, err, want)
		}
	}
}

// TestMySQLMigrateCutOff: MySQL commits at each DDL statement, so a process may die between a step and its record in the table of
// migrations. The next process continues.
func TestMySQLMigrateCutOff(t *testing.T) {
	t.Parallel()
	address := env.MySQL(t)
	s, db := openAt(t, address, store.Options{Rules: storetest.Rules()}), env.Admin(t, address)
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := mysqlSchema(t, db)
	for last := len(steps(t, "mysql")); last > 2; last-- { // the first two create the installation, whose row is written with its record
		must(t, db, fmt.Sprintf("DELETE FROM goose_db_version WHERE version_id >= %d", last))
		if err := s.Migrate(t.Context()); err != nil {
			t.Fatalf("cut off at step %d: %v", last, err)
		}
	}
	if diff := cmp.Diff(want, mysqlSchema(t, db)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMySQLMigrateRefuses(t *testing.T) {
	t.Parallel()
	address := newMySQL(t)
	db := env.Admin(t, address)
	must(t, db, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)")
	s := openAt(t, address, store.Options{Rules: storetest.Rules()})
	want := fmt.Sprintf("The database has schema 99, this binary knows up to %d: use a newer orderflow.", len(steps(t, "mysql")))
	if err := s.Migrate(t.Context()); order.CodeOf(err) != order.CodeUnavailable || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}

	address = env.MySQL(t)
	must(t, env.Admin(t, address), "CREATE TABLE orders (id INT)")
	s = openAt(t, address, store.Options{Rules: storetest.Rules()})
	if err := s.Migrate(t.Context()); order.CodeOf(err) != order.CodeUnavailable || !strings.Contains(err.Error(), "another program") {
		t.Errorf("tables of another program: %v", err)
	}
}
