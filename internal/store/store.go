// Package store contains all SQL of Orderflow. Each exported write is one whole business transaction over a slice of requests: it
// locks and reads the rows, calls a pure function of package order for the decision, writes its effects, the events and the outbox
// row, and commits. A transaction never leaves the package. Reads are plain queries.
//
// Package sqldb runs the transactions, on SQLite, MySQL and MariaDB. DESIGN.md beside this file explains the order of
// statements and locks, and the handling of rows that other transactions keep locked.
package store

import (
	"context"
	"errors"
	"sync"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/sqldb"
)

// Time limits of transactions. Package sqldb has those of everything else.
const (
	writeLimit = 5 * time.Second // below the product lock's 10 s, and below sqldb.SessionTimeout
	readLimit  = 5 * time.Second
)

// DefaultPool is the number of connections to MySQL when Options do not set it.
const DefaultPool = sqldb.DefaultPool

// Options are the settings of a Store.
type Options struct {
	Rules    order.Rules
	Existing bool // a database that does not exist is an error, and is not created

	Replica string            // MySQL: the address of a replica for lists and products; "" for none
	Pool    int               // MySQL: connections for writes, and as many for reads; 0 for DefaultPool
	Warn    func(line string) // MySQL: receives settings of the server that durability depends on; nil to ignore them

	// BusReachable reports to the audit whether the bus can be reached. Where it is nil, the bus of an SQLite file can be reached
	// while a server has the file, since it is in that process; that of a MySQL database cannot.
	BusReachable func() bool

	// Damaged, if set, is called once, from any goroutine, when an operation finds the database file damaged.
	Damaged func(err error)

	// Observe, if set, receives each write transaction: its name, how long it waited for a connection, and how long it took
	// from there. It is called from the caller's goroutine.
	Observe func(name string, waited, took time.Duration)
}

// Store is the database. Its methods may be called from any goroutine.
type Store struct {
	rules        order.Rules
	db           *sqldb.DB
	dialect      sqldb.Dialect // of db
	schema       sqldb.Schema  // tests add steps
	steady       *steadyClock
	busReachable func() bool // for the audit
	idFloor      int64       // the lowest id of a new order; 0 unless the file was a backup
	locked       lockedRows

	publishedLock sync.Mutex
	published     []string // outbox rows whose events the bus has, to be marked in the next write
}

// Open opens the database that url names: sqlite:PATH, or mysql://USER:PASSWORD@HOST:PORT/NAME. It changes nothing there
// except that it creates a missing file or database, unless Options.Existing is set. An error is one line with its cause.
func Open(ctx context.Context, url string, options Options) (*Store, error) {
	s := &Store{rules: options.Rules, schema: schema(), steady: newSteadyClock()}
	var err error
	s.db, err = sqldb.Open(ctx, url, sqldb.Options{
		Existing: options.Existing, Replica: options.Replica, Pool: options.Pool, Warn: options.Warn,
		Limits: sqldb.Limits{Write: writeLimit, Read: readLimit}, Now: func() time.Time { return s.steady.now() },
		WriteProbe: "UPDATE installation SET id = id WHERE FALSE",
		Damaged: func(err error) {
			if options.Damaged != nil {
				options.Damaged(coded(err))
			}
		},
		Observe: options.Observe,
	})
	if err != nil {
		return nil, coded(err)
	}
	s.dialect = s.db.Dialect()
	s.busReachable = func() bool {
		if has, known := s.db.HasServer(); known {
			return has && (options.BusReachable == nil || options.BusReachable())
		}
		return options.BusReachable != nil && options.BusReachable()
	}
	if s.idFloor, err = s.db.IDFloor(ctx); err != nil {
		return nil, errors.Join(coded(err), s.db.Close())
	}
	return s, nil
}

// Close waits for running writes and closes the database; later calls find it unavailable. A second call does nothing.
func (s *Store) Close() error { return s.db.Close() }

// Drop deletes a MySQL database with all that is in it. The Store can only be closed afterwards.
func (s *Store) Drop(ctx context.Context) error { return coded(s.db.Drop(ctx)) }

// Writers is how many write transactions the database takes at once.
func (s *Store) Writers() int { return s.db.Writers() }

// LockFile makes this process the one server of the database file until release is called or the process ends, however it
// ends. It returns CodeUnavailable when another server has the file.
func (s *Store) LockFile() (release func() error, err error) {
	release, err = s.db.LockFile()
	return release, coded(err)
}

// Ping queries the database, and returns CodeUnavailable when it does not answer.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.db.CheckFile(); err != nil {
		return coded(err)
	}
	var one int
	return s.read(ctx, func(ctx context.Context) error {
		return s.db.Reader.QueryRowContext(ctx, "SELECT 1 FROM installation").Scan(&one)
	})
}

// CheckDamage returns the damage of the database file that an operation found; nil for none. It stays until the process ends.
func (s *Store) CheckDamage() error { return coded(s.db.CheckDamage()) }

// CheckWritable returns CodeUnavailable, with cause and remedy, when a write failed shortly before for a reason that an operator has
// to remove, such as a full disk or a read-only server. Reads may still work.
func (s *Store) CheckWritable() error { return coded(s.db.CheckWritable()) }

// Backup writes an SQLite database, as it is at one moment, into a new file (see sqldb.DB.Backup). A server on the copy gives
// no order an id that the original may have given since: the payment provider knows charges by the ids of orders, so that
// such an order would count as paid by another order's charge.
//
// It returns CodeUnavailable when the file cannot be written, exists already, or the database is not SQLite.
func (s *Store) Backup(ctx context.Context, file string) error {
	return coded(s.db.Backup(ctx, file, sqldb.BackupIDs{Table: "orders", Max: order.MaxID}))
}

// Installation returns the random id that the first migration created.
func (s *Store) Installation(ctx context.Context) (string, error) {
	var id string
	err := s.read(ctx, func(ctx context.Context) error {
		return s.db.Reader.QueryRowContext(ctx, "SELECT id FROM installation").Scan(&id)
	})
	return id, err
}
