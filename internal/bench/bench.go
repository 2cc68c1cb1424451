package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

// Names of the compared servers.
const (
	nameOurs      = "Orderflow"
	nameUnbatched = "unbatched"
	nameLocked    = "unbatched, Redis lock"
	nameNoop      = "no-op handler"
)

// largeStock is the stock of every product of a private server; no load sells it out.
const largeStock = 1_000_000_000

// manyProducts is the number of products of a load that is not on one hot product.
const manyProducts = 100

// sampleUsers is the number of users in the sample data.
const sampleUsers = 3

// Options are the options of `orderflow bench`.
type Options struct {
	At    *Running // running servers; Audit and Verify are nil when their database is not known. nil: private servers
	Start Starter  // starts private servers; required without At

	Clients  int           // 0: 256
	Duration time.Duration // of all load on each server, without the warm-up; 0: 10 s
	Rounds   int           // into which Duration is split when servers are compared; 0: 3
	Products int           // that are bought at random; 0: 100, or with At up to 100
	Lines    int           // products in an order; 0: 1
	Hot      bool          // as many products as are in an order
	Roles    string        // of private servers; "": "api", which measures the creation of orders alone
	Servers  int           // processes of each private server; 0: 1
	Store    string        // stores of private servers, for the report; "" for SQLite
	Compare  bool          // the same load on an unbatched server, with one transaction per order
	Redis    bool          // private servers have a Redis; Compare then adds an unbatched server with Redis locks
	Ceiling  bool          // the same load on NoopHandler
	Machine  Machine       // for the report
	Show     Display
}

func (o Options) complete() (Options, error) {
	if o.Clients == 0 {
		o.Clients = 256
	}
	if o.Duration == 0 {
		o.Duration = 10 * time.Second
	}
	o.Lines = max(1, o.Lines)
	if o.Products == 0 && o.At == nil {
		o.Products = manyProducts
	}
	if o.Hot {
		o.Products = o.Lines
	}
	if o.Roles == "" {
		o.Roles = "api"
	}
	if !o.Compare && !o.Ceiling {
		o.Rounds = 1
	} else if o.Rounds == 0 {
		o.Rounds = 3
	}
	switch {
	case o.At != nil && (o.Compare || o.Ceiling):
		return o, errors.New("a comparison needs private servers on this machine: remove the server's address")
	case o.Compare && o.Roles != "api":
		return o, errors.New("an unbatched server only takes orders: compare with the role api alone")
	case o.At == nil && o.Start == nil:
		return o, errors.New("set At or Start: there is no server to load")
	case o.Rounds < 1 || o.Rounds > 100:
		return o, fmt.Errorf("%d rounds: it must be 1 to 100", o.Rounds)
	case o.Products < 0 || o.Products > MaxProducts:
		return o, fmt.Errorf("%d products: it must be 1 to %d", o.Products, MaxProducts)
	case o.Products > 0 && o.Products < o.Lines:
		return o, fmt.Errorf("%d products in an order are more than the %d that are bought", o.Lines, o.Products)
	}
	load := Load{Clients: o.Clients, Duration: o.Duration, Products: []int64{1}}
	return o, load.check()
}

// Run measures. It returns the errors of Drive, of starting and stopping servers, and of the checks: a duplicate id, a missing order,
// a failed audit. With an error the report holds the figures until then, or is nil when there are none.
func Run(ctx context.Context, options Options) (*Report, error) {
	options, err := options.complete()
	if err != nil {
		return nil, err
	}
	servers, err := startServers(ctx, options)
	if err == nil {
		var report *Report
		report, err = measure(ctx, options, servers)
		return report, stopAll(ctx, err, servers...)
	}
	return nil, stopAll(ctx, err, servers...)
}

// startServers returns the servers of the options; with an error, those that were started.
func startServers(ctx context.Context, o Options) ([]*measuredServer, error) {
	if o.At != nil {
		at := *o.At
		at.Stop = nil // the run did not start them
		return []*measuredServer{{name: nameOurs, running: at}}, nil
	}
	ours := Server{Roles: o.Roles, Products: o.Products, Stock: largeStock, Processes: o.Servers}
	wanted := []struct {
		name   string
		needed bool
		Server
	}{
		{nameOurs, true, ours},
		{nameUnbatched, o.Compare, ours.unbatched(RowLocks)},
		{nameLocked, o.Compare && o.Redis, ours.unbatched(ProductLocks)},
		{nameNoop, o.Ceiling, Server{Noop: true, Products: o.Products}},
	}
	var servers []*measuredServer
	for _, want := range wanted {
		if !want.needed {
			continue
		}
		s, err := startServer(ctx, o.Start, want.name, want.Server)
		if err != nil {
			return servers, err
		}
		servers = append(servers, s)
	}
	return servers, nil
}

func measure(ctx context.Context, o Options, servers []*measuredServer) (*Report, error) {
	web := newAPIClient(servers[0].running.URLs[0])
	defer web.close()
	products, err := web.forSale(ctx, max(o.Lines, o.Products), max(o.Lines, cmp.Or(o.Products, manyProducts)))
	if err != nil {
		return nil, err
	}
	load := Load{Clients: o.Clients, Duration: o.Duration / time.Duration(o.Rounds), Products: products, Lines: o.Lines, Users: sampleUsers}
	what := fmt.Sprintf("%d products", len(products))
	if len(products) == 1 {
		what = fmt.Sprintf("product %d", products[0])
	}
	failure := alternate(ctx, o.Show, what, load, o.Rounds, servers...)
	report := newReport(o, products, servers)
	if failure != nil {
		return report, failure
	}
	for i, s := range servers {
		if s.noop {
			continue
		}
		audit, err := s.verify(ctx)
		report.Servers[i].Audit = &audit
		if err != nil {
			return report, err
		}
	}
	return report, nil
}
