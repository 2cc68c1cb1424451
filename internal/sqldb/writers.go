package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"slices"
	"sync"
	"time"
)

// writer is one connection for writes with its prepared statements. It is opened when it is first needed, and again after it
// broke.
type writer struct {
	conn       *sql.Conn
	statements map[string]*sql.Stmt

	session   sessionID   // of a server
	idsSpread bool        // MySQL: ids of rows inserted together need not follow each other
	expired   func() bool // of a server: whether the connection should make way for a new one
	used      time.Time   // when it was last put back after work
	pinged    time.Time   // when KeepAlive last used it
}

// sessionID identifies a connection for writes to a server: by its server, and there by a mark that no other session has and
// that ends after the session's transaction. When the mark has ended, the transaction is over. A query for it needs no privilege.
//
// On MySQL the mark is a named lock, since the server may reuse the number of a session. On PostgreSQL it is the session's process
// id with its start time.
type sessionID struct {
	server string
	lock   string // MySQL; "" for a connection that holds none
	pid    int64  // PostgreSQL; 0 before the connection is set up
	start  string
}

// drop closes the connection, and with it its statements and any transaction that is still open. Closing a sql.Conn would
// only give the connection back to its pool, as it is; calling it bad makes the pool close it.
func (w *writer) drop() {
	for _, statement := range w.statements {
		_ = statement.Close() // the connection goes with it
	}
	if w.conn != nil {
		_ = w.conn.Raw(func(any) error { return driver.ErrBadConn }) // the error is the one given here
		_ = w.conn.Close()                                           // its error does not matter: the connection is not used again
	}
	w.conn, w.statements = nil, nil // session stays: resolveUnknownCommit needs it
}

// writers are the free ones. The writer that was put back last is taken first, so that only as many connections are opened,
// and kept open, as are used at once.
type writers struct {
	free  chan struct{} // an element for each of them
	stack *writerStack
}

type writerStack struct {
	sync.Mutex

	top []*writer
}

func newWriters(n int) writers {
	all := writers{make(chan struct{}, n), &writerStack{}}
	for range n {
		all.put(&writer{})
	}
	return all
}

// take waits for a writer.
func (w writers) take() *writer {
	<-w.free
	return w.pop()
}

// pop is the rest of take, after an element of free.
func (w writers) pop() *writer {
	w.stack.Lock()
	defer w.stack.Unlock()
	last := len(w.stack.top) - 1
	one := w.stack.top[last]
	w.stack.top = w.stack.top[:last]
	return one
}

func (w writers) put(one *writer) {
	one.used = time.Now()
	w.stack.Lock()
	w.stack.top = append(w.stack.top, one)
	w.stack.Unlock()
	w.free <- struct{}{}
}

// putIdle returns a writer that did no work to the pool, below the writers that were used later.
func (w writers) putIdle(one *writer) {
	w.stack.Lock()
	at := len(w.stack.top)
	if later := slices.IndexFunc(w.stack.top, func(other *writer) bool { return other.used.After(one.used) }); later >= 0 {
		at = later
	}
	w.stack.top = slices.Insert(w.stack.top, at, one)
	w.stack.Unlock()
	w.free <- struct{}{}
}

// longIdle takes the writer that is idle for longest, if its connection was neither used nor pinged since then; nil when there
// is none.
func (w writers) longIdle(since time.Time) *writer {
	select {
	case <-w.free:
	default:
		return nil // all are in use
	}
	w.stack.Lock()
	for i, one := range w.stack.top {
		if one.conn != nil && one.used.Before(since) && one.pinged.Before(since) {
			w.stack.top = append(w.stack.top[:i], w.stack.top[i+1:]...)
			w.stack.Unlock()
			return one
		}
	}
	w.stack.Unlock()
	w.free <- struct{}{}
	return nil
}

const (
	pingAfter      = 4 * time.Second // half of SessionTimeout, after which the server ends a session
	pingsAtOnce    = 8               // connections
	pingLimit      = time.Second     // for the server's answer
	closeIdleAfter = 5 * time.Minute // without work, after which a writer's connection is closed
)

// KeepAlive sends a statement over each connection for writes that was idle for four seconds, so that the server does not end
// it as one of a client that vanished. It takes a few at a time, and leaves the others to work. Call it every second.
func (db *DB) KeepAlive(ctx context.Context) {
	if !db.dialect.endsIdleSessions() {
		return
	}
	for start := time.Now(); ; {
		var idle []*writer
		for range min(pingsAtOnce, max(1, len(db.writers.free)/2)) {
			w := db.writers.longIdle(start.Add(-pingAfter))
			if w == nil {
				break
			}
			idle = append(idle, w)
		}
		if len(idle) == 0 {
			return
		}
		var pings sync.WaitGroup
		for _, w := range idle {
			pings.Go(func() {
				if start.Sub(w.used) >= closeIdleAfter || db.ping(ctx, w) != nil {
					w.drop()
				}
				w.pinged = time.Now()
				db.writers.putIdle(w)
			})
		}
		pings.Wait()
	}
}

// ping sends a write that changes nothing, and rolls it back. A server that refuses it may have been replaced while nothing
// was written: the connections that lead to it are given up, and CheckWritable reports the refusal.
func (db *DB) ping(ctx context.Context, w *writer) error {
	ctx, cancel := context.WithTimeout(ctx, pingLimit)
	defer cancel()
	_, err := w.conn.ExecContext(ctx, db.probe+"; ROLLBACK")
	if db.dialect.classify(err) == moved {
		db.dialect.noteMoved()
	}
	if err != nil {
		db.noteFailedWrite(err)
	}
	return err
}
