package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options are the settings of a DB.
type Options struct {
	Existing bool // a database that does not exist is an error, and is not created

	Replica string            // MySQL: the address of a replica for reads that may be a little old; "" for none
	Pool    int               // MySQL: connections for writes, and as many for reads; 0 for DefaultPool
	Warn    func(line string) // MySQL: receives settings of the server that durability depends on; nil to ignore them

	Limits     Limits
	Now        func() time.Time // the time of a database without a clock of its own
	WriteProbe string           // a write that changes nothing, which keeps idle connections for writes open

	// Damaged, if set, is called once, from any goroutine, when an operation finds the database file damaged.
	Damaged func(err error)

	// Observe, if set, receives each write transaction: its name, how long it waited for a connection, and how long it took
	// from there. It is called from the caller's goroutine.
	Observe func(name string, waited, took time.Duration)
}

// DefaultPool is the number of connections to MySQL when Options do not set it.
const DefaultPool = 32

// Limits are how long a write transaction and a read may take.
type Limits struct{ Write, Read time.Duration }

// DB is a database. Its methods may be called from any goroutine. The exported fields are set by Open; tests replace them
// before use.
type DB struct {
	pools

	Limits Limits
	Commit func(ctx context.Context, conn *sql.Conn) error // sends COMMIT

	dialect dialect
	writers writers // the free ones
	now     func() time.Time
	observe func(name string, waited, took time.Duration)
	probe   string
	health  health

	skipNext    atomic.Bool  // the next write leaves out locked rows from its first run on
	replicaDown atomic.Int64 // until when the replica is not used, in nanoseconds since 1970

	closing sync.Once
	closed  chan struct{} // closed by Close, so that no caller waits for a writer that does not come back
}

// Open opens the database that url names: sqlite:PATH, mysql://USER:PASSWORD@HOST:PORT/NAME, or
// postgres://USER:PASSWORD@HOST:PORT/NAME. It creates a missing file or database, unless Options.Existing is set, and changes
// nothing else. It returns an Error of one line.
func Open(ctx context.Context, url string, options Options) (*DB, error) {
	d, err := dialectOf(url, options)
	if err != nil {
		return nil, err
	}
	p, err := d.open(ctx)
	if err != nil {
		return nil, err
	}
	db := &DB{
		pools: p, Limits: options.Limits, Commit: commit, dialect: d, writers: newWriters(d.writers()), now: options.Now,
		observe: options.Observe, probe: options.WriteProbe, health: health{report: options.Damaged}, closed: make(chan struct{}),
	}
	if db.now == nil {
		db.now = time.Now
	}
	if db.observe == nil {
		db.observe = func(string, time.Duration, time.Duration) {}
	}
	return db, nil
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
			return nil, errorf(NotFound, "There is no database %s; check the path, or make one with orderflow migrate up.", path)
		}
		return d, nil
	case scheme == "mysql":
		return newMySQL(url, options)
	case scheme == "postgres" || scheme == "postgresql":
		return newPostgres(url, options)
	default:
		return nil, errorf(Unavailable, "Database %q is not supported; use sqlite:PATH, mysql://USER:PASSWORD@HOST:PORT/NAME "+
			"or postgres://USER:PASSWORD@HOST:PORT/NAME.", scheme+":…")
	}
}

// Close waits for running writes and closes the database. Later calls return Unavailable. A second call does nothing.
func (db *DB) Close() (err error) {
	db.closing.Do(func() {
		close(db.closed)
		for range db.Writers() {
			w := db.writers.take()
			w.drop()
		}
		err = db.close()
	})
	return err
}

// Drop deletes a database on a server with all its data. Afterwards only Close may be called.
func (db *DB) Drop(ctx context.Context) error {
	return db.explained(db.dialect.drop(ctx, db.Reader.DB))
}

// Name is the kind of database: "sqlite", "mysql" (also for MariaDB) or "postgres".
func (db *DB) Name() string { return db.dialect.name() }

// Dialect returns the properties of the database that statements depend on.
func (db *DB) Dialect() Dialect { return db.dialect }

// Writers is how many write transactions the database takes at once.
func (db *DB) Writers() int { return db.dialect.writers() }

// LockFile makes this process the one server of the database file until release is called or the process ends, however it
// ends. It returns Unavailable when another server has the file. For a database on a server it does nothing.
func (db *DB) LockFile() (release func() error, err error) { return db.dialect.lockFile() }

// HasServer reports whether a process holds the lock file at present, including this one. known is false for a database
// on a server.
func (db *DB) HasServer() (has, known bool) { return db.dialect.hasServer() }

// CheckFile is called before every commit. It returns Unavailable in three cases:
//   - An operation found the database file damaged. The restore of a backup would lose later writes.
//   - The database file was moved, replaced or deleted. Writes to the open file would be lost when the process ends.
//   - The lock file was replaced or deleted. Another server may write to the database.
func (db *DB) CheckFile() error {
	if err := db.CheckDamage(); err != nil {
		return err
	}
	return db.dialect.checkUnchanged()
}

// IDFloor is the lowest id that a new row may have; 0 unless the file was a backup (see Backup).
func (db *DB) IDFloor(ctx context.Context) (int64, error) {
	return db.dialect.idFloor(ctx, db.Reader.DB)
}

// backupLimit is the time for the copy of one file.
const backupLimit = time.Hour

// BackupIDs are the ids that must not be assigned again after a backup is restored.
type BackupIDs struct {
	Table string // whose column id is the highest id
	Max   int64  // the highest id that the product accepts
}

// Backup writes an SQLite database, as it is at one moment, into a new file for its owner alone. Servers and tools continue
// meanwhile; only their log grows until the copy is complete. When Backup returns, the file is complete and on disk; after an
// error it does not exist. The copy has an IDFloor a billion above its last id: the original may have assigned further ids
// since then, and other systems, such as a payment provider, may know them.
//
// It returns Unavailable when the file cannot be written, exists already, or the database is not SQLite, and Invalid for a
// file that is not a path.
func (db *DB) Backup(ctx context.Context, file string, ids BackupIDs) error {
	ctx, cancel := context.WithTimeout(ctx, backupLimit)
	defer cancel()
	return db.explained(db.dialect.backup(ctx, db.Reader.DB, file, ids))
}

// pools are the connections of a database.
type pools struct {
	Writer  *sql.DB // from which the writers take their connections
	Reader  *Pool
	Replica *Pool // nil for none
}

// close closes the open pools.
func (p pools) close() error {
	var errs []error
	for _, pool := range []*Pool{p.Reader, p.Replica} {
		if pool != nil {
			errs = append(errs, pool.Close())
		}
	}
	if p.Writer != nil {
		errs = append(errs, p.Writer.Close())
	}
	return errors.Join(errs...)
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
