// Package store is all the SQL of Orderflow. Each exported write is one whole business transaction over a slice: it
// locks and reads the rows, asks the pure decision in package order what follows, carries that out, writes the events
// and what is owed to the bus, and commits; nobody outside ever holds a transaction. Reads are plain queries.
//
// It runs on SQLite (sqlite.go) and on MySQL and MariaDB (mysql*.go). What differs between them stands behind one small
// interface (dialect.go); the rest is one text of SQL. DESIGN.md beside this file explains the order of locks, the unknown
// outcome of a commit, what is durable and why the books add up.
package store

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"orderflow/internal/order"
)

// Limits of the store.
const (
	writeLimit = 5 * time.Second // a write transaction's time, below the lock's 10 s
	readLimit  = 5 * time.Second
	writeTries = 8 // runs of a transaction that keeps losing to others, or its connection
	readTries  = 3 // of a read that loses its connection

	replicaLimit = 2 * time.Second // for the replica's answer; the primary is asked after that
	replicaRest  = time.Second     // how long a replica that failed is left alone
)

// Options are the settings of a Store.
type Options struct {
	Rules    order.Rules
	Existing bool // a database that is not there is an error, and not created

	Replica string            // MySQL: the address of a replica for lists and products; "" for none
	Pool    int               // MySQL: connections for writes, and as many for reads; 0 for DefaultPool
	Warn    func(line string) // MySQL: is told of settings of the server that promises depend on; nil for nobody

	// Served reports to the audit whether the bus can be reached. nil: SQLite's can while a server has the file, since it is in that
	// process; MySQL's cannot.
	Served func() bool

	// Damaged, if set, is called once, from any goroutine, when an operation finds the database file damaged.
	Damaged func(err error)

	// Observe, if set, is told of each write transaction: its name, how long it waited for a connection, and how long
	// it took from there. It is called from the caller's goroutine.
	Observe func(name string, waited, took time.Duration)
}

// limits are how long a write transaction and a read may take.
type limits struct{ write, read time.Duration }

// Store is the database. Its methods may be called from any goroutine.
type Store struct {
	rules   order.Rules
	observe func(name string, waited, took time.Duration)
	dialect dialect
	pools
	writers writers                                         // the free ones
	commit  func(ctx context.Context, conn *sql.Conn) error // tests make its outcome unknown
	steps   fs.FS                                           // of the schema; tests add to them
	limits  limits                                          // except in tests beside which the machine has too much to do, those above
	opened  os.FileInfo                                     // the database file as it was opened
	guard   *os.File                                        // the lock of this process, once it is the file's server
	floor   int64                                           // the lowest id of a new order; 0 unless the file was a backup
	closing sync.Once
	served  func() bool   // for the audit
	locked  lockedRows    // that other transactions keep locked
	closed  chan struct{} // closed by Close, so that nobody waits for a writer that does not come back

	paidLock sync.Mutex
	paid     []string // receipts that the bus has, to be marked in the next write

	health databaseHealth
	steady *steadyClock

	prepared sync.Map // of the reader: query → *sql.Stmt; queries come from a small set of texts

	replicaDown atomic.Int64 // until when the replica is left alone, in nanoseconds since 1970
}

// DefaultPool is how many connections to MySQL there are when Options say nothing.
const DefaultPool = 32

// Open opens the database that url names: sqlite:PATH, or mysql://USER:PASSWORD@HOST:PORT/NAME. It changes nothing there
// but what the database needs to work (a missing file or database is created, unless Options say that it must exist). An
// error says in a line what is wrong.
func Open(ctx context.Context, url string, options Options) (*Store, error) {
	d, err := dialectOf(url, options)
	if err != nil {
		return nil, err
	}
	p, err := d.open(ctx)
	if err != nil {
		return nil, err
	}
	s := &Store{
		rules: options.Rules, observe: options.Observe, dialect: d, pools: p,
		writers: newWriters(d.writers()), commit: commit, steps: migrations, closed: make(chan struct{}),
		limits: limits{writeLimit, readLimit}, health: databaseHealth{report: options.Damaged}, steady: newSteadyClock(),
	}
	if s.served = options.Served; s.served == nil {
		s.served = func() bool { return false }
	}
	if file, ok := d.(sqliteDialect); ok {
		s.served = func() bool { return file.served() && (options.Served == nil || options.Served()) }
		if s.opened, err = os.Stat(file.file); err == nil {
			s.floor, err = readFloor(ctx, p.reader)
		}
		if err != nil {
			return nil, errors.Join(file.openError(err), p.close())
		}
	}
	if s.observe == nil {
		s.observe = func(string, time.Duration, time.Duration) {}
	}
	return s, nil
}

// dialectOf returns the dialect of a database's address.
func dialectOf(url string, options Options) (dialect, error) {
	scheme, path, _ := strings.Cut(url, ":")
	switch {
	case scheme == "sqlite" && path != "":
		d, err := newSQLite(path)
		if err != nil {
			return nil, d.openError(err)
		}
		if options.Existing && !d.exists() {
			return nil, order.Errorf(order.CodeNotFound, "There is no database %s; check the path, or make one with orderflow migrate up.", path)
		}
		return d, nil
	case scheme == "mysql":
		return newMySQL(url, options)
	default:
		return nil, order.Errorf(order.CodeUnavailable, "Database %q is not supported; use sqlite:PATH or mysql://USER:PASSWORD@HOST:PORT/NAME.",
			scheme+":…")
	}
}

// Close waits for running writes and closes the database; later calls find it unavailable. Closing again does nothing.
func (s *Store) Close() (err error) {
	s.closing.Do(func() {
		close(s.closed)
		for range s.Writers() {
			w := s.writers.take()
			w.drop()
		}
		err = s.close()
	})
	return err
}

// Drop deletes a MySQL database with all that is in it; there is nothing left to do with the Store but to close it.
func (s *Store) Drop(ctx context.Context) error {
	d, ok := s.dialect.(*mysqlDialect)
	if !ok {
		return errors.New("only a database on a server can be dropped; delete the file")
	}
	_, err := s.reader.ExecContext(ctx, "DROP DATABASE "+quoteName(d.server.config.DBName))
	return s.coded(err)
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

// read runs queries under the limit of time for reads, again when their connection broke, so they must begin anew each
// time; its errors have codes.
func (s *Store) read(ctx context.Context, query func(ctx context.Context) error) error {
	return s.readWithin(ctx, s.limits.read, query)
}

// readWithin is read under another limit.
func (s *Store) readWithin(ctx context.Context, limit time.Duration, query func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for try := 1; ; try++ {
		err := query(ctx)
		if s.dialect.classify(err) != classLost || try == readTries || ctx.Err() != nil {
			return s.coded(err)
		}
	}
}

// clock is the time that due_at is compared with.
func (s *Store) clock(ctx context.Context) (now time.Time, err error) {
	expression := s.dialect.clock()
	if expression == "" {
		return s.steady.now(), nil
	}
	return now, s.reader.QueryRowContext(ctx, "SELECT "+expression).Scan(scanTime{&now})
}

// query reads all rows of a query, which is prepared once and kept where the dialect wants that.
func (s *Store) query(ctx context.Context, read func(scan func(...any) error) error, query string, args ...any) error {
	return s.queryOn(ctx, s.reader, read, query, args...)
}

// ask runs one query of a read.
type ask func(ctx context.Context, read func(scan func(...any) error) error, query string, args ...any) error

// readOld is read for what may be a little old: the replica is asked if there is one and it answers, else the primary.
func (s *Store) readOld(ctx context.Context, query func(ctx context.Context, ask ask) error) error {
	if s.replica != nil && time.Now().UnixNano() >= s.replicaDown.Load() {
		err := s.read(ctx, func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, replicaLimit)
			defer cancel()
			return query(ctx, func(ctx context.Context, read func(scan func(...any) error) error, text string, args ...any) error {
				return s.queryOn(ctx, s.replica, read, text, args...)
			})
		})
		if order.CodeOf(err) != order.CodeUnavailable || ctx.Err() != nil {
			return err
		}
		s.replicaDown.Store(time.Now().Add(replicaRest).UnixNano())
	}
	return s.read(ctx, func(ctx context.Context) error { return query(ctx, s.query) })
}

func (s *Store) queryOn(ctx context.Context, db *sql.DB, read func(scan func(...any) error) error, query string, args ...any) error {
	if !s.dialect.prepares() {
		found, err := db.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		return each(found, read)
	}
	kept, ok := s.prepared.Load(query)
	if !ok {
		statement, err := db.PrepareContext(ctx, query)
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
