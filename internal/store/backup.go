package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"orderflow/internal/order"
)

const (
	backupLimit = time.Hour // for the copy of one file

	// backupGap is how far above the last order of a backup the first one after it is restored stands: more than are taken
	// between two backups.
	backupGap = 1_000_000_000
	// The floor is kept in PRAGMA user_version, which has 32 bits: as a number of floorUnits, and where there are too many of
	// them as a negative number of floorUnitBigs. The largest id fits.
	floorUnit    = 1000
	floorUnitBig = 1_000_000_000
)

// Backup writes an SQLite database, as it is at one moment, into a new file for its owner alone. Servers and tools go on
// meanwhile; only their log grows until the copy is done. When Backup returns, the file is whole and on the disk; after an
// error it is not there.
//
// Whoever serves the copy gives no order an id that the original may have given since: charges are known to the provider
// by the ids of orders, so that such an order would pass for paid by somebody else's charge. See floor.
//
// It returns CodeUnavailable when the file cannot be written, exists already, or the database is not SQLite.
func (s *Store) Backup(ctx context.Context, file string) (err error) {
	if _, ok := s.dialect.(sqliteDialect); !ok {
		return order.Errorf(order.CodeUnavailable, "Only an SQLite file is backed up so; MySQL and MariaDB have mysqldump and mariadb-dump.")
	}
	if file == "" || strings.HasPrefix(file, "sqlite:") {
		return order.Errorf(order.CodeValidation, "A backup is written to the path of a new file, such as backup.db, not to %q.", file)
	}
	ctx, cancel := context.WithTimeout(ctx, backupLimit)
	defer cancel()
	d, err := newSQLite(file)
	fault := func(err error) error {
		return order.Errorf(order.CodeUnavailable, "Cannot write the backup %s: %s", file, d.explain(err))
	}
	if err != nil {
		return fault(err)
	}
	for _, name := range []string{file, file + "-wal", file + "-journal"} { // a log would be taken for the new file's
		if _, err := os.Lstat(name); err == nil {
			return order.Errorf(order.CodeUnavailable, "The file %s exists already; a backup replaces none.", name)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fault(err)
		}
	}
	part, err := os.CreateTemp(filepath.Dir(d.file), filepath.Base(d.file)+".part-*")
	if err != nil {
		return fault(err)
	}
	defer func() {
		_ = os.Remove(part.Name()) // it has its name by now, or is given up
		_ = os.Remove(part.Name() + "-journal")
	}()
	if err := s.copyTo(ctx, part.Name()); s.dialect.classify(err) == classDamaged {
		return errors.Join(s.coded(err), part.Close())
	} else if err != nil {
		return fault(errors.Join(err, part.Close()))
	}
	if err := errors.Join(part.Sync(), part.Close()); err != nil {
		return fault(err)
	}
	if err := name(part.Name(), d.file); err != nil {
		return fault(err)
	}
	if err := syncFolder(filepath.Dir(d.file)); err != nil {
		return fault(err)
	}
	return nil
}

// name gives a file its name, unless another one has had it meanwhile; where the file system has no links, also then.
func name(part, file string) error {
	err := os.Link(part, file)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Rename(part, file)
}

// copyTo copies the database into an empty file, and writes the floor of its ids into that.
func (s *Store) copyTo(ctx context.Context, file string) (err error) {
	if _, err := s.reader.ExecContext(ctx, "VACUUM INTO ?", file); err != nil {
		return err
	}
	taken, err := sql.Open("sqlite", "file:"+(&url.URL{Path: file}).EscapedPath()+"?mode=rw")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, taken.Close()) }()
	taken.SetMaxOpenConns(1)
	floor, err := readFloor(ctx, taken)
	if err != nil {
		return err
	}
	var last int64
	if err := taken.QueryRowContext(ctx, "SELECT COALESCE(max(id), 0) FROM orders").Scan(&last); err != nil {
		return err
	}
	next := max(last, floor) + backupGap
	if next > order.MaxID {
		return fmt.Errorf("no ids are left for the orders that follow when it is restored: the last one was %d", max(last, floor))
	}
	_, err = taken.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", encodeFloor(next)))
	return err
}

// encodeFloor returns a floor as user_version keeps it; it may come out a little higher. Floors that older versions can read
// are written as those do.
func encodeFloor(floor int64) int32 {
	if units := floor / floorUnit; units <= math.MaxInt32 {
		return int32(units)
	}
	return -int32((floor + floorUnitBig - 1) / floorUnitBig)
}

func decodeFloor(version int32) int64 {
	if version < 0 {
		return -int64(version) * floorUnitBig
	}
	return int64(version) * floorUnit
}

// readFloor reads the lowest id that a new order may have; 0 in a file that is no backup.
func readFloor(ctx context.Context, db *sql.DB) (int64, error) {
	var version int32
	err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version)
	return decodeFloor(version), err
}

// raise has the next order of the transaction begin at the floor, unless ids are that high already. SQLite gives the
// largest id plus one; so a row below the floor stands there until lower is called, before the COMMIT.
func (t *tx) raise() (lower func() error, err error) {
	nothing := func() error { return nil }
	if t.s.floor == 0 {
		return nothing, nil
	}
	result, err := t.exec(t.s.dialect.insert()+"orders (id, user_id, status, total_amount, currency, idempotency_key, fingerprint, payment_method, "+
		"attempts, tries_left, lease_token, version, created_at, updated_at) SELECT ?, 0, 'CANCELLED', 0, '', '', x'', '', 0, 0, '', 0, 0, 0 "+
		"WHERE (SELECT COALESCE(max(id), 0) FROM orders) < ?", t.s.floor-1, t.s.floor-1)
	if err != nil {
		return nil, err
	}
	n, err := result.RowsAffected()
	if err == nil && n == 0 {
		t.s.floor = 0 // ids are that high, and orders are never deleted; the one writer alone looks at it
	}
	if err != nil || n == 0 {
		return nothing, err
	}
	return func() error {
		_, err := t.exec("DELETE FROM orders WHERE id = ?", t.s.floor-1)
		return err
	}, nil
}

// syncFolder makes sure that a name given in a folder is on the disk.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
