package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"orderflow/internal/app"
	"orderflow/internal/bench"
	"orderflow/internal/config"
)

type benchVerb struct {
	config.Common
	config.Store               // with --url, where it is said: the database of that server, whose books are proved at the end
	URL          string        `help:"Load a server that runs already; with its --database, its books are proved too." placeholder:"URL"`
	Clients      int           `help:"Connections, each with one request under way." default:"256"`
	Duration     time.Duration `help:"Time of load on each server, in three rounds where servers are compared." default:"12s"`
	Products     int           `help:"Products bought, at random; 0 for 100, or all that the server has." placeholder:"N"`
	Hot          bool          `help:"Buy one product only."`
	Pipeline     bool          `help:"Private servers also charge and settle (roles api,worker); else they only take orders."`
	Compare      bool          `help:"Put the same load on the usual design (a lock, a transaction and a commit for each order) and print the ratio."`
	Ceiling      bool          `help:"Put the same load on a handler that only decodes and encodes, and print the ratio."`
	Table        bool          `help:"Measure every figure that has a floor, and print them as one table; takes minutes."`
	Orders       int64         `help:"With --table: also measure with so many orders in the tables." placeholder:"N"`
	Markdown     bool          `help:"With --table: print it as Markdown."`
	Commit       string        `help:"With --table: the commit that is measured, for the page." placeholder:"HASH"`
	JSON         bool          `name:"json" help:"Print it for machines."`
}

// Validate is called by the parser.
func (b benchVerb) Validate() error {
	switch {
	case b.Clients < 1 || b.Clients > bench.MaxClients:
		return fmt.Errorf("--clients: %d is not from 1 to %d", b.Clients, bench.MaxClients)
	case b.Duration < 100*time.Millisecond || b.Duration > bench.MaxDuration:
		return fmt.Errorf("--duration: %s is not from 100ms to %s", b.Duration, bench.MaxDuration)
	case b.Products < 0 || b.Products > bench.MaxProducts:
		return fmt.Errorf("--products: %d is not from 1 to %d", b.Products, bench.MaxProducts)
	case b.Orders < 0 || b.Orders > 100_000_000:
		return fmt.Errorf("--orders: %d is not from 0 to 100000000", b.Orders)
	case b.URL != "" && (b.Compare || b.Ceiling || b.Table || b.Pipeline):
		return errors.New("--compare, --ceiling, --table and --pipeline start servers of their own and do not go with --url")
	case (b.Markdown || b.Orders > 0 || b.Commit != "") && !b.Table:
		return errors.New("--markdown, --orders and --commit go with --table")
	case b.Hot && b.Products > 1:
		return errors.New("--hot buys one product; --products says how many")
	}
	if b.URL != "" {
		_, err := serverURL(b.URL)
		return err
	}
	return nil
}

// said reports whether a setting was given, by whatever source, and is not a default.
func said(command *kong.Context, flag string) bool {
	return slices.ContainsFunc(command.Path, func(p *kong.Path) bool { return p.Flag != nil && p.Flag.Name == flag })
}

// display is where progress is shown: the error stream, so that the output stays clean.
func display(streams Streams) bench.Display {
	return bench.Display{Out: streams.Err, Terminal: app.Terminal(streams.Err)}
}

// Run measures.
func (b benchVerb) Run(ctx context.Context, streams Streams, command *kong.Context) error {
	machine := bench.ThisMachine(b.Commit, "orderflow "+strings.Join(os.Args[1:], " "))
	if b.Table {
		return b.table(ctx, streams, machine)
	}
	options := bench.Options{
		URL: b.URL, Start: startChild, Clients: b.Clients, Duration: b.Duration, Products: b.Products, Hot: b.Hot,
		Compare: b.Compare, Ceiling: b.Ceiling, Machine: machine, Show: display(streams),
	}
	if b.Pipeline {
		options.Roles = "api,worker"
	}
	if b.URL != "" && said(command, "database") {
		books := booksOf(b.Database)
		options.Audit, options.Verify = books.audit, books.verify
	}
	report, err := bench.Run(ctx, options)
	if report != nil {
		if b.JSON {
			err = errors.Join(err, report.WriteJSON(streams.Out))
		} else {
			err = errors.Join(err, report.WriteText(streams.Out, app.Terminal(streams.Out)))
		}
	}
	return err
}

func (b benchVerb) table(ctx context.Context, streams Streams, machine bench.Machine) error {
	figures, err := bench.Table(ctx, bench.TableOptions{
		Start: startChild, Clients: b.Clients, Duration: b.Duration / 3, Orders: b.Orders, Machine: machine, Show: display(streams),
	})
	write := func() error { return figures.WriteText(streams.Out, app.Terminal(streams.Out)) }
	switch {
	case b.JSON:
		write = func() error { return figures.WriteJSON(streams.Out) }
	case b.Markdown:
		write = func() error { return figures.WriteMarkdown(streams.Out) }
	}
	return errors.Join(err, write())
}

// books is a database whose books are proved after a load.
type books struct{ database config.URL }

func booksOf(database config.URL) books { return books{database} }

func (b books) open(ctx context.Context, work func(*app.Database) error) error {
	settings := config.Defaults()
	settings.Database = b.database
	return withDatabase(ctx, settings, work)
}

// audit proves the invariants.
func (b books) audit(ctx context.Context) (text string, holds bool, err error) {
	err = b.open(ctx, func(db *app.Database) error {
		text, holds, err = db.ProveText(ctx)
		return err
	})
	return text, holds, err
}

// verify looks every one of these orders up.
func (b books) verify(ctx context.Context, ids []int64) error {
	return b.open(ctx, func(db *app.Database) error { return db.MustHave(ctx, ids) })
}

type demo struct{}

// Run takes the tour on a server of its own.
func (demo) Run(ctx context.Context, streams Streams) (err error) {
	running, err := startChild(ctx, bench.Server{})
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, running.Stop(context.WithoutCancel(ctx)))
	}()
	return bench.Demo(ctx, streams.Out, app.Terminal(streams.Out), running)
}

type noop struct {
	Listen string `default:"127.0.0.1:0" help:"Where to listen."`
}

// Run serves the no-op handler until the process is told to stop.
func (n noop) Run(ctx context.Context, streams Streams) error {
	return app.ServeHandler(ctx, n.Listen, bench.NoopHandler(), func(url string) error {
		_, err := fmt.Fprintf(streams.Out, readyLine+"\n", streams.Version, url)
		return err
	})
}
