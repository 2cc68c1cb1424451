// Package store is all the SQL of Orderflow. Each exported write is one whole business transaction over a slice: it
// locks and reads the rows, asks the pure decision in package order what follows, carries that out, writes the events
// and what is owed to the bus, and commits; nobody outside ever holds a transaction. Reads are plain queries.
//
// It runs on SQLite (sqlite.go). What differs between databases stands behind one small interface (dialect.go); the rest
// is one text of SQL. DESIGN.md beside this file explains the order of locks, the unknown outcome of a commit, what is
// durable and why the books add up.
package store

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"strings"
	"sync"
	"time"

	"orderflow/internal/order"
)

// Limits of the store.
const (
	writeLimit = 5 * time.Second // a write transaction's time, below the lock's 10 s
	readLimit  = 5 * time.Second
	writeTries = 5 // runs of a transaction that keeps losing to others
)

// Options are the settings of a Store.
type Options struct {
	Rules    order.Rules
	Existing bool // a database that is not there is an error, and not created
	// Observe, if set, is told of each write transaction: its name, how long it waited for a connection, and how long
	// it took from there. It is called from the caller's goroutine.
	Observe func(name string, waited, took time.Duration)
}

// Store is the database. Its methods may be called from any goroutine.
type Store struct {
	rules   order.Rules
	observe func(name string, waited, took time.Duration)
	dialect dialect
	reader  *sql.DB
	writers chan *writer                                    // the free ones
	pool    *sql.DB                                         // behind the writers
	commit  func(ctx context.Context, conn *sql.Conn) error // tests make its outcome unknown
	opened  os.FileInfo                                     // the database file as it was opened
	guard   *os.File                                        // the lock of this process, once it is the file's server
	closing sync.Once
	closed  chan struct{} // closed by Close, so that nobody waits for a writer that does not come back

	paidLock sync.Mutex
	paid     []string // receipts that the bus has, to be marked in the next write

	prepared sync.Map // of the reader: query → *sql.Stmt; queries come from a small set of texts
}

// Open opens the database that url names: sqlite:PATH. It changes nothing there but what the database needs to work
// (SQLite creates a missing file). An error says in a line what is wrong with the file.
func Open(ctx context.Context, url string, options Options) (*Store, error) {
	path, ok := strings.CutPrefix(url, "sqlite:")
	if !ok || path == "" {
		scheme, _, _ := strings.Cut(url, ":")
		return nil, order.Errorf(order.CodeUnavailable, "Database %q is not supported; use sqlite:PATH.", scheme+":…")
	}
	d, err := newSQLite(path)
	if err != nil {
		return nil, d.openError(err)
	}
	if options.Existing && !d.exists() {
		return nil, order.Errorf(order.CodeNotFound, "There is no database %s; check the path, or make one with orderflow migrate up.", path)
	}
	pool, reader, err := d.open(ctx)
	if err != nil {
		return nil, err
	}
	opened, err := os.Stat(d.file)
	if err != nil {
		return nil, errors.Join(d.openError(err), reader.Close(), pool.Close())
	}
	s := &Store{
		opened: opened, rules: options.Rules, observe: options.Observe, dialect: d, reader: reader, pool: pool,
		writers: make(chan *writer, d.writers()), commit: commit, closed: make(chan struct{}),
	}
	if s.observe == nil {
		s.observe = func(string, time.Duration, time.Duration) {}
	}
	for range cap(s.writers) {
		s.writers <- &writer{}
	}
	return s, nil
}

// Close waits for running writes and closes the database; later calls find it unavailable. Closing again does nothing.
func (s *Store) Close() (err error) {
	s.closing.Do(func() {
		close(s.closed)
		for range cap(s.writers) {
			w := <-s.writers
			w.drop()
		}
		err = errors.Join(s.reader.Close(), s.pool.Close())
	})
	return err
}

// Writers is how many write transactions the database takes at once.
func (s *Store) Writers() int { return s.dialect.writers() }

// Ping asks the database for an answer, and returns CodeUnavailable when none comes.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.intact(); err != nil {
		return err
	}
	var one int
	return s.read(ctx, func(ctx context.Context) error {
		return s.reader.QueryRowContext(ctx, "SELECT 1 FROM installation").Scan(&one)
	})
}

// Installation returns the random id that the first migration drew.
func (s *Store) Installation(ctx context.Context) (string, error) {
	var id string
	err := s.read(ctx, func(ctx context.Context) error {
		return s.reader.QueryRowContext(ctx, "SELECT id FROM installation").Scan(&id)
	})
	return id, err
}

// read runs queries under the limit of time for reads; its errors have codes.
func (s *Store) read(ctx context.Context, query func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	return s.coded(query(ctx))
}

// query reads all rows of a query, which is prepared once and kept.
func (s *Store) query(ctx context.Context, read func(scan func(...any) error) error, query string, args ...any) error {
	kept, ok := s.prepared.Load(query)
	if !ok {
		statement, err := s.reader.PrepareContext(ctx, query)
		if err != nil {
			return err
		}
		var raced bool
		if kept, raced = s.prepared.LoadOrStore(query, statement); raced {
			_ = statement.Close() //nolint:sqlclosecheck // another one was faster, and serves both
		}
	}
	found, err := kept.(*sql.Stmt).QueryContext(ctx, args...) //nolint:forcetypeassert // nothing else is kept
	if err != nil {
		return err
	}
	return each(found, read)
}
