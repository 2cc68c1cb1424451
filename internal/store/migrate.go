package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"orderflow/internal/sqldb"
)

// migrations contains the schema of each dialect, step by step: the same numbers in both, one statement a step, because MySQL
// commits at each.
//
//go:embed migrations/*/*.sql
var migrations embed.FS

// Migration is one step of the schema.
type Migration = sqldb.Migration

// LastStep is the step of the schema that MigrateDown reverts, and what it deletes.
type LastStep = sqldb.LastStep

func schema() sqldb.Schema {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the name is a constant
	}
	return sqldb.Schema{Files: files, MayDelete: mayDelete}
}

// Migrate brings the schema up to this binary's (see sqldb.DB.Migrate). Several processes may migrate at once: one does it, the
// others wait.
func (s *Store) Migrate(ctx context.Context) error { return coded(s.db.Migrate(ctx, s.schema)) }

// MigrateFresh drops everything and builds the schema anew (see sqldb.DB.MigrateFresh).
func (s *Store) MigrateFresh(ctx context.Context) error {
	return coded(s.db.MigrateFresh(ctx, s.schema))
}

// Migrations returns all steps with the times at which they were applied.
func (s *Store) Migrations(ctx context.Context) ([]Migration, error) {
	steps, err := s.db.Migrations(ctx, s.schema)
	return steps, coded(err)
}

// CheckSchema returns CodeUnavailable, with the remedy, when the schema of the database is not this binary's.
func (s *Store) CheckSchema(ctx context.Context) error { return coded(s.db.CheckSchema(ctx, s.schema)) }

// LastStep returns the step that MigrateDown would revert. It returns the errors of MigrateDown.
func (s *Store) LastStep(ctx context.Context) (LastStep, error) {
	last, err := s.db.LastStep(ctx, s.schema)
	return last, coded(err)
}

// MigrateDown reverts the last step, which must still be the one with this version (see sqldb.DB.MigrateDown). It returns
// CodeNotFound when there is none, and CodeUnavailable also when the step deletes open failed jobs or unpublished events.
func (s *Store) MigrateDown(ctx context.Context, version int64) error {
	return coded(s.db.MigrateDown(ctx, s.schema, version))
}

// mayDelete refuses to delete failed jobs that are open, and events that are not published: their orders would wait for ever. A
// failed job needs the outbox too, to be retried or abandoned.
func mayDelete(ctx context.Context, db *sql.DB, last LastStep) error {
	if last.Table != "failed_jobs" && last.Table != "outbox" {
		return nil
	}
	count := func(query string) (n int64, err error) {
		err = db.QueryRowContext(ctx, query).Scan(&n)
		return n, err
	}
	jobs, err := count("SELECT count(*) FROM failed_jobs WHERE resolved_at IS NULL")
	if err != nil {
		return err
	}
	if jobs > 0 {
		return unavailable("The migration %s stays: failed jobs are open (%d), and their orders would wait for ever. "+
			"Retry or abandon each of them (orderflow migrate up, then orderflow failed-jobs list), and try again.", last.Name, jobs)
	}
	if last.Table != "outbox" {
		return nil
	}
	unpublished, err := count("SELECT count(*) FROM outbox WHERE paid_at IS NULL") // the name before step 22, which is reverted by now
	if err == nil && unpublished > 0 {
		err = unavailable("The migration %s stays: transactions have events that are not published (%d). "+
			"Start a server, which publishes them within seconds, stop it, and try again.", last.Name, unpublished)
	}
	return err
}

func unavailable(format string, args ...any) error {
	return &sqldb.Error{Kind: sqldb.Unavailable, Message: fmt.Sprintf(format, args...)}
}
