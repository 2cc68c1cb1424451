package sqldb

import (
	"context"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"github.com/pressly/goose/v3"
)

// LastStep is the step of the schema that MigrateDown reverts, and what it deletes.
type LastStep struct {
	Version  int64
	Name     string
	Table    string // whose rows are deleted; "" for none
	RowsOnly bool   // the table itself stays
	Column   string // of the table, when only its values are deleted
	Rows     int64  // that are deleted, or whose value is
}

// LastStep returns the step that MigrateDown would revert. It returns the errors of MigrateDown.
func (db *DB) LastStep(ctx context.Context, schema Schema) (last LastStep, err error) {
	err = db.migrating(ctx, schema, func(m migration) error {
		if err := db.checkAlone(ctx, m.db); err != nil {
			return err
		}
		last, err = m.lastStep(ctx, schema)
		return err
	})
	return last, err
}

// MigrateDown reverts the last step, which must still be the one with this version. It returns NotFound when there is none,
// and Unavailable in these cases:
//
//   - others are connected to a database on a server: a server process could continue with what no longer exists (an SQLite
//     file has its lock file);
//   - Schema.MayDelete refuses;
//   - another process has reverted the step.
func (db *DB) MigrateDown(ctx context.Context, schema Schema, version int64) error {
	return db.migrating(ctx, schema, func(m migration) error {
		if err := db.checkAlone(ctx, m.db); err != nil {
			return err
		}
		last, err := m.lastStep(ctx, schema)
		if err != nil {
			return err
		}
		if last.Version != version {
			return errorf(Unavailable, "The last migration is now %s: another process has changed the schema. Try again.", last.Name)
		}
		return db.retryChange(ctx, func(ctx context.Context) ([]*goose.MigrationResult, error) {
			_, err := m.Down(ctx)
			return nil, err
		})
	})
}

func (m migration) lastStep(ctx context.Context, schema Schema) (last LastStep, err error) {
	version, err := m.GetDBVersion(ctx)
	if err != nil {
		return last, err
	}
	var file string
	for _, source := range m.ListSources() {
		if source.Version == version {
			file = source.Path
		}
	}
	if file == "" {
		return last, errorf(NotFound, "There is no migration to revert.")
	}
	text, err := fs.ReadFile(m.files, file)
	if err != nil {
		return last, err
	}
	last.Version, last.Name = version, strings.TrimSuffix(file, ".sql")
	_, down, _ := strings.Cut(string(text), "-- +goose Down\n")
	rows, err := last.parse(strings.TrimSpace(down))
	if err != nil || rows == "" {
		return last, err
	}
	if schema.MayDelete != nil {
		if err := schema.MayDelete(ctx, m.db, last); err != nil {
			return last, err
		}
	}
	err = m.db.QueryRowContext(ctx, rows).Scan(&last.Rows)
	return last, err
}

// The down migrations that a step may have.
var (
	deletesRows   = regexp.MustCompile(`(?i)^(DROP TABLE(?: IF EXISTS)?|DELETE FROM) (\w+);$`)
	deletesColumn = regexp.MustCompile(`(?i)^ALTER TABLE (\w+) DROP COLUMN (\w+);$`)
	deletesNone   = regexp.MustCompile(`(?i)^(?:(?:DROP INDEX \w+(?: ON \w+)?|CREATE INDEX \w+ ON \w+ \([\w, ]+\)|` +
		`ALTER TABLE \w+ RENAME COLUMN \w+ TO \w+|ALTER INDEX \w+ RENAME TO \w+|` +
		`SET @rename = IF\(\(SELECT [^;']*'[^;']*'[^;']*'[^;']*'\) > 0,\s+'ALTER TABLE \w+(?:,? RENAME (?:COLUMN|INDEX) \w+ TO \w+)+` +
		`, ALGORITHM=INPLACE, LOCK=NONE', 'DO 0'\)|PREPARE \w+ FROM @rename|EXECUTE \w+|DEALLOCATE PREPARE \w+|SELECT 1);\s*)+$`)
)

// parse reads what a down migration deletes, and returns the query that counts it; "" for nothing.
func (l *LastStep) parse(down string) (query string, err error) {
	if found := deletesRows.FindStringSubmatch(down); found != nil {
		l.Table, l.RowsOnly = found[2], strings.EqualFold(found[1], "DELETE FROM")
		return "SELECT count(*) FROM " + l.Table, nil
	}
	if found := deletesColumn.FindStringSubmatch(down); found != nil {
		l.Table, l.Column = found[1], found[2]
		return "SELECT count(" + l.Column + ") FROM " + l.Table, nil
	}
	if !deletesNone.MatchString(down) {
		return "", fmt.Errorf("migration %s: cannot determine which rows its down migration deletes", l.Name)
	}
	return "", nil
}
