package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"

	"orderflow/internal/app"
	"orderflow/internal/config"
)

// withDatabase runs work on the database of a verb.
func withDatabase(ctx context.Context, settings config.Settings, work func(*app.Database) error) error {
	return using(ctx, app.OpenDatabase, settings, work)
}

// withNewDatabase is withDatabase for verbs that may make it.
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

// withSchema is withDatabase for verbs that need the schema of this binary.
func withSchema(ctx context.Context, settings config.Settings, work func(*app.Database) error) error {
	return withAnySchema(ctx, settings, func(db *app.Database) error {
		if err := db.CheckSchema(ctx); err != nil {
			return fmt.Errorf("%s cannot be used: %w", called(settings.Database), err)
		}
		return work(db)
	})
}

// withAnySchema is withDatabase for verbs that need a schema, be it an older or a newer one.
func withAnySchema(ctx context.Context, settings config.Settings, work func(*app.Database) error) error {
	return withDatabase(ctx, settings, func(db *app.Database) error {
		if err := db.Ping(ctx); err != nil {
			return fmt.Errorf("%s cannot be read; if it is new, run orderflow migrate up first: %w", called(settings.Database), err)
		}
		return work(db)
	})
}

// called is what a database is called in sentences.
func called(database config.URL) string { return strings.TrimPrefix(database.String(), "sqlite:") }

// ofStore is the settings of a verb that only needs the database, the others at their defaults.
func ofStore(database config.Store) config.Settings {
	settings := config.Defaults()
	settings.Store = database
	return settings
}

type migrate struct {
	Up     migrateUp     `cmd:"" help:"Apply what is pending."`
	Down   migrateDown   `cmd:"" help:"Take the last step back; asks first, and says which rows it deletes."`
	Status migrateStatus `cmd:"" help:"Show every step and when it was applied."`
	Fresh  migrateFresh  `cmd:"" help:"Drop everything and build the schema anew; asks first."`
}

type migrateUp struct {
	config.Common
	config.Store
}

// Run applies what is pending.
func (m migrateUp) Run(ctx context.Context, streams Streams) error {
	return withNewDatabase(ctx, ofStore(m.Store), func(db *app.Database) error {
		if err := db.Alone(func() error { return db.Migrate(ctx) }); err != nil {
			return err
		}
		_, err := fmt.Fprintln(streams.Out, "The schema is up to date.")
		return err
	})
}

type migrateDown struct {
	config.Common
	config.Store
	Yes bool `help:"Do not ask."`
}

// Run takes the last step back, after asking. Refused while rows would be deleted that orders wait for.
func (m migrateDown) Run(ctx context.Context, streams Streams) error {
	return withDatabase(ctx, ofStore(m.Store), func(db *app.Database) error {
		return db.Alone(func() error {
			last, err := db.LastStep(ctx)
			if err != nil {
				return err
			}
			if !m.Yes {
				question := fmt.Sprintf("This takes the step %s of %s back, and deletes %s.", last.Name, called(m.Database), deleted(last))
				if err := confirm(streams, question); err != nil {
					return err
				}
			}
			if err := db.MigrateDown(ctx, last.Version); err != nil {
				return err
			}
			_, err = fmt.Fprintf(streams.Out, "The step %s was taken back. It deleted %s.\n", last.Name, deleted(last))
			return err
		})
	})
}

// deleted is what taking a step back deletes, in words.
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

// confirm asks, and returns an error unless the answer is yes.
func confirm(streams Streams, question string) error {
	if _, err := fmt.Fprintf(streams.Out, "%s Type yes to go on: ", question); err != nil {
		return err
	}
	line, err := bufio.NewReader(io.LimitReader(streams.In, 100)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if strings.TrimSpace(line) != "yes" {
		return errors.New("nothing was changed; say --yes to go on without being asked")
	}
	return nil
}

type migrateStatus struct {
	config.Common
	config.Store
}

// Run shows every step of the schema.
func (m migrateStatus) Run(ctx context.Context, streams Streams) error {
	return withDatabase(ctx, ofStore(m.Store), func(db *app.Database) error {
		steps, err := db.Migrations(ctx)
		if err != nil {
			return err
		}
		rows := []string{"STEP\tAPPLIED"}
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

type migrateFresh struct {
	config.Common
	config.Store
	Yes bool `help:"Do not ask."`
}

// Run drops everything and builds the schema anew, after asking.
func (m migrateFresh) Run(ctx context.Context, streams Streams) error {
	if !m.Yes {
		if err := confirm(streams, fmt.Sprintf("This drops every order, product and user in %s.", called(m.Database))); err != nil {
			return err
		}
	}
	return withNewDatabase(ctx, ofStore(m.Store), func(db *app.Database) error {
		if err := db.Alone(func() error { return db.MigrateFresh(ctx) }); err != nil {
			return err
		}
		_, err := fmt.Fprintf(streams.Out, "The schema was built anew; it holds no data. Fill it with: %s\n", seedCommand(m.Database))
		return err
	})
}

type seed struct {
	config.Common
	config.Store
	Stock    *int64 `help:"Set the stock of every product to N." placeholder:"N"`
	Products int64  `help:"Have at least N products." placeholder:"N"`
	Users    int64  `help:"Have at least N users." placeholder:"N"`
	Orders   int64  `help:"Have at least N orders, finished, with their whole history." placeholder:"N"`
}

// Validate is called by the parser.
func (s seed) Validate() error {
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

// Run adds the sample data, with a bar for many orders.
func (s seed) Run(ctx context.Context, streams Streams) error {
	return withNewDatabase(ctx, ofStore(s.Store), func(db *app.Database) error {
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
		_, err = fmt.Fprintln(streams.Out, "The sample data is there.")
		return err
	})
}

type auditVerb struct {
	config.Common
	config.Store
	config.Shared      // what is owed to the bus is a fault only while Redis answers
	JSON          bool `name:"json" help:"Print it for machines."`
}

// Run proves the books.
func (a auditVerb) Run(ctx context.Context, streams Streams) error {
	settings := ofStore(a.Store)
	settings.Shared = a.Shared
	return withSchema(ctx, settings, func(db *app.Database) error {
		report, err := db.Prove(ctx)
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
			return errSaid
		}
		return nil
	})
}

type backupVerb struct {
	config.Common
	config.Store
	File string `arg:"" help:"The new file; one that exists is left alone." placeholder:"FILE"`
}

// Run backs an SQLite database up, also before it is migrated.
func (b backupVerb) Run(ctx context.Context, streams Streams) error {
	return withAnySchema(ctx, ofStore(b.Store), func(db *app.Database) error {
		if err := db.Backup(ctx, b.File); err != nil {
			return err
		}
		_, err := fmt.Fprintf(streams.Out, "%s is a backup of %s.\n", b.File, called(b.Database))
		return err
	})
}

type jobs struct {
	List    jobsList    `cmd:"" help:"List the payments that wait for an operator."`
	Retry   jobsRetry   `cmd:"" help:"Give a payment all its tries again, due now."`
	Abandon jobsAbandon `cmd:"" help:"Void a payment at the gateway and give its order up: FAILED, stock restored."`
}

// jobSettings are what dealing with dead letters needs: the database and, to void, the gateway.
type jobSettings struct {
	config.Common
	config.Store
	config.Worker
	config.Payment
}

// at runs work at the desk of the database.
func (j jobSettings) at(ctx context.Context, work func(*app.FailedJobService) error) error {
	settings := config.Defaults()
	settings.Store, settings.Worker, settings.Payment = j.Store, j.Worker, j.Payment
	return withSchema(ctx, settings, func(db *app.Database) error {
		desk, err := db.Desk(ctx)
		if err != nil {
			return err
		}
		return work(desk)
	})
}

type jobsList struct {
	jobSettings
}

// Run lists the open dead letters.
func (j jobsList) Run(ctx context.Context, streams Streams) error {
	return j.at(ctx, func(desk *app.FailedJobService) error {
		open, err := desk.List(ctx)
		if err != nil {
			return err
		}
		if len(open) == 0 {
			_, err := fmt.Fprintln(streams.Out, "No payment waits for an operator.")
			return err
		}
		rows := []string{"ID\tORDER\tATTEMPTS\tFAILED AT\tERROR"}
		for _, job := range open {
			rows = append(rows, fmt.Sprintf("%d\t%d\t%d\t%s\t%s",
				job.ID, job.OrderID, job.Attempts, job.FailedAt.UTC().Format(time.DateTime), oneLine(job.Error)))
		}
		return writeTable(streams.Out, rows)
	})
}

// oneLine keeps a stored text from breaking a table.
func oneLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > 120 {
		text = text[:117] + "…"
	}
	return text
}

type jobsRetry struct {
	jobSettings
	ID int64 `arg:"" help:"The job, as jobs list shows it."`
}

// Run gives a dead letter all its tries again.
func (j jobsRetry) Run(ctx context.Context, streams Streams) error {
	return j.at(ctx, func(desk *app.FailedJobService) error {
		o, err := desk.Retry(ctx, j.ID)
		if err == nil {
			_, err = fmt.Fprintf(streams.Out, "Order %d is due now and has %d tries.\n", o.ID, o.AttemptsLeft)
		}
		return err
	})
}

type jobsAbandon struct {
	jobSettings
	ID int64 `arg:"" help:"The job, as jobs list shows it."`
}

// Run gives a dead letter's order up.
func (j jobsAbandon) Run(ctx context.Context, streams Streams, command *kong.Context) error {
	// A void at another gateway than the server's would leave the customer's money where it is.
	if !said(command, "gateway") {
		return usageError{errors.New("--gateway must be said: the payment gateway that the server uses, where the charge is to be voided")}
	}
	return j.at(ctx, func(desk *app.FailedJobService) error {
		o, err := desk.Abandon(ctx, j.ID, app.Node("operator"))
		if err == nil {
			_, err = fmt.Fprintf(streams.Out, "Order %d is FAILED after %d attempts; its stock is restored.\n", o.ID, o.Claims)
		}
		return err
	})
}

// writeTable writes rows whose columns are separated by tabs, aligned.
func writeTable(w io.Writer, rows []string) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(table, strings.Join(rows, "\n")+"\n"); err != nil {
		return err
	}
	return table.Flush()
}
