package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver
)

// sqliteDialect is the dialect of SQLite: one file, one writer at a time, readers that never block it (WAL). Every commit is
// on the disk before it returns (synchronous=FULL).
type sqliteDialect struct {
	path   string      // as it was given, for messages
	file   string      // the same, absolute
	opened os.FileInfo // the file as it was opened
	lock   *os.File    // the lock file, once this process is the file's server
}

const (
	readers     = 4 // connections for reads; SQLite reads are processor work, so more would not help
	busyTimeout = 5 * time.Second
	sqliteRows  = 64 // of a statement at most
)

// pragmas are set on every connection, busy_timeout first: setting the journal mode may have to wait for another process.
func pragmas() []string {
	return []string{
		fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
		"trusted_schema(0)", "cell_size_check(1)", "cache_size(-16384)", "wal_autocheckpoint(4000)", "journal_size_limit(67108864)",
	}
}

func newSQLite(path string) (*sqliteDialect, error) {
	file, err := filepath.Abs(path) // else a name such as :memory: would mean something else
	return &sqliteDialect{path: path, file: file}, err
}

// errOrphanedLog reports that the database file is missing but its log exists.
var errOrphanedLog = errors.New("the file is missing, but its -wal beside it contains data; put the file back, or move the -wal away too")

// errIsFolder reports that the path of the database is a folder.
var errIsFolder = errors.New("it is a folder; name a file in it")

// exists reports whether the file is there.
func (d *sqliteDialect) exists() bool {
	_, err := os.Stat(d.file)
	return !errors.Is(err, fs.ErrNotExist)
}

func (d *sqliteDialect) open(ctx context.Context) (p pools, err error) {
	if err := d.create(); err != nil {
		return p, d.openError(err)
	}
	defer func() {
		if err != nil {
			p, err = pools{}, errors.Join(d.openError(err), p.close())
		}
	}()
	if p.Writer, err = d.connect(ctx, "immediate", 1); err != nil {
		return p, err
	}
	reader, err := d.connect(ctx, "deferred", readers)
	if err != nil {
		return p, err
	}
	p.Reader = NewPool(reader, d.Prepares())
	d.opened, err = os.Stat(d.file)
	return p, err
}

func (*sqliteDialect) sessions(context.Context, *sql.DB) (int, error) { return 0, nil }

func (*sqliteDialect) migrator(pool *sql.DB) (*sql.DB, func(), goose.Dialect, error) {
	return pool, func() {}, goose.DialectSQLite3, nil
}

// create makes a missing file that only its owner can read: it will contain password hashes. The connections never create one, so
// that a file which is deleted while a server runs does not reappear empty.
func (d *sqliteDialect) create() error {
	if info, err := os.Stat(d.file); errors.Is(err, fs.ErrNotExist) || (err == nil && info.Size() == 0) {
		if log, err := os.Stat(d.file + "-wal"); err == nil && log.Size() > 0 {
			return errOrphanedLog // SQLite would delete it, and with it orders that were acknowledged
		}
	}
	if info, err := os.Stat(d.file); err == nil && info.IsDir() {
		return errIsFolder
	}
	file, err := os.OpenFile(d.file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return file.Close()
}

// connect opens one pool and checks the settings of its connections.
func (d *sqliteDialect) connect(ctx context.Context, lock string, connections int) (*sql.DB, error) {
	options := url.Values{"mode": {"rw"}, "_txlock": {lock}, "_pragma": pragmas()}
	escaped := (&url.URL{Path: d.file}).EscapedPath()
	db, err := sql.Open("sqlite", "file:"+escaped+"?"+options.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxLifetime(0)
	if err := d.check(ctx, db); err != nil {
		_ = db.Close() // the error that counts is the one above
		return nil, err
	}
	return db, nil
}

// check reads the schema, so that a file which is not a database is refused now, and the settings that durability depends on.
func (d *sqliteDialect) check(ctx context.Context, db *sql.DB) error {
	var tables int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return err
	}
	for _, essential := range []struct{ pragma, value, lost string }{
		{"journal_mode", "wal", "it refuses write-ahead logging; move the file to a local disk"},
		{"synchronous", "2", "it does not write commits to the disk before it confirms them"},
		{"foreign_keys", "1", "it does not keep foreign keys"},
	} {
		var value string
		if err := db.QueryRowContext(ctx, "PRAGMA "+essential.pragma).Scan(&value); err != nil {
			return err
		}
		if value != essential.value {
			return fmt.Errorf("%s (%s is %s)", essential.lost, essential.pragma, value)
		}
	}
	return nil
}

func (d *sqliteDialect) openError(err error) error {
	return errorf(Unavailable, "Cannot open the database %s: %s", d.path, d.explain(err))
}

func (*sqliteDialect) name() string                  { return "sqlite" }
func (*sqliteDialect) writers() int                  { return 1 }
func (*sqliteDialect) readsOnWriter() bool           { return true }
func (*sqliteDialect) snapshot() sql.IsolationLevel  { return sql.LevelDefault }
func (*sqliteDialect) noteMoved()                    {}
func (*sqliteDialect) connected(*writer) error       { return nil }
func (*sqliteDialect) endsIdleSessions() bool        { return false }
func (*sqliteDialect) begin() string                 { return "BEGIN IMMEDIATE" }
func (*sqliteDialect) supportsPipelining() bool      { return false }
func (*sqliteDialect) Prepares() bool                { return true }
func (*sqliteDialect) LockRows() string              { return "" }
func (*sqliteDialect) LockBeforeUpdate() bool        { return false }
func (*sqliteDialect) EqualEmail(c string) string    { return c + " = ?" } // the column ignores the case of ASCII letters
func (*sqliteDialect) IntegerMark() string           { return "?" }
func (*sqliteDialect) Key(text string) any           { return text }
func (*sqliteDialect) returning() string             { return "" }
func (*sqliteDialect) SkipLocked() string            { return "" }
func (*sqliteDialect) ShareUnlocked() string         { return "" }
func (*sqliteDialect) LockTables(...string) string   { return "" }
func (*sqliteDialect) StoresDecimals() bool          { return false }
func (*sqliteDialect) BinaryMark([]byte) string      { return "?" }
func (*sqliteDialect) Concat(parts ...string) string { return strings.Join(parts, " || ") }

func (*sqliteDialect) ByPrimaryKey(table string) string { return table }
func (*sqliteDialect) ByIndex(table, _ string) string   { return table }
func (*sqliteDialect) DeleteFrom(table string) string   { return "DELETE FROM " + table }
func (*sqliteDialect) IgnoreDuplicate(string) string    { return " ON CONFLICT DO NOTHING" }

// Clock: one file is served by one machine, whose process has the time.
func (*sqliteDialect) Clock() string { return "" }

// NoIndex: a column behind a plus is an expression, for which there is no index.
func (*sqliteDialect) NoIndex(column string) string { return "+" + column }

// reserveIDs: SQLite gives the largest id plus one.
func (*sqliteDialect) reserveIDs(string, int64) []statement { return nil }

func (d *sqliteDialect) insertRows(into string, rows func() string, _ int, args []any, after string) (statement, error) {
	return insertValues(d.Insert(), into, rows, args, after), nil
}

// Insert and Update give the whole transaction up at the first row that violates a constraint, as this package would do
// anyway. By default SQLite undoes that one statement, and for this it keeps, for every statement of several rows, a copy of
// each page that the statement changes: a quarter of a batch's time when the keys are random (docs/performance.md). The
// foreign keys are checked at the COMMIT for the same reason.
func (*sqliteDialect) Insert() string { return "INSERT OR ROLLBACK INTO " }
func (*sqliteDialect) Update() string { return "UPDATE OR ROLLBACK " }

// RowsPerInsert is the largest power of two in n, up to sqliteRows.
func (*sqliteDialect) RowsPerInsert(n int) int { return min(sqliteRows, 1<<(bits.Len(uint(n))-1)) }

// ListLength is the smallest power of two that contains n, up to sqliteRows.
func (*sqliteDialect) ListLength(n int) int { return min(sqliteRows, 1<<bits.Len(uint(n-1))) }

func (*sqliteDialect) WithBinary(args []any, value []byte) []any { return append(args, value) }

// Time is microseconds since 1970.
func (*sqliteDialect) Time(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// SelectPairs joins a list of values to the index: a row-IN would scan the table, an OR chain fails at depth 1,000.
func (*sqliteDialect) SelectPairs(columns string, i PairIndex, n int) string {
	return "WITH wanted(" + i.First + ", " + i.Second + ") AS (VALUES " + Rows(n, 2) + ") SELECT " + columns +
		" FROM wanted CROSS JOIN " + i.Table + " " + i.Alias + " ON " + i.Alias + "." + i.First + " = wanted." + i.First +
		" AND " + i.Alias + "." + i.Second + " = wanted." + i.Second
}

func (*sqliteDialect) execPipelined(context.Context, *sql.Conn, []statement) ([]int64, error) {
	return nil, errors.ErrUnsupported
}

// endTransaction: rolled back or closed, the transaction is over.
func (*sqliteDialect) endTransaction(context.Context, *sql.DB, *writer) error { return nil }

// firstID relies on rowids that rise by one within a statement: SQLite takes the largest rowid plus one, rows are never
// deleted, and no other connection writes.
func (*sqliteDialect) firstID(_ *writer, result sql.Result, n int) (int64, bool, error) {
	last, err := result.LastInsertId()
	return last - int64(n) + 1, true, err
}

func (*sqliteDialect) drop(context.Context, *sql.DB) error {
	return errors.New("only a database on a server can be dropped; delete the file")
}

func (*sqliteDialect) foreign(ctx context.Context, db *sql.DB) (foreign bool, err error) {
	const query = "SELECT count(*) > 0 AND sum(name = 'goose_db_version') = 0 FROM sqlite_schema WHERE type = 'table'"
	var found sql.NullBool
	err = db.QueryRowContext(ctx, query).Scan(&found)
	return found.Bool, err
}
