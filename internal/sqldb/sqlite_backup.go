package sqldb

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
)

const (
	// backupGap is how far the IDFloor of a backup is above its last id: more ids than are given between two backups.
	backupGap = 1_000_000_000
	// The floor is kept in PRAGMA user_version, which has 32 bits: as a number of floorUnits, or beyond those as a negative
	// number of floorUnitBigs. The largest id fits.
	floorUnit    = 1000
	floorUnitBig = 1_000_000_000
)

func (*sqliteDialect) backup(ctx context.Context, db *sql.DB, file string, ids BackupIDs) (err error) {
	if file == "" || strings.HasPrefix(file, "sqlite:") {
		return errorf(Invalid, "A backup is written to the path of a new file, such as backup.db, not to %q.", file)
	}
	d, err := newSQLite(file)
	explained := func(err error) error {
		return errorf(Unavailable, "Cannot write the backup %s: %s", file, d.explain(err))
	}
	if err != nil {
		return explained(err)
	}
	for _, name := range []string{file, file + "-wal", file + "-journal"} { // a log would be taken for the new file's
		if _, err := os.Lstat(name); err == nil {
			return errorf(Unavailable, "The file %s exists already; a backup does not replace a file.", name)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return explained(err)
		}
	}
	part, err := os.CreateTemp(filepath.Dir(d.file), filepath.Base(d.file)+".part-*")
	if err != nil {
		return explained(err)
	}
	defer func() {
		_ = os.Remove(part.Name()) // it has its name by now, or is given up
		_ = os.Remove(part.Name() + "-journal")
	}()
	if err := copyFile(ctx, db, part.Name(), ids); d.classify(err) == damaged {
		return errors.Join(err, part.Close())
	} else if err != nil {
		return explained(errors.Join(err, part.Close()))
	}
	if err := errors.Join(part.Sync(), part.Close()); err != nil {
		return explained(err)
	}
	if err := moveInto(part.Name(), d.file); err != nil {
		return explained(err)
	}
	if err := syncFolder(filepath.Dir(d.file)); err != nil {
		return explained(err)
	}
	return nil
}

// moveInto gives a file its name, unless another file has taken that name meanwhile; where the file system has no links, also
// then.
func moveInto(part, file string) error {
	err := os.Link(part, file)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Rename(part, file)
}

// copyFile copies the database into an empty file, and writes the floor of its ids into that.
func copyFile(ctx context.Context, db *sql.DB, file string, ids BackupIDs) (err error) {
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", file); err != nil {
		return err
	}
	copied, err := sql.Open("sqlite", "file:"+(&url.URL{Path: file}).EscapedPath()+"?mode=rw")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, copied.Close()) }()
	copied.SetMaxOpenConns(1)
	floor, err := readFloor(ctx, copied)
	if err != nil {
		return err
	}
	var last int64
	if err := copied.QueryRowContext(ctx, "SELECT COALESCE(max(id), 0) FROM "+ids.Table).Scan(&last); err != nil {
		return err
	}
	next := max(last, floor) + backupGap
	if next > ids.Max {
		return fmt.Errorf("no ids are left for the orders that follow when it is restored: the last one was %d", max(last, floor))
	}
	_, err = copied.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", encodeFloor(next)))
	return err
}

// encodeFloor returns a floor as user_version keeps it; the result may be a little higher. Floors that older versions can read
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

func (d *sqliteDialect) idFloor(ctx context.Context, db *sql.DB) (int64, error) {
	floor, err := readFloor(ctx, db)
	if err != nil {
		return 0, d.openError(err)
	}
	return floor, nil
}

// readFloor reads the lowest id that a new row may have; 0 in a file that is not a backup.
func readFloor(ctx context.Context, db *sql.DB) (int64, error) {
	var version int32
	err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version)
	return decodeFloor(version), err
}

// syncFolder makes sure that a name given in a folder is on the disk.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
