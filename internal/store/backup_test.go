package store_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
)

// buys places an order for each key, and returns their ids.
func buys(t *testing.T, s *store.Store, keys ...string) (ids []int64) {
	t.Helper()
	var drafts []order.Draft
	for _, key := range keys {
		drafts = append(drafts, storetest.Draft(t, 1, key, 1, 1))
	}
	answers, _, err := s.CreateOrders(t.Context(), drafts)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range answers {
		if a.Err != nil {
			t.Fatal(a.Err)
		}
		ids = append(ids, a.Order.ID)
	}
	return ids
}

// TestBackup: a copy has all rows of the original. New orders in the copy get ids that the original does not give, and so do those in a
// copy of the copy.
func TestBackup(t *testing.T) {
	t.Parallel()
	s, _ := sample(t, 100)
	before := buys(t, s, "a", "b")
	last, key := before[1], "b"
	for i := range 3 {
		file := filepath.Join(t.TempDir(), "a copy?#%41.db")
		if err := s.Backup(t.Context(), file); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
			t.Errorf("the copy has mode %v, %v; want one for its owner only", info, err)
		}
		lost := buys(t, s, fmt.Sprint("lost-", i))
		restored := open(t, file, storetest.Rules())
		for name, at := range map[string]*store.Store{"original": s, "copy": restored} {
			if again := buys(t, at, key); again[0] != last {
				t.Errorf("in the %s, key %s is order %d, was %d", name, key, again[0], last)
			}
		}
		ids := buys(t, restored, fmt.Sprint("c-", i), fmt.Sprint("d-", i))
		if ids[0] <= lost[0]+1_000_000 || ids[1] != ids[0]+1 {
			t.Errorf("after order %d, which was lost, the copy gives %v", lost[0], ids)
		}
		if more := buys(t, restored, fmt.Sprint("e-", i)); more[0] != ids[1]+1 {
			t.Errorf("and then %v", more)
		}
		if found, err := restored.OrdersByKey(t.Context(), 0, "a", 5); err != nil || len(found) != 1 || found[0].ID != before[0] {
			t.Errorf("of the orders before the backup, key a finds %v, %v", found, err)
		}
		storetest.CheckInvariants(t, restored)
		s, last, key = restored, ids[0], fmt.Sprint("c-", i)
	}
}

// TestBackupsAtOnce: of several concurrent backups into one file, one succeeds, and no other file is left.
func TestBackupsAtOnce(t *testing.T) {
	t.Parallel()
	s, _ := sample(t, 100)
	dir := t.TempDir()
	var all sync.WaitGroup
	var made atomic.Int64
	for range 4 {
		all.Go(func() {
			switch err := s.Backup(t.Context(), filepath.Join(dir, "copy.db")); {
			case err == nil:
				made.Add(1)
			case order.CodeOf(err) != order.CodeUnavailable || !strings.Contains(err.Error(), "exists"):
				t.Error(err)
			}
		})
	}
	all.Wait()
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 || made.Load() != 1 {
		t.Errorf("%d backups succeeded, and the files are %v, %v", made.Load(), files, err)
	}
}

// TestBackupsUpToTheLastID restores backups at the largest user_version, which counts ids in thousands, and at the largest id.
func TestBackupsUpToTheLastID(t *testing.T) {
	t.Parallel()
	s, path := sample(t, 100)
	buys(t, s, "a")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	must(t, raw(t, path), fmt.Sprint("PRAGMA user_version = ", math.MaxInt32))
	last := int64(math.MaxInt32) * 1000
	for i := range 3 {
		restored := open(t, path, storetest.Rules())
		id := buys(t, restored, fmt.Sprint("b-", i))[0]
		if id < last {
			t.Errorf("restore %d gives order %d, and %d was given before", i, id, last)
		}
		last = id + 1_000_000_000
		path = filepath.Join(t.TempDir(), "copy.db")
		if err := restored.Backup(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		storetest.CheckInvariants(t, restored)
	}
	must(t, raw(t, path), fmt.Sprint("PRAGMA user_version = ", -(order.MaxID/1_000_000_000)))
	end := open(t, path, storetest.Rules())
	if err := end.Backup(t.Context(), filepath.Join(t.TempDir(), "copy.db")); err == nil || !strings.Contains(err.Error(), "no ids are left") {
		t.Errorf("a backup at the largest id: %v", err)
	}
}

func TestBackupOfAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "copy.db")
	if err := open(t, newFile(t), storetest.Rules()).Backup(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	restored := open(t, file, storetest.Rules())
	if err := restored.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := restored.Seed(t.Context(), store.SeedPlan{Orders: 10}); err != nil {
		t.Fatal(err)
	}
	if id := buys(t, restored, "a"); id[0] < 1_000_000 {
		t.Errorf("order %d", id[0])
	}
	storetest.CheckInvariants(t, restored)
}

// TestBackupRefuses: a backup replaces no file, and leaves no incomplete one.
func TestBackupRefuses(t *testing.T) {
	t.Parallel()
	s, _ := sample(t, 1)
	dir := t.TempDir()
	there, logged, dead := filepath.Join(dir, "there"), filepath.Join(dir, "logged"), filepath.Join(dir, "dead")
	for _, name := range []string{there, logged + "-wal"} {
		if err := os.WriteFile(name, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("nowhere", dead); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		there: there + " exists already", logged: logged + "-wal exists already", dead: dead + " exists already",
		filepath.Join(dir, "no", "copy"): "the folder " + filepath.Join(dir, "no") + " does not exist",
	} {
		if err := s.Backup(t.Context(), file); order.CodeOf(err) != order.CodeUnavailable || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", file, err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Backup(ctx, filepath.Join(dir, "copy")); err == nil {
		t.Error("a backup succeeded after its context had ended")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
	if text, err := os.ReadFile(there); err != nil || string(text) != "mine" {
		t.Errorf("the existing file contains %q, %v", text, err)
	}
}

func TestBackupIsForSQLite(t *testing.T) {
	t.Parallel()
	err := sampleMySQL(t, 1).Backup(t.Context(), filepath.Join(t.TempDir(), "copy"))
	if order.CodeOf(err) != order.CodeUnavailable || !strings.Contains(err.Error(), "mysqldump") {
		t.Error(err)
	}
}
