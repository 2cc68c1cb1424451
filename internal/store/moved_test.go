package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
)

// TestMovedUnderTheServer: when the database file or its lock file is moved or replaced, the store acknowledges nothing. When the
// original file is back, the store uses it again.
func TestMovedUnderTheServer(t *testing.T) {
	t.Parallel()
	s, path := sample(t, 100)
	release, err := s.LockFile()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = release() }()
	create := func(key string) error {
		_, _, err := s.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 1, key, 1, 1)})
		return err
	}
	refused := func(what string) {
		t.Helper()
		if err := create(what); order.CodeOf(err) != order.CodeUnavailable {
			t.Errorf("%s: an order was answered with %v", what, err)
		}
		if err := s.Ping(t.Context()); order.CodeOf(err) != order.CodeUnavailable {
			t.Errorf("%s: Ping reports no error: %v", what, err)
		}
		if _, err := s.Backlog(t.Context()); order.CodeOf(err) != order.CodeUnavailable {
			t.Errorf("%s: Backlog: %v", what, err)
		}
	}
	if err := create("before"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	refused("file moved")
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(create("back"), s.Ping(t.Context())); err != nil {
		t.Errorf("the file is back: %v", err)
	}
	if err := os.Remove(path + ".lock"); err != nil {
		t.Fatal(err)
	}
	refused("lock removed")
}

// TestOrphanedLog: a missing file whose log exists is not created, which would delete the log.
func TestOrphanedLog(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "t.db")
	if err := os.WriteFile(path+"-wal", []byte("orders that were acknowledged"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := store.Open(t.Context(), "sqlite:"+path, store.Options{Rules: storetest.Rules()})
	if order.CodeOf(err) != order.CodeUnavailable || !strings.Contains(err.Error(), "-wal") {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadFile(path + "-wal"); err != nil || len(left) == 0 {
		t.Errorf("the log is missing: %v", err)
	}
}

func TestHardLinkIsRefused(t *testing.T) {
	t.Parallel()
	s, path := sample(t, 1)
	if err := os.Link(path, path+".other"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.LockFile(); order.CodeOf(err) != order.CodeUnavailable || !strings.Contains(err.Error(), "hard link") {
		t.Errorf("got %v", err)
	}
}

func TestForeignDatabaseIsLeftAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "t.db")
	db := raw(t, path)
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE orders (thing TEXT)"); err != nil {
		t.Fatal(err)
	}
	s := open(t, path, storetest.Rules())
	if err := s.Migrate(t.Context()); order.CodeOf(err) != order.CodeUnavailable || !strings.Contains(err.Error(), "another program") {
		t.Errorf("got %v", err)
	}
	var tables int
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil || tables != 1 {
		t.Errorf("%d tables, want the existing one: %v", tables, err)
	}
}
