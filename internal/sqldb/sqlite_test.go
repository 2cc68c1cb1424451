package sqldb

import (
	"context"
	"database/sql"
	"math"
	"testing"
)

// TestAbandonedTransactionFreesTheFile: a writer that is dropped in the middle of a transaction releases its lock.
func TestAbandonedTransactionFreesTheFile(t *testing.T) {
	t.Parallel()
	url := file(t)
	db := open(t, url)
	abandon := func() {
		t.Helper()
		w := db.writers.take()
		defer func() { db.writers.put(w) }()
		if err := (&Tx{ctx: t.Context(), db: db, w: w}).begin(); err != nil {
			t.Fatal(err)
		}
		w.drop()
	}
	nothing := func(*Tx) error { return nil }
	abandon()
	if err := db.Write(t.Context(), "test", nothing); err != nil {
		t.Errorf("on the same handle: %v", err)
	}
	abandon()
	if err := open(t, url).Write(t.Context(), "test", nothing); err != nil {
		t.Errorf("on another handle: %v", err)
	}
}

// TestSettingsHoldOnEveryConnection reads back, from all readers at once and from a writer that opened again.
func TestSettingsHoldOnEveryConnection(t *testing.T) {
	t.Parallel()
	db := open(t, file(t))
	if err := db.Write(t.Context(), "test", func(*Tx) error { return context.DeadlineExceeded }); err == nil {
		t.Fatal("the write succeeded")
	}
	held := map[string][]*sql.Conn{}
	for pool, n := range map[string]int{"reads": readers, "writes": 1} {
		for range n {
			from := db.Writer
			if pool == "reads" {
				from = db.Reader.DB
			}
			conn, err := from.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			held[pool] = append(held[pool], conn)
		}
	}
	for name, want := range map[string]string{
		"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "5000", "trusted_schema": "0", "cell_size_check": "1",
		"cache_size": "-16384", "wal_autocheckpoint": "4000", "journal_size_limit": "67108864",
	} {
		for pool, conns := range held {
			for _, conn := range conns {
				var value string
				if err := conn.QueryRowContext(t.Context(), "PRAGMA "+name).Scan(&value); err != nil || value != want {
					t.Errorf("a connection for %s has %s %s (%v), want %s", pool, name, value, err, want)
				}
			}
		}
	}
}

// TestFloors: a floor of any id is kept, none lower than it, and the next one is above it.
func TestFloors(t *testing.T) {
	t.Parallel()
	const gap, oldLimit, maxID = 1_000_000_000, math.MaxInt32 * 1000, 1<<53 - 1
	for _, floor := range []int64{0, 1000, gap, oldLimit - gap, oldLimit, oldLimit + 1000, oldLimit + 1, oldLimit + gap, maxID - gap, maxID} {
		kept := decodeFloor(encodeFloor(floor))
		if kept < floor-999 || kept > floor+gap {
			t.Errorf("floor %d is kept as %d", floor, kept)
		}
		if next := decodeFloor(encodeFloor(kept + gap)); next <= kept {
			t.Errorf("the floor after %d is %d", kept, next)
		}
	}
}
