package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"modernc.org/sqlite"

	"orderflow/internal/order"
)

// What tests outside the package need to see or to break.

// WriteLimit is the longest time that a write takes.
const WriteLimit = writeLimit

// AllowTime replaces the limits of writes and reads.
func (s *Store) AllowTime(d time.Duration) { s.limits = limits{d, d} }

// DecodeRefs is decodeRefs as pairs of order and sequence.
func DecodeRefs(text string) (refs [][2]int64, err error) {
	decoded, err := decodeRefs(text)
	for _, r := range decoded {
		refs = append(refs, [2]int64{r.order, int64(r.seq)})
	}
	return refs, err
}

// EncodeRefs is encodeRefs.
var EncodeRefs = encodeRefs

// PayAtOnce is how many marks one write takes along; PaidMax how many are remembered.
const (
	PayAtOnce = payAtOnce
	PaidMax   = paidMax
)

// Remembered is the number of receipts that wait to be marked as paid.
func (s *Store) Remembered() int {
	s.paidLock.Lock()
	defer s.paidLock.Unlock()
	return len(s.paid)
}

// HoldWriter takes a writer out, as a stuck transaction would.
func (s *Store) HoldWriter() (release func()) {
	w := s.writers.take()
	return func() { s.writers.put(w) }
}

// LeaveTransactionOpen begins a write on the writer and drops it, as a ROLLBACK that fails does.
func (s *Store) LeaveTransactionOpen(ctx context.Context) error {
	w := s.writers.take()
	defer func() { s.writers.put(w) }()
	t := &tx{ctx: ctx, s: s, w: w}
	err := t.begin()
	w.drop()
	return err
}

// Settle has the dialect end a writer's connection that holds this named lock.
func (s *Store) Settle(ctx context.Context, lock string) error {
	w := &writer{session: session{lock: lock}}
	if err := s.reader.QueryRowContext(ctx, "SELECT "+identity).Scan(&w.session.server); err != nil {
		return err
	}
	return s.dialect.settle(ctx, s.reader, w)
}

// SettleTime is how long a connection is used at least.
const SettleTime = settleTime

// SilentAfter is after how many seconds without a statement the server ends the session of a writer.
const SilentAfter = mysqlSilent

// WriterSession is the number by which a MySQL server knows the connection of the writer that is taken next.
func (s *Store) WriterSession(ctx context.Context) (id int64, err error) {
	err = s.write(ctx, "test", func(t *tx) error {
		return t.query(func(scan func(...any) error) error { return scan(&id) }, "SELECT CONNECTION_ID()")
	})
	return id, err
}

// ReadFrom lets the connections for reads lead to the database of another store.
func (s *Store) ReadFrom(other *Store) (back func()) {
	own := s.reader
	s.reader = other.reader
	return func() { s.reader = own }
}

// HoldReaders opens n connections for reads, and gives them back to their pool.
func (s *Store) HoldReaders(ctx context.Context, n int) error {
	var held []*sql.Conn
	defer func() {
		for _, conn := range held {
			_ = conn.Close()
		}
	}()
	for range n {
		conn, err := s.reader.Conn(ctx)
		if err != nil {
			return err
		}
		held = append(held, conn)
	}
	return nil
}

// SessionVariables reads a connection's variables back: of one for writes, one for reads and one for migrations.
func (s *Store) SessionVariables(ctx context.Context) (all map[string]map[string]string, err error) {
	all = map[string]map[string]string{}
	db, done, _, _, err := s.dialect.migrator(s.writer)
	if err != nil {
		return nil, err
	}
	defer done()
	for name, pool := range map[string]*sql.DB{"writes": s.writer, "reads": s.reader, "migrations": db} {
		found, err := pool.QueryContext(ctx, "SHOW SESSION VARIABLES")
		if err != nil {
			return nil, err
		}
		all[name] = map[string]string{}
		err = each(found, func(scan func(...any) error) error {
			var variable, value string
			err := scan(&variable, &value)
			all[name][variable] = value
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// VariableNames are the names of the session variables that the store sets.
func VariableNames() (names []string) {
	for _, v := range sessionVariables(false) {
		names = append(names, v.name)
	}
	return names
}

// Write runs work as a write that knows nothing but that it may fail.
func (s *Store) Write(ctx context.Context, work func() error) error {
	return s.write(ctx, "test", func(*tx) error { return work() })
}

// FailCommit makes the next COMMIT return fault, after it was done or in its place.
func (s *Store) FailCommit(done bool, fault error) {
	s.commit = func(ctx context.Context, conn *sql.Conn) error {
		s.commit = commit
		if done {
			if err := commit(ctx, conn); err != nil {
				return errors.Join(err, errors.New("the COMMIT that should have been done was not"))
			}
		}
		return fault
	}
}

// AfterCommit makes the next COMMIT return fault after it was done and then has run.
func (s *Store) AfterCommit(then func(), fault error) {
	s.commit = func(ctx context.Context, conn *sql.Conn) error {
		s.commit = commit
		if err := commit(ctx, conn); err != nil {
			return errors.Join(err, errors.New("the COMMIT that should have been done was not"))
		}
		then()
		return fault
	}
}

// ApplyLate decides by the rows of orders as they are, changes them by a statement in the same transaction, and then writes
// what was decided, as if somebody else had changed them in between.
func (s *Store) ApplyLate(ctx context.Context, ids []int64, change string, decide func(map[int64]*order.Order) order.Effects) error {
	return s.write(ctx, "test", func(t *tx) error {
		orders, _, err := t.lockOrders(ids, false)
		if err != nil {
			return err
		}
		effects := decide(orders)
		if _, err := t.exec(change); err != nil {
			return err
		}
		_, err = t.carry(&effects, false)
		return err
	})
}

// LockedRows is how many rows are remembered as locked.
func (s *Store) LockedRows() int { return int(s.locked.count.Load()) }

// FakeTime replaces the time of a process: what the wall clock shows, and what has elapsed, each since the store was opened.
type FakeTime struct{ Wall, Elapsed time.Duration }

// FakeTime returns the time that the store goes by from now on. Only one goroutine may use both.
func (s *Store) FakeTime() *FakeTime {
	fake := &FakeTime{}
	s.steady.read = func() (time.Time, time.Duration) { return s.steady.start.Add(fake.Wall), fake.Elapsed }
	return fake
}

// Pass lets time pass, which both clocks see.
func (f *FakeTime) Pass(d time.Duration) { f.Wall, f.Elapsed = f.Wall+d, f.Elapsed+d }

// Floors of ids, as a backup keeps them.
var EncodeFloor, DecodeFloor = encodeFloor, decodeFloor

// CloseReader makes all reads fail.
func (s *Store) CloseReader() { _ = s.reader.Close() }

// Statements are the texts that the writer has prepared.
func (s *Store) Statements() (texts []string) {
	w := s.writers.take()
	defer func() { s.writers.put(w) }()
	for text := range w.statements {
		texts = append(texts, text)
	}
	return texts
}

// Pragma reads a setting back from n connections of the readers at once, and from the writer.
func (s *Store) Pragma(ctx context.Context, name string, n int) (values []string, err error) {
	read := func(pool *sql.DB, n int) error {
		var held []*sql.Conn
		defer func() {
			for _, conn := range held {
				_ = conn.Close()
			}
		}()
		for range n {
			conn, err := pool.Conn(ctx)
			if err != nil {
				return err
			}
			held = append(held, conn)
			var value string
			if err := conn.QueryRowContext(ctx, "PRAGMA "+name).Scan(&value); err != nil {
				return err
			}
			values = append(values, value)
		}
		return nil
	}
	if err := read(s.reader, n); err != nil {
		return nil, err
	}
	w := s.writers.take()
	defer func() { s.writers.put(w) }()
	w.drop()
	return values, read(s.writer, 1)
}

// Readers is the number of connections for reads.
const Readers = readers

// MigrationFiles are the embedded migrations.
func MigrationFiles() fs.FS { return migrations }

// AddSteps makes the store one of a later release, whose schema has more steps; each is a name and its two statements.
func (s *Store) AddSteps(t testing.TB, steps ...[3]string) {
	t.Helper()
	all := fstest.MapFS{}
	err := fs.WalkDir(migrations, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(migrations, path)
		all[path] = &fstest.MapFile{Data: text}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	_, done, folder, _, err := s.dialect.migrator(s.writer)
	if err != nil {
		t.Fatal(err)
	}
	done()
	had := len(all) / 2 // dialects
	for i, step := range steps {
		text := "-- +goose Up\n" + step[1] + ";\n\n-- +goose Down\n" + step[2] + ";\n"
		all[fmt.Sprintf("%s/%05d_%s.sql", folder, had+i+1, step[0])] = &fstest.MapFile{Data: []byte(text)}
	}
	s.steps = all
}

// Spy records the text of every read from now on.
func (s *Store) Spy() (texts func() []string) {
	spy := &spy{dsn: "file:" + (&url.URL{Path: s.dialect.(sqliteDialect).file}).EscapedPath()}
	_ = s.reader.Close()
	s.reader = sql.OpenDB(spy)
	s.prepared.Clear()
	return func() []string {
		spy.lock.Lock()
		defer spy.lock.Unlock()
		found := spy.texts
		spy.texts = nil
		return found
	}
}

// spy is a connector whose connections write down what they are asked.
type spy struct {
	dsn   string
	lock  sync.Mutex
	texts []string
}

func (s *spy) Connect(context.Context) (driver.Conn, error) {
	conn, err := s.Driver().Open(s.dsn)
	return spyConn{conn, s}, err
}

func (s *spy) Driver() driver.Driver { return &sqlite.Driver{} }

type spyConn struct {
	driver.Conn
	spy *spy
}

func (s *spy) saw(query string) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.texts = append(s.texts, query)
}

func (c spyConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.spy.saw(query)
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

func (c spyConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	statement, err := c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
	return spyStatement{statement, query, c.spy}, err
}

type spyStatement struct {
	driver.Stmt
	query string
	spy   *spy
}

func (s spyStatement) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	s.spy.saw(s.query)
	return s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
}

func (c spyConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
}

// PayAfter is how long a mark may wait for another write.
const PayAfter time.Duration = payAfter

// LockMigrations holds the lock of migrations.
func (s *Store) LockMigrations(t testing.TB) (release func()) {
	t.Helper()
	db, done, _, _, err := s.dialect.migrator(s.writer)
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := s.dialect.lockMigrations(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		unlock()
		done()
	}
}
