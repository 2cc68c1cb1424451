package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"modernc.org/sqlite"

	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
)

// pageLimits has the maximum number of pages by file. Each connection sets it when it opens.
var pageLimits sync.Map

// registerPageLimits makes connections apply pageLimits. The driver's hooks are global and not guarded by a lock, so they must be
// registered before the first connection.
func registerPageLimits() {
	sqlite.RegisterConnectionHook(func(conn sqlite.ExecQuerierContext, dsn string) error {
		file, _, _ := strings.Cut(strings.TrimPrefix(dsn, "file:"), "?")
		pages, ok := pageLimits.Load(file)
		if !ok {
			return nil
		}
		_, err := conn.ExecContext(context.Background(), fmt.Sprintf("PRAGMA max_page_count = %d", pages), nil)
		return err
	})
}

// oneLine reports whether an error carries CodeUnavailable and is one line.
func oneLine(err error) bool {
	return order.CodeOf(err) == order.CodeUnavailable && !strings.Contains(err.Error(), "\n") && strings.HasPrefix(err.Error(), "Cannot open the database ")
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	header := bytes.Clone(empty)
	copy(header, "SQLite format 4\x00")
	schema := bytes.Clone(empty)
	for i := 100; i < 4096; i++ {
		schema[i] = 0xa5
	}
	const notDatabase = "the file is not an SQLite database, or its beginning is damaged; check the path, or restore it from a backup."
	for name, test := range map[string]struct{ path, want string }{
		"no folder":     {filepath.Join(dir, "none", "a.db"), "the folder " + filepath.Join(dir, "none") + " does not exist; create it, or check the path."},
		"a folder":      {dir, "it is a folder; name a file in it"},
		"below a file":  {filepath.Join(write("file", nil), "a.db"), ""},
		"a text":        {write("text", []byte(strings.Repeat("This is no database.\n", 100))), notDatabase},
		"another magic": {write("magic", header), notDatabase},
		"torn schema":   {write("schema", schema), "the file is damaged; restore it from a backup."},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := store.Open(t.Context(), "sqlite:"+test.path, store.Options{})
			if err == nil {
				_ = s.Close()
			}
			if !oneLine(err) || !strings.HasPrefix(err.Error(), "Cannot open the database "+test.path+": ") || !strings.HasSuffix(err.Error(), test.want) {
				t.Errorf("%v\nwant … %s", err, test.want)
			}
		})
	}
	for _, url := range []string{"", "sqlite:", "sqlite3:x.db", "oracle://root:secret@host/db", "/tmp/x.db"} {
		_, err := store.Open(t.Context(), url, store.Options{})
		if order.CodeOf(err) != order.CodeUnavailable || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "sqlite:PATH") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestNamesOfFiles(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{
		"with space.db", "what?mode=memory.db", "100%.db", "%41.db", "a#b.db", "a&b=c;d.db", "ünï.db", "'quote\".db", ":memory:", "file:x.db", "a\\b.db", "-x.db", "C:.db",
	} {
		for _, path := range []string{name, filepath.Join(dir, "absolute "+name)} {
			s, err := store.Open(t.Context(), "sqlite:"+path, store.Options{Rules: storetest.Rules()})
			if err != nil {
				t.Errorf("%q: %v", path, err)
				continue
			}
			if path == name { // the first match is enough
				if err := errors.Join(s.Migrate(t.Context()), s.Ping(t.Context())); err != nil {
					t.Errorf("%q: %v", path, err)
				}
			}
			if release, err := s.LockFile(); err != nil {
				t.Errorf("%q: %v", path, err)
			} else if err := release(); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Errorf("%q: %v", path, err)
			}
			if info, err := os.Stat(path); err != nil || info.Size() == 0 || info.Mode().Perm() != 0o600 {
				t.Errorf("%q was not created at its path with a mode for its owner only: %v, %v", path, info, err)
			}
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2*2*13 { // each with its lock
		t.Errorf("%d files in the folder (%v): %v", len(entries), err, entries)
	}
}

func TestLockFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "test.db")
	if err := os.WriteFile(path, empty, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	first, second, linked := open(t, path, storetest.Rules()), open(t, path, storetest.Rules()), open(t, link, storetest.Rules())
	release, err := first.LockFile()
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*store.Store{"the same handle": first, "another": second, "a link to it": linked} {
		if _, err := s.LockFile(); order.CodeOf(err) != order.CodeUnavailable || !strings.HasPrefix(err.Error(), "Another orderflow server is using ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	if release, err = linked.LockFile(); err != nil {
		t.Fatalf("after the release: %v", err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
}

// TestLockFileBesideAudits: an audit that checks the lock must not make a starting server report another server.
func TestLockFileBesideAudits(t *testing.T) {
	s, path := sample(t, 1)
	release, err := s.LockFile()
	if err != nil {
		t.Fatal(err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	look, err := os.Open(path + ".lock")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(look.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		time.AfterFunc(15*time.Millisecond, func() { _ = look.Close() })
		release, err := s.LockFile()
		if err != nil {
			t.Fatal(err)
		}
		if err := release(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestLockedByAnother holds the file's write lock for longer than a write may take.
func TestLockedByAnother(t *testing.T) {
	t.Parallel()
	s, path := sample(t, 10)
	other, err := raw(t, path).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	exec := func(statement string) {
		t.Helper()
		if _, err := other.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	s.AllowTime(store.WriteLimit)
	exec("BEGIN IMMEDIATE")
	_, _, err = s.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 1, "k", 1, 1)})
	if order.CodeOf(err) != order.CodeUnavailable {
		t.Errorf("while another process writes: %v", err)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("reads wait too: %v", err)
	}
	exec("ROLLBACK")
	s.AllowTime(patience)
	answers, _, err := s.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 1, "k", 1, 1)})
	if err != nil || answers[0].Err != nil {
		t.Errorf("after the lock was released: %+v, %v", answers, err)
	}
	storetest.CheckInvariants(t, s)
}

// TestOpenWhileLocked opens a file that another process has locked exclusively.
func TestOpenWhileLocked(t *testing.T) {
	t.Parallel()
	path := newFile(t)
	other, err := raw(t, path).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	for _, statement := range []string{"PRAGMA locking_mode = EXCLUSIVE", "BEGIN EXCLUSIVE"} {
		if _, err := other.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	s, err := store.Open(t.Context(), "sqlite:"+path, store.Options{})
	if err == nil {
		_ = s.Close()
	}
	if !oneLine(err) || !strings.HasSuffix(err.Error(), "another process holds its lock; stop that process, or wait.") {
		t.Error(err)
	}
}

// TestInactiveProduct sets a product inactive by SQL.
func TestInactiveProduct(t *testing.T) {
	s, path := sample(t, 10)
	must(t, raw(t, path), "UPDATE products SET active = 0 WHERE id = 2")
	answers, _, err := s.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 1, "a", 1, 1, 2, 1), storetest.Draft(t, 1, "b", 1, 1)})
	if err != nil || order.CodeOf(answers[0].Err) != order.CodeProductInactive || answers[1].Err != nil {
		t.Errorf("%+v, %v", answers, err)
	}
	if products, err := s.Products(t.Context()); err != nil || products[1].Active || !products[0].Active {
		t.Errorf("%+v, %v", products, err)
	}
	storetest.CheckInvariants(t, s)
}

// TestRowsChangedSinceRead changes a row within a transaction, as only a defect of the store could: the transaction is rolled back.
func TestRowsChangedSinceRead(t *testing.T) {
	s, path := sample(t, 10)
	created, _, err := s.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 1, "a", 1, 1), storetest.Draft(t, 1, "b", 1, 1)})
	if err != nil {
		t.Fatal(err)
	}
	must(t, raw(t, path), "CREATE TRIGGER meddle BEFORE INSERT ON order_events BEGIN UPDATE products SET stock = 0; END")
	_, _, err = s.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 1, "c", 1, 1)})
	if err == nil || !strings.Contains(err.Error(), "CHECK") || order.CodeOf(err) != order.CodeInternal {
		t.Errorf("stock taken from under a transaction: %v", err)
	}
	must(t, raw(t, path), "DROP TRIGGER meddle", "CREATE TRIGGER meddle BEFORE UPDATE ON orders WHEN OLD.id = 2 BEGIN SELECT RAISE(IGNORE); END")
	ids := []order.CancelRequest{{OrderID: created[0].Order.ID}, {OrderID: created[1].Order.ID}}
	_, _, err = s.CancelOrders(t.Context(), ids)
	if err == nil || !strings.Contains(err.Error(), "1 of 2 orders to change from PENDING to CANCELLED") {
		t.Errorf("an update that missed a row: %v", err)
	}
	must(t, raw(t, path), "DROP TRIGGER meddle")
	storetest.CheckInvariants(t, s)
	if answers, _, err := s.CancelOrders(t.Context(), ids); err != nil || answers[0].Err != nil || answers[1].Err != nil {
		t.Errorf("afterwards: %+v, %v", answers, err)
	}
	storetest.CheckInvariants(t, s)
}
