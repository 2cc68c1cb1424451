package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"orderflow/internal/app"
	"orderflow/internal/config"
)

// withDatabase opens an existing database for work.
func withDatabase(ctx context.Context, settings config.Settings, work func(*app.Database) error) error {
	return using(ctx, app.OpenDatabase, settings, work)
}

// withNewDatabase is withDatabase for commands that may create the database.
func withNewDatabase(ctx context.Context, settings config.Settings, work func(*app.Database) error) error {
	return using(ctx, app.CreateDatabase, settings, work)
}

func using(
	ctx context.Context, open func(context.Context, config.Settings) (*app.Database, error),
	settings config.Settings, work func(*app.Database) error,
) (err error) {
	db, err := open(ctx, settings)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return work(db)
}

// withSchema is withDatabase for commands that need the schema of this binary.
func withSchema(ctx context.Context, settings config.Settings, work func(*app.Database) error) error {
	return withAnySchema(ctx, settings, func(db *app.Database) error {
		if err := db.CheckSchema(ctx); err != nil {
			return fmt.Errorf("%s cannot be used: %w", displayName(settings.Database), err)
		}
		return work(db)
	})
}

// withAnySchema is withDatabase for commands that need a schema, also an older or a newer one.
func withAnySchema(ctx context.Context, settings config.Settings, work func(*app.Database) error) error {
	return withDatabase(ctx, settings, func(db *app.Database) error {
		if err := db.Ping(ctx); err != nil {
			return fmt.Errorf("%s cannot be read; if it is new, run orderflow migrate up first: %w", displayName(settings.Database), err)
		}
		return work(db)
	})
}

// displayName names a database in messages, without its password.
func displayName(database config.URL) string { return strings.TrimPrefix(database.String(), "sqlite:") }

// databaseSettings returns the defaults with this database.
func databaseSettings(database config.Store) config.Settings {
	settings := config.Defaults()
	settings.Store = database
	return settings
}

type seedCommand struct {
	config.Common
	config.Store
	config.Prices
	Stock    *int64 `help:"Set the stock of every product to N (default: unchanged)." placeholder:"N"`
	Products int64  `help:"Add products until there are N." placeholder:"N"`
	Users    int64  `help:"Add users until there are N." placeholder:"N"`
	Orders   int64  `help:"Add finished orders with their history until there are N." placeholder:"N"`
}

// Validate is called by the parser.
func (s seedCommand) Validate() error {
	for name, n := range map[string]int64{"products": s.Products, "users": s.Users, "orders": s.Orders} {
		if n < 0 || n > 100_000_000 {
			return fmt.Errorf("--%s: %d is not from 0 to 100000000", name, n)
		}
	}
	if s.Stock != nil && (*s.Stock < 0 || *s.Stock > 1_000_000_000_000) {
		return fmt.Errorf("--stock: %d is not from 0 to 1000000000000", *s.Stock)
	}
	return nil
}

// Run adds the sample data, with a progress bar for orders.
func (s seedCommand) Run(ctx context.Context, streams Streams) error {
	settings := databaseSettings(s.Store)
	settings.Prices = s.Prices
	return withNewDatabase(ctx, settings, func(db *app.Database) error {
		if err := db.Migrate(ctx); err != nil {
			return err
		}
		plan := app.SeedPlan{Products: s.Products, Users: s.Users, Orders: s.Orders}
		if s.Stock != nil {
			plan.SetStock, plan.Stock = true, *s.Stock
		}
		set, over := display(streams).Count("orders", s.Orders)
		plan.Progress = func(done, _ int64) { set(done) }
		err := db.Seed(ctx, plan)
		over()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(streams.Out, "The sample data is in the database.")
		return err
	})
}

type auditCommand struct {
	config.Common
	config.Store
	config.Shared      // whether the bus can be reached: only then unpublished events are a violation
	JSON          bool `name:"json" help:"Print JSON."`
}

// Run verifies the invariants.
func (a auditCommand) Run(ctx context.Context, streams Streams) error {
	settings := databaseSettings(a.Store)
	settings.Shared = a.Shared
	return withSchema(ctx, settings, func(db *app.Database) error {
		report, err := db.Audit(ctx)
		if err != nil {
			return err
		}
		write := report.WriteText
		if a.JSON {
			write = report.WriteJSON
		}
		if err := write(streams.Out); err != nil {
			return err
		}
		if !report.Holds() {
			return errReported
		}
		return nil
	})
}

type backupCommand struct {
	config.Common
	config.Store
	File string `arg:"" help:"Path of the new file." placeholder:"FILE"`
}

// Run copies an SQLite database of any schema version.
func (b backupCommand) Run(ctx context.Context, streams Streams) error {
	return withAnySchema(ctx, databaseSettings(b.Store), func(db *app.Database) error {
		if err := db.Backup(ctx, b.File); err != nil {
			return err
		}
		_, err := fmt.Fprintf(streams.Out, "%s is a backup of %s.\n", b.File, displayName(b.Database))
		return err
	})
}

// confirm asks a question, and returns an error unless the answer is yes.
func confirm(streams Streams, question string) error {
	if _, err := fmt.Fprintf(streams.Out, "%s Type yes to continue: ", question); err != nil {
		return err
	}
	line, err := bufio.NewReader(io.LimitReader(streams.In, 100)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if strings.TrimSpace(line) != "yes" {
		return errors.New("nothing was changed; use --yes to continue without this question")
	}
	return nil
}

// oneLine shortens a stored text to one line of a table.
func oneLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > 120 {
		text = text[:117] + "…"
	}
	return text
}

// writeTable aligns the columns of rows, which are separated by tabs.
func writeTable(w io.Writer, rows []string) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(table, strings.Join(rows, "\n")+"\n"); err != nil {
		return err
	}
	return table.Flush()
}
