package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"orderflow/internal/app"
	"orderflow/internal/bench"
	"orderflow/internal/config"
)

type benchCommand struct {
	config.Common
	config.Store // with --url: the database of those servers, for the audit at the end; else see stores
	config.Shared
	URL      []string      `help:"Load a running server; repeatable. With --database the run ends with the audit." placeholder:"URL"`
	Clients  int           `help:"Connections, each with one request in flight (default: ${default})." default:"256" placeholder:"N"`
	Duration time.Duration `help:"Load time per server, in three rounds when compared (default: ${default})." default:"12s" placeholder:"DURATION"`
	Products int           `help:"Products that are bought at random (default: up to 100)." placeholder:"N"`
	Lines    int           `help:"Different products in an order (default: ${default})." default:"1" placeholder:"N"`
	Hot      bool          `help:"Buy one hot product only; with --lines N, the same N in every order."`
	Servers  int           `help:"Processes of a private server; several need Redis, too (default: ${default})." default:"1" placeholder:"N"`
	Pipeline bool          `help:"Process payments, too: private servers have the roles api and worker, not only api."`
	Compare  bool          `help:"Put the same load on an unbatched server (one transaction per order), and print the ratio."`
	Ceiling  bool          `help:"Put the same load on a no-op handler of the same JSON, and print the ratio."`
	Table    bool          `help:"Measure every figure that has a floor, and print one table; takes minutes."`
	Orders   int64         `help:"With --table: also measure with N orders in the tables." placeholder:"N"`
	Markdown bool          `help:"With --table: print Markdown."`
	Commit   string        `help:"With --table: name the measured commit below the table." placeholder:"HASH"`
	JSON     bool          `name:"json" help:"Print JSON."`
}

// Validate is called by the parser.
func (b benchCommand) Validate() error {
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
		return errors.New("--markdown, --orders and --commit need --table")
	case (b.Lines > 1 || b.Servers > 1) && b.Table:
		return errors.New("--lines and --servers cannot be used with --table, which sets its own")
	case b.Hot && b.Products > 1:
		return errors.New("--hot buys one product, and cannot be used with --products")
	case b.Products > 0 && b.Products < b.Lines:
		return fmt.Errorf("--lines (%d) is more than --products (%d)", b.Lines, b.Products)
	}
	if len(b.URL) > 0 {
		return b.validateURLs()
	}
	return b.validatePrivate()
}

func (b benchCommand) validateURLs() error {
	switch {
	case b.Compare || b.Ceiling || b.Table || b.Pipeline || b.Servers > 1:
		return errors.New("--compare, --ceiling, --table, --pipeline and --servers start private servers, and cannot be used with --url")
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

func (b benchCommand) validatePrivate() error {
	switch {
	case b.Database.OnServer() && b.Redis == config.URL{}:
		return fmt.Errorf("private servers over %s (--database %s) need --redis, too; for SQLite set --database sqlite:any",
			b.Database.Engine(), b.Database)
	case b.Compare && b.Pipeline:
		return errors.New("--compare and --pipeline cannot be combined, since the unbatched server only takes orders")
	case b.Servers > 1 && !b.Database.OnServer():
		return fmt.Errorf("--servers %d needs a database for several servers: set --database mysql://… or postgres://…, and --redis", b.Servers)
	}
	return nil
}

// command returns the command line without passwords, for the report.
func (b benchCommand) command() string {
	line := "orderflow " + strings.Join(os.Args[1:], " ")
	for _, u := range []config.URL{b.Database, b.Redis} {
		if u != (config.URL{}) {
			line = strings.ReplaceAll(line, u.Reveal(), u.String())
		}
	}
	return line
}

// stores returns the database server and the Redis of private servers.
func (b benchCommand) stores() stores { return stores{b.Database, b.Redis} }

// storeNames names the stores of private servers; "" for SQLite.
func (b benchCommand) storeNames() string {
	switch {
	case b.Database.OnServer():
		return b.Database.Engine() + " and Redis"
	case b.Redis != config.URL{}:
		return "SQLite and Redis"
	default:
		return ""
	}
}

// display shows progress on the error stream, so that the output holds only the result.
func display(streams Streams) bench.Display {
	return bench.Display{Out: streams.Err, Terminal: app.Terminal(streams.Err)}
}

// Run measures and prints the report.
func (b benchCommand) Run(ctx context.Context, streams Streams, command *kong.Context) error {
	machine := bench.ThisMachine(b.Commit, b.command())
	if b.Table {
		return b.table(ctx, streams, machine)
	}
	options := bench.Options{
		Start: b.stores().start, Clients: b.Clients, Duration: b.Duration, Products: b.Products, Lines: b.Lines, Hot: b.Hot,
		Servers: b.Servers, Compare: b.Compare, Redis: b.Redis != config.URL{}, Ceiling: b.Ceiling, Store: b.storeNames(), Machine: machine,
		Show: display(streams),
	}
	if b.Pipeline {
		options.Roles = "api,worker"
	}
	if len(b.URL) > 0 {
		audited := wasSet(command, "database")
		if audited { // an unusable database is reported before the load
			if err := newAuditedDatabase(b.Store, b.Shared).open(ctx, func(*app.Database) error { return nil }); err != nil {
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

// running describes the servers of --url. They are audited when their database is known.
func (b benchCommand) running(audited bool) *bench.Running {
	running := &bench.Running{URLs: b.URL}
	var m cpuMeter
	for _, text := range b.URL {
		u, err := serverURL(text)
		if err == nil {
			err = m.add(hostPort(u))
		}
		if err != nil {
			m = cpuMeter{} // not on this machine
			break
		}
	}
	if len(m.pids) > 0 {
		running.CPU, running.Counted = m.read, strings.Join(m.names, ", ")+" alone"
	}
	if !audited {
		return running
	}
	db := newAuditedDatabase(b.Store, b.Shared)
	running.Audit, running.Verify = db.audit, db.verify
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

// hostPort returns the listen address of a server.
func hostPort(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	return net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
}

func (b benchCommand) table(ctx context.Context, streams Streams, machine bench.Machine) error {
	figures, err := bench.Table(ctx, bench.TableOptions{
		Start: b.stores().start, Shared: b.Database.OnServer(), Delays: b.Redis.Single(),
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

type demoCommand struct{}

// Run takes the tour on a private server.
func (demoCommand) Run(ctx context.Context, streams Streams) (err error) {
	running, err := stores{}.start(ctx, bench.Server{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, running.Stop(context.WithoutCancel(ctx))) }()
	return bench.Demo(ctx, streams.Out, app.Terminal(streams.Out), running)
}
