package store_test

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
)

// step is one migration file, parsed.
type step struct{ number, name, up, down string }

func steps(t *testing.T, dialect string) (all []step) {
	t.Helper()
	files, err := fs.Glob(store.MigrationFiles(), "migrations/"+dialect+"/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	form := regexp.MustCompile(`(?s)^(?:--[^\n]*\n|\n)*-- \+goose Up\n(.*)\n\n-- \+goose Down\n(.*)\n$`)
	for _, file := range files {
		text, err := fs.ReadFile(store.MigrationFiles(), file)
		if err != nil {
			t.Fatal(err)
		}
		parts := form.FindStringSubmatch(string(text))
		if parts == nil {
			t.Fatalf("%s does not have one Up and one Down, in this order", file)
		}
		number, name, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".sql"), "_")
		all = append(all, step{number, name, parts[1], parts[2]})
	}
	return all
}

func TestMigrationsOfAllDialects(t *testing.T) {
	sqlite, mysql, postgres := steps(t, "sqlite"), steps(t, "mysql"), steps(t, "postgres")
	if len(sqlite) != len(mysql) || len(sqlite) != len(postgres) || len(sqlite) == 0 {
		t.Fatalf("%d steps for SQLite, %d for MySQL, %d for PostgreSQL", len(sqlite), len(mysql), len(postgres))
	}
	for i, s := range sqlite {
		if want := fmt.Sprintf("%05d", i+1); s.number != want || mysql[i].number != want {
			t.Errorf("step %d is numbered %s and %s", i+1, s.number, mysql[i].number)
		}
		if s.name != mysql[i].name {
			t.Errorf("step %s is %s and %s", s.number, s.name, mysql[i].name)
		}
		if s.number != postgres[i].number || s.name != postgres[i].name { // each of its steps is one transaction of any number of statements
			t.Errorf("step %s is %s, and on PostgreSQL step %s is %s", s.number, s.name, postgres[i].number, postgres[i].name)
		}
		if s.name == "field_names" {
			checkRenames(t, mysql[i])
			continue
		}
		for _, half := range []string{s.up, s.down, mysql[i].up, mysql[i].down} {
			if strings.Count(half, ";") != 1 || !strings.HasSuffix(half, ";") {
				t.Errorf("step %s does not have one statement each way:\n%s", s.number, half)
			}
		}
	}
}

// checkRenames checks that a step with several ALTER TABLE, which MySQL commits one by one, skips those that are applied.
func checkRenames(t *testing.T, s step) {
	t.Helper()
	guarded := regexp.MustCompile(`(?s)^(SET @rename = IF\(\(SELECT count\(\*\) FROM information_schema\.columns[^;]*\) > 0,\n  'ALTER TABLE [^;]*', 'DO 0'\);\n` +
		`PREPARE rename_columns FROM @rename;\nEXECUTE rename_columns;\nDEALLOCATE PREPARE rename_columns;\n)+$`)
	for _, half := range []string{s.up, s.down} {
		if !guarded.MatchString(half + "\n") {
			t.Errorf("step %s has a statement that cannot run again:\n%s", s.number, half)
		}
	}
}

// TestMySQLStaysInTheIntersection: no migration uses syntax that MySQL 8.0.16 or MariaDB 10.6 lacks, or that the two interpret
// differently.
func TestMySQLStaysInTheIntersection(t *testing.T) {
	forbidden := regexp.MustCompile(`(?i)\bRETURNING\b|->|_0900_|FOR\s+SHARE|SKIP\s+LOCKED|\bAUTOINCREMENT\b|\bSTRICT\b|WITHOUT\s+ROWID|` +
		`\bINSERT\s+IGNORE\b|\bON\s+CONFLICT\b|\bTIMESTAMP\b|\bFLOAT\b|\bDOUBLE\b|\bJSON\b|\butf8\b|utf8mb3|\bAS\s+new\b`)
	for _, s := range steps(t, "mysql") {
		for _, text := range []string{s.up, s.down} {
			if found := forbidden.FindString(text); found != "" {
				t.Errorf("step %s uses %q:\n%s", s.number, found, text)
			}
			if strings.Count(text, "(") != strings.Count(text, ")") {
				t.Errorf("step %s: parentheses do not match", s.number)
			}
		}
		if strings.HasPrefix(s.up, "CREATE TABLE") {
			if !strings.HasSuffix(s.up, ") ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;") {
				t.Errorf("step %s leaves engine, row format, character set or collation to the server", s.number)
			}
			words := strings.Fields(s.up) // a step that was cut off runs again: CREATE TABLE IF NOT EXISTS name
			if want := "DROP TABLE IF EXISTS " + words[5] + ";"; words[2] != "IF" || s.down != want {
				t.Errorf("step %s is reverted by %q, want %q", s.number, s.down, want)
			}
		}
	}
}

// TestDialectsHaveTheSameColumns compares the tables of both folders, column by column.
func TestDialectsHaveTheSameColumns(t *testing.T) {
	name := regexp.MustCompile(`(?m)^  ([a-z_]+) +[A-Z]`)
	columns := func(s step) (names []string) {
		for _, match := range name.FindAllStringSubmatch(s.up, -1) {
			names = append(names, match[1])
		}
		return names
	}
	mysql, postgres := steps(t, "mysql"), steps(t, "postgres")
	tables := 0
	for i, s := range steps(t, "sqlite") {
		if !strings.HasPrefix(s.up, "CREATE TABLE") {
			continue
		}
		tables++
		if diff := cmp.Diff(columns(s), columns(mysql[i])); diff != "" || len(columns(s)) < 2 {
			t.Errorf("step %s (-sqlite +mysql):\n%s", s.number, diff)
		}
		if diff := cmp.Diff(columns(s), columns(postgres[i])); diff != "" {
			t.Errorf("step %s (-sqlite +postgres):\n%s", s.number, diff)
		}
	}
	if tables != 12 {
		t.Errorf("%d tables were compared", tables)
	}
}

var promised = map[string]string{ // index → its table
	"idx_orders_idempotency": "orders", "idx_orders_user": "orders", "idx_orders_status": "orders",
	"idx_order_items_order": "order_items", "idx_order_items_product": "order_items", "idx_products_stock": "products",
}

func TestIndexesOfTheSpecification(t *testing.T) {
	path := newFile(t)
	schema := schemaOf(t, path)
	var mysql strings.Builder
	for _, s := range steps(t, "mysql") {
		mysql.WriteString(s.up + "\n")
	}
	for index, table := range promised {
		if !strings.Contains(schema["index "+index], " ON "+table+" ") {
			t.Errorf("SQLite: no index %s on %s: %q", index, table, schema["index "+index])
		}
		if !regexp.MustCompile(`(KEY|INDEX) ` + index + `\b`).MatchString(mysql.String()) {
			t.Errorf("MySQL: no index %s", index)
		}
	}
	if !strings.Contains(schema["index idx_orders_idempotency"], "UNIQUE") || !strings.Contains(mysql.String(), "UNIQUE KEY idx_orders_idempotency (user_id, idempotency_key)") {
		t.Error("idx_orders_idempotency is not unique")
	}
	if !strings.Contains(schema["table products"], "CHECK (stock >= 0)") || !strings.Contains(mysql.String(), "CHECK (stock >= 0)") {
		t.Error("the table does not refuse overselling")
	}
}

// schemaOf returns the schema of a file, by type and name.
func schemaOf(t *testing.T, path string) map[string]string {
	t.Helper()
	found, err := raw(t, path).QueryContext(t.Context(), "SELECT type, name, COALESCE(sql, '') FROM sqlite_schema WHERE name NOT LIKE 'goose%' AND name <> 'sqlite_sequence'")
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	schema := map[string]string{}
	for found.Next() {
		var kind, name, text string
		if err := found.Scan(&kind, &name, &text); err != nil {
			t.Fatal(err)
		}
		schema[kind+" "+name] = text
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return schema
}

func TestMigrateUpDownUp(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new.db")
	s := open(t, path, storetest.Rules())
	count := len(steps(t, "sqlite"))
	for _, want := range []int{0, count} {
		if got := applied(t, s, count); got != want {
			t.Fatalf("%d steps are applied, want %d", got, want)
		}
		for range 2 { // the second run has nothing to apply
			if err := s.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	first := schemaOf(t, path)
	id, err := s.Installation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sizes := []int{len(first)}
	for range count {
		if err := down(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, len(schemaOf(t, path)))
	}
	if last := sizes[count]; last != 0 || !slices.IsSortedFunc(sizes, func(a, b int) int { return b - a }) {
		t.Errorf("going down, the schema had %v parts", sizes)
	}
	if err := down(t.Context(), s); order.CodeOf(err) != order.CodeNotFound {
		t.Errorf("below the first step: %v", err)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, schemaOf(t, path)); diff != "" {
		t.Errorf("up, down and up again (-first +second):\n%s", diff)
	}
	if again, err := s.Installation(t.Context()); err != nil || again == id {
		t.Errorf("the new database has the old one's id %q (%v)", again, err)
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
	if diff := cmp.Diff(first, schemaOf(t, path)); diff != "" {
		t.Errorf("fresh (-first +second):\n%s", diff)
	}
}

// applied returns the number of applied steps.
func applied(t *testing.T, s *store.Store, count int) (n int) {
	t.Helper()
	all, err := s.Migrations(t.Context())
	if err != nil || len(all) != count {
		t.Fatalf("%d steps (%v), want %d", len(all), err, count)
	}
	for _, m := range all {
		if !m.AppliedAt.IsZero() {
			n++
		}
	}
	return n
}

// TestMigrateAtOnce migrates one new file through several handles at once, like several processes.
func TestMigrateAtOnce(t *testing.T) {
	t.Parallel()
	for range 3 {
		path := filepath.Join(t.TempDir(), "new.db")
		var handles []*store.Store
		for range 6 {
			handles = append(handles, open(t, path, storetest.Rules()))
		}
		start := make(chan struct{})
		var wait sync.WaitGroup
		for _, s := range handles {
			wait.Go(func() {
				<-start
				if err := s.Migrate(t.Context()); err != nil {
					t.Errorf("migrate: %v", err)
				}
			})
		}
		close(start)
		wait.Wait()
		db := raw(t, path)
		for query, want := range map[string]int{
			"SELECT count(*) FROM installation":                       1,
			"SELECT count(*) FROM goose_db_version":                   len(steps(t, "sqlite")) + 1,
			"SELECT count(DISTINCT version_id) FROM goose_db_version": len(steps(t, "sqlite")) + 1,
		} {
			var got int
			if err := db.QueryRowContext(t.Context(), query).Scan(&got); err != nil || got != want {
				t.Errorf("%s: %d (%v), want %d", query, got, err, want)
			}
		}
	}
}

// TestMigrateWaitsForAnother: a migration waits while another process holds the lock for migrations.
func TestMigrateWaitsForAnother(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "new.db")
	s := open(t, path, storetest.Rules())
	folder, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = s.Migrate(ctx)
	if want := "Another process has been migrating " + path + " for too long"; order.CodeOf(err) != order.CodeUnavailable || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	if got := schemaOf(t, path); len(got) != 0 {
		t.Errorf("the migration did not wait for the lock: %v", got)
	}
	if err := folder.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	path := newFile(t)
	must(t, raw(t, path), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)")
	before := schemaOf(t, path)
	s := open(t, path, storetest.Rules())
	for name, migrate := range map[string]func() error{
		"up": func() error { return s.Migrate(t.Context()) }, "down": func() error { return down(t.Context(), s) },
		"fresh": func() error { return s.MigrateFresh(t.Context()) },
	} {
		err := migrate()
		want := fmt.Sprintf("The database has schema 99, this binary knows up to %d: use a newer orderflow.", len(steps(t, "sqlite")))
		if order.CodeOf(err) != order.CodeUnavailable || err.Error() != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	if !maps.Equal(before, schemaOf(t, path)) {
		t.Error("a schema that is too new was changed")
	}
}

// down reverts the last step.
func down(ctx context.Context, s *store.Store) error {
	last, err := s.LastStep(ctx)
	if err != nil {
		return err
	}
	return s.MigrateDown(ctx, last.Version)
}
