package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
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
	config.Store                // with --url, where it is said: the database of those servers, whose books are proved at the end
	config.Shared               // beside it
	URL           []string      `help:"Load a server that runs already, or several; with --database, its books are proved too." placeholder:"URL"`
	Clients       int           `help:"Connections, each with one request under way." default:"256"`
	Duration      time.Duration `help:"Time of load on each server, in three rounds where servers are compared." default:"12s"`
	Products      int           `help:"Products bought, at random; 0 for 100, or all that the server has." placeholder:"N"`
	Lines         int           `help:"Products in an order, each another." default:"1" placeholder:"N"`
	Hot           bool          `help:"Buy one product only, or with --lines as many as are in an order."`
	Servers       int           `help:"Processes of a private server on its database; several need MySQL." default:"1" placeholder:"N"`
	Pipeline      bool          `help:"Private servers also charge and settle (roles api,worker); else they only take orders."`
	Compare       bool          `help:"Put the same load on a server with one transaction per order (unbatched) and print the ratio."`
	Ceiling       bool          `help:"Put the same load on a handler that only decodes and encodes, and print the ratio."`
	Table         bool          `help:"Measure every figure that has a floor, and print them as one table; takes minutes."`
	Orders        int64         `help:"With --table: also measure with so many orders in the tables." placeholder:"N"`
	Markdown      bool          `help:"With --table: print it as Markdown."`
	Commit        string        `help:"With --table: the commit that is measured, for the page." placeholder:"HASH"`
	JSON          bool          `name:"json" help:"Print it for machines."`
}

// Help is called by the parser.
func (benchVerb) Help() string {
	return "Without --url it starts servers of its own, child processes of this binary: over SQLite in a temporary folder, or, where " +
		"--database names a MySQL server and --redis a Redis, over a database orderflow_bench_… and a key prefix of their own there, " +
		"which the run makes and drops.\n\n--compare starts a second server that takes orders one transaction per order, with the same answers, " +
		"rows and durability: with the row locks of the database only, and with --redis once more with a lock there for each product."
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
	case b.Lines < 1 || b.Lines > bench.MaxLines:
		return fmt.Errorf("--lines: %d is not from 1 to %d", b.Lines, bench.MaxLines)
	case b.Servers < 1 || b.Servers > bench.MaxServers || b.Servers > b.Clients:
		return fmt.Errorf("--servers: %d is not from 1 to %d, or more than --clients (%d)", b.Servers, bench.MaxServers, b.Clients)
	case b.Orders < 0 || b.Orders > 100_000_000:
		return fmt.Errorf("--orders: %d is not from 0 to 100000000", b.Orders)
	case (b.Markdown || b.Orders > 0 || b.Commit != "") && !b.Table:
		return errors.New("--markdown, --orders and --commit go with --table")
	case (b.Lines > 1 || b.Servers > 1) && b.Table:
		return errors.New("--lines and --servers do not go with --table, whose figures say their own")
	case b.Hot && b.Products > 1:
		return errors.New("--hot buys one product; --products says how many")
	case b.Products > 0 && b.Products < b.Lines:
		return fmt.Errorf("--lines (%d) is more than --products (%d)", b.Lines, b.Products)
	}
	if len(b.URL) > 0 {
		return b.validateURLs()
	}
	return b.validatePrivate()
}

func (b benchVerb) validateURLs() error {
	switch {
	case b.Compare || b.Ceiling || b.Table || b.Pipeline || b.Servers > 1:
		return errors.New("--compare, --ceiling, --table, --pipeline and --servers start servers of their own and do not go with --url")
	case len(b.URL) > min(bench.MaxServers, b.Clients):
		return fmt.Errorf("--url: %d servers are more than %d, or than --clients (%d)", len(b.URL), bench.MaxServers, b.Clients)
	}
	for _, text := range b.URL {
		if _, err := serverURL(text); err != nil {
			return err
		}
	}
	return nil
}

func (b benchVerb) validatePrivate() error {
	switch {
	case b.Database.MySQL() && b.Redis == config.URL{}:
		return fmt.Errorf("private servers over MySQL (--database %s) need --redis too; for embedded ones say --database sqlite:any", b.Database)
	case b.Compare && b.Pipeline:
		return errors.New("--compare and --pipeline do not go together: the server that is compared with only takes orders")
	case b.Servers > 1 && !b.Database.MySQL():
		return fmt.Errorf("--servers %d needs a database that several may serve: --database mysql://… and --redis", b.Servers)
	}
	return nil
}

// command is the command line, for the page, without passwords.
func (b benchVerb) command() string {
	line := "orderflow " + strings.Join(os.Args[1:], " ")
	for _, u := range []config.URL{b.Database, b.Redis} {
		if u != (config.URL{}) {
			line = strings.ReplaceAll(line, u.Reveal(), u.String())
		}
	}
	return line
}

// stores are those of private servers.
func (b benchVerb) stores() stores { return stores{b.Database, b.Redis} }

// store is what private servers keep their data in, "" for SQLite alone.
func (b benchVerb) store() string {
	switch {
	case b.Database.MySQL():
		return "MySQL and Redis"
	case b.Redis != config.URL{}:
		return "SQLite and Redis"
	default:
		return ""
	}
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
	machine := bench.ThisMachine(b.Commit, b.command())
	if b.Table {
		return b.table(ctx, streams, machine)
	}
	options := bench.Options{
		Start: b.stores().start, Clients: b.Clients, Duration: b.Duration, Products: b.Products, Lines: b.Lines, Hot: b.Hot,
		Servers: b.Servers, Compare: b.Compare, Redis: b.Redis != config.URL{}, Ceiling: b.Ceiling, Store: b.store(), Machine: machine,
		Show: display(streams),
	}
	if b.Pipeline {
		options.Roles = "api,worker"
	}
	if len(b.URL) > 0 {
		audited := said(command, "database")
		if audited { // an unusable database is reported before the load, not after it
			if err := booksOf(b.Store, b.Shared).open(ctx, func(*app.Database) error { return nil }); err != nil {
				return err
			}
		}
		options.At = b.running(audited)
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

// running are the servers that run already. Their books can be proved where their database is known.
func (b benchVerb) running(database bool) *bench.Running {
	running := &bench.Running{URLs: b.URL}
	var m meter
	for _, text := range b.URL {
		u, err := serverURL(text)
		if err == nil {
			err = m.add(hostPort(u))
		}
		if err != nil {
			m = meter{} // it is not on this machine
			break
		}
	}
	if len(m.pids) > 0 {
		running.CPU, running.Counted = m.read, strings.Join(m.names, ", ")+" alone"
	}
	if !database {
		return running
	}
	books := booksOf(b.Store, b.Shared)
	running.Audit, running.Verify = books.audit, books.verify
	all := m
	for _, u := range []config.URL{b.Database, b.Redis} {
		for _, host := range u.Hosts() {
			if !u.Single() || all.add(host) != nil {
				return running
			}
		}
	}
	if len(m.pids) > 0 {
		running.CPU, running.Counted = all.read, strings.Join(all.names, ", ")
	}
	return running
}

// hostPort is where a server listens.
func hostPort(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	return net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
}

func (b benchVerb) table(ctx context.Context, streams Streams, machine bench.Machine) error {
	figures, err := bench.Table(ctx, bench.TableOptions{
		Start: b.stores().start, Shared: b.Database.MySQL(), Delays: b.Redis.Single(),
		Clients: b.Clients, Duration: b.Duration / 3, Orders: b.Orders, Machine: machine, Show: display(streams),
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
type books struct{ settings config.Settings }

func booksOf(store config.Store, shared config.Shared) books {
	settings := ofStore(store)
	settings.Shared = shared
	return books{settings}
}

func (b books) open(ctx context.Context, work func(*app.Database) error) error {
	return withSchema(ctx, b.settings, work)
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

// sweep asks for what is due, as a worker with free slots does, and times that.
func (b books) sweep(ctx context.Context, times int) (took []time.Duration, err error) {
	err = b.open(ctx, func(db *app.Database) error {
		for range times {
			began := time.Now()
			if _, err := db.DueOrders(ctx, b.settings.WorkerConcurrency); err != nil {
				return err
			}
			took = append(took, time.Since(began))
		}
		return nil
	})
	return took, err
}

type demo struct{}

// Run takes the tour on a server of its own.
func (demo) Run(ctx context.Context, streams Streams) (err error) {
	running, err := stores{}.start(ctx, bench.Server{})
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, running.Stop(context.WithoutCancel(ctx)))
	}()
	return bench.Demo(ctx, streams.Out, app.Terminal(streams.Out), running)
}

// unbatched is the server that bench --compare compares with.
type unbatched struct {
	config.Settings
	ProductLocks bool `help:"Take a lock in Redis for each product, too."`
}

// Run serves until the process is told to stop.
func (u unbatched) Run(ctx context.Context, streams Streams) error {
	if u.Roles.Worker || u.Roles.Realtime {
		return usageError{errors.New("an unbatched server only takes orders: start it with --roles api")}
	}
	if u.ProductLocks && u.Redis == (config.URL{}) {
		return usageError{errors.New("--product-locks needs --redis")}
	}
	takes := app.UnbatchedRows
	if u.ProductLocks {
		takes = app.UnbatchedLocks
	}
	return serve{u.Settings}.run(ctx, streams, takes)
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
