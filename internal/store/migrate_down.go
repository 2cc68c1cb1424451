package store

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"github.com/pressly/goose/v3"

	"orderflow/internal/order"
)

// LastStep is the step of the schema that MigrateDown takes back, and what it deletes.
type LastStep struct {
	Version  int64
	Name     string
	Table    string // whose rows are deleted; "" for none
	RowsOnly bool   // the table itself stays
	Column   string // of the table, when only its values are deleted
	Rows     int64  // that are deleted, or whose value is
}

// LastStep returns the step that MigrateDown would take back. It returns the errors of MigrateDown.
func (s *Store) LastStep(ctx context.Context) (last LastStep, err error) {
	err = s.migrating(ctx, func(p *goose.Provider, db *sql.DB, files fs.FS) error {
		if err := s.alone(ctx, db); err != nil {
			return err
		}
		last, err = s.lastStep(ctx, p, db, files)
		return err
	})
	return last, err
}

// MigrateDown takes the last step back, which must still be the one with this version. It returns CodeNotFound when there is
// none, and CodeUnavailable in these cases:
//
//   - others are connected to a MySQL database: a server could go on with what is no longer there (an SQLite file has its
//     guard);
//   - the step deletes failed jobs that are open, or events that are not published: their orders would wait for ever;
//   - another process has taken the step back.
func (s *Store) MigrateDown(ctx context.Context, version int64) error {
	return s.migrating(ctx, func(p *goose.Provider, db *sql.DB, files fs.FS) error {
		if err := s.alone(ctx, db); err != nil {
			return err
		}
		last, err := s.lastStep(ctx, p, db, files)
		if err != nil {
			return err
		}
		if last.Version != version {
			return order.Errorf(order.CodeUnavailable, "The last step is %s by now: another process has changed the schema. Try again.", last.Name)
		}
		return s.insist(ctx, func(ctx context.Context) ([]*goose.MigrationResult, error) {
			_, err := p.Down(ctx)
			return nil, err
		})
	})
}

func (s *Store) lastStep(ctx context.Context, p *goose.Provider, db *sql.DB, files fs.FS) (last LastStep, err error) {
	version, err := p.GetDBVersion(ctx)
	if err != nil {
		return last, err
	}
	var file string
	for _, source := range p.ListSources() {
		if source.Version == version {
			file = source.Path
		}
	}
	if file == "" {
		return last, order.Errorf(order.CodeNotFound, "There is no migration to take back.")
	}
	text, err := fs.ReadFile(files, file)
	if err != nil {
		return last, err
	}
	last.Version, last.Name = version, strings.TrimSuffix(file, ".sql")
	_, down, _ := strings.Cut(string(text), "-- +goose Down\n")
	rows, err := last.reads(strings.TrimSpace(down))
	if err != nil || rows == "" {
		return last, err
	}
	if err := checkNothingWaits(ctx, db, last); err != nil {
		return last, err
	}
	err = db.QueryRowContext(ctx, rows).Scan(&last.Rows)
	return last, err
}

// The ways down that a step may have.
var (
	deletesRows   = regexp.MustCompile(`(?i)^(DROP TABLE(?: IF EXISTS)?|DELETE FROM) (\w+);$`)
	deletesColumn = regexp.MustCompile(`(?i)^ALTER TABLE (\w+) DROP COLUMN (\w+);$`)
	deletesNone   = regexp.MustCompile(`(?i)^(?:DROP INDEX \w+(?: ON \w+)?|SELECT 1);$`)
)

// reads says what a way down deletes, and returns the query that counts it; "" for nothing.
func (l *LastStep) reads(down string) (query string, err error) {
	if found := deletesRows.FindStringSubmatch(down); found != nil {
		l.Table, l.RowsOnly = found[2], strings.EqualFold(found[1], "DELETE FROM")
		return "SELECT count(*) FROM " + l.Table, nil
	}
	if found := deletesColumn.FindStringSubmatch(down); found != nil {
		l.Table, l.Column = found[1], found[2]
		return "SELECT count(" + l.Column + ") FROM " + l.Table, nil
	}
	if !deletesNone.MatchString(down) {
		return "", fmt.Errorf("step %s: cannot determine which rows its down migration deletes", l.Name)
	}
	return "", nil
}

// checkNothingWaits refuses to delete the rows that orders wait for. A failed job needs the outbox too: nobody can retry or
// abandon it without.
func checkNothingWaits(ctx context.Context, db *sql.DB, last LastStep) error {
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
		return order.Errorf(order.CodeUnavailable, "The step %s stays: failed jobs are open (%d), and their orders would wait for ever. "+
			"Retry or abandon each of them (orderflow migrate up, then orderflow jobs list), and try again.", last.Name, jobs)
	}
	if last.Table != "outbox" {
		return nil
	}
	unpublished, err := count("SELECT count(*) FROM outbox WHERE paid_at IS NULL")
	if err == nil && unpublished > 0 {
		err = order.Errorf(order.CodeUnavailable, "The step %s stays: transactions have events that are not published (%d). "+
			"Start a server, which publishes them within seconds, stop it, and try again.", last.Name, unpublished)
	}
	return err
}
