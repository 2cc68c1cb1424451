package bench

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestJudge(t *testing.T) {
	more := threshold{"f", "×", 6, 12, false}
	less := threshold{"f", "ms", 20, 5, true}
	tests := []struct {
		bar      threshold
		measured float64
		want     Verdict
	}{
		{more, 5.999, BelowFloor},
		{more, 6, AtFloor},
		{more, 11.9, AtFloor},
		{more, 12, AtGoal},
		{more, 13, AtGoal},
		{less, 20.01, BelowFloor},
		{less, 20, AtFloor},
		{less, 5.1, AtFloor},
		{less, 5, AtGoal},
		{less, 0, AtGoal},
		{more, math.NaN(), NotKnown},
		{less, math.Inf(1), NotKnown},
		{threshold{"none refused", "", 0, 0, true}, 0, AtGoal},
		{threshold{"none refused", "", 0, 0, true}, 1, BelowFloor},
		{threshold{"a goal alone", "µs", none(), 90, true}, 91, Shown},
		{threshold{"a goal alone", "µs", none(), 90, true}, 90, AtGoal},
		{threshold{"a floor alone", "×", 6, none(), false}, 60, AtFloor},
		{threshold{"a floor alone", "×", 6, none(), false}, 5, BelowFloor},
		{threshold{"context", "", none(), none(), false}, 1, Shown},
	}
	for _, test := range tests {
		if got := test.bar.judge(test.measured, "").Verdict; got != test.want {
			t.Errorf("%+v at %g: %q, want %q", test.bar, test.measured, got, test.want)
		}
	}
}

func sampleFigures() Figures {
	return Figures{
		Machine: Machine{CPU: "Some CPU", Cores: 2, Kernel: "Linux 6.1", Go: "go1.26.0 linux/amd64", Commit: "abc123", Command: "orderflow bench --table"},
		Rows: []Row{
			threshold{"hot product against one transaction per order", "×", 6, 12, false}.judge(41.234, "12,412 against 301 orders/s"),
			threshold{"processor time an order", "µs", none(), 90, true}.judge(95, "server | process"),
			threshold{"start-up", "ms", 300, 100, true}.judge(301.4, ""),
			threshold{"memory", "MB", 60, 30, true}.judge(math.NaN(), ""),
			threshold{"lock_conflict answers", "", 0, 0, true}.judge(0, "of 5 orders"),
		},
	}
}

func TestFiguresText(t *testing.T) {
	var text bytes.Buffer
	if err := sampleFigures().WriteText(&text, false); err != nil {
		t.Fatal(err)
	}
	want := `  figure                                           floor     goal  measured  verdict      made of
  hot product against one transaction per order   6.00 ×   12.0 ×    41.2 ×  goal         12,412 against 301 orders/s
  processor time an order                              –  90.0 µs   95.0 µs               server | process
  start-up                                        300 ms   100 ms    301 ms  below floor
  memory                                         60.0 MB  30.0 MB         –  not known
  lock_conflict answers                             0.00     0.00      0.00  goal         of 5 orders
`
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Error(diff)
	}
	text.Reset()
	if err := sampleFigures().WriteText(&text, true); err != nil {
		t.Fatal(err)
	}
	if red := "\x1b[31mbelow floor\x1b[0m"; !strings.Contains(text.String(), red) {
		t.Errorf("a row below its floor is not red: %q", text.String())
	}
}

func TestFiguresMarkdown(t *testing.T) {
	var text bytes.Buffer
	if err := sampleFigures().WriteMarkdown(&text); err != nil {
		t.Fatal(err)
	}
	want := `| figure | floor | goal | measured | verdict | made of |
|---|---:|---:|---:|---|---|
| hot product against one transaction per order | 6.00 × | 12.0 × | 41.2 × | goal | 12,412 against 301 orders/s |
| processor time an order | – | 90.0 µs | 95.0 µs |  | server \| process |
| start-up | 300 ms | 100 ms | **301 ms** | **below floor** |  |
| memory | 60.0 MB | 30.0 MB | – | not known |  |
| lock_conflict answers | 0.00 | 0.00 | 0.00 | goal | of 5 orders |

Measured on Some CPU, 2 cores, Linux 6.1, go1.26.0 linux/amd64, commit ` + "`abc123`, by `orderflow bench --table`" + `. Server and load driver share the cores.
`
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Error(diff)
	}
}

func TestTableMeasuresEveryFigure(t *testing.T) {
	measures(t, TableOptions{Binary: "table_test.go"}, []string{
		"start-up to the first answer", "resident memory, idle", "binary",
		"one hot product, 4 clients: orders/s against one transaction per order",
		"processor time an order: that of one transaction per order against ours",
		"processor time an order", "orders/s against a no-op handler of the same JSON",
		"100 products, 4 clients: orders/s against one transaction per order", "p99 at 1,000 clients on one hot product",
		"lock_conflict answers among them", "create, claim and settle (gateway at 0 ms) against create alone",
		"create to PAID beyond the gateway's time, p95, idle", "create to PAID beyond the gateway's time, p95, half load",
		"orders/s with 1,000 orders in the tables, against empty ones",
		"a page of a list by cursor with 1,000 orders in the tables, p95", "the sweeper's query with 1,000 orders in the tables, p95",
	})
}

func TestTableMeasuresEveryFigureOfSharedStores(t *testing.T) {
	wanted := measures(t, TableOptions{Shared: true, Delays: true}, []string{
		"one hot product, 4 clients: orders/s against one transaction per order",
		"one hot product, 4 clients: orders/s against one transaction per order with a Redis lock",
		"processor time an order: that of one transaction per order against ours",
		"processor time an order: that of one transaction per order with a Redis lock against ours",
		"processor time an order", "orders/s against a no-op handler of the same JSON",
		"100 products, 4 clients: orders/s against one transaction per order",
		"100 products, 4 clients: orders/s against one transaction per order with a Redis lock", "p99 at 1,000 clients on one hot product",
		"lock_conflict answers among them", "lock_conflict answers: 1,000 clients on two hot products together, two processes",
		"create, claim and settle (gateway at 0 ms) against create alone",
		"create to PAID beyond the gateway's time, p95, idle", "create to PAID beyond the gateway's time, p95, half load",
		"two API processes on one hot product: the smaller share of the orders",
		"two API processes on one hot product: orders/s of both against one alone",
		"orders/s at 1,000 clients with 1 ms of delay to MySQL and Redis, against none",
		"orders/s at 1,000 clients with 5 ms of delay to MySQL and Redis, against none",
		"orders/s with 1,000 orders in the tables, against empty ones",
		"a page of a list by cursor with 1,000 orders in the tables, p95", "the sweeper's query with 1,000 orders in the tables, p95",
	})
	var delays []time.Duration
	pairs := 0
	for _, want := range wanted {
		if want.Proxied {
			delays = append(delays, want.Delay)
		}
		if want.Processes == 2 {
			pairs++
		}
	}
	if diff := cmp.Diff([]time.Duration{0, time.Millisecond, 5 * time.Millisecond}, delays); diff != "" || pairs != 2 {
		t.Errorf("delays %s; %d pairs of processes", diff, pairs)
	}
}

// measures runs a table on fake servers, which must measure exactly these figures. It returns the requested servers.
func measures(t *testing.T, options TableOptions, want []string) []Server {
	t.Helper()
	var f fakeServers
	options.Start, options.Clients, options.Duration, options.Rounds, options.Orders =
		f.starter(t, asWanted), 4, 200*time.Millisecond, 1, 1000
	figures, err := (&table{probes: 20, TableOptions: options}).all(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, row := range figures.Rows {
		got = append(got, row.Figure)
		if row.Measured == nil {
			t.Errorf("%s: nothing was measured (%s)", row.Figure, row.Note)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if f.stopped != len(f.wanted) {
		t.Errorf("%d servers started, %d stopped", len(f.wanted), f.stopped)
	}
	return f.wanted
}

func TestTableStopsAtABrokenPromise(t *testing.T) {
	f := fakeServers{violation: "stock is short"}
	_, err := Table(t.Context(), TableOptions{Start: f.starter(t, asWanted), Clients: 2, Duration: 20 * time.Millisecond, Rounds: 1})
	if err == nil || !strings.Contains(err.Error(), "stock is short") || f.stopped != len(f.wanted) {
		t.Errorf("error %v; %d of %d servers stopped", err, f.stopped, len(f.wanted))
	}
}

func TestBelow(t *testing.T) {
	if below := sampleFigures().Below(); len(below) != 1 || below[0].Figure != "start-up" {
		t.Errorf("%+v", below)
	}
}

func TestNumber(t *testing.T) {
	for want, x := range map[string]float64{
		"0.00": 0, "0.25": 0.25, "9.99": 9.99, "10.0": 9.996, "99.9": 99.9, "100": 99.96, "1,235": 1234.6, "1,234,567": 1234567,
		"-12.0": -12, unknown: math.NaN(),
	} {
		if got := number(x); got != want {
			t.Errorf("%g: %q, want %q", x, got, want)
		}
	}
}
