package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"orderflow/internal/order"
)

// mysqlDialect is the dialect of MySQL 8.0.16 and later, and of MariaDB 10.6 and later: InnoDB, READ COMMITTED, row locks.
// The SQL stays in what both understand. mysql_open.go connects and checks the server.
type mysqlDialect struct {
	server  mysqlServer
	galera  bool // set by open: a node of a cluster
	primary primary

	mu    sync.Mutex
	knows map[string]bool // the session variables of the server; nil until it was asked
}

// known returns the names of the session variables that the server knows. It asks once, and again when told so.
func (d *mysqlDialect) known(ctx context.Context, conn *mysqlConn, again bool) (map[string]bool, error) {
	d.mu.Lock()
	knows := d.knows
	d.mu.Unlock()
	if knows != nil && !again {
		return knows, nil
	}
	knows, err := variableNames(ctx, conn)
	if err == nil {
		d.mu.Lock()
		d.knows = knows
		d.mu.Unlock()
	}
	return knows, err
}

// endsIdleSessions implements dialect: see mysqlSilent.
func (*mysqlDialect) endsIdleSessions() bool { return true }

// moved implements dialect.
func (d *mysqlDialect) moved() { d.primary.moved() }

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
		return nil, &order.Error{Code: order.CodeUnavailable, Message: "Cannot open the database: " + err.Error() + "."}
	}
	return &mysqlDialect{server: server}, nil
}

// mysqlPiece is how many rows a statement has at most; its text then stays far below the smallest packet that is
// accepted (mysqlPacketMin).
const mysqlPiece = 2000

func (d *mysqlDialect) writers() int { return d.server.pool }

// begin: autocommit is off on the writers' connections, so the first statement begins the transaction, and saves a round
// trip.
func (*mysqlDialect) begin() string { return "" }

// prepares: values are written into the text by the driver, which quotes them for the connection's character set. A
// prepared statement would cost a round trip for each new length of a batch.
func (*mysqlDialect) prepares() bool { return false }

func (*mysqlDialect) insert() string { return "INSERT INTO " }
func (*mysqlDialect) update() string { return "UPDATE " }

// table: with few rows in a table the optimizer reads all of them instead of those named, and on its way waits for rows
// that other transactions have locked.
func (*mysqlDialect) table(name string) string { return name + " FORCE INDEX (PRIMARY)" }

// deleteFrom is the multi-table form, since only that takes a hint.
func (*mysqlDialect) deleteFrom(name string) string {
	return "DELETE " + name + " FROM " + name + " FORCE INDEX (PRIMARY)"
}

func (*mysqlDialect) lockRows() string   { return " FOR UPDATE" }
func (*mysqlDialect) skipLocked() string { return " SKIP LOCKED" }

// shareUnlocked: MySQL takes SKIP LOCKED only behind FOR SHARE, which MariaDB does not know. Each reads its own comment.
func (*mysqlDialect) shareUnlocked() string {
	return " /*!80001 FOR SHARE SKIP LOCKED */ /*M!100600 LOCK IN SHARE MODE SKIP LOCKED */"
}

// lockTables: the server takes the metadata locks when it opens the tables, and then finds that there is nothing to read.
func (*mysqlDialect) lockTables(names ...string) string {
	return " AND NOT EXISTS (SELECT 1 FROM " + strings.Join(names, ", ") + " WHERE FALSE FOR UPDATE)"
}

func (*mysqlDialect) snapshot() sql.IsolationLevel { return sql.LevelRepeatableRead }

// clock is the server's: processes on many machines compare due_at.
func (*mysqlDialect) clock() string { return "UTC_TIMESTAMP(6)" }

func (*mysqlDialect) money(m order.Money) any { return m.String() }

func (*mysqlDialect) binaryMark(value []byte) string { return "X'" + hex.EncodeToString(value) + "'" }

func (*mysqlDialect) withBinary(args []any, _ []byte) []any { return args }

func (*mysqlDialect) time(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC()
}

// firstID: InnoDB gives the rows of an INSERT, whose number is known beforehand, consecutive ids, save where a cluster
// makes its nodes step over each other's.
func (*mysqlDialect) firstID(w *writer, result sql.Result, _ int) (int64, bool, error) {
	if w.idsSpread {
		return 0, false, nil
	}
	first, err := result.LastInsertId()
	return first, true, err
}

func (*mysqlDialect) findByRef(columns string, n int) string {
	return "SELECT " + columns + " FROM orders o FORCE INDEX (idx_orders_idempotency) WHERE (o.user_id, o.idempotency_key) IN (" + rows(n, 2) + ")"
}

// ordersOfUser: because of the LIMIT, MySQL's optimizer may walk the primary key from its end instead, past every newer order of
// every other user.
func (*mysqlDialect) ordersOfUser() string { return "orders o FORCE INDEX (idx_orders_user)" }

// unavailable does not explain: errors of a server name its accounts and hosts.
func (*mysqlDialect) unavailable(error) string { return unavailableMessage }

func (*mysqlDialect) lookOnWriter() bool { return false }

func (*mysqlDialect) concat(parts ...string) string {
	return "CONCAT(" + strings.Join(parts, ", ") + ")"
}

func (*mysqlDialect) ignoreDuplicate(keyColumn string) string {
	return " ON DUPLICATE KEY UPDATE " + keyColumn + " = " + keyColumn
}

func (*mysqlDialect) piece(n int) int  { return min(n, mysqlPiece) }
func (*mysqlDialect) padded(n int) int { return min(n, mysqlPiece) }

func (*mysqlDialect) posts() bool { return true }

// execAll sends the statements as one text. The server stops at the first that fails.
func (*mysqlDialect) execAll(ctx context.Context, conn *sql.Conn, statements []statement) (matched []int64, err error) {
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

// settle makes sure that the transaction of a writer's lost connection is over, whichever way: the server may not have
// noticed yet that the connection is gone, or be in the middle of the COMMIT, which cannot be stopped. The question and the
// KILL take one connection, and so mean one run of one server. errOtherServer says that the address leads to another server
// than that of the writer, where nothing is known about the transaction.
func (d *mysqlDialect) settle(ctx context.Context, pool *sql.DB, w *writer) error {
	if w.session.lock == "" {
		return nil // it never got as far as a transaction
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
			_, _ = conn.ExecContext(ctx, "KILL ?", holder.Int64) // an error says that it is gone, or is found out below
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// mysqlGonePause is between two looks at whether a connection that was killed is gone.
const mysqlGonePause = 5 * time.Millisecond

func (*mysqlDialect) foreign(ctx context.Context, db *sql.DB) (foreign bool, err error) {
	const query = "SELECT count(*), COALESCE(sum(table_name = 'goose_db_version'), 0) FROM information_schema.tables " +
		"WHERE table_schema = DATABASE() AND table_name <> 'orderflow_migrating'"
	var tables, ours int
	err = db.QueryRowContext(ctx, query).Scan(&tables, &ours)
	return tables > 0 && ours == 0, err
}
