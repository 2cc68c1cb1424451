package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
)

// mysqlDialect is the dialect of MySQL 8.0.16 and later, and of MariaDB 10.6 and later: InnoDB, READ COMMITTED, row locks.
// The SQL is limited to what both accept. mysql_open.go connects and checks the server.
type mysqlDialect struct {
	server  mysqlServer
	galera  bool // set by open: a node of a cluster
	primary primary

	mu       sync.Mutex
	variable map[string]bool // the session variables of the server; nil until they are read
}

// variables returns the names of the session variables that the server has. It reads them once, and again with reread.
func (d *mysqlDialect) variables(ctx context.Context, conn *mysqlConn, reread bool) (map[string]bool, error) {
	d.mu.Lock()
	names := d.variable
	d.mu.Unlock()
	if names != nil && !reread {
		return names, nil
	}
	names, err := variableNames(ctx, conn)
	if err == nil {
		d.mu.Lock()
		d.variable = names
		d.mu.Unlock()
	}
	return names, err
}

func (*mysqlDialect) name() string                 { return "mysql" }
func (d *mysqlDialect) writers() int               { return d.server.pool }
func (*mysqlDialect) readsOnWriter() bool          { return false }
func (*mysqlDialect) snapshot() sql.IsolationLevel { return sql.LevelRepeatableRead }
func (d *mysqlDialect) noteMoved()                 { d.primary.noteMoved() }
func (*mysqlDialect) endsIdleSessions() bool       { return true } // see SessionTimeout

// begin: autocommit is off on the writers' connections, so the first statement begins the transaction, which saves a round
// trip.
func (*mysqlDialect) begin() string { return "" }

func (d *mysqlDialect) drop(ctx context.Context, db *sql.DB) error {
	_, err := db.ExecContext(ctx, "DROP DATABASE "+quoteName(d.server.config.DBName))
	return err
}

func (*mysqlDialect) supportsPipelining() bool { return true }

// newMySQL returns the dialect of the server that address names. Its errors do not show the address.
func newMySQL(address string, options Options) (*mysqlDialect, error) {
	server := mysqlServer{pool: options.Pool, create: !options.Existing, warn: options.Warn}
	if server.pool == 0 {
		server.pool = DefaultPool
	}
	if server.warn == nil {
		server.warn = func(string) {}
	}
	var err error
	if server.config, err = parseMySQL(address); err == nil && options.Replica != "" {
		server.replica, err = parseMySQL(options.Replica)
	}
	if err != nil {
		return nil, errorf(Unavailable, "Cannot open the database: %s.", err)
	}
	return &mysqlDialect{server: server}, nil
}

// execPipelined sends the statements as one text. The server stops at the first that fails.
func (*mysqlDialect) execPipelined(ctx context.Context, conn *sql.Conn, statements []statement) (matched []int64, err error) {
	var text strings.Builder
	var args []driver.NamedValue
	for i, s := range statements {
		if i > 0 {
			text.WriteString("; ")
		}
		text.WriteString(s.query)
		for _, arg := range s.args {
			value, err := driver.DefaultParameterConverter.ConvertValue(arg)
			if err != nil {
				return nil, err
			}
			args = append(args, driver.NamedValue{Ordinal: len(args) + 1, Value: value})
		}
	}
	err = conn.Raw(func(raw any) error {
		result, err := raw.(driver.ExecerContext).ExecContext(ctx, text.String(), args) //nolint:forcetypeassert // the driver's
		if err != nil {
			return err
		}
		matched = result.(mysql.Result).AllRowsAffected() //nolint:forcetypeassert // the driver's
		return nil
	})
	if err == nil && len(matched) != len(statements) {
		err = errors.New("the database answered fewer statements than it was sent")
	}
	return matched, err
}

// endTransaction makes sure that the transaction of a writer's lost connection is over, committed or not: the server may not
// have noticed yet that the connection is gone, or be in the middle of the COMMIT, which cannot be stopped. The query and the
// KILL use one connection, and so reach one run of one server. It returns errOtherServer when the address leads to another
// server than the writer's, which knows nothing about the transaction.
func (d *mysqlDialect) endTransaction(ctx context.Context, pool *sql.DB, w *writer) error {
	if w.session.lock == "" {
		return nil // it never began a transaction
	}
	conn, err := pool.BeginTx(ctx, nil) // unlike Conn, it does not hand out one that is broken
	if err != nil {
		return err
	}
	defer func() { _ = conn.Rollback() }() // nothing was written
	tick := time.NewTicker(mysqlGonePause)
	defer tick.Stop()
	for try := 0; ; try++ {
		var holder sql.NullInt64
		var server string
		err := conn.QueryRowContext(ctx, "SELECT IS_USED_LOCK(?), "+identity, w.session.lock).Scan(&holder, &server)
		switch {
		case err != nil:
			return err
		case server != w.session.server && !d.galera:
			return errOtherServer
		case !holder.Valid:
			return nil
		}
		if try == 0 {
			_, _ = conn.ExecContext(ctx, "KILL ?", holder.Int64) // after an error the lock below shows whether it has ended
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// mysqlGonePause is the time between two checks whether a killed connection has ended.
const mysqlGonePause = 5 * time.Millisecond

func (*mysqlDialect) foreign(ctx context.Context, db *sql.DB) (foreign bool, err error) {
	const query = "SELECT count(*), COALESCE(sum(table_name = 'goose_db_version'), 0) FROM information_schema.tables " +
		"WHERE table_schema = DATABASE() AND table_name <> 'orderflow_migrating'"
	var tables, ours int
	err = db.QueryRowContext(ctx, query).Scan(&tables, &ours)
	return tables > 0 && ours == 0, err
}

func (d *mysqlDialect) insertRows(into string, rows func() string, _ int, args []any, after string) (statement, error) {
	return insertValues(d.Insert(), into, rows, args, after), nil
}

func (*mysqlDialect) returning() string { return "" } // MariaDB has it, MySQL does not

// reserveIDs: InnoDB notices the ids.
func (*mysqlDialect) reserveIDs(string, int64) []statement { return nil }

// firstID: InnoDB gives the rows of an INSERT, whose number is known beforehand, consecutive ids, except where a cluster makes
// its nodes step over each other's.
func (*mysqlDialect) firstID(w *writer, result sql.Result, _ int) (int64, bool, error) {
	if w.idsSpread {
		return 0, false, nil
	}
	first, err := result.LastInsertId()
	return first, true, err
}

func (*mysqlDialect) checkUnchanged() error                           { return nil }
func (*mysqlDialect) hasServer() (has, known bool)                    { return false, false }
func (*mysqlDialect) idFloor(context.Context, *sql.DB) (int64, error) { return 0, nil }
func (*mysqlDialect) lockFile() (release func() error, err error) {
	return func() error { return nil }, nil
}

func (*mysqlDialect) backup(context.Context, *sql.DB, string, BackupIDs) error {
	return errorf(Unavailable, "This command backs up an SQLite file only. For MySQL and MariaDB, use mysqldump or mariadb-dump.")
}
