package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Report is the result of `orderflow bench`.
type Report struct {
	Machine  Machine        `json:"machine"`
	URLs     []string       `json:"urls,omitempty"` // of running servers (--url)
	Store    string         `json:"store,omitempty"`
	Roles    string         `json:"roles,omitempty"`
	Clients  int            `json:"clients"`
	Rounds   int            `json:"rounds"`
	Products []int64        `json:"products"`          // ids of the bought products; a single one is a hot product
	Lines    int            `json:"lines"`             // products in an order
	Servers  []ServerReport `json:"servers"`           // the first is Orderflow; the others were loaded in turn with it
	Compare  *Ratios        `json:"compare,omitempty"` // one transaction per order, row locks only
	Locked   *Ratios        `json:"compare_product_locks,omitempty"`
	Ceiling  *Ratios        `json:"ceiling,omitempty"`
}

// ServerReport is the result of one server.
type ServerReport struct {
	Name            string           `json:"name"`
	OrdersPerSecond float64          `json:"orders_per_second"` // the median of the rounds
	Rounds          []float64        `json:"rounds"`            // orders a second
	Orders          int64            `json:"orders"`
	Seconds         float64          `json:"seconds"`
	Latency         Latency          `json:"latency_ms"`
	Answers         map[string]int64 `json:"answers"`
	Processes       []ProcessReport  `json:"processes,omitempty"`     // when the load was spread over several
	ServerCPU       *float64         `json:"server_cpu_us_per_order"` // null: unknown
	ServerCPUOf     string           `json:"server_cpu_of,omitempty"` // processes that it includes
	DriverCPU       *float64         `json:"driver_cpu_us_per_order"`
	Audit           *AuditResult     `json:"audit,omitempty"`
}

// ProcessReport is the result of one of several servers on the same database: it shows whether they share the load evenly.
type ProcessReport struct {
	URL             string  `json:"url"`
	Orders          int64   `json:"orders"`
	OrdersPerSecond float64 `json:"orders_per_second"`
	Share           float64 `json:"share"` // of the orders of all, 0 to 1
}

// processes returns the results of several servers; nil of one.
func processes(urls []string, all round) []ProcessReport {
	if len(urls) < 2 {
		return nil
	}
	reports := make([]ProcessReport, len(urls))
	for i, url := range urls {
		reports[i] = ProcessReport{
			URL: url, Orders: all.ByServer[i], OrdersPerSecond: finite(ratio(float64(all.ByServer[i]), all.Elapsed.Seconds())),
			Share: finite(ratio(float64(all.ByServer[i]), float64(all.Created))),
		}
	}
	return reports
}

// Latency is the latency of answers in ms: plain percentiles of a closed loop.
type Latency struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Ratios compare Orderflow with another server.
type Ratios struct {
	OrdersPerSecond float64  `json:"orders_per_second"`          // Orderflow ÷ the other
	ServerCPU       *float64 `json:"server_cpu_inverse_of_ours"` // the other ÷ Orderflow; null: unknown
}

func latencyOf(h *hdrhistogram.Histogram) Latency {
	ms := func(percentile float64) float64 { return float64(h.ValueAtPercentile(percentile)) / 1e3 }
	return Latency{P50: ms(50), P95: ms(95), P99: ms(99), Max: float64(h.Max()) / 1e3}
}

func newReport(o Options, products []int64, servers []*measuredServer) *Report {
	report := &Report{Machine: o.Machine, Clients: o.Clients, Rounds: o.Rounds, Products: products, Lines: o.Lines}
	if o.At != nil {
		report.URLs = o.At.URLs
	} else {
		report.Roles, report.Store = o.Roles, o.Store
	}
	for _, s := range servers {
		all := s.total()
		server := ServerReport{
			Name: s.name, OrdersPerSecond: finite(s.medianRate()), Rounds: []float64{}, Orders: all.Created,
			Seconds: all.Elapsed.Seconds(), Latency: latencyOf(all.Latency), Answers: all.Answers,
			ServerCPU: known(all.perOrder(all.server)), DriverCPU: known(all.perOrder(all.driver)),
			Processes: processes(s.running.URLs, all),
		}
		if server.ServerCPU != nil {
			server.ServerCPUOf = s.running.Counted
		}
		for _, r := range s.rounds {
			server.Rounds = append(server.Rounds, r.OrdersPerSecond())
		}
		report.Servers = append(report.Servers, server)
	}
	ours := report.Servers[0]
	for _, other := range report.Servers[1:] {
		ratios := &Ratios{OrdersPerSecond: finite(ratio(ours.OrdersPerSecond, other.OrdersPerSecond))}
		if ours.ServerCPU != nil && other.ServerCPU != nil {
			ratios.ServerCPU = known(ratio(*other.ServerCPU, *ours.ServerCPU))
		}
		switch other.Name {
		case nameNoop:
			report.Ceiling = ratios
		case nameLocked:
			report.Locked = ratios
		default:
			report.Compare = ratios
		}
	}
	return report
}

// known returns nil for an unknown figure.
func known(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

// finite returns 0 for an unknown figure, which JSON cannot represent.
func finite(x float64) float64 {
	if p := known(x); p != nil {
		return *p
	}
	return 0
}

func orNaN(x *float64) float64 {
	if x == nil {
		return math.NaN()
	}
	return *x
}

// WriteJSON writes the report as JSON.
func (r *Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// WriteText writes the report as text.
func (r *Report) WriteText(w io.Writer, terminal bool) error {
	colours := paint(terminal)
	if _, err := fmt.Fprintf(w, "\n  %s\n\n", colours.bold(r.title())); err != nil {
		return err
	}
	if err := writeColumns(w, r.figures(colours)); err != nil {
		return err
	}
	for _, server := range r.Servers {
		if err := server.writeProcesses(w, colours); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "\n%s%s%s\n", r.ratios(colours), r.counted(), r.audits(colours))
	return err
}

func (r *Report) title() string {
	what := count(int64(len(r.Products))) + " products"
	switch {
	case len(r.Products) == 1:
		what = fmt.Sprintf("one hot product (%d)", r.Products[0])
	case r.Lines == len(r.Products):
		what += ", all in every order"
	case r.Lines > 1:
		what += fmt.Sprintf(", %d in an order", r.Lines)
	}
	where := "private server, roles " + r.Roles
	if n := len(r.Servers[0].Processes); n > 0 {
		where = fmt.Sprintf("%d private servers, roles %s", n, r.Roles)
	}
	if r.Store != "" {
		where += ", over " + r.Store
	}
	if len(r.URLs) > 0 {
		where = strings.Join(r.URLs, ", ")
	}
	title := fmt.Sprintf("%s clients on %s, %s", count(int64(r.Clients)), what, where)
	if len(r.Servers) > 1 {
		title += fmt.Sprintf("; %d rounds in turn", r.Rounds)
	}
	return title
}

// figures returns the table: a row per figure, a column per server.
func (r *Report) figures(colours paint) [][]cell {
	var rows [][]cell
	add := func(name, unit string, of func(ServerReport) string) {
		row := []cell{{text: name}}
		for _, server := range r.Servers {
			row = append(row, cell{text: of(server)})
		}
		rows = append(rows, append(row, cell{unit, colours.dim}))
	}
	if len(r.Servers) > 1 {
		add("", "", func(s ServerReport) string { return s.Name })
	}
	add("throughput", "orders/s", func(s ServerReport) string { return number(s.OrdersPerSecond) })
	add("orders", "in all", func(s ServerReport) string { return count(s.Orders) })
	add("load", "s", func(s ServerReport) string { return number(s.Seconds) })
	for _, p := range []struct {
		name string
		of   func(Latency) float64
	}{
		{"latency p50", func(l Latency) float64 { return l.P50 }},
		{"        p95", func(l Latency) float64 { return l.P95 }},
		{"        p99", func(l Latency) float64 { return l.P99 }},
		{"        max", func(l Latency) float64 { return l.Max }},
	} {
		add(p.name, "ms", func(s ServerReport) string { return number(p.of(s.Latency)) })
	}
	add("processor, server", "µs an order", func(s ServerReport) string { return number(orNaN(s.ServerCPU)) })
	add("processor, driver", "µs an order", func(s ServerReport) string { return number(orNaN(s.DriverCPU)) })
	for _, what := range r.kinds() {
		unit := "answers"
		if what == "201" {
			unit = "answers: created"
		}
		add(what, unit, func(s ServerReport) string { return count(s.Answers[what]) })
	}
	return rows
}

// writeProcesses shows how the servers on one database shared the load.
func (s ServerReport) writeProcesses(w io.Writer, colours paint) error {
	if len(s.Processes) == 0 {
		return nil
	}
	rows := [][]cell{plain(s.Name, "orders/s", "share")}
	for i := range rows[0] {
		rows[0][i].colour = colours.dim
	}
	for _, p := range s.Processes {
		rows = append(rows, plain(p.URL, number(p.OrdersPerSecond), number(100*p.Share)+" %"))
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return writeColumns(w, rows)
}

// counted describes which processes the processor time of servers includes.
func (r *Report) counted() string {
	if of := r.Servers[0].ServerCPUOf; of != "" {
		return "  The processor time of the server includes: " + of + ".\n\n"
	}
	return ""
}

// kinds returns all kinds of answers, sorted.
func (r *Report) kinds() []string {
	all := map[string]bool{"201": true}
	for _, server := range r.Servers {
		for what := range server.Answers {
			all[what] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func (r *Report) ratios(colours paint) string {
	var text strings.Builder
	for _, against := range []struct {
		ratios *Ratios
		what   string
	}{
		{r.Compare, "orders/s of one transaction per order (unbatched, row locks only)"},
		{r.Locked, "orders/s of one transaction per order (unbatched, a lock in Redis for each product)"},
		{r.Ceiling, "answers/s of a no-op handler that reads and writes the same JSON"},
	} {
		if against.ratios == nil {
			continue
		}
		fmt.Fprintf(&text, "  %s × the %s", colours.bold(number(against.ratios.OrdersPerSecond)), against.what)
		if cpu := against.ratios.ServerCPU; cpu != nil && against.ratios != r.Ceiling {
			fmt.Fprintf(&text, ", at 1/%s of its processor time an order", number(*cpu))
		}
		text.WriteByte('\n')
	}
	if text.Len() > 0 {
		text.WriteByte('\n')
	}
	return text.String()
}

// audits returns the results of the audits, and reports an audit that did not run.
func (r *Report) audits(colours paint) string {
	var text strings.Builder
	for i, server := range r.Servers {
		if server.Audit == nil {
			continue
		}
		exists := ", each id once"
		if server.Audit.Verified {
			exists = ", each exists, once"
		}
		fmt.Fprintf(&text, "  %s: %s answers of 201%s\n", server.Name, count(server.Audit.Distinct), exists)
		if server.Audit.Audited {
			report := server.Audit.Report
			if i > 0 { // for a server of a comparison the last line is enough
				report = report[strings.LastIndexByte(report, '\n')+1:]
			}
			text.WriteString("  " + strings.ReplaceAll(report, "\n", "\n  ") + "\n")
		} else {
			text.WriteString("  " + colours.yellow("No audit: set --database to the database of the server.") + "\n")
		}
	}
	return text.String()
}
