package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"

	"orderflow/internal/order"
)

// migrations holds the schema of each dialect, step by step: the same numbers in both, one statement a step, because
// MySQL commits at each.
//
//go:embed migrations/*/*.sql
var migrations embed.FS

// Migration is one step of the schema.
type Migration struct {
	Version   int64
	Name      string
	AppliedAt time.Time // zero while pending
}

// Migrate brings the schema up to this binary's, and makes sure that the database can be written. A schema that is newer
// than the binary is an error and stays as it is. Several processes may migrate at once: one does it, the others wait. It
// returns CodeUnavailable when others read the tables for longer than forty seconds.
func (s *Store) Migrate(ctx context.Context) error {
	return s.migrating(ctx, func(p *goose.Provider, _ *sql.DB, _ fs.FS) error {
		if err := s.checkWritable(ctx); err != nil {
			return err
		}
		if pending, err := p.HasPending(ctx); err != nil || !pending {
			return err
		}
		return s.insist(ctx, p.Up)
	})
}

const (
	migrateTries = 10              // which is less than those who wait for the lock of migrations wait
	migratePause = 3 * time.Second // in which orders go on that waited behind a try
)

// insist changes the schema, and again when others kept the tables: an audit or a dump reads them for minutes. Each step may
// run again, and those that were done are not.
func (s *Store) insist(ctx context.Context, change func(context.Context) ([]*goose.MigrationResult, error)) error {
	for try := 1; ; try++ {
		_, err := change(ctx)
		switch {
		case s.dialect.classify(err) != classTransient:
			return err
		case try < migrateTries && sleep(ctx, migratePause):
		case ctx.Err() != nil:
			return ctx.Err()
		default:
			return order.Errorf(order.CodeUnavailable, "Cannot migrate the database: somebody has been reading its tables for too long, "+
				"such as an audit, a dump or a transaction by hand; wait for its end, or end it, and try again.")
		}
	}
}

// checkWritable writes a row as it is and gives that up: to begin a write alone succeeds on a read-only file.
func (s *Store) checkWritable(ctx context.Context) error {
	conn, err := s.writer.Conn(ctx)
	if err != nil {
		return err
	}
	w := &writer{conn: conn}
	defer w.drop() // whatever became of the transaction
	if begin := s.dialect.begin(); begin != "" {
		_, err = conn.ExecContext(ctx, begin)
	}
	if err == nil {
		_, err = conn.ExecContext(ctx, "UPDATE goose_db_version SET is_applied = is_applied WHERE version_id = 0")
	}
	return err
}

// MigrateFresh drops everything and builds the schema anew. It refuses like MigrateDown: a worker that went on would charge
// new orders under the old ones' keys.
func (s *Store) MigrateFresh(ctx context.Context) error {
	return s.migrating(ctx, func(p *goose.Provider, db *sql.DB, _ fs.FS) error {
		if err := s.alone(ctx, db); err != nil {
			return err
		}
		if _, err := p.DownTo(ctx, 0); err != nil {
			return err
		}
		_, err := p.Up(ctx)
		return err
	})
}

// Migrations returns all steps with when they were applied.
func (s *Store) Migrations(ctx context.Context) (steps []Migration, err error) {
	err = s.migrating(ctx, func(p *goose.Provider, _ *sql.DB, _ fs.FS) error {
		found, err := p.Status(ctx)
		for _, m := range found {
			steps = append(steps, Migration{Version: m.Source.Version, Name: m.Source.Path, AppliedAt: m.AppliedAt})
		}
		return err
	})
	return steps, err
}

// CheckSchema returns CodeUnavailable, with the remedy, when the schema of the database is not this binary's.
func (s *Store) CheckSchema(ctx context.Context) error {
	files, err := fs.Glob(s.steps, "migrations/sqlite/*.sql") // the numbers are the same for each dialect
	if err != nil {
		return err
	}
	var knows, has int64
	for _, file := range files {
		number, err := goose.NumericComponent(file)
		if err != nil {
			return err
		}
		knows = max(knows, number)
	}
	err = s.read(ctx, func(ctx context.Context) error {
		return s.reader.QueryRowContext(ctx, "SELECT COALESCE(max(version_id), 0) FROM goose_db_version").Scan(&has)
	})
	switch {
	case err != nil:
		return err
	case has > knows:
		return newerSchema(has, knows)
	case has < knows:
		return order.Errorf(order.CodeUnavailable, "The database has schema %d, this binary needs %d: run orderflow migrate up.", has, knows)
	}
	return nil
}

func newerSchema(has, knows int64) error {
	return order.Errorf(order.CodeUnavailable, "The database has schema %d, this binary knows up to %d: use a newer orderflow.", has, knows)
}

// migrating runs work with nobody writing in this process, and refuses a schema newer than the binary.
func (s *Store) migrating(ctx context.Context, work func(*goose.Provider, *sql.DB, fs.FS) error) error {
	var taken []*writer
	defer func() {
		for _, w := range taken {
			s.writers.put(w)
		}
	}()
	for range s.Writers() {
		select {
		case <-s.writers.free:
			w := s.writers.pop()
			w.drop() // goose takes its own connection from the pool
			taken = append(taken, w)
		case <-s.closed:
			return order.Errorf(order.CodeUnavailable, "The database is closed.")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	db, done, folder, kind, err := s.dialect.migrator(s.writer)
	if err != nil {
		return s.migrateError(err)
	}
	defer done()
	release, err := s.dialect.lockMigrations(ctx, db)
	if err != nil {
		return err
	}
	defer release()
	if foreign, err := s.dialect.foreign(ctx, db); err != nil || foreign {
		if err != nil {
			return s.migrateError(err)
		}
		return order.Errorf(order.CodeUnavailable, "The database holds tables of another program; give Orderflow one of its own.")
	}
	files, err := fs.Sub(s.steps, folder)
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(kind, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	has, err := p.GetDBVersion(ctx)
	if err != nil {
		return s.migrateError(err)
	}
	sources := p.ListSources()
	if knows := sources[len(sources)-1].Version; has > knows {
		return newerSchema(has, knows)
	}
	return s.migrateError(work(p, db, files))
}

// aloneWithin is how long a connection that was closed may still be shown by the server.
const aloneWithin = 2 * time.Second

// alone returns CodeUnavailable while others than this process, which migrates over db, are connected to the database.
func (s *Store) alone(ctx context.Context, db *sql.DB) error {
	for deadline := time.Now().Add(aloneWithin); ; {
		all, err := s.dialect.sessions(ctx, db)
		if err != nil {
			return err
		}
		own := s.writer.Stats().OpenConnections + s.reader.Stats().OpenConnections
		if db != s.writer {
			own += db.Stats().OpenConnections
		}
		switch {
		case all <= own:
			return nil
		case time.Now().After(deadline):
			return order.Errorf(order.CodeUnavailable,
				"%d others are connected to the database: stop all servers and tools on it, and try again.", all-own)
		}
		pause := time.NewTimer(aloneWithin / 20)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		}
	}
}

func (s *Store) migrateError(err error) error {
	if err == nil || order.CodeOf(err) != order.CodeInternal {
		return err
	}
	return &order.Error{Code: order.CodeUnavailable, Message: fmt.Sprintf("Cannot migrate the database: %s", s.dialect.explain(err))}
}
