package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/tracing"
)

// tx is a running write transaction. It is used by one goroutine. After any error the only thing to do with it is to
// give up.
type tx struct {
	ctx context.Context
	s   *Store
	w   *writer
	id  string    // random; names the transaction in the outbox and is the lease of what it claims
	now time.Time // of the whole transaction, UTC, whole microseconds; zero until a database with a clock of its own is asked

	skips     bool   // leaves out locked rows instead of waiting for them (locked.go)
	posted    []post // not sent yet
	proof     string // a query that finds a row when, and only when, the transaction happened; "" when it leaves no such mark
	proofArgs []any
}

// write runs work in a transaction and commits. It is the one place that begins, commits, rolls back and tries again.
//
// work may run several times: after a deadlock or a lost lock, and after a COMMIT of unknown outcome that turns out not
// to have happened. What it computes must therefore be set anew by each run. Errors have codes: CodeUnavailable when
// the database cannot be written, the codes of work's own *order.Error, else the plain error.
func (s *Store) write(ctx context.Context, name string, work func(*tx) error) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.limits.write)
	defer cancel()
	ctx, span := tracing.Start(ctx, "transaction", tracing.Client)
	if span.Recording() {
		span.Set(tracing.Text("db.operation.name", name))
	}
	defer func() { span.End(err) }()
	start := time.Now()
	w, err := s.takeWriter(ctx)
	if err != nil {
		return err
	}
	defer func() { s.writers.put(w) }()
	got := time.Now()
	defer func() { s.observe(name, got.Sub(start), time.Since(got)) }()
	moved, skips := false, s.locked.skipNext()
	for try := 1; ; try++ {
		err := s.writeOnce(ctx, w, skips, work)
		if err == nil {
			return nil
		}
		skips = skips || s.locked.timedOut(ctx, s.dialect, err)
		class := s.dialect.classify(err)
		again := class == classTransient || class == classLost
		if class == classMoved {
			again, moved = !moved, true
			s.dialect.moved()
		}
		if class == classUnavailable || class == classLost || class == classMoved || class == classDamaged {
			w.drop() // a connection that broke, or has met a fault of the disk, is not believed again
		}
		if !again || try == writeTries {
			s.writeFailed(err)
			return s.coded(err)
		}
		pause := time.Millisecond << try // 2 ms to 128 ms, give or take half: others are on their way as well
		if !sleep(ctx, pause/2+time.Duration(mathrand.Int64N(int64(pause)))) {
			return s.coded(err)
		}
	}
}

// takeWriter waits for a writer to be free. Give it back.
func (s *Store) takeWriter(ctx context.Context) (*writer, error) {
	select {
	case <-s.writers.free:
		return s.writers.pop(), nil
	case <-s.closed:
		return nil, order.Errorf(order.CodeUnavailable, "The database is closed.")
	case <-ctx.Done():
		return nil, order.Errorf(order.CodeUnavailable, "The database is busy; try again shortly.")
	}
}

// look runs queries on one connection, without a transaction. On SQLite it is the writer's: what has just been written is
// in its memory, while a reader drops all that it remembers at every commit and reads it from the disk again.
func (s *Store) look(ctx context.Context, work func(*tx) error) error {
	if !s.dialect.lookOnWriter() {
		return s.read(ctx, func(ctx context.Context) error {
			conn, err := s.reader.Conn(ctx)
			if err != nil {
				return err
			}
			defer func() { _ = conn.Close() }() // back to its pool
			return work(&tx{ctx: ctx, s: s, w: &writer{conn: conn}})
		})
	}
	ctx, cancel := context.WithTimeout(ctx, s.limits.read)
	defer cancel()
	w, err := s.takeWriter(ctx)
	if err != nil {
		return err
	}
	defer func() { s.writers.put(w) }()
	t := &tx{ctx: ctx, s: s, w: w}
	if err = t.connect(); err == nil {
		err = work(t)
	}
	if class := s.dialect.classify(err); class == classUnavailable || class == classDamaged {
		w.drop()
	}
	return s.coded(err)
}

// writeOnce runs work in one transaction.
func (s *Store) writeOnce(ctx context.Context, w *writer, skips bool, work func(*tx) error) (err error) {
	t := &tx{ctx: ctx, s: s, w: w, skips: skips, id: rand.Text()}
	if s.dialect.clock() == "" {
		t.now = s.steady.now().UTC().Truncate(time.Microsecond)
	}
	if err := t.begin(); err != nil {
		w.drop() // it may have begun all the same
		return err
	}
	done := false
	defer func() { //nolint:contextcheck // a rollback has a time of its own
		if !done { // an error or a panic: nothing of it may stay
			t.rollback()
		}
	}()
	if err := work(t); err != nil {
		return err
	}
	paid, err := t.payOff()
	if err != nil {
		return err
	}
	if err := t.flush(); err != nil {
		return err
	}
	if err := s.intact(); err != nil {
		return err
	}
	if err = s.commit(ctx, w.conn); err != nil {
		done = true
		if err := s.afterFailedCommit(t, err); err != nil { //nolint:contextcheck // it has a time of its own
			return err
		}
	}
	done = true
	s.forgetPaid(paid)
	return nil
}

func commit(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, "COMMIT")
	return err
}

// afterFailedCommit finds out what became of a transaction whose COMMIT gave an error: it makes sure that the
// transaction is over, and looks for its proof. It returns nil when the transaction happened after all.
//
// What leaves no proof is guarded by its lease or a unique key, and harmless to repeat: it counts as not having happened.
//
// The database may be away for a moment, which is why the outcome is not known: it is asked until it answers, for as long
// as a read may take.
func (s *Store) afterFailedCommit(t *tx, cause error) error {
	t.rollback()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), s.limits.read)
	defer cancel()
	for {
		happened, err := s.happened(ctx, t)
		switch {
		case err == nil && happened:
			return nil
		case err == nil:
			return cause
		case !s.away(err) || !sleep(ctx, outcomePause):
			return &order.Error{
				Code: order.CodeUnavailable, Message: "The database did not confirm the change; ask again with the same key.", Cause: cause,
			}
		}
	}
}

// outcomePause is between two questions after the outcome of a COMMIT.
const outcomePause = 50 * time.Millisecond

// happened makes sure that a transaction is over and looks for its proof.
func (s *Store) happened(ctx context.Context, t *tx) (bool, error) {
	var unsure error
	if t.w.conn == nil { // else it was rolled back
		err := s.dialect.settle(ctx, s.reader, t.w)
		if errors.Is(err, errOtherServer) { // the proof may have been replicated; that it is not there says nothing
			unsure = err
		} else if err != nil {
			return false, err
		}
	}
	if t.proof == "" {
		return false, unsure
	}
	var found int
	err := s.reader.QueryRowContext(ctx, t.proof, t.proofArgs...).Scan(&found)
	if errors.Is(err, sql.ErrNoRows) {
		return false, unsure
	}
	return err == nil, err
}

// errOtherServer says that a transaction of unknown outcome ran on a server that the address no longer leads to.
var errOtherServer = errors.New("the address leads to another server than the one that was asked to commit")

// away reports whether an error says that the database cannot be reached, which may pass.
func (s *Store) away(err error) bool {
	if _, embedded := s.dialect.(sqliteDialect); embedded {
		return false // there is nothing to reach: what failed will fail
	}
	class := s.dialect.classify(err)
	return class == classLost || class == classUnavailable
}

// sleep waits for d; false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// connect opens the writer's connection if it has none.
func (t *tx) connect() error {
	if t.w.conn != nil {
		if t.w.expired == nil || !t.w.expired() {
			return nil
		}
		t.w.drop()
	}
	conn, err := t.s.writer.Conn(t.ctx)
	if err != nil {
		return err
	}
	t.w.conn, t.w.statements = conn, map[string]*sql.Stmt{}
	if err := t.s.dialect.connected(t.w); err != nil {
		t.w.drop()
		return err
	}
	return nil
}

func (t *tx) begin() error {
	if err := t.connect(); err != nil {
		return err
	}
	begin := t.s.dialect.begin()
	if begin == "" {
		return nil
	}
	_, err := t.w.conn.ExecContext(t.ctx, begin)
	return err
}

// rollback ends the transaction; a connection that cannot even do that is closed, which ends it too.
func (t *tx) rollback() {
	if t.w.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), time.Second)
	defer cancel()
	if _, err := t.w.conn.ExecContext(ctx, "ROLLBACK"); err != nil {
		t.w.drop()
	}
}

// prepare returns the statement for query, kept with the connection. Queries come from a small set of texts.
func (t *tx) prepare(query string) (*sql.Stmt, error) {
	if statement := t.w.statements[query]; statement != nil {
		return statement, nil
	}
	statement, err := t.w.conn.PrepareContext(t.ctx, query)
	if err == nil {
		t.w.statements[query] = statement
	}
	return statement, err
}

func (t *tx) exec(query string, args ...any) (sql.Result, error) {
	if err := t.flush(); err != nil {
		return nil, err
	}
	if !t.s.dialect.prepares() {
		return t.w.conn.ExecContext(t.ctx, query, args...)
	}
	statement, err := t.prepare(query) //nolint:sqlclosecheck // kept with the connection
	if err != nil {
		return nil, err
	}
	return statement.ExecContext(t.ctx, args...)
}

// post is a statement of which nobody needs to know before the commit what it did.
type post struct {
	statement

	want int64 // rows that it must match; -1 for any number
	what string
}

// post runs a statement before the commit: at once, or with others in one round trip. It must match want rows (-1 for any
// number), which are called what.
func (t *tx) post(want int, what, query string, args ...any) error {
	p := post{statement{query, args}, int64(want), what}
	if t.s.dialect.posts() {
		t.posted = append(t.posted, p)
		return nil
	}
	result, err := t.exec(query, args...)
	if err != nil {
		return err
	}
	matched, err := result.RowsAffected()
	if err != nil {
		return err
	}
	return p.check(matched)
}

// errNotAsRead says that rows have changed since they were read.
var errNotAsRead = errors.New("the rows are not as they were read")

// check turns a wrong number of rows into errNotAsRead: nothing of the transaction may stay.
func (p post) check(matched int64) error {
	if p.want >= 0 && matched != p.want {
		return fmt.Errorf("%d of %d %s: %w", matched, p.want, p.what, errNotAsRead)
	}
	return nil
}

// flush sends what is posted.
func (t *tx) flush() error {
	posted := t.posted
	t.posted = nil
	if len(posted) == 0 {
		return nil
	}
	statements := make([]statement, len(posted))
	for i, p := range posted {
		statements[i] = p.statement
	}
	matched, err := t.s.dialect.execAll(t.ctx, t.w.conn, statements)
	if err != nil {
		return err
	}
	for i, p := range posted {
		if err := p.check(matched[i]); err != nil {
			return err
		}
	}
	return nil
}

// needClock sets the transaction's time where no locked row has brought it.
func (t *tx) needClock() error {
	if !t.now.IsZero() {
		return nil
	}
	return t.query(func(scan func(...any) error) error { return scan(scanTime{&t.now}) }, "SELECT "+t.s.dialect.clock())
}

// lock locks and reads the rows of a table that have these ids, which must ascend and be unique, and takes the time of the
// transaction from the database if that is where it comes from. With skip it leaves out rows that other transactions have
// locked. Of the tables that follow, see lockTables.
func (t *tx) lock(
	read func(scan func(...any) error) error, columns, table, as string, ids []int64, skip bool, also ...string,
) error {
	after := " ORDER BY id" + t.s.dialect.lockRows()
	if skip {
		after += t.s.dialect.skipLocked()
	}
	if len(also) > 0 {
		after = t.s.dialect.lockTables(also...) + after
	}
	return t.firstRead(read, columns, t.s.dialect.table(table+as), ids, after)
}

// firstRead reads the rows of a table that have these ids, and with them the time of the transaction from the database if that is
// where it comes from. after ends the statement.
func (t *tx) firstRead(read func(scan func(...any) error) error, columns, table string, ids []int64, after string) error {
	if clock := t.s.dialect.clock(); clock != "" {
		columns = clock + ", " + columns
		inner := read
		read = func(scan func(...any) error) error {
			return inner(func(targets ...any) error { return scan(append([]any{scanTime{&t.now}}, targets...)...) })
		}
	}
	if err := t.queryIn(read, "SELECT "+columns+" FROM "+table+" WHERE id IN ", ids, after); err != nil {
		return err
	}
	return t.needClock()
}

// query reads all rows of a query.
func (t *tx) query(read func(scan func(...any) error) error, query string, args ...any) error {
	if err := t.flush(); err != nil {
		return err
	}
	if !t.s.dialect.prepares() {
		found, err := t.w.conn.QueryContext(t.ctx, query, args...)
		if err != nil {
			return err
		}
		return each(found, read)
	}
	statement, err := t.prepare(query) //nolint:sqlclosecheck // kept with the connection
	if err != nil {
		return err
	}
	found, err := statement.QueryContext(t.ctx, args...)
	if err != nil {
		return err
	}
	return each(found, read)
}

// queryIn reads all rows of a query that ends in a list of ids, in pieces; ids must ascend and be unique. The query is
// given before and after the list.
func (t *tx) queryIn(read func(scan func(...any) error) error, before string, ids []int64, after string) error {
	return chunks(t.s.dialect, ids, func(padded []int64, _ int) error {
		return t.query(read, before+placeholders(len(padded))+after, anys(padded)...)
	})
}

// insert writes n rows in pieces; fill appends the arguments of row i. after ends the statement.
func (t *tx) insert(into string, columns, n int, fill func(args []any, i int) []any, after string) error {
	return t.insertRows(into, func(_, n int) string { return rows(n, columns) }, columns, n, fill, after, nil)
}

// insertRows is insert where text returns the values of n rows from the given one on. did, if not nil, is called after each
// piece.
func (t *tx) insertRows(
	into string, text func(from, n int) string, columns, n int, fill func(args []any, i int) []any, after string,
	did func(result sql.Result, from, n int) error,
) error {
	for from := 0; from < n; {
		piece := t.s.dialect.piece(n - from)
		args := make([]any, 0, piece*columns)
		for i := from; i < from+piece; i++ {
			args = fill(args, i)
		}
		query := t.s.dialect.insert() + into + " VALUES " + text(from, piece) + after
		if did == nil {
			if err := t.post(-1, "", query, args...); err != nil {
				return err
			}
		} else if result, err := t.exec(query, args...); err != nil {
			return err
		} else if err := did(result, from, piece); err != nil {
			return err
		}
		from += piece
	}
	return nil
}

const unavailableMessage = "The database cannot do this at the moment; try again shortly."

// coded gives an error of the database its code; an *order.Error has one already.
func (s *Store) coded(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if _, known := errors.AsType[*order.Error](err); known {
		return err
	}
	switch s.dialect.classify(err) {
	case classDamaged:
		return s.damaged(err)
	case classTransient, classLost, classMoved, classUnavailable:
		return &order.Error{Code: order.CodeUnavailable, Message: s.dialect.unavailable(err), Cause: err}
	default:
		return err
	}
}
