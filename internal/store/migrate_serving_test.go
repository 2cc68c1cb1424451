package store_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
	"orderflow/test/env"
)

// laterSteps are migrations that a later release might apply to a full table.
func laterSteps(dialect string) [][3]string {
	if dialect == "sqlite" {
		return [][3]string{
			{"note", "ALTER TABLE orders ADD COLUMN note TEXT NOT NULL DEFAULT ''", "ALTER TABLE orders DROP COLUMN note"},
			{"created_index", "CREATE INDEX idx_orders_created ON orders (created_at)", "DROP INDEX idx_orders_created"},
		}
	}
	return [][3]string{
		{"note", "ALTER TABLE orders ADD COLUMN note VARCHAR(40) NOT NULL DEFAULT '', ALGORITHM=INSTANT", "ALTER TABLE orders DROP COLUMN note"},
		{"created_index", "CREATE INDEX idx_orders_created ON orders (created_at) ALGORITHM=INPLACE LOCK=NONE", "DROP INDEX idx_orders_created ON orders"},
	}
}

// traffic is the load on a server of this release during the migration: create, find and cancel. No answer may be an error.
type traffic struct {
	t    *testing.T
	s    *store.Store
	done atomic.Int64 // complete rounds
	rest func()
}

func newTraffic(t *testing.T, s *store.Store) *traffic {
	t.Helper()
	c, stop := &traffic{t: t, s: s}, make(chan struct{})
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for round := 0; ; round++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := c.trade(context.WithoutCancel(t.Context()), fmt.Sprintf("t%d-%d", i, round)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	c.rest = sync.OnceFunc(func() {
		close(stop)
		all.Wait()
	})
	t.Cleanup(c.rest)
	return c
}

// trade creates two orders, finds one of them by its key, and cancels the other.
func (c *traffic) trade(ctx context.Context, key string) error {
	drafts := []order.Draft{storetest.Draft(c.t, 1, key, 1, 1), storetest.Draft(c.t, 2, key, 2, 1, 1, 1)}
	placed, _, err := c.s.CreateOrders(ctx, drafts)
	for _, p := range placed {
		if err == nil {
			err = p.Err
		}
	}
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	if again, err := c.s.FindOrders(ctx, []order.OrderKey{{UserID: 1, Key: key}}); err != nil || len(again) != 1 {
		return fmt.Errorf("find: %w, %d orders", err, len(again))
	}
	cancelled, _, err := c.s.CancelOrders(ctx, []order.CancelRequest{{OrderID: placed[1].Order.ID}})
	if err != nil || cancelled[0].Err != nil {
		return fmt.Errorf("cancel: %w, %+v", err, cancelled)
	}
	c.done.Add(1)
	return nil
}

// goesOn waits until this number of further rounds is complete.
func (c *traffic) goesOn(n int64) {
	c.t.Helper()
	before := c.done.Load()
	env.Eventually(c.t, fmt.Sprintf("%d more orders end", n), func() bool { return c.done.Load() >= before+n || c.t.Failed() })
}

// fullTable is the number of orders before a migration of MySQL. (Under the race detector SQLite's driver, which is written in Go,
// takes minutes for that number.)
const fullTable = 20_000

// fillTable adds orders. A repeated call continues where the last one failed.
func fillTable(t *testing.T, s *store.Store, orders int64) {
	t.Helper()
	plan := store.SeedPlan{SetStock: true, Stock: 1_000_000, Orders: orders}
	if err := storetest.Patiently(func() error { return s.Seed(t.Context(), plan) }); err != nil {
		t.Fatal(err)
	}
}

// TestMySQLMigrateWhileServing: a process of a later release adds a column and an index to a full table when it starts, while one of
// this release takes orders. No order fails before, during or after the migration, nor when the migration is reverted.
func TestMySQLMigrateWhileServing(t *testing.T) {
	t.Parallel()
	address := newMySQL(t)
	s := openAt(t, address, store.Options{Rules: storetest.Rules(), Pool: 4})
	fillTable(t, s, fullTable)
	customers := newTraffic(t, s)
	customers.goesOn(20)
	later := openAt(t, address, store.Options{Rules: storetest.Rules(), Pool: 4})
	later.AddSteps(t, laterSteps("mysql")...)
	before, start := customers.done.Load(), time.Now()
	if err := later.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d orders meanwhile, in %s", customers.done.Load()-before, time.Since(start))
	customers.goesOn(20) // the older release, with the newer schema
	if err := newTrafficOnce(t, later); err != nil {
		t.Errorf("the server of the newer release: %v", err)
	}
	if err := s.Migrate(t.Context()); order.CodeOf(err) != order.CodeUnavailable || !strings.Contains(err.Error(), "use a newer orderflow") {
		t.Errorf("a server of the older release that starts now: %v", err)
	}
	customers.rest()
	storetest.CheckInvariants(t, later)

	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range laterSteps("mysql") {
		if err := down(t.Context(), later); err != nil {
			t.Fatal(err)
		}
	}
	back := openAt(t, address, store.Options{Rules: storetest.Rules(), Pool: 4})
	if err := back.Migrate(t.Context()); err != nil {
		t.Errorf("the older release, after the migration was reverted: %v", err)
	}
	storetest.CheckInvariants(t, back)
}

// newTrafficOnce sends one round of traffic.
func newTrafficOnce(t *testing.T, s *store.Store) error {
	t.Helper()
	return (&traffic{t: t, s: s}).trade(t.Context(), "once")
}

// TestMySQLMigrateBehindALongSnapshot: a migration has to wait for an audit or a dump that reads the table for minutes. Orders do not
// wait for either.
func TestMySQLMigrateBehindALongSnapshot(t *testing.T) {
	t.Parallel()
	address := newMySQL(t)
	s := openAt(t, address, store.Options{Rules: storetest.Rules(), Pool: 4})
	if err := s.Seed(t.Context(), store.SeedPlan{SetStock: true, Stock: 1_000_000}); err != nil {
		t.Fatal(err)
	}
	reading, err := env.Admin(t, address).BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reading.Rollback() }()
	var n int
	if err := reading.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM orders").Scan(&n); err != nil {
		t.Fatal(err)
	}
	customers := newTraffic(t, s)
	customers.goesOn(5)
	later := openAt(t, address, store.Options{Rules: storetest.Rules(), Pool: 4})
	later.AddSteps(t, laterSteps("mysql")...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	migrated := make(chan error, 1)
	go func() { migrated <- later.Migrate(ctx) }()
	db := env.Admin(t, address)
	waits := func() bool {
		var waiting int
		if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE '%metadata lock%' "+
			"AND INFO LIKE 'ALTER%' AND DB = DATABASE()").Scan(&waiting); err != nil {
			t.Fatal(err)
		}
		return waiting > 0
	}
	for range 2 { // the migration tries again, and orders continue meanwhile
		env.Eventually(t, "the migration waits for the reader", waits)
		env.Eventually(t, "the migration lets others pass", func() bool { return !waits() })
		customers.goesOn(5)
	}
	select {
	case err := <-migrated:
		t.Fatalf("the migration did not wait for the reader: %v", err)
	default:
	}
	cancel() // the error names the wait, or the context where it ended during a try
	if err := <-migrated; err == nil || (!errors.Is(err, context.Canceled) && !strings.HasPrefix(err.Error(), "Cannot migrate the database: ")) {
		t.Errorf("after its context ended: %v", err)
	}
	go func() { migrated <- later.Migrate(t.Context()) }()
	env.Eventually(t, "the migration waits for the reader", waits)
	if err := reading.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-migrated; err != nil {
		t.Error(err)
	}
	customers.goesOn(5)
	customers.rest()
	storetest.CheckInvariants(t, later)
}

// TestMigrateAFullFile: only its server migrates an SQLite file, before it takes orders.
func TestMigrateAFullFile(t *testing.T) {
	t.Parallel()
	s, path := sample(t, 1_000_000)
	fillTable(t, s, 500)
	file := filepath.Join(t.TempDir(), "before.db")
	if err := s.Backup(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{path, file} {
		later := open(t, at, storetest.Rules())
		later.AddSteps(t, laterSteps("sqlite")...)
		if err := later.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := newTrafficOnce(t, later); err != nil {
			t.Error(err)
		}
		storetest.CheckInvariants(t, later)
	}
}
