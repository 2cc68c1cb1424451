package store_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
)

// damage overwrites a page of a closed database file: the first page of a table or index, or page 1 for "".
func damage(t *testing.T, path, name string) {
	t.Helper()
	page := 1
	if name != "" {
		db := raw(t, path)
		if err := db.QueryRowContext(t.Context(), "SELECT rootpage FROM sqlite_schema WHERE name = ?", name).Scan(&page); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if _, err := file.WriteAt(bytes.Repeat([]byte{0xa5}, 4096), int64(page-1)*4096); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedPage: the first operation that reads the damaged page reports it with the remedy. From then on the store is unhealthy and
// refuses writes, which the restore of a backup would lose.
func TestDamagedPage(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		page string
		meet func(*store.Store) error
	}{
		"read": {"orders", func(s *store.Store) error { _, err := s.Order(t.Context(), 1); return err }},
		"list": {"orders", func(s *store.Store) error { _, err := s.Orders(t.Context(), order.ListQuery{PerPage: 5}); return err }},
		"write": {"orders", func(s *store.Store) error {
			_, _, err := s.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 1, "l", 1, 1)})
			return err
		}},
		"lookup": {"idx_orders_idempotency", func(s *store.Store) error {
			_, err := s.FindOrders(t.Context(), []order.OrderKey{{UserID: 1, Key: "k"}, {UserID: 2, Key: "k"}})
			return err
		}},
		"due":     {"idx_orders_status", func(s *store.Store) error { _, err := s.DueOrders(t.Context(), 5); return err }},
		"outbox":  {"outbox", func(s *store.Store) error { _, err := s.LeaseOutbox(t.Context(), -1, 0, 5); return err }},
		"figures": {"idx_orders_status", func(s *store.Store) error { _, err := s.Stats(t.Context()); return err }},
		"audit":   {"orders", func(s *store.Store) error { _, err := s.Audit(t.Context()); return err }},
		"backup":  {"orders", func(s *store.Store) error { return s.Backup(t.Context(), filepath.Join(t.TempDir(), "copy.db")) }},
		"ping":    {"sqlite_autoindex_installation_1", func(s *store.Store) error { return s.Ping(t.Context()) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, path := sample(t, 10)
			buys(t, first, "k")
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
			damage(t, path, test.page)
			var reports []error
			s, err := store.Open(t.Context(), "sqlite:"+path, store.Options{
				Rules: storetest.Rules(), Damaged: func(err error) { reports = append(reports, err) },
			})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }() // it is damaged
			if name != "ping" {
				if err := s.Ping(t.Context()); err != nil {
					t.Errorf("before an operation read the damaged page: %v", err)
				}
			}
			want := "The database file is damaged; restore it from a backup."
			for range 2 {
				if err := test.meet(s); order.CodeOf(err) != order.CodeUnavailable || !strings.Contains(err.Error(), want) {
					t.Errorf("the operation returns %v, want %s", err, want)
				}
			}
			if err := s.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Ping returns %v afterwards", err)
			}
			if _, err := s.Backlog(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Backlog, which the metrics show, returns %v afterwards", err)
			}
			_, err = s.CreateToken(t.Context(), order.Token{UserID: 1}, []byte("hash"))
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("a write to another table returns %v afterwards", err)
			}
			if products, err := s.Products(t.Context()); err != nil || len(products) == 0 {
				t.Errorf("a read of an undamaged table: %d products, %v", len(products), err)
			}
			if len(reports) != 1 {
				t.Errorf("it was reported %d times: %v", len(reports), reports)
			}
		})
	}
}

// TestDamagedBeginning: a server does not start on a file whose first page is damaged, and states the remedy.
func TestDamagedBeginning(t *testing.T) {
	t.Parallel()
	s, path := sample(t, 10)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	damage(t, path, "")
	again, err := store.Open(t.Context(), "sqlite:"+path, store.Options{Rules: storetest.Rules()})
	if err == nil {
		_ = again.Close()
	}
	if !oneLine(err) || !strings.Contains(err.Error(), "restore it from a backup") {
		t.Error(err)
	}
}
