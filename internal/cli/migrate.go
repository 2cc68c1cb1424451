package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"orderflow/internal/app"
	"orderflow/internal/config"
)

type migrateCommand struct {
	Up     migrateUpCommand     `cmd:"" help:"Apply all pending migrations."`
	Down   migrateDownCommand   `cmd:"" help:"Revert the last migration; asks first."`
	Status migrateStatusCommand `cmd:"" help:"List all migrations and when each was applied."`
	Fresh  migrateFreshCommand  `cmd:"" help:"Delete all tables and create an empty schema; asks first."`
}

type migrateUpCommand struct {
	config.Common
	config.Store
}

// Run applies all pending migrations.
func (m migrateUpCommand) Run(ctx context.Context, streams Streams) error {
	return withNewDatabase(ctx, databaseSettings(m.Store), func(db *app.Database) error {
		if err := db.WithoutServer(func() error { return db.Migrate(ctx) }); err != nil {
			return err
		}
		_, err := fmt.Fprintln(streams.Out, "The schema is up to date.")
		return err
	})
}

type migrateDownCommand struct {
	config.Common
	config.Store
	Yes bool `help:"Do not ask."`
}

// Run reverts the last migration, after asking.
func (m migrateDownCommand) Run(ctx context.Context, streams Streams) error {
	return withDatabase(ctx, databaseSettings(m.Store), func(db *app.Database) error {
		return db.WithoutServer(func() error {
			last, err := db.LastStep(ctx)
			if err != nil {
				return err
			}
			if !m.Yes {
				question := fmt.Sprintf("This reverts the migration %s of %s, and deletes %s.", last.Name, displayName(m.Database), deleted(last))
				if err := confirm(streams, question); err != nil {
					return err
				}
			}
			if err := db.MigrateDown(ctx, last.Version); err != nil {
				return err
			}
			_, err = fmt.Fprintf(streams.Out, "The migration %s was reverted. It deleted %s.\n", last.Name, deleted(last))
			return err
		})
	})
}

// deleted describes what reverting a migration deletes.
func deleted(last app.LastStep) string {
	switch {
	case last.Table == "":
		return "no rows"
	case last.Column != "":
		return fmt.Sprintf("the column %s of the table %s (values: %d)", last.Column, last.Table, last.Rows)
	case last.RowsOnly:
		return fmt.Sprintf("the rows of the table %s (rows: %d)", last.Table, last.Rows)
	default:
		return fmt.Sprintf("the table %s (rows: %d)", last.Table, last.Rows)
	}
}

type migrateStatusCommand struct {
	config.Common
	config.Store
}

// Run lists all migrations.
func (m migrateStatusCommand) Run(ctx context.Context, streams Streams) error {
	return withDatabase(ctx, databaseSettings(m.Store), func(db *app.Database) error {
		steps, err := db.Migrations(ctx)
		if err != nil {
			return err
		}
		rows := []string{"MIGRATION\tAPPLIED"}
		for _, step := range steps {
			applied := "pending"
			if !step.AppliedAt.IsZero() {
				applied = step.AppliedAt.UTC().Format(time.DateTime)
			}
			rows = append(rows, strings.TrimSuffix(step.Name, ".sql")+"\t"+applied)
		}
		return writeTable(streams.Out, rows)
	})
}

type migrateFreshCommand struct {
	config.Common
	config.Store
	Yes bool `help:"Do not ask."`
}

// Run deletes all tables and creates an empty schema, after asking.
func (m migrateFreshCommand) Run(ctx context.Context, streams Streams) error {
	if !m.Yes {
		if err := confirm(streams, fmt.Sprintf("This deletes every order, product and user in %s.", displayName(m.Database))); err != nil {
			return err
		}
	}
	return withNewDatabase(ctx, databaseSettings(m.Store), func(db *app.Database) error {
		if err := db.WithoutServer(func() error { return db.MigrateFresh(ctx) }); err != nil {
			return err
		}
		_, err := fmt.Fprintf(streams.Out, "The schema is new and holds no data. To add sample data, run: %s\n", seedLine(m.Database))
		return err
	})
}
