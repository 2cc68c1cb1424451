package sqldb

import (
	"context"
	"database/sql"
	"time"

	"github.com/pressly/goose/v3"
)

// How to add a database:
//
//  1. Write a type that implements dialect, in a file of its own, and return it from dialectOf for its URL scheme. Nothing
//     outside the dialect's files may ask which database it is: add a method here where a new difference appears.
//  2. Classify errors by number or SQLSTATE, never by text. Every class that another dialect distinguishes needs a rule,
//     above all transient, lost and unavailable, which decide about retries.
//  3. Implement endTransaction: after a COMMIT without an answer it must make sure that the transaction is over.
//  4. Set, on every connection, each session variable that a statement depends on. The server's defaults are the operator's.
//  5. Add the folder migrations/NAME to package store, with the same numbers as the other folders, one statement a step.
//     TestMigrationsOfAllDialects checks that each step can be applied, reverted and applied again.
//  6. Read the package's statements for constructs that the database lacks. They are one text for all databases.
//  7. Add a contract test that runs storetest.Run on a real server, tests that lose the answer of a COMMIT and end the
//     session of a vanished client, a plan test (EXPLAIN), and the server to test/servers.

// Dialect is the properties of a database that the product's statements depend on.
type Dialect interface {
	Syntax
	Binding
	Batching
}

// Syntax is the text that differs between databases. All other SQL is one text.
type Syntax interface {
	// Insert and Update begin statements that write many rows.
	Insert() string
	Update() string
	// DeleteFrom begins a DELETE that goes by the primary key.
	DeleteFrom(table string) string
	// NoIndex names a column in a condition that must not choose the index.
	NoIndex(column string) string
	// ByPrimaryKey names a table in a statement that goes by its primary key, and ByIndex in one that goes by an index. Both
	// accept an alias behind the name.
	ByPrimaryKey(table string) string
	ByIndex(table, index string) string
	// LockRows ends a SELECT that locks what it reads; "" where the transaction has locked everything already.
	LockRows() string
	// SkipLocked follows LockRows in a SELECT that leaves out rows which other transactions have locked; "" without row locks.
	SkipLocked() string
	// ShareUnlocked ends a SELECT that takes shared locks and leaves out locked rows; "" without row locks.
	ShareUnlocked() string
	// LockTables is a condition that is always true, with an AND before it. It keeps tables from being altered until the
	// transaction ends; "" where tables are not altered beside a transaction.
	LockTables(names ...string) string
	// LockBeforeUpdate reports whether rows have to be locked, in the order of their ids, before one statement updates several.
	LockBeforeUpdate() bool
	// Clock is the expression of the database's time; "" where the process's time counts.
	Clock() string
	// SelectPairs returns a query for the rows with one of n pairs of values in the columns of a unique index.
	SelectPairs(columns string, index PairIndex, n int) string
	// Concat joins expressions to one text.
	Concat(parts ...string) string
	// EqualEmail is a condition, with one placeholder, on a column of e-mail addresses. It may match more than equal addresses.
	EqualEmail(column string) string
	// IntegerMark is a placeholder for an integer where nothing beside it shows its type.
	IntegerMark() string
	// IgnoreDuplicate ends an INSERT that leaves an existing row unchanged.
	IgnoreDuplicate(keyColumn string) string
}

// PairIndex is a unique index on two columns of a table.
type PairIndex struct{ Table, Alias, Index, First, Second string }

// Binding turns values into what the database stores.
type Binding interface {
	// Time binds a time; the zero time is NULL. ScanTime reads it back.
	Time(t time.Time) any
	// Key binds a text that is compared byte by byte.
	Key(text string) any
	// StoresDecimals reports whether amounts of money are DECIMAL columns, rather than integers in minor units.
	StoresDecimals() bool
	// BinaryMark is the text of arbitrary bytes in a statement: a placeholder, for which WithBinary appends the argument, or a
	// literal, for which it appends none. The text of a statement must stay text: servers show it to other sessions, and
	// convert it for them.
	BinaryMark(value []byte) string
	WithBinary(args []any, value []byte) []any
}

// Batching bounds the statements that write or name many rows.
type Batching interface {
	// Prepares reports whether statements are prepared and kept. Otherwise they are sent whole.
	Prepares() bool
	// RowsPerInsert is how many of n rows the next INSERT of many takes.
	RowsPerInsert(n int) int
	// ListLength is the length to which a list of n values is padded, or at which it is cut. Where statements are prepared,
	// both lengths come from a small set, so that few texts serve all batches.
	ListLength(n int) int
}

// dialect is a database: its Dialect, and how this package connects to it and judges its errors.
type dialect interface {
	Dialect
	connecting
	writing
	pipelining
	errorClasses
	migrating
	singleFile
}

// connecting opens connections.
type connecting interface {
	// name is the kind of database, and the folder of its migrations.
	name() string
	// open opens the pools. Its errors are clear lines for an operator.
	open(ctx context.Context) (pools, error)
	// drop deletes the database.
	drop(ctx context.Context, db *sql.DB) error
	// writers is the number of write transactions that make sense at once.
	writers() int
	// readsOnWriter reports whether a connection for writes has the latest rows in memory (see DB.Lookup).
	readsOnWriter() bool
	// snapshot is the isolation level at which a transaction that only reads sees one moment.
	snapshot() sql.IsolationLevel
	// noteMoved notes that the server accepts no more writes. Connections that lead to it are given up.
	noteMoved()
}

// writing uses a connection for writes.
type writing interface {
	// connected prepares a writer's new connection.
	connected(w *writer) error
	// endsIdleSessions reports whether the server ends idle sessions, so that they need a statement now and then.
	endsIdleSessions() bool
	// begin is the statement that begins a write transaction; "" where the first statement does.
	begin() string
	// insertRows returns the statement that inserts rows, whose arguments are args. rows is the text of their values.
	insertRows(into string, rows func() string, columns int, args []any, after string) (statement, error)
	// returning ends an INSERT that returns the ids of its rows; "" where the database has only firstID.
	returning() string
	// reserveIDs returns statements by which new rows of a table get ids above last, after rows were inserted with ids up to it.
	reserveIDs(table string, last int64) []statement
	// firstID returns the id of the first row of an INSERT of n rows into a table with a rising id; false when the ids cannot
	// be derived from it and must be read back.
	firstID(w *writer, result sql.Result, n int) (int64, bool, error)
	// endTransaction makes sure, after a COMMIT of unknown outcome, that the transaction is over (see resolveUnknownCommit).
	endTransaction(ctx context.Context, pool *sql.DB, w *writer) error
}

// pipelining sends several statements in one round trip.
type pipelining interface {
	supportsPipelining() bool
	// execPipelined runs statements and returns how many rows each of them matched. It is called only where
	// supportsPipelining is true.
	execPipelined(ctx context.Context, conn *sql.Conn, statements []statement) ([]int64, error)
}

// errorClasses judges errors, by number.
type errorClasses interface {
	classify(err error) Class
	// mayReturn reports whether the database cannot be reached at present, and may be reached again later.
	mayReturn(err error) bool
	// lockTimedOut reports whether a row stayed locked by another transaction for too long.
	lockTimedOut(err error) bool
	// needsRemedy reports whether an operator has to remove the reason of an error, such as a full disk.
	needsRemedy(err error) bool
	// unavailable is the message of an error that prevents an operation, with cause and remedy where a client may read them.
	unavailable(err error) string
	// explain makes an error one clear line for an operator.
	explain(err error) string
}

// migrating changes the schema.
type migrating interface {
	// migrator returns connections on which goose applies steps, with a function that closes them, and goose's word for the
	// dialect.
	migrator(pool *sql.DB) (db *sql.DB, done func(), kind goose.Dialect, err error)
	// lockMigrations makes this process the only one that migrates, until release is called.
	lockMigrations(ctx context.Context, db *sql.DB) (release func(), err error)
	// sessions counts the connections to the database that this account can see; 0 where a lock file keeps others away.
	sessions(ctx context.Context, db *sql.DB) (int, error)
	// foreign reports whether the database holds tables, and none of them are Orderflow's.
	foreign(ctx context.Context, db *sql.DB) (bool, error)
}

// singleFile is a database that is one file. On a server these methods do nothing.
type singleFile interface {
	// lockFile makes this process the one server of the file.
	lockFile() (release func() error, err error)
	// hasServer reports whether a server has the lock file; known is false where there is none.
	hasServer() (has, known bool)
	// checkUnchanged returns an error when the file or its lock file was moved, replaced or deleted.
	checkUnchanged() error
	// idFloor is the lowest id of new rows; 0 unless the file was a backup.
	idFloor(ctx context.Context, db *sql.DB) (int64, error)
	// backup copies the database into a new file.
	backup(ctx context.Context, db *sql.DB, file string, ids BackupIDs) error
}

// statement is a text of SQL with its arguments.
type statement struct {
	query string
	args  []any
}
