package store_test

import (
	"context"
	"database/sql"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
	"orderflow/test/env"
)

// postgresSchema is every column, index and constraint, by name.
func postgresSchema(t *testing.T, db *sql.DB) map[string]string {
	t.Helper()
	found, err := db.QueryContext(t.Context(), `
		SELECT 'column ' || table_name || '.' || column_name, concat_ws(' ', ordinal_position, data_type, character_maximum_length, is_nullable,
			column_default, identity_generation) FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE 'goose%'
		UNION ALL SELECT 'index ' || indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename NOT LIKE 'goose%'
		UNION ALL SELECT 'constraint ' || conrelid::regclass || '.' || conname, pg_get_constraintdef(oid) FROM pg_constraint
			WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text NOT LIKE 'goose%'`)
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	schema := map[string]string{}
	for found.Next() {
		var name, text string
		if err := found.Scan(&name, &text); err != nil {
			t.Fatal(err)
		}
		schema[name] = text
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return schema
}

func TestPostgresMigrateUpDownUp(t *testing.T) {
	t.Parallel()
	address := env.Postgres(t)
	s, db := openAt(t, address, store.Options{Rules: storetest.Rules()}), env.Admin(t, address)
	db.SetMaxIdleConns(0) // the schema is not reverted while others are connected
	for range 2 {         // the second run has nothing to apply
		if err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	first := postgresSchema(t, db)
	if len(first) < 100 {
		t.Errorf("the schema has %d parts: %v", len(first), first)
	}
	for index := range promised {
		if first["index "+index] == "" {
			t.Errorf("there is no index %s", index)
		}
	}
	for range steps(t, "postgres") {
		if err := down(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	if left := postgresSchema(t, db); len(left) != 0 {
		t.Errorf("after the last step was reverted, the schema has %v", left)
	}
	if err := down(t.Context(), s); order.CodeOf(err) != order.CodeNotFound {
		t.Errorf("below the first step: %v, want the code not_found", err)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, postgresSchema(t, db)); diff != "" {
		t.Errorf("up, down and up again (-first +second):\n%s", diff)
	}
	if err := s.Seed(t.Context(), store.SeedPlan{Orders: 50}); err != nil {
		t.Error(err)
	}
	if err := s.MigrateFresh(t.Context()); err != nil {
		t.Errorf("fresh, with rows: %v", err)
	}
	if empty, err := s.Empty(t.Context()); err != nil || !empty {
		t.Errorf("after a fresh migration the database is not empty (%v)", err)
	}
}

// TestPostgresMigrateAtOnce: ten processes migrate at once, and the database does not exist yet.
func TestPostgresMigrateAtOnce(t *testing.T) {
	t.Parallel()
	address := env.Postgres(t)
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
	var recorded int
	if err := env.Admin(t, address).QueryRowContext(t.Context(), "SELECT count(*) FROM goose_db_version").Scan(&recorded); err != nil {
		t.Fatal(err)
	}
	if want := len(steps(t, "postgres")) + 1; recorded != want {
		t.Errorf("%d steps were recorded, want %d", recorded, want)
	}
}

// TestPostgresMigrateBesideServers: the schema is not reverted while a server is connected.
func TestPostgresMigrateBesideServers(t *testing.T) {
	t.Parallel()
	address := newPostgres(t)
	server := openAt(t, address, store.Options{Rules: storetest.Rules()})
	if err := server.Seed(t.Context(), store.SeedPlan{}); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, address, store.Options{Rules: storetest.Rules()})
	if err := s.MigrateFresh(t.Context()); order.CodeOf(err) != order.CodeUnavailable {
		t.Errorf("beside a server: %v, want the code unavailable", err)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.MigrateFresh(t.Context()); err != nil {
		t.Errorf("alone: %v", err)
	}
}
