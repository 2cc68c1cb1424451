package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// TableOptions are the options of Table.
type TableOptions struct {
	Start    Starter       // of servers over MySQL and Redis with Shared, else over SQLite
	Shared   bool          // measure servers over MySQL and Redis
	Delays   bool          // with Shared: Start supports Server.Proxied
	Clients  int           // of loads without a number of their own; 0: 256
	Duration time.Duration // of one load; 0: 4 s
	Rounds   int           // 0: 3
	Orders   int64         // finished orders in the tables for the last figures; 0 skips them, since seeding is slow
	Binary   string        // the file whose size is measured; "": that of this process
	Machine  Machine
	Show     Display
}

// Figures is the whole table.
type Figures struct {
	Machine Machine `json:"machine"`
	Rows    []Row   `json:"rows"`
}

// bars are the floors and goals that depend on the stores.
type bars struct {
	hot, spread             [2]float64 // orders/s against one transaction per order, row locks only
	hotLocked, spreadLocked [2]float64 // against one transaction per order with product locks in Redis
	ceiling                 float64    // floor of orders/s against the no-op handler
}

func barsOf(shared bool) bars {
	if shared {
		return bars{
			hot: [2]float64{14, 25}, spread: [2]float64{5.5, 8}, hotLocked: [2]float64{28, 50}, spreadLocked: [2]float64{6.5, 10}, ceiling: 0.2,
		}
	}
	return bars{hot: [2]float64{6, 12}, spread: [2]float64{6, 12}, ceiling: 0.25}
}

// table is a run of Table.
type table struct {
	TableOptions
	bars      bars
	probes    int // orders of paidWhenIdle
	rows      []Row
	sustained float64 // orders/s of the whole pipeline, for paidAtHalfLoad
}

// Table measures every figure that has a floor, group by group, each group on new servers that are audited at the end. It takes a few
// minutes. With an error it returns the rows until then. A figure below its floor is not an error: see Figures.Below.
func Table(ctx context.Context, options TableOptions) (Figures, error) {
	t := &table{TableOptions: options, probes: 200}
	return t.all(ctx)
}

// all completes and checks the options, and measures group by group.
func (t *table) all(ctx context.Context) (Figures, error) {
	if t.Clients == 0 {
		t.Clients = 256
	}
	if t.Duration == 0 {
		t.Duration = 4 * time.Second
	}
	if t.Rounds == 0 {
		t.Rounds = 3
	}
	if t.Start == nil || t.Rounds < 1 || t.Rounds > 100 || t.Orders < 0 {
		return Figures{}, errors.New("set Start, 1 to 100 rounds, and at least 0 orders")
	}
	if err := (Load{Clients: t.Clients, Duration: t.Duration, Products: []int64{1}}).check(); err != nil {
		return Figures{}, err
	}
	t.bars = barsOf(t.Shared)
	groups := []func(context.Context) error{t.footprint, t.throughput, t.manyClients, t.pipeline, t.paidWhenIdle, t.paidAtHalfLoad, t.fullTables}
	if t.Shared {
		groups = []func(context.Context) error{
			t.throughput, t.manyClients, t.twoHotProducts, t.pipeline, t.paidWhenIdle, t.paidAtHalfLoad, t.twoProcesses, t.networkDelay, t.fullTables,
		}
	}
	var err error
	for _, group := range groups {
		if err = group(ctx); err != nil {
			break
		}
	}
	return Figures{Machine: t.Machine, Rows: t.rows}, err
}

func (t *table) add(b threshold, measured float64, note string, args ...any) {
	t.rows = append(t.rows, b.judge(measured, fmt.Sprintf(note, args...)))
}

// withServers starts servers, measures, audits and stops them.
func (t *table) withServers(ctx context.Context, measure func(servers []*measuredServer) error, wanted ...wantedServer) error {
	var servers []*measuredServer
	var err error
	for _, want := range wanted {
		var s *measuredServer
		if s, err = startServer(ctx, t.Start, want.name, want.Server); err != nil {
			return stopAll(ctx, err, servers...)
		}
		servers = append(servers, s)
	}
	err = measure(servers)
	for _, s := range servers {
		if err == nil && !s.noop {
			t.Show.status("%s: audit", s.name)
			_, err = s.verify(ctx)
		}
	}
	return stopAll(ctx, err, servers...)
}

// wantedServer is a server to start, and its name in reports.
type wantedServer struct {
	name string
	Server
}

// load returns a load on this number of products.
func (t *table) load(ctx context.Context, s *measuredServer, products int) (Load, error) {
	web := newAPIClient(s.running.URLs[0])
	defer web.close()
	ids, err := web.forSale(ctx, products, products)
	return Load{Clients: t.Clients, Duration: t.Duration, Products: ids, Users: sampleUsers}, err
}

// throughput compares orders per second and processor time per order, on one hot product and on many, with one transaction per order and
// with the no-op handler.
func (t *table) throughput(ctx context.Context) error {
	server := Server{Roles: "api", Products: manyProducts, Stock: largeStock}
	wanted := []wantedServer{{nameOurs, server}, {nameUnbatched, server.unbatched(RowLocks)}}
	if t.Shared {
		wanted = append(wanted, wantedServer{nameLocked, server.unbatched(ProductLocks)})
	}
	return t.withServers(ctx, func(servers []*measuredServer) error {
		ours, others, noop := servers[0], servers[1:len(servers)-1], servers[len(servers)-1]
		hot, err := t.load(ctx, ours, 1)
		if err != nil {
			return err
		}
		if err := alternate(ctx, t.Show, "hot product", hot, t.Rounds, servers...); err != nil {
			return err
		}
		t.rates("one hot product", [][2]float64{t.bars.hot, t.bars.hotLocked}, ours, others)
		t.processor(ours, others)
		t.add(threshold{"orders/s against a no-op handler of the same JSON", "×", t.bars.ceiling, 0.5, false},
			ratio(ours.medianRate(), noop.medianRate()), "%s against %s answers/s, hot product",
			number(ours.medianRate()), number(noop.medianRate()))
		for _, s := range servers {
			s.rounds = nil
		}
		all, err := t.load(ctx, ours, manyProducts)
		if err != nil {
			return err
		}
		if err := alternate(ctx, t.Show, "100 products", all, t.Rounds, servers[:len(servers)-1]...); err != nil {
			return err
		}
		t.rates("100 products", [][2]float64{t.bars.spread, t.bars.spreadLocked}, ours, others)
		return nil
	}, append(wanted, wantedServer{nameNoop, Server{Noop: true}})...)
}

// fullName is the name of an unbatched server in a figure.
func fullName(name string) string {
	if name == nameLocked {
		return "one transaction per order with a Redis lock"
	}
	return "one transaction per order"
}

// rates compares the orders/s of ours with those of others; marks has a floor and a goal for each.
func (t *table) rates(what string, marks [][2]float64, ours *measuredServer, others []*measuredServer) {
	for i, other := range others {
		figure := what + ", " + count(int64(t.Clients)) + " clients: orders/s against " + fullName(other.name)
		t.add(threshold{figure, "×", marks[i][0], marks[i][1], false},
			ratio(ours.medianRate(), other.medianRate()), "%s against %s orders/s%s", number(ours.medianRate()), number(other.medianRate()),
			refusals(ours, other))
	}
}

// refusals describes the share of answers other than 201, if any.
func refusals(servers ...*measuredServer) string {
	var text strings.Builder
	for _, s := range servers {
		all := s.total()
		if n := refused(all); n > 0 {
			fmt.Fprintf(&text, "; %s: %s%% refused", s.name, number(100*float64(n)/float64(n+all.Created)))
		}
	}
	return text.String()
}

// refused counts the requests without a 201.
func refused(r round) int64 {
	var n int64
	for what, times := range r.Answers {
		if what != "201" {
			n += times
		}
	}
	return n
}

func (t *table) processor(ours *measuredServer, others []*measuredServer) {
	a := ours.total()
	cost := a.perOrder(a.server)
	for _, other := range others {
		b := other.total()
		t.add(threshold{"processor time an order: that of " + fullName(other.name) + " against ours", "×", 6, none(), false},
			ratio(b.perOrder(b.server), cost), "%s against %s, %s", withUnit(b.perOrder(b.server), "µs"), withUnit(cost, "µs"), ours.running.Counted)
	}
	t.add(threshold{"processor time an order", "µs", none(), 90, true},
		cost, "%s, hot product; the driver takes %s more", ours.running.Counted, withUnit(a.perOrder(a.driver), "µs"))
}

// Below returns the rows that are below their floor.
func (f Figures) Below() []Row {
	var below []Row
	for _, row := range f.Rows {
		if row.Verdict == BelowFloor {
			below = append(below, row)
		}
	}
	return below
}

// WriteText writes the table as text.
func (f Figures) WriteText(w io.Writer, terminal bool) error {
	colours := paint(terminal)
	rows := [][]cell{plain("figure", "floor", "goal", "measured", "verdict", "made of")}
	for i := range rows[0] {
		rows[0][i].colour = colours.bold
	}
	for _, row := range f.Rows {
		colour := func(text string) string { return text }
		switch row.Verdict {
		case AtGoal:
			colour = colours.green
		case BelowFloor:
			colour = colours.red
		case NotKnown:
			colour = colours.yellow
		case AtFloor, Shown:
		}
		cells := plain(row.cells()...)
		cells[3].colour, cells[4].colour, cells[5].colour = colour, colour, colours.dim
		rows = append(rows, cells)
	}
	const verdict, note = 4, 5
	return writeColumns(w, rows, verdict, note)
}

// WriteJSON writes the table as JSON.
func (f Figures) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(f)
}

// WriteMarkdown writes the table and the machine as Markdown.
func (f Figures) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("| figure | floor | goal | measured | verdict | made of |\n|---|---:|---:|---:|---|---|\n")
	for _, row := range f.Rows {
		cells := row.cells()
		if row.Verdict == BelowFloor {
			cells[3], cells[4] = "**"+cells[3]+"**", "**"+cells[4]+"**"
		}
		for i := range cells {
			cells[i] = strings.ReplaceAll(cells[i], "|", `\|`)
		}
		b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
	}
	m := f.Machine
	fmt.Fprintf(&b, "\nMeasured on %s, %d cores, %s, %s", m.CPU, m.Cores, m.Kernel, m.Go)
	if m.Commit != "" {
		fmt.Fprintf(&b, ", commit `%s`", m.Commit)
	}
	if m.Command != "" {
		fmt.Fprintf(&b, ", by `%s`", m.Command)
	}
	b.WriteString(". Server and load driver share the cores.\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// cells returns figure, floor, goal, measured, verdict and note.
func (r Row) cells() []string {
	mark := func(x *float64) string { return withUnit(orNaN(x), r.Unit) }
	return []string{r.Figure, mark(r.Floor), mark(r.Goal), mark(r.Measured), string(r.Verdict), r.Note}
}

// binarySize returns the size of the binary in bytes.
func (t *table) binarySize() (int64, error) {
	path := t.Binary
	if path == "" {
		var err error
		if path, err = os.Executable(); err != nil {
			return 0, err
		}
	}
	file, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return file.Size(), nil
}
