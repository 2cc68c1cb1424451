package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"modernc.org/sqlite"

	"orderflow/internal/order"
	"orderflow/internal/sqldb"
)

// Access to internals for tests outside of the package.

// WriteLimit is the longest time that a write takes.
const WriteLimit = writeLimit

// AllowTime replaces the time limits of writes and reads.
func (s *Store) AllowTime(d time.Duration) { s.db.Limits = sqldb.Limits{Write: d, Read: d} }

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

// Bounds of the marks of published events.
const (
	MarksAtOnce  = marksAtOnce
	PublishedMax = publishedMax
	MarkAfter    = markAfter
)

// Remembered is the number of published batches that wait to be marked.
func (s *Store) Remembered() int { return s.remembered() }

// HoldWriter keeps a writer in a transaction until release is called, like a stuck transaction.
func (s *Store) HoldWriter(ctx context.Context) (release func()) {
	held, end, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Write(ctx, func() error {
			close(held)
			<-end
			return errors.New("the transaction is given up")
		})
	}()
	<-held
	return func() {
		close(end)
		<-done
	}
}

// Reconnect makes the next writer open a new connection.
func (s *Store) Reconnect(ctx context.Context) {
	_ = s.Write(ctx, func() error { return context.DeadlineExceeded }) // after an unavailable database a connection is not used again
}

// LoseCommit makes the next COMMIT lose its connection, so that the store has to ensure that the session has ended.
func (s *Store) LoseCommit() {
	commit := s.db.Commit
	s.db.Commit = func(_ context.Context, conn *sql.Conn) error {
		s.db.Commit = commit
		return conn.Raw(func(any) error { return driver.ErrBadConn })
	}
}

// WriterSession returns the id of the next writer's connection at the MySQL server.
func (s *Store) WriterSession(ctx context.Context) (id int64, err error) {
	err = s.write(ctx, "test", func(t *tx) error {
		return t.Query(func(scan sqldb.Scan) error { return scan(&id) }, "SELECT CONNECTION_ID()")
	})
	return id, err
}

// ReadFrom connects the connections for reads to the database of another store.
func (s *Store) ReadFrom(other *Store) (back func()) {
	own := s.db.Reader
	s.db.Reader = other.db.Reader
	return func() { s.db.Reader = own }
}

// HoldReaders opens n connections for reads, and returns them to their pool.
func (s *Store) HoldReaders(ctx context.Context, n int) error {
	var held []*sql.Conn
	defer func() {
		for _, conn := range held {
			_ = conn.Close()
		}
	}()
	for range n {
		conn, err := s.db.Reader.Conn(ctx)
		if err != nil {
			return err
		}
		held = append(held, conn)
	}
	return nil
}

// Write runs work in a write transaction.
func (s *Store) Write(ctx context.Context, work func() error) error {
	return s.write(ctx, "test", func(*tx) error { return work() })
}

// FailCommit makes the next COMMIT return fault, after its execution or instead of it.
func (s *Store) FailCommit(done bool, fault error) {
	if done {
		s.AfterCommit(func() {}, fault)
		return
	}
	commit := s.db.Commit
	s.db.Commit = func(context.Context, *sql.Conn) error {
		s.db.Commit = commit
		return fault
	}
}

// AfterCommit makes the next COMMIT return fault, after its execution and a call of then.
func (s *Store) AfterCommit(then func(), fault error) {
	commit := s.db.Commit
	s.db.Commit = func(ctx context.Context, conn *sql.Conn) error {
		s.db.Commit = commit
		if err := commit(ctx, conn); err != nil {
			return errors.Join(err, errors.New("the COMMIT that should have been done was not"))
		}
		then()
		return fault
	}
}

// ApplyLate reads orders and decides, changes their rows by a statement in the same transaction, and then applies the decision, as if
// another transaction had changed the rows in between.
func (s *Store) ApplyLate(ctx context.Context, ids []int64, change string, decide func(map[int64]*order.Order) order.Effects) error {
	return s.write(ctx, "test", func(t *tx) error {
		orders, _, err := t.lockOrders(ids, false)
		if err != nil {
			return err
		}
		effects := decide(orders)
		if _, err := t.Exec(change); err != nil {
			return err
		}
		_, err = t.apply(&effects, false)
		return err
	})
}

// LockedRows returns the number of rows that are remembered as locked.
func (s *Store) LockedRows() int { return int(s.locked.count.Load()) }

// FakeTime replaces the time of a process: the wall clock and the elapsed time, each since the store was opened.
type FakeTime struct{ Wall, Elapsed time.Duration }

// FakeTime replaces the time of the store from now on. One goroutine may use the store and the FakeTime.
func (s *Store) FakeTime() *FakeTime {
	fake := &FakeTime{}
	s.steady.read = func() (time.Time, time.Duration) { return s.steady.start.Add(fake.Wall), fake.Elapsed }
	return fake
}

// Pass advances both clocks.
func (f *FakeTime) Pass(d time.Duration) { f.Wall, f.Elapsed = f.Wall+d, f.Elapsed+d }

// CloseReader makes all reads fail.
func (s *Store) CloseReader() { _ = s.db.Reader.Close() }

// MigrationFiles are the embedded migrations.
func MigrationFiles() fs.FS { return migrations }

// AddSteps adds steps to the schema, as a later release would. Each is a name and its two statements.
func (s *Store) AddSteps(t testing.TB, steps ...[3]string) {
	t.Helper()
	all := fstest.MapFS{}
	err := fs.WalkDir(s.schema.Files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(s.schema.Files, path)
		all[path] = &fstest.MapFile{Data: text}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	had := len(all) / 2 // dialects
	for i, step := range steps {
		text := "-- +goose Up\n" + step[1] + ";\n\n-- +goose Down\n" + step[2] + ";\n"
		all[fmt.Sprintf("%s/%05d_%s.sql", s.db.Name(), had+i+1, step[0])] = &fstest.MapFile{Data: []byte(text)}
	}
	s.schema.Files = all
}

// SpyOnReads records the text of every read from now on.
func (s *Store) SpyOnReads(path string) (texts func() []string) {
	spy := newSpy(path)
	_ = s.db.Reader.Close()
	s.db.Reader = sqldb.NewPool(sql.OpenDB(spy), true)
	return func() []string {
		spy.lock.Lock()
		defer spy.lock.Unlock()
		found := spy.asked
		spy.asked = nil
		return found
	}
}

// SpyOnWrites records the text of every statement that a writer prepares from now on.
func (s *Store) SpyOnWrites(ctx context.Context, path string) (texts func() []string) {
	spy := newSpy(path)
	s.Reconnect(ctx)
	_ = s.db.Writer.Close()
	s.db.Writer = sql.OpenDB(spy)
	return func() []string {
		spy.lock.Lock()
		defer spy.lock.Unlock()
		return slices.Clone(spy.prepared)
	}
}

// spy is a connector whose connections record the statements.
type spy struct {
	dsn             string
	lock            sync.Mutex
	asked, prepared []string
}

func newSpy(path string) *spy { return &spy{dsn: "file:" + (&url.URL{Path: path}).EscapedPath()} }

func (s *spy) Connect(context.Context) (driver.Conn, error) {
	conn, err := s.Driver().Open(s.dsn)
	return spyConn{conn, s}, err
}

func (s *spy) Driver() driver.Driver { return &sqlite.Driver{} }

type spyConn struct {
	driver.Conn
	spy *spy
}

func (s *spy) saw(list *[]string, query string) {
	s.lock.Lock()
	defer s.lock.Unlock()
	*list = append(*list, query)
}

func (c spyConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.spy.saw(&c.spy.asked, query)
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

func (c spyConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	c.spy.saw(&c.spy.prepared, query)
	statement, err := c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
	return spyStatement{statement, query, c.spy}, err
}

type spyStatement struct {
	driver.Stmt
	query string
	spy   *spy
}

func (s spyStatement) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	s.spy.saw(&s.spy.asked, s.query)
	return s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
}

func (c spyConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

func (s spyStatement) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
}

func (c spyConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
}
