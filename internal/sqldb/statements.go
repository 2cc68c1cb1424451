package sqldb

import (
	"database/sql"
	"fmt"
)

// prepare returns the statement for query, kept with the connection. Queries come from a small set of texts.
func (t *Tx) prepare(query string) (*sql.Stmt, error) {
	if statement := t.w.statements[query]; statement != nil {
		return statement, nil
	}
	statement, err := t.w.conn.PrepareContext(t.ctx, query)
	if err == nil {
		t.w.statements[query] = statement
	}
	return statement, err
}

// Exec runs a statement at once.
func (t *Tx) Exec(query string, args ...any) (sql.Result, error) {
	if err := t.flush(); err != nil {
		return nil, err
	}
	if !t.db.dialect.Prepares() {
		return t.w.conn.ExecContext(t.ctx, query, args...)
	}
	statement, err := t.prepare(query) //nolint:sqlclosecheck // kept with the connection
	if err != nil {
		return nil, err
	}
	return statement.ExecContext(t.ctx, args...)
}

// unchecked is a statement whose number of matched rows is checked when its answer arrives.
type unchecked struct {
	statement

	want int64 // rows that it must match; AnyRows for any number
	what string
}

// AnyRows lets a statement match any number of rows.
const AnyRows = -1

// Enqueue runs a statement before the commit: at once, or with others in one round trip. It must match want rows (or
// AnyRows); what names them in the error, which is ErrRowsChanged.
func (t *Tx) Enqueue(want int, what, query string, args ...any) error {
	u := unchecked{statement{query, args}, int64(want), what}
	if t.db.dialect.supportsPipelining() {
		t.enqueued = append(t.enqueued, u)
		return nil
	}
	result, err := t.Exec(query, args...)
	if err != nil {
		return err
	}
	matched, err := result.RowsAffected()
	if err != nil {
		return err
	}
	return u.check(matched)
}

// check returns ErrRowsChanged for a wrong number of rows: the whole transaction must be rolled back.
func (u unchecked) check(matched int64) error {
	if u.want >= 0 && matched != u.want {
		return fmt.Errorf("%d of %d %s: %w", matched, u.want, u.what, ErrRowsChanged)
	}
	return nil
}

// flush sends the enqueued statements.
func (t *Tx) flush() error {
	enqueued := t.enqueued
	t.enqueued = nil
	if len(enqueued) == 0 {
		return nil
	}
	statements := make([]statement, len(enqueued))
	for i, u := range enqueued {
		statements[i] = u.statement
	}
	matched, err := t.db.dialect.execPipelined(t.ctx, t.w.conn, statements)
	if err != nil {
		return err
	}
	for i, u := range enqueued {
		if err := u.check(matched[i]); err != nil {
			return err
		}
	}
	return nil
}

// NeedClock sets Now if no locked row has returned the database's time.
func (t *Tx) NeedClock() error {
	if !t.Now.IsZero() {
		return nil
	}
	return t.Query(func(scan Scan) error { return scan(ScanTime(&t.Now)) }, "SELECT "+t.db.dialect.Clock())
}

// Lock locks and reads the rows of a table that have these ids, which must ascend and be unique, and sets Now. as is an
// alias, with a space before it, or "". With skip it leaves out rows that other transactions have locked. It also takes the
// metadata locks of the tables in also (see Dialect.LockTables).
func (t *Tx) Lock(read func(scan Scan) error, columns, table, as string, ids []int64, skip bool, also ...string) error {
	after := " ORDER BY id" + t.db.dialect.LockRows()
	if skip {
		after += t.db.dialect.SkipLocked()
	}
	if len(also) > 0 {
		after = t.db.dialect.LockTables(also...) + after
	}
	return t.FirstRead(read, columns, t.db.dialect.ByPrimaryKey(table+as), ids, after)
}

// FirstRead reads the rows of a table that have these ids, and with them the time of a database that has a clock of its own.
// after ends the statement.
func (t *Tx) FirstRead(read func(scan Scan) error, columns, table string, ids []int64, after string) error {
	if clock := t.db.dialect.Clock(); clock != "" {
		columns = clock + ", " + columns
		inner := read
		read = func(scan Scan) error {
			return inner(func(targets ...any) error { return scan(append([]any{ScanTime(&t.Now)}, targets...)...) })
		}
	}
	if err := t.QueryIn(read, "SELECT "+columns+" FROM "+table+" WHERE id IN ", ids, after); err != nil {
		return err
	}
	return t.NeedClock()
}

// Query reads all rows of a query.
func (t *Tx) Query(read func(scan Scan) error, query string, args ...any) error {
	if err := t.flush(); err != nil {
		return err
	}
	if !t.db.dialect.Prepares() {
		found, err := t.w.conn.QueryContext(t.ctx, query, args...)
		if err != nil {
			return err
		}
		return Each(found, read)
	}
	statement, err := t.prepare(query) //nolint:sqlclosecheck // kept with the connection
	if err != nil {
		return err
	}
	found, err := statement.QueryContext(t.ctx, args...)
	if err != nil {
		return err
	}
	return Each(found, read)
}

// QueryIn reads all rows of a query that ends in a list of ids, which must ascend and be unique. Long lists take several
// queries. The query is given before and after the list.
func (t *Tx) QueryIn(read func(scan Scan) error, before string, ids []int64, after string) error {
	return Chunks(t.db.dialect, ids, func(padded []int64, _ int) error {
		return t.Query(read, before+Placeholders(len(padded))+after, Anys(padded)...)
	})
}

// Insert writes n rows, in several statements where they are many. fill appends the arguments of row i; after ends the
// statement.
func (t *Tx) Insert(into string, columns, n int, fill func(args []any, i int) []any, after string) error {
	return t.InsertRows(into, func(_, n int) string { return Rows(n, columns) }, columns, n, fill, after, nil)
}

// InsertRows is Insert where text returns the values of n rows from the given one on. inserted, if not nil, is called after
// each statement with the ids of its rows; none when they must be read back.
func (t *Tx) InsertRows(
	into string, text func(from, n int) string, columns, n int, fill func(args []any, i int) []any, after string,
	inserted func(ids []int64, from, n int) error,
) error {
	for from := 0; from < n; {
		size := t.db.dialect.RowsPerInsert(n - from)
		args := make([]any, 0, size*columns)
		for i := from; i < from+size; i++ {
			args = fill(args, i)
		}
		s, err := t.db.dialect.insertRows(into, func() string { return text(from, size) }, columns, args, after)
		if err != nil {
			return err
		}
		if inserted == nil {
			err = t.Enqueue(AnyRows, "", s.query, s.args...)
		} else {
			var ids []int64
			if ids, err = t.insertIDs(s, size); err == nil {
				err = inserted(ids, from, size)
			}
		}
		if err != nil {
			return err
		}
		from += size
	}
	return nil
}

// insertIDs runs an INSERT of n rows into a table with a rising id, and returns their ids in the order of the rows; none when
// they must be read back.
func (t *Tx) insertIDs(s statement, n int) (ids []int64, err error) {
	if returning := t.db.dialect.returning(); returning != "" {
		err := t.Query(func(scan Scan) error {
			var id int64
			err := scan(&id)
			ids = append(ids, id)
			return err
		}, s.query+returning, s.args...)
		if err == nil && len(ids) != n {
			err = fmt.Errorf("%d ids of %d new rows were returned", len(ids), n)
		}
		return ids, err
	}
	result, err := t.Exec(s.query, s.args...)
	if err != nil {
		return nil, err
	}
	first, known, err := t.db.dialect.firstID(t.w, result, n)
	if err != nil || !known {
		return nil, err
	}
	ids = make([]int64, n)
	for i := range ids {
		ids[i] = first + int64(i)
	}
	return ids, nil
}

// InsertOne runs an INSERT of one row into a table with a rising id, and returns its id.
func (t *Tx) InsertOne(query string, args ...any) (id int64, err error) {
	if returning := t.db.dialect.returning(); returning != "" {
		return id, t.Query(func(scan Scan) error { return scan(&id) }, query+returning, args...)
	}
	result, err := t.Exec(query, args...)
	if err != nil {
		return 0, err
	}
	return result.LastInsertId()
}

// ReserveIDs makes new rows of a table get ids above last. A transaction calls it before it inserts rows with ids up to last: on
// PostgreSQL it locks the table, and two transactions that had already inserted would wait for each other.
func (t *Tx) ReserveIDs(table string, last int64) error {
	for _, s := range t.db.dialect.reserveIDs(table, last) {
		if err := t.Enqueue(AnyRows, "", s.query, s.args...); err != nil {
			return err
		}
	}
	return nil
}

// insertValues is the INSERT of rows with their values in a list.
func insertValues(insert, into string, rows func() string, args []any, after string) statement {
	return statement{insert + into + " VALUES " + rows() + after, args}
}
