package store

import (
	"context"
	"database/sql"
	"time"

	"orderflow/internal/order"
)

// class says what an error of the database means for a transaction.
type class int

const (
	classOther       class = iota // a fault of one statement: a member of the batch may have caused it
	classDuplicate                // a unique key is taken
	classForeignKey               // a row referred to is not there
	classTransient                // lost to another transaction: run again
	classUnavailable              // the database cannot be reached or written at the moment
)

// dialect is what differs between databases. Everything else is one text of SQL for all.
type dialect interface {
	// open returns the pool behind the writers and the pool for reads, checked to work.
	open(ctx context.Context) (pool, reader *sql.DB, err error)
	// lockMigrations makes this process the only one that migrates, until release is called.
	lockMigrations(ctx context.Context) (release func(), err error)
	// writers is the number of write transactions that make sense at once.
	writers() int
	// begin is the statement that starts a write transaction.
	begin() string
	// insert and update begin the statements that write many rows.
	insert() string
	update() string
	// lockRows ends a SELECT that locks what it reads; "" where the transaction has locked everything already.
	lockRows() string
	// now is the time that due_at is compared with.
	now() time.Time
	// money and time turn values into what the database stores; columns are read back through scanMoney and scanTime.
	money(order.Money) any
	time(time.Time) any
	// firstID returns the id of the first row of a multi-row INSERT of n rows into a table with a rising id.
	firstID(result sql.Result, n int) (int64, error)
	// findByRef returns a query for the orders of n (user, key) pairs that goes by the unique index.
	findByRef(columns string, n int) string
	// ignoreDuplicate ends an INSERT that leaves a row alone which is there already.
	ignoreDuplicate(keyColumn string) string
	// sizes are the numbers of rows that statements are made for, descending: few texts, so that they stay prepared.
	sizes() []int
	// foreign reports whether the database holds tables, and none of them are Orderflow's.
	foreign(ctx context.Context, db *sql.DB) (bool, error)
	// classify says what an error means, by its number.
	classify(err error) class
	// explain makes an error one clear line for an operator.
	explain(err error) string
}
