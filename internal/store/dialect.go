package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/pressly/goose/v3"

	"orderflow/internal/order"
)

// class says what an error of the database means for a transaction.
type class int

const (
	classOther       class = iota // a fault of one statement: a member of the batch may have caused it
	classDuplicate                // a unique key is taken
	classForeignKey               // a row referred to is not there
	classTransient                // lost to another transaction: run again
	classLost                     // the connection broke: run again on another one
	classMoved                    // the server takes no writes: run again once, another one may have its place
	classUnavailable              // the database cannot be reached or written at the moment
	classDamaged                  // the database file is damaged: nothing helps but a backup
)

// pools are a database's connections.
type pools struct {
	writer  *sql.DB // behind the writers
	reader  *sql.DB // for reads that must see what was committed
	replica *sql.DB // for reads that may be a little old; nil when there is none
}

// dialect is what differs between databases. Everything else is one text of SQL for all.
type dialect interface {
	// open returns the connections, checked to work.
	open(ctx context.Context) (pools, error)
	// migrator returns the connections for migrations, what closes them, the folder of the steps and goose's word for
	// the dialect.
	migrator(pool *sql.DB) (db *sql.DB, done func(), folder string, kind goose.Dialect, err error)
	// lockMigrations makes this process the only one that migrates, until release is called.
	lockMigrations(ctx context.Context, db *sql.DB) (release func(), err error)
	// sessions is how many connections the database has that this account can see; 0 where a guard keeps others away.
	sessions(ctx context.Context, db *sql.DB) (int, error)
	// writers is the number of write transactions that make sense at once.
	writers() int
	// connected gets a writer's new connection ready.
	connected(w *writer) error
	// endsIdleSessions says that the server ends sessions that are idle, so that they need a statement now and then.
	endsIdleSessions() bool
	// moved notes that the server for writes takes none any more; connections that lead to it are given up.
	moved()
	// begin is the statement that starts a write transaction; "" where the first statement does.
	begin() string
	// prepares says whether statements are prepared and kept; else they are sent whole.
	prepares() bool
	// insert and update begin the statements that write many rows.
	insert() string
	update() string
	// table names a table in a statement that goes by its primary key; deleteFrom begins a DELETE that does.
	table(name string) string
	deleteFrom(name string) string
	// lockRows ends a SELECT that locks what it reads; "" where the transaction has locked everything already.
	lockRows() string
	// skipLocked follows lockRows in a SELECT that leaves out the rows that other transactions have locked; "" where there are
	// no row locks.
	skipLocked() string
	// shareUnlocked ends a SELECT that takes shared locks and leaves out the rows on which it would have to wait; "" where there
	// are no row locks.
	shareUnlocked() string
	// lockTimedOut reports whether an error says that a row stayed locked by another transaction for too long.
	lockTimedOut(err error) bool
	// lockTables is a condition that is always true, with an AND before it, and keeps tables from being altered until the
	// transaction ends; "" where nobody alters them beside a transaction.
	lockTables(names ...string) string
	// snapshot is the isolation level under which a transaction that only reads sees one moment.
	snapshot() sql.IsolationLevel
	// clock is the SQL of the time that due_at is compared with; "" where it is the process's clock.
	clock() string
	// money and time turn values into what the database stores; columns are read back through scanMoney and scanTime.
	money(order.Money) any
	time(time.Time) any
	// binaryMark is the text of a value of arbitrary bytes in a statement: a placeholder, for which withBinary appends the
	// argument, or a literal, for which it appends none. The text of a statement must stay text: servers show it to other
	// sessions, and convert it for them.
	binaryMark(value []byte) string
	withBinary(args []any, value []byte) []any
	// firstID returns the id of the first row of a multi-row INSERT of n rows into a table with a rising id; false when
	// the ids cannot be known from it and have to be read back.
	firstID(w *writer, result sql.Result, n int) (int64, bool, error)
	// findByRef returns a query for the orders of n (user, key) pairs that goes by the unique index.
	findByRef(columns string, n int) string
	// ordersOfUser names the orders, as o, in a query for the newest orders of one user.
	ordersOfUser() string
	// lookOnWriter says that a writer knows best what has just been written (see look).
	lookOnWriter() bool
	// concat joins expressions to one text.
	concat(parts ...string) string
	// ignoreDuplicate ends an INSERT that leaves a row alone which is there already.
	ignoreDuplicate(keyColumn string) string
	// piece is how many of n rows the next INSERT of many takes; padded the length that a list of n is brought to, at most
	// that of the longest. Where statements are prepared both come from a small set, so that few texts serve all lengths.
	piece(n int) int
	padded(n int) int
	// execAll runs statements in one round trip, and returns how many rows each of them matched. It is only called where
	// posts says that this is worth it.
	posts() bool
	execAll(ctx context.Context, conn *sql.Conn, statements []statement) ([]int64, error)
	// settle finds out, after a COMMIT of unknown outcome, whether the transaction is over (see afterFailedCommit).
	settle(ctx context.Context, pool *sql.DB, w *writer) error
	// foreign reports whether the database holds tables, and none of them are Orderflow's.
	foreign(ctx context.Context, db *sql.DB) (bool, error)
	// classify says what an error means, by its number.
	classify(err error) class
	// unavailable is the message for an error that prevents an operation: with its cause and remedy, where that is known and
	// a client may read it.
	unavailable(err error) string
	// needsRemedy reports whether an error is one whose reason somebody has to remove, such as a full disk.
	needsRemedy(err error) bool
	// explain makes an error one clear line for an operator.
	explain(err error) string
}

// statement is a text of SQL with its arguments.
type statement struct {
	query string
	args  []any
}
