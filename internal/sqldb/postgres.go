package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3"
)

// postgresDialect is the dialect of PostgreSQL 15 and later: READ COMMITTED, row locks. postgres_open.go connects and checks the
// server.
type postgresDialect struct {
	server     postgresServer
	generation atomic.Int64 // counts refusals of a server that accepts no writes; see noteMoved
}

// postgresRows is how many rows or ids a statement has at most. It has at most 65,535 parameters.
const postgresRows = 2048

func (*postgresDialect) name() string                 { return "postgres" }
func (d *postgresDialect) writers() int               { return d.server.pool }
func (*postgresDialect) readsOnWriter() bool          { return false }
func (*postgresDialect) snapshot() sql.IsolationLevel { return sql.LevelRepeatableRead }
func (*postgresDialect) begin() string                { return "BEGIN" }
func (*postgresDialect) supportsPipelining() bool     { return true }

// noteMoved makes the connections that were opened before give way to new ones: the address may lead to another server by now.
func (d *postgresDialect) noteMoved() { d.generation.Add(1) }

// endsIdleSessions: a session without a transaction holds no locks, and idle_in_transaction_session_timeout ends the others.
func (*postgresDialect) endsIdleSessions() bool { return false }

// Prepares: the driver prepares statements and keeps them with the connection.
func (*postgresDialect) Prepares() bool { return false }

// RowsPerInsert implements Batching. Rows are sent as arrays, so that one text serves every number of rows.
func (*postgresDialect) RowsPerInsert(n int) int { return min(n, postgresRows) }

// ListLength is the smallest power of two that contains n, up to postgresRows.
func (*postgresDialect) ListLength(n int) int { return min(postgresRows, 1<<bits.Len(uint(n-1))) }

func (*postgresDialect) Insert() string                         { return "INSERT INTO " }
func (*postgresDialect) Update() string                         { return "UPDATE " }
func (*postgresDialect) DeleteFrom(table string) string         { return "DELETE FROM " + table }
func (*postgresDialect) ByPrimaryKey(table string) string       { return table }
func (*postgresDialect) ByIndex(table, _ string) string         { return table }
func (*postgresDialect) NoIndex(column string) string           { return column }
func (*postgresDialect) SkipLocked() string                     { return " SKIP LOCKED" }
func (*postgresDialect) Concat(parts ...string) string          { return strings.Join(parts, " || ") }
func (*postgresDialect) IgnoreDuplicate(string) string          { return " ON CONFLICT DO NOTHING" }
func (*postgresDialect) IntegerMark() string                    { return "CAST(? AS BIGINT)" }
func (*postgresDialect) StoresDecimals() bool                   { return false }
func (*postgresDialect) BinaryMark([]byte) string               { return "?" }
func (*postgresDialect) Key(text string) any                    { return []byte(text) }
func (*postgresDialect) WithBinary(a []any, value []byte) []any { return append(a, value) }

// EqualEmail uses the unique index on the folded address.
func (*postgresDialect) EqualEmail(column string) string {
	return `lower(` + column + ` COLLATE "C") = lower(CAST(? AS TEXT) COLLATE "C")`
}

// LockRows leaves out the key, so that the foreign keys of new rows do not wait for the lock.
func (*postgresDialect) LockRows() string { return " FOR NO KEY UPDATE" }

// ShareUnlocked is the lock that a foreign key takes.
func (*postgresDialect) ShareUnlocked() string { return " FOR KEY SHARE SKIP LOCKED" }

// LockTables: the server detects deadlocks between locks of tables and of rows.
func (*postgresDialect) LockTables(...string) string { return "" }

// LockBeforeUpdate: an UPDATE locks rows in the order in which it finds them, which is not always that of their ids.
func (*postgresDialect) LockBeforeUpdate() bool { return true }

// Clock is the server's: processes on many machines compare times.
func (*postgresDialect) Clock() string { return "statement_timestamp()" }

// SelectPairs implements Syntax.
func (*postgresDialect) SelectPairs(columns string, i PairIndex, n int) string {
	return "SELECT " + columns + " FROM " + i.Table + " " + i.Alias + " WHERE (" +
		i.Alias + "." + i.First + ", " + i.Alias + "." + i.Second + ") IN (" + Rows(n, 2) + ")"
}

// Time implements Binding. NULL has a type, for the arrays of insertRows.
func (*postgresDialect) Time(t time.Time) any {
	if t.IsZero() {
		return (*time.Time)(nil)
	}
	return &t
}

func (*postgresDialect) returning() string { return " RETURNING id" }

func (*postgresDialect) firstID(*writer, sql.Result, int) (int64, bool, error) {
	return 0, false, errors.New("PostgreSQL returns ids as rows")
}

// insertRows sends each column as one array: the server parses one short text for any number of rows, once per connection.
func (*postgresDialect) insertRows(into string, _ func() string, columns int, args []any, after string) (statement, error) {
	arrays := make([]any, columns)
	types := make([]string, columns)
	for c := range columns {
		var err error
		if arrays[c], types[c], err = postgresArray(args, c, columns); err != nil {
			return statement{}, fmt.Errorf("column %d of %s: %w", c+1, into, err)
		}
	}
	return statement{"INSERT INTO " + into + " SELECT * FROM unnest(" + strings.Join(types, ", ") + ")" + after, arrays}, nil
}

// postgresArray returns a column of rows of arguments as one array, with its placeholder.
func postgresArray(args []any, column, columns int) (array any, mark string, err error) {
	switch args[column].(type) {
	case int, int64:
		array, err = columnOf(args, column, columns, func(v any) (int64, bool) {
			if n, ok := v.(int); ok {
				return int64(n), true
			}
			n, ok := v.(int64)
			return n, ok
		})
		return array, "?::bigint[]", err
	case string:
		array, err = columnOf(args, column, columns, assert[string])
		return array, "?::text[]", err
	case []byte:
		array, err = columnOf(args, column, columns, assert[[]byte])
		return array, "?::bytea[]", err
	case bool:
		array, err = columnOf(args, column, columns, assert[bool])
		return array, "?::boolean[]", err
	case *time.Time:
		array, err = columnOf(args, column, columns, assert[*time.Time])
		return array, "?::timestamptz[]", err
	}
	return nil, "", fmt.Errorf("a %T cannot be sent in an array", args[column])
}

func assert[T any](v any) (T, bool) {
	t, ok := v.(T)
	return t, ok
}

func columnOf[T any](args []any, column, columns int, convert func(any) (T, bool)) ([]T, error) {
	all := make([]T, 0, len(args)/columns)
	for i := column; i < len(args); i += columns {
		v, ok := convert(args[i])
		if !ok {
			return nil, fmt.Errorf("rows hold a %T and a %T", args[column], args[i])
		}
		all = append(all, v)
	}
	return all, nil
}

// reserveIDs: the sequence of a table does not notice ids that an INSERT names. The lock keeps other sessions from taking ids
// from the sequence in between.
func (*postgresDialect) reserveIDs(table string, last int64) []statement {
	sequence := table + "_id_seq"
	return []statement{
		{"LOCK TABLE " + table + " IN SHARE ROW EXCLUSIVE MODE", nil},
		{"SELECT setval('" + sequence + "', GREATEST(CAST(? AS BIGINT), (SELECT last_value FROM " + sequence + ")))", []any{last}},
	}
}

// execPipelined sends the statements in one round trip. After the first that fails, the server skips the others.
func (*postgresDialect) execPipelined(ctx context.Context, conn *sql.Conn, statements []statement) (matched []int64, err error) {
	err = conn.Raw(func(raw any) error {
		c, ok := raw.(*postgresConn)
		if !ok {
			return fmt.Errorf("a connection for writes is a %T", raw)
		}
		batch := &pgx.Batch{}
		for _, s := range statements {
			batch.Queue(numbered(s.query), s.args...)
		}
		results := c.Conn.Conn().SendBatch(ctx, batch)
		for range statements {
			tag, err := results.Exec()
			if err != nil {
				return errors.Join(err, results.Close())
			}
			matched = append(matched, tag.RowsAffected())
		}
		return results.Close()
	})
	return matched, err
}

// endTransaction makes sure that the transaction of a writer's lost connection is over, committed or not: the server may not
// have noticed yet that the connection is gone, or be in the middle of the COMMIT, which cannot be stopped. A session is shown
// until its transaction is over. Its process number and its start identify it. It returns errOtherServer when the address leads
// to another server than the writer's, or to a later history of it.
func (d *postgresDialect) endTransaction(ctx context.Context, pool *sql.DB, w *writer) error {
	if w.session.pid == 0 {
		return nil // it never began a transaction
	}
	conn, err := pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // back to its pool
	tick := time.NewTicker(postgresGonePause)
	defer tick.Stop()
	for {
		var server string
		var alive, ended sql.NullBool
		err := conn.QueryRowContext(ctx, "SELECT "+postgresIdentity+", a.pid IS NOT NULL, pg_terminate_backend(a.pid) FROM (SELECT 1) one "+
			"LEFT JOIN pg_stat_activity a ON a.pid = ? AND "+backendStart+" = ?", w.session.pid, w.session.start).Scan(&server, &alive, &ended)
		switch {
		case err != nil:
			return err
		case server != w.session.server:
			return errOtherServer
		case !alive.Bool:
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// postgresGonePause is the time between two checks whether a session is gone.
const postgresGonePause = 5 * time.Millisecond

// drop deletes the database, and ends the sessions on it. The connection for it leads to another database.
func (d *postgresDialect) drop(ctx context.Context, _ *sql.DB) error {
	return d.onServer(ctx, func(db *sql.DB) error {
		_, err := db.ExecContext(ctx, "DROP DATABASE "+pgx.Identifier{d.server.config.Database}.Sanitize()+" WITH (FORCE)")
		return err
	})
}

// migrator returns connections that wait only briefly for a table: all later transactions wait behind a change of it. The
// change is tried again (see retryChange).
func (d *postgresDialect) migrator(*sql.DB) (*sql.DB, func(), goose.Dialect, error) {
	db := d.connect(d.server.config, forMigrations, 4)
	return db, func() { _ = db.Close() }, goose.DialectPostgres, nil
}

// lockMigrations takes an advisory lock on a connection of its own; it ends with the connection at the latest.
func (d *postgresDialect) lockMigrations(ctx context.Context, db *sql.DB) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, migrateWait+postgresOpen)
	defer cancel()
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, d.openError(err)
	}
	for deadline := time.Now().Add(migrateWait); ; {
		var got bool
		err = conn.QueryRowContext(ctx, "SELECT pg_try_advisory_lock(?)", postgresMigrationLock).Scan(&got)
		switch {
		case err != nil:
			return nil, errors.Join(d.openError(err), conn.Close())
		case got:
			return func() {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), postgresDial)
				defer cancel()
				_, _ = conn.ExecContext(ctx, "SELECT pg_advisory_unlock(?)", postgresMigrationLock) // else it ends with the connection
				_ = conn.Close()
			}, nil
		case time.Now().After(deadline) || !sleep(ctx, lockPause):
			err := errorf(Unavailable, "Another process has been migrating %s for too long; check that process.", d.address())
			return nil, errors.Join(err, conn.Close())
		}
	}
}

// postgresMigrationLock is the number of the advisory lock; such locks belong to a database.
const postgresMigrationLock = int64(0x6f72646572666c6f) // "orderflo"

func (*postgresDialect) sessions(ctx context.Context, db *sql.DB) (n int, err error) {
	const query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
	return n, db.QueryRowContext(ctx, query).Scan(&n)
}

func (*postgresDialect) foreign(ctx context.Context, db *sql.DB) (foreign bool, err error) {
	const query = "SELECT count(*) > 0 AND count(*) FILTER (WHERE table_name = 'goose_db_version') = 0 FROM information_schema.tables " +
		"WHERE table_schema = current_schema()"
	return foreign, db.QueryRowContext(ctx, query).Scan(&foreign)
}

func (*postgresDialect) checkUnchanged() error                           { return nil }
func (*postgresDialect) hasServer() (has, known bool)                    { return false, false }
func (*postgresDialect) idFloor(context.Context, *sql.DB) (int64, error) { return 0, nil }
func (*postgresDialect) lockFile() (release func() error, err error) {
	return func() error { return nil }, nil
}

func (*postgresDialect) backup(context.Context, *sql.DB, string, BackupIDs) error {
	return errorf(Unavailable, "This command backs up an SQLite file only. For PostgreSQL, use pg_dump or pg_basebackup.")
}
