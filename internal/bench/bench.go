package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

// Names of what is compared.
const (
	nameOurs      = "Orderflow"
	nameUnbatched = "unbatched"
	nameLocked    = "unbatched, Redis lock"
	nameNoop      = "no-op handler"
)

// plenty is the stock of every product of a private server: no load buys it up.
const plenty = 1_000_000_000

// spread is how many products are bought where it is not one hot one.
const spread = 100

// users is how many users of the sample data buy.
const users = 3

// Options are what `orderflow bench` was asked for.
type Options struct {
	At    *Running // servers that run already; its Audit and Verify are nil where their database was not given. nil: private ones
	Start Starter  // starts private servers; needed without At

	Clients  int           // 0: 256
	Duration time.Duration // of load on each server in all, warm-up apart; 0: 10 s
	Rounds   int           // that Duration is split into where something is compared; 0: 3
	Products int           // for sale and bought at random; 0: 100, or as many as the server at At has
	Lines    int           // products in an order; 0: 1
	Hot      bool          // as many products as are in an order instead
	Roles    string        // of private servers; "": "api", so that creating orders is what is measured
	Servers  int           // processes of each private server on its database; 0: 1
	Store    string        // what private servers keep their data in, for the report; "" for SQLite
	Compare  bool          // the same load on an unbatched server: one transaction per order
	Redis    bool          // private servers have a Redis; Compare then means an unbatched server with product locks there, too
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
		o.Products = spread
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
		return o, errors.New("a comparison needs private servers, which share this machine: leave the server's address out")
	case o.Compare && o.Roles != "api":
		return o, errors.New("an unbatched server only takes orders: compare without workers")
	case o.At == nil && o.Start == nil:
		return o, errors.New("there is neither a server to load nor a way to start one")
	case o.Rounds < 1 || o.Rounds > 100:
		return o, fmt.Errorf("%d rounds: it must be 1 to 100", o.Rounds)
	case o.Products < 0 || o.Products > MaxProducts:
		return o, fmt.Errorf("%d products: it must be 1 to %d", o.Products, MaxProducts)
	case o.Products > 0 && o.Products < o.Lines:
		return o, fmt.Errorf("%d products in an order, and %d are bought", o.Lines, o.Products)
	}
	load := Load{Clients: o.Clients, Duration: o.Duration, Products: []int64{1}}
	return o, load.check()
}

// Run measures what the options ask for. Its errors are those of Drive, of starting and stopping servers, and broken
// promises: an id that came twice, an order that does not exist, an audit that fails. The report then holds what was
// measured until there, and is nil when nothing was.
func Run(ctx context.Context, options Options) (*Report, error) {
	options, err := options.complete()
	if err != nil {
		return nil, err
	}
	subjects, err := startSubjects(ctx, options)
	if err == nil {
		var report *Report
		report, err = measure(ctx, options, subjects)
		return report, stopAll(ctx, err, subjects...)
	}
	return nil, stopAll(ctx, err, subjects...)
}

// startSubjects returns the servers that the options need; after an error those that run already.
func startSubjects(ctx context.Context, o Options) ([]*subject, error) {
	if o.At != nil {
		at := *o.At
		at.Stop = nil // they are somebody else's
		return []*subject{{name: nameOurs, running: at}}, nil
	}
	ours := Server{Roles: o.Roles, Products: o.Products, Stock: plenty, Processes: o.Servers}
	wanted := []struct {
		name string
		when bool
		Server
	}{
		{nameOurs, true, ours},
		{nameUnbatched, o.Compare, ours.unbatched(RowLocks)},
		{nameLocked, o.Compare && o.Redis, ours.unbatched(ProductLocks)},
		{nameNoop, o.Ceiling, Server{Noop: true, Products: o.Products}},
	}
	var subjects []*subject
	for _, want := range wanted {
		if !want.when {
			continue
		}
		s, err := start(ctx, o.Start, want.name, want.Server)
		if err != nil {
			return subjects, err
		}
		subjects = append(subjects, s)
	}
	return subjects, nil
}

func measure(ctx context.Context, o Options, subjects []*subject) (*Report, error) {
	web := newWeb(subjects[0].running.URLs[0])
	defer web.close()
	products, err := web.forSale(ctx, max(o.Lines, o.Products), max(o.Lines, cmp.Or(o.Products, spread)))
	if err != nil {
		return nil, err
	}
	load := Load{Clients: o.Clients, Duration: o.Duration / time.Duration(o.Rounds), Products: products, Lines: o.Lines, Users: users}
	what := fmt.Sprintf("%d products", len(products))
	if len(products) == 1 {
		what = fmt.Sprintf("product %d", products[0])
	}
	failure := alternate(ctx, o.Show, what, load, o.Rounds, subjects...)
	report := newReport(o, products, subjects)
	if failure != nil {
		return report, failure
	}
	for i, s := range subjects {
		if s.noop {
			continue
		}
		books, err := s.prove(ctx)
		report.Servers[i].Books = &books
		if err != nil {
			return report, err
		}
	}
	return report, nil
}
