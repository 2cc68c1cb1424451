package sqldb

import (
	"context"
	"database/sql"
	"sync"
	"time"
)

const (
	readTries    = 3               // runs of a read that loses its connection
	replicaLimit = 2 * time.Second // for the replica's answer; after that the primary answers
	replicaPause = time.Second     // during which a replica that failed is not used
)

// Scan reads the columns of one row into targets.
type Scan = func(targets ...any) error

// QueryFunc runs one query and calls read for each row.
type QueryFunc func(ctx context.Context, read func(scan Scan) error, query string, args ...any) error

// Pool is the connections for reads, with the statements that are prepared on them. Queries come from a small set of texts.
type Pool struct {
	*sql.DB

	prepares bool
	prepared sync.Map // query → *sql.Stmt
}

// NewPool returns a Pool of these connections.
func NewPool(db *sql.DB, prepares bool) *Pool { return &Pool{DB: db, prepares: prepares} }

// Rows reads all rows of a query. The query is prepared once and kept where the dialect prepares statements.
func (p *Pool) Rows(ctx context.Context, read func(scan Scan) error, query string, args ...any) error {
	if !p.prepares {
		found, err := p.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		return Each(found, read)
	}
	kept, ok := p.prepared.Load(query)
	if !ok {
		statement, err := p.PrepareContext(ctx, query)
		if err != nil {
			return err
		}
		var raced bool
		if kept, raced = p.prepared.LoadOrStore(query, statement); raced {
			_ = statement.Close() //nolint:sqlclosecheck // another one was faster, and serves both
		}
	}
	found, err := kept.(*sql.Stmt).QueryContext(ctx, args...) //nolint:forcetypeassert // nothing else is kept
	if err != nil {
		return err
	}
	return Each(found, read)
}

// Each reads all rows and closes them. It also returns errors that come at the end of the rows.
func Each(found *sql.Rows, read func(scan Scan) error) error {
	defer found.Close()
	for found.Next() {
		if err := read(found.Scan); err != nil {
			return err
		}
	}
	return found.Err()
}

// Read runs queries under the limit for reads. It runs them again when their connection breaks, so they must begin anew each
// time.
func (db *DB) Read(ctx context.Context, queries func(ctx context.Context) error) error {
	return db.ReadWithin(ctx, db.Limits.Read, queries)
}

// ReadWithin is Read under another limit.
func (db *DB) ReadWithin(ctx context.Context, limit time.Duration, queries func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for try := 1; ; try++ {
		err := queries(ctx)
		if db.dialect.classify(err) != lost || try == readTries || ctx.Err() != nil {
			return db.explained(err)
		}
	}
}

// ReadReplica is Read for rows that may be a little old: the replica answers if there is one and it works, else the primary.
func (db *DB) ReadReplica(ctx context.Context, queries func(ctx context.Context, query QueryFunc) error) error {
	if db.Replica != nil && time.Now().UnixNano() >= db.replicaDown.Load() {
		err := db.Read(ctx, func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, replicaLimit)
			defer cancel()
			return queries(ctx, db.Replica.Rows)
		})
		if !isUnavailable(err) || ctx.Err() != nil {
			return err
		}
		db.replicaDown.Store(time.Now().Add(replicaPause).UnixNano())
	}
	return db.Read(ctx, func(ctx context.Context) error { return queries(ctx, db.Reader.Rows) })
}

// Snapshot runs queries on one moment of the database.
func (db *DB) Snapshot(ctx context.Context, queries func(tx *sql.Tx) error) error {
	tx, err := db.Reader.BeginTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: db.dialect.snapshot()})
	if err != nil {
		return db.explained(err)
	}
	defer func() { _ = tx.Rollback() }() // it only reads
	return db.explained(queries(tx))
}

// Clock is the time that rows are compared with: the database's, or the process's where the database is a file of its own.
func (db *DB) Clock(ctx context.Context) (now time.Time, err error) {
	expression := db.dialect.Clock()
	if expression == "" {
		return db.now(), nil
	}
	err = db.Reader.QueryRowContext(ctx, "SELECT "+expression).Scan(ScanTime(&now))
	return now, db.explained(err)
}

// Lookup runs queries on one connection, without a transaction. On SQLite it is the writer's: that connection has the latest
// rows in memory, while a reader drops its cache at every commit and reads them from the disk again.
func (db *DB) Lookup(ctx context.Context, queries func(*Tx) error) error {
	if !db.dialect.readsOnWriter() {
		return db.Read(ctx, func(ctx context.Context) error {
			conn, err := db.Reader.Conn(ctx)
			if err != nil {
				return err
			}
			defer func() { _ = conn.Close() }() // back to its pool
			return queries(&Tx{ctx: ctx, db: db, w: &writer{conn: conn}})
		})
	}
	ctx, cancel := context.WithTimeout(ctx, db.Limits.Read)
	defer cancel()
	w, err := db.takeWriter(ctx)
	if err != nil {
		return err
	}
	defer func() { db.writers.put(w) }()
	t := &Tx{ctx: ctx, db: db, w: w}
	if err = t.connect(); err == nil {
		err = queries(t)
	}
	if class := db.dialect.classify(err); class == unavailable || class == damaged {
		w.drop()
	}
	return db.explained(err)
}
