package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
)

// Schema is the steps of a product's schema: files in a folder for each dialect, under its name, with the same numbers.
type Schema struct {
	Files fs.FS

	// MayDelete returns an error when the rows that reverting a step deletes are still needed.
	MayDelete func(ctx context.Context, db *sql.DB, last LastStep) error
}

// Migration is one step of the schema.
type Migration struct {
	Version   int64
	Name      string
	AppliedAt time.Time // zero while pending
}

// Migrate brings the schema up to this binary's, and makes sure that the database can be written. A schema that is newer
// than the binary is an error and stays as it is. Several processes may migrate at once: one does it, the others wait. It
// returns Unavailable when others read the tables for longer than forty seconds.
func (db *DB) Migrate(ctx context.Context, schema Schema) error {
	return db.migrating(ctx, schema, func(m migration) error {
		if err := db.testWrite(ctx); err != nil {
			return err
		}
		if pending, err := m.HasPending(ctx); err != nil || !pending {
			return err
		}
		return db.retryChange(ctx, m.Up)
	})
}

// migration is a run of goose with all migration locks held.
type migration struct {
	*goose.Provider

	db    *sql.DB
	files fs.FS
}

const (
	migrateTries = 10              // less than what other processes wait for the migration lock
	migratePause = 3 * time.Second // in which transactions continue that waited behind a try
)

// retryChange changes the schema, and tries again when others kept the tables: an audit or a dump reads them for minutes. Each
// step may run again; applied steps do not.
func (db *DB) retryChange(ctx context.Context, change func(context.Context) ([]*goose.MigrationResult, error)) error {
	for try := 1; ; try++ {
		_, err := change(ctx)
		switch {
		case db.dialect.classify(err) != transient:
			return err
		case try < migrateTries && sleep(ctx, migratePause):
		case ctx.Err() != nil:
			return ctx.Err()
		default:
			return errorf(Unavailable, "Cannot migrate the database: another session has been reading its tables for too long, "+
				"such as an audit, a dump or a manual transaction. Wait until it ends, or end it, and try again.")
		}
	}
}

// testWrite updates a row to what it is, and rolls back: on a read-only file, to begin a write succeeds.
func (db *DB) testWrite(ctx context.Context) error {
	conn, err := db.Writer.Conn(ctx)
	if err != nil {
		return err
	}
	w := &writer{conn: conn}
	defer w.drop() // which also ends the transaction
	if begin := db.dialect.begin(); begin != "" {
		_, err = conn.ExecContext(ctx, begin)
	}
	if err == nil {
		_, err = conn.ExecContext(ctx, "UPDATE goose_db_version SET is_applied = is_applied WHERE version_id = 0")
	}
	return err
}

// MigrateFresh drops everything and builds the schema anew. It refuses like MigrateDown: a worker that continued would charge
// new orders under the old ones' keys.
func (db *DB) MigrateFresh(ctx context.Context, schema Schema) error {
	return db.migrating(ctx, schema, func(m migration) error {
		if err := db.checkAlone(ctx, m.db); err != nil {
			return err
		}
		if _, err := m.DownTo(ctx, 0); err != nil {
			return err
		}
		_, err := m.Up(ctx)
		return err
	})
}

// Migrations returns all steps with the times at which they were applied.
func (db *DB) Migrations(ctx context.Context, schema Schema) (steps []Migration, err error) {
	err = db.migrating(ctx, schema, func(m migration) error {
		found, err := m.Status(ctx)
		for _, step := range found {
			steps = append(steps, Migration{Version: step.Source.Version, Name: step.Source.Path, AppliedAt: step.AppliedAt})
		}
		return err
	})
	return steps, err
}

// CheckSchema returns Unavailable, with the remedy, when the schema of the database is not this binary's.
func (db *DB) CheckSchema(ctx context.Context, schema Schema) error {
	files, err := fs.Glob(schema.Files, db.Name()+"/*.sql")
	if err != nil {
		return err
	}
	var newest, has int64
	for _, file := range files {
		number, err := goose.NumericComponent(file)
		if err != nil {
			return err
		}
		newest = max(newest, number)
	}
	err = db.Read(ctx, func(ctx context.Context) error {
		return db.Reader.QueryRowContext(ctx, "SELECT COALESCE(max(version_id), 0) FROM goose_db_version").Scan(&has)
	})
	switch {
	case err != nil:
		return err
	case has > newest:
		return newerSchema(has, newest)
	case has < newest:
		return errorf(Unavailable, "The database has schema %d, this binary needs %d: run orderflow migrate up.", has, newest)
	}
	return nil
}

func newerSchema(has, newest int64) error {
	return errorf(Unavailable, "The database has schema %d, this binary knows up to %d: use a newer orderflow.", has, newest)
}

// migrating runs work while no other transaction of this process writes and no other process migrates. It refuses a schema
// newer than the binary.
func (db *DB) migrating(ctx context.Context, schema Schema, work func(migration) error) error {
	var taken []*writer
	defer func() {
		for _, w := range taken {
			db.writers.put(w)
		}
	}()
	for range db.Writers() {
		select {
		case <-db.writers.free:
			w := db.writers.pop()
			w.drop() // goose takes its own connection from the pool
			taken = append(taken, w)
		case <-db.closed:
			return errClosed()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	conns, done, kind, err := db.dialect.migrator(db.Writer)
	if err != nil {
		return db.migrateError(err)
	}
	defer done()
	release, err := db.dialect.lockMigrations(ctx, conns)
	if err != nil {
		return err
	}
	defer release()
	if foreign, err := db.dialect.foreign(ctx, conns); err != nil || foreign {
		if err != nil {
			return db.migrateError(err)
		}
		return errorf(Unavailable, "The database contains tables of another program; give Orderflow a database of its own.")
	}
	files, err := fs.Sub(schema.Files, db.Name())
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(kind, conns, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	has, err := p.GetDBVersion(ctx)
	if err != nil {
		return db.migrateError(err)
	}
	sources := p.ListSources()
	if newest := sources[len(sources)-1].Version; has > newest {
		return newerSchema(has, newest)
	}
	return db.migrateError(work(migration{p, conns, files}))
}

// aloneWithin is how long the server may still show a connection that was closed.
const aloneWithin = 2 * time.Second

// checkAlone returns Unavailable while others than this process, which migrates over conns, are connected to the database.
func (db *DB) checkAlone(ctx context.Context, conns *sql.DB) error {
	for deadline := time.Now().Add(aloneWithin); ; {
		all, err := db.dialect.sessions(ctx, conns)
		if err != nil {
			return err
		}
		own := db.Writer.Stats().OpenConnections + db.Reader.Stats().OpenConnections
		if conns != db.Writer {
			own += conns.Stats().OpenConnections
		}
		switch {
		case all <= own:
			return nil
		case time.Now().After(deadline):
			return errorf(Unavailable, "%d other sessions are connected to the database: stop all servers and tools on it, and try again.", all-own)
		}
		if !sleep(ctx, aloneWithin/20) {
			return ctx.Err()
		}
	}
}

func (db *DB) migrateError(err error) error {
	if _, ok := errors.AsType[*Error](err); err == nil || ok {
		return err
	}
	return errorf(Unavailable, "Cannot migrate the database: %s", db.dialect.explain(err))
}
