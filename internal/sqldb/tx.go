package sqldb

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	mathrand "math/rand/v2"
	"time"
)

// writeTries is how often a transaction runs at most, when it conflicts with others or loses its connection.
const writeTries = 8

// Tx is a running write transaction. One goroutine uses it. After an error it can only be rolled back.
type Tx struct {
	ID  string    // random
	Now time.Time // of the whole transaction, UTC, whole microseconds; zero until it is read from a database with a clock of its own

	ctx      context.Context
	db       *DB
	w        *writer
	skips    bool        // leaves out locked rows instead of waiting for them
	enqueued []unchecked // statements that are not sent yet
	marker   marker
}

// Write runs work in a transaction and commits. It is the only place that begins, commits, rolls back and retries.
//
// work may run several times: after a deadlock or a lost lock, and after a COMMIT of unknown outcome that turns out not to
// have been committed. So each run must compute its results anew. Write returns Unavailable when the database cannot be
// written, otherwise the error of work.
//
// The context of the caller does not end the transaction, which serves other callers too. Limits.Write does.
func (db *DB) Write(ctx context.Context, name string, work func(*Tx) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), db.Limits.Write)
	defer cancel()
	start := time.Now()
	w, err := db.takeWriter(ctx)
	if err != nil {
		return err
	}
	defer func() { db.writers.put(w) }()
	taken := time.Now()
	defer func() { db.observe(name, taken.Sub(start), time.Since(taken)) }()
	retriedMove, skips := false, db.skipsNext()
	for try := 1; ; try++ {
		err := db.writeOnce(ctx, w, skips, work)
		if err == nil {
			return nil
		}
		skips = skips || db.lockTimedOut(ctx, err)
		class := db.dialect.classify(err)
		retry := class == transient || class == lost
		if class == moved {
			retry, retriedMove = !retriedMove, true
			db.dialect.noteMoved()
		}
		if class == unavailable || class == lost || class == moved || class == damaged {
			w.drop() // a connection that broke, or met an error of the disk, is not used again
		}
		if !retry || try == writeTries {
			db.noteFailedWrite(err)
			return db.explained(err)
		}
		pause := time.Millisecond << try // 2 ms to 128 ms, ± 50 %, so that transactions do not meet again
		if !sleep(ctx, pause/2+time.Duration(mathrand.Int64N(int64(pause)))) {
			return db.explained(err)
		}
	}
}

// skipsNext reports whether a write leaves out locked rows from its first run on.
func (db *DB) skipsNext() bool { return db.skipNext.Load() && db.skipNext.Swap(false) }

// lockTimedOut notes a failed run, and reports whether the next run leaves out locked rows. A write that used up its time may
// have waited for several locks, each below the time-out of a lock; it has no next run, so the next write leaves them out.
func (db *DB) lockTimedOut(ctx context.Context, err error) bool {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		db.skipNext.Store(true)
	}
	return db.dialect.lockTimedOut(err)
}

// writeOnce runs work in one transaction.
func (db *DB) writeOnce(ctx context.Context, w *writer, skips bool, work func(*Tx) error) (err error) {
	t := &Tx{ctx: ctx, db: db, w: w, skips: skips, ID: rand.Text()}
	if db.dialect.Clock() == "" {
		t.Now = db.now().UTC().Truncate(time.Microsecond)
	}
	if err := t.begin(); err != nil {
		w.drop() // the transaction may have begun all the same
		return err
	}
	over := false
	defer func() { //nolint:contextcheck // a rollback has a time limit of its own
		if !over { // an error or a panic
			t.rollback()
		}
	}()
	if err := work(t); err != nil {
		return err
	}
	if err := t.flush(); err != nil {
		return err
	}
	if err := db.CheckFile(); err != nil {
		return err
	}
	if err = db.Commit(ctx, w.conn); err != nil {
		over = true
		return db.resolveUnknownCommit(t, err) //nolint:contextcheck // it has a time limit of its own
	}
	over = true
	return nil
}

// takeWriter waits for a free writer, which the caller puts back.
func (db *DB) takeWriter(ctx context.Context) (*writer, error) {
	select {
	case <-db.writers.free:
		return db.writers.pop(), nil
	case <-db.closed:
		return nil, errClosed()
	case <-ctx.Done():
		return nil, errorf(Unavailable, "The database is busy; try again shortly.")
	}
}

func errClosed() error { return errorf(Unavailable, "The database is closed.") }

// connect opens the writer's connection if it has none.
func (t *Tx) connect() error {
	if t.w.conn != nil {
		if t.w.expired == nil || !t.w.expired() {
			return nil
		}
		t.w.drop()
	}
	conn, err := t.db.Writer.Conn(t.ctx)
	if err != nil {
		return err
	}
	t.w.conn, t.w.statements = conn, map[string]*sql.Stmt{}
	if err := t.db.dialect.connected(t.w); err != nil {
		t.w.drop()
		return err
	}
	return nil
}

func (t *Tx) begin() error {
	if err := t.connect(); err != nil {
		return err
	}
	begin := t.db.dialect.begin()
	if begin == "" {
		return nil
	}
	_, err := t.w.conn.ExecContext(t.ctx, begin)
	return err
}

// rollback ends the transaction. A connection on which even that fails is closed, which also ends it.
func (t *Tx) rollback() {
	if t.w.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), time.Second)
	defer cancel()
	if _, err := t.w.conn.ExecContext(ctx, "ROLLBACK"); err != nil {
		t.w.drop()
	}
}

// Skips reports whether the transaction leaves out locked rows instead of waiting for them, because an earlier run, or
// another write, waited for too long.
func (t *Tx) Skips() bool { return t.skips }
