package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// asWanted returns the fake server for a private server.
func asWanted(want Server) *fakeServer {
	if want.Noop {
		want.Stock = largeStock
	}
	return newFakeServer(max(5, want.Products), max(100, want.Stock))
}

func TestRunComparesInTurn(t *testing.T) {
	var f fakeServers
	var log bytes.Buffer
	report, err := Run(t.Context(), Options{
		Start: f.starter(t, asWanted), Clients: 4, Duration: 400 * time.Millisecond, Rounds: 2, Hot: true, Compare: true, Redis: true, Ceiling: true,
		Show: Display{Out: &log},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []Server{
		{Roles: "api", Products: 1, Stock: largeStock},
		{Roles: "api", Products: 1, Stock: largeStock, Unbatched: RowLocks},
		{Roles: "api", Products: 1, Stock: largeStock, Unbatched: ProductLocks},
		{Noop: true, Products: 1},
	}
	if diff := cmp.Diff(want, f.wanted); diff != "" || f.stopped != 4 {
		t.Errorf("%s; %d stopped", diff, f.stopped)
	}
	var order []string
	for line := range strings.Lines(log.String()) {
		order = append(order, strings.TrimSpace(line))
	}
	var turns []string
	for _, turn := range []string{"warm-up, 50ms", "round 1 of 2, 200ms", "round 2 of 2, 200ms"} {
		for _, name := range []string{nameOurs, nameUnbatched, nameLocked, nameNoop} {
			turns = append(turns, "product 1, "+name+": "+turn)
		}
	}
	if diff := cmp.Diff(turns, order); diff != "" {
		t.Error(diff)
	}
	if report.Compare == nil || report.Locked == nil || report.Ceiling == nil || len(report.Servers) != 4 {
		t.Fatalf("%+v", report)
	}
	if report.Compare.OrdersPerSecond <= 0 {
		t.Errorf("%g × the orders/s of the unbatched server", report.Compare.OrdersPerSecond)
	}
	if report.Locked.OrdersPerSecond <= 0 {
		t.Errorf("%g × the orders/s with product locks", report.Locked.OrdersPerSecond)
	}
	ours := report.Servers[0]
	if ours.Orders == 0 || len(ours.Rounds) != 2 || ours.Answers["201"] != ours.Orders || ours.Audit == nil || !ours.Audit.Audited || !ours.Audit.Verified {
		t.Errorf("%+v", ours)
	}
	if report.Servers[3].Audit != nil {
		t.Error("the no-op handler was audited")
	}
	if ours.ServerCPU == nil || math.Abs(*ours.ServerCPU-2e6/float64(ours.Orders)) > 1e-6 { // a second each round
		t.Errorf("processor time %v µs an order of %d", orNaN(ours.ServerCPU), ours.Orders)
	}
}

func TestRunOnARunningServer(t *testing.T) {
	server := newFakeServer(5, largeStock)
	report, err := Run(t.Context(), Options{At: &Running{URLs: []string{server.serve(t)}}, Clients: 2, Duration: 30 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Products) != 5 || report.Servers[0].Audit.Audited {
		t.Errorf("%+v", report)
	}
	var text, data bytes.Buffer
	if err := errors.Join(report.WriteText(&text, false), report.WriteJSON(&data)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "No audit") || strings.Contains(text.String(), "\x1b") {
		t.Error(text.String())
	}
	var again Report
	if err := json.Unmarshal(data.Bytes(), &again); err != nil || again.Servers[0].Orders != report.Servers[0].Orders {
		t.Errorf("%v: %s", err, data.String())
	}
}

func TestRunFindsViolations(t *testing.T) {
	missing := errors.New("order 7 is missing")
	tests := []struct {
		name   string
		change func(*fakeServer, *fakeServers, *Running)
		want   string
	}{
		{"a duplicate id", func(s *fakeServer, _ *fakeServers, _ *Running) { s.duplicateIDAfter = 1 }, "have order"},
		{"a failed audit", func(_ *fakeServer, f *fakeServers, _ *Running) { f.violation = "stock is short" }, "stock is short"},
		{"a missing order", func(_ *fakeServer, _ *fakeServers, r *Running) {
			r.Verify = func(context.Context, []int64) error { return missing }
		}, missing.Error()},
		{"an error of Stop", func(_ *fakeServer, _ *fakeServers, r *Running) {
			r.Stop = func(context.Context) error { return errors.New("it hangs") }
		}, "it hangs"},
		{"a rate limit", func(s *fakeServer, _ *fakeServers, _ *Running) { s.limit = 1 }, "--rate-limit off"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var f fakeServers
			fake := newFakeServer(3, largeStock)
			starter := f.starter(t, func(Server) *fakeServer { return fake })
			start := func(ctx context.Context, want Server) (Running, error) {
				running, err := starter(ctx, want)
				test.change(fake, &f, &running)
				return running, err
			}
			report, err := Run(t.Context(), Options{Start: start, Clients: 2, Duration: 200 * time.Millisecond, Products: 3})
			if err == nil || !strings.Contains(err.Error(), test.want) || report == nil {
				t.Errorf("error %v, report %v", err, report)
			}
		})
	}
}

func TestRunStopsWhatItStarted(t *testing.T) {
	var f fakeServers
	starter := f.starter(t, asWanted)
	failed := errors.New("no room")
	_, err := Run(t.Context(), Options{Compare: true, Start: func(ctx context.Context, want Server) (Running, error) {
		if want.Unbatched != "" {
			return Running{}, failed
		}
		return starter(ctx, want)
	}})
	if !errors.Is(err, failed) || f.stopped != 1 {
		t.Errorf("error %v; %d stopped", err, f.stopped)
	}
}

func TestRunRefusesInvalidOptions(t *testing.T) {
	start := func(context.Context, Server) (Running, error) { return Running{}, errors.New("it was started") }
	running := &Running{URLs: []string{"http://127.0.0.1:1"}}
	for name, o := range map[string]Options{
		"nothing to load": {}, "compare at": {At: running, Compare: true}, "ceiling at": {At: running, Ceiling: true},
		"more lines than products": {At: running, Products: 1, Lines: 2},
		"compare the pipeline":     {Start: start, Compare: true, Roles: "api,worker"},
		"rounds":                   {Start: start, Rounds: -1, Compare: true}, "clients": {Start: start, Clients: -1}, "products": {Start: start, Products: -1},
	} {
		if _, err := Run(t.Context(), o); err == nil || strings.Contains(err.Error(), "was started") {
			t.Errorf("%s: %v", name, err)
		}
	}
	server := newFakeServer(2, 10)
	if _, err := Run(t.Context(), Options{At: &Running{URLs: []string{server.serve(t)}}, Products: 3}); err == nil || !strings.Contains(err.Error(), "seed --products 3") {
		t.Errorf("error %v", err)
	}
}

func TestReportText(t *testing.T) {
	cost, unbatched := 82.31, 1100.0
	report := &Report{
		Roles: "api", Clients: 256, Rounds: 3, Products: []int64{1},
		Servers: []ServerReport{
			{
				Name: nameOurs, OrdersPerSecond: 12412.4, Orders: 124120, Seconds: 10, Latency: Latency{19.84, 28.1, 33.04, 61},
				Answers: map[string]int64{"201": 124120, "503 overloaded": 3}, ServerCPU: &cost,
				Audit: &AuditResult{Distinct: 125000, Verified: true, Audited: true, Report: "holds  1\nAudit passed."},
			},
			{
				Name: nameUnbatched, OrdersPerSecond: 310.3, Orders: 3103, Seconds: 10.4, Latency: Latency{810, 1210, 1530, 2044},
				Answers: map[string]int64{"201": 3103, "409 lock_conflict": 12}, ServerCPU: &unbatched,
				Audit: &AuditResult{Distinct: 3103, Audited: true, Report: "holds  1\nAudit passed, too."},
			},
		},
		Compare: &Ratios{OrdersPerSecond: 40.003, ServerCPU: known(unbatched / cost)},
		Locked:  &Ratios{OrdersPerSecond: 80.01},
	}
	var text bytes.Buffer
	if err := report.WriteText(&text, false); err != nil {
		t.Fatal(err)
	}
	want := `
  256 clients on one hot product (1), private server, roles api; 3 rounds in turn

                     Orderflow  unbatched
  throughput            12,412        310          orders/s
  orders               124,120      3,103            in all
  load                    10.0       10.4                 s
  latency p50             19.8        810                ms
          p95             28.1      1,210                ms
          p99             33.0      1,530                ms
          max             61.0      2,044                ms
  processor, server       82.3      1,100       µs an order
  processor, driver          –          –       µs an order
  201                  124,120      3,103  answers: created
  409 lock_conflict          0         12           answers
  503 overloaded             3          0           answers

  40.0 × the orders/s of one transaction per order (unbatched, row locks only), at 1/13.4 of its processor time an order
  80.0 × the orders/s of one transaction per order (unbatched, a lock in Redis for each product)

  Orderflow: 125,000 answers of 201, each exists, once
  holds  1
  Audit passed.
  unbatched: 3,103 answers of 201, each id once
  Audit passed, too.

`
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Error(diff)
	}
}

func TestMedianAndRatio(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 4}, 4}, {[]float64{4, 1, 9, 2}, 3}} {
		if got := Median(test.values); got != test.want {
			t.Errorf("median of %v: %g, want %g", test.values, got, test.want)
		}
	}
	if got := ratio(12, 3); got != 4 {
		t.Errorf("12 ÷ 3 = %g", got)
	}
	for name, got := range map[string]float64{
		"median of none": Median(nil), "by zero": ratio(1, 0), "of nothing": ratio(math.NaN(), 1), "by nothing": ratio(1, math.NaN()),
	} {
		if !math.IsNaN(got) {
			t.Errorf("%s: %g", name, got)
		}
	}
}

// measured returns a server whose rounds of one second each created this number of orders, at this processor time per order.
func measured(name string, cost time.Duration, rates ...int64) *measuredServer {
	s := &measuredServer{name: name}
	for _, rate := range rates {
		s.rounds = append(s.rounds, round{
			Result: Result{Created: rate, Elapsed: time.Second, Latency: newLatency(), Answers: map[string]int64{"201": rate}},
			server: time.Duration(rate) * cost, driver: -1,
		})
	}
	return s
}

func TestRatiosAreOfMedians(t *testing.T) {
	ours, unbatched := measured(nameOurs, 80*time.Microsecond, 9000, 12000, 100), measured(nameUnbatched, time.Millisecond, 300, 5, 400)
	locked := measured(nameLocked, 2*time.Millisecond, 150)
	noop := measured(nameNoop, 20*time.Microsecond, 36000)
	report := newReport(Options{Clients: 1}, []int64{1}, []*measuredServer{ours, unbatched, locked, noop})
	if got := report.Compare; got.OrdersPerSecond != 30 || math.Abs(*got.ServerCPU-12.5) > 1e-9 {
		t.Errorf("against the unbatched server: %+v", got)
	}
	if got := report.Locked; got.OrdersPerSecond != 60 || math.Abs(*got.ServerCPU-25) > 1e-9 {
		t.Errorf("against product locks: %+v", got)
	}
	if got := report.Ceiling; got.OrdersPerSecond != 0.25 {
		t.Errorf("against the no-op handler: %+v", got)
	}
	if report.Servers[0].DriverCPU != nil {
		t.Error("unknown processor time has a figure")
	}
	run := &table{}
	run.rates("hot", [][2]float64{{6, 12}, {6, 12}}, ours, []*measuredServer{unbatched, locked})
	run.processor(ours, []*measuredServer{unbatched, locked})
	var got []float64
	for _, row := range run.rows {
		got = append(got, *row.Measured)
	}
	if diff := cmp.Diff([]float64{30, 60, 12.5, 25, 80}, got, cmpopts.EquateApprox(1e-9, 0)); diff != "" {
		t.Error(diff)
	}
}

func TestNoopHandlerTakesTheSameLoad(t *testing.T) {
	server := httptest.NewServer(NoopHandler())
	defer server.Close()
	report, err := Run(t.Context(), Options{At: &Running{URLs: []string{server.URL}}, Clients: 2, Duration: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if s := report.Servers[0]; len(report.Products) != 100 || s.Orders == 0 || len(s.Answers) != 1 {
		t.Errorf("%d products, %+v", len(report.Products), s)
	}
	const body = `{"user_id":7,"idempotency_key":"k","items":[{"product_id":3,"quantity":2}]}`
	web := newAPIClient(server.URL)
	defer web.close()
	status, _, answer, err := web.do(t.Context(), http.MethodPost, ordersPath, body)
	if err != nil || status != http.StatusCreated {
		t.Fatal(status, err)
	}
	for _, part := range []string{`"user_id":7`, `"idempotency_key":"k"`, `"product_id":3,"quantity":2,"unit_price":"29.99"`, `"cancelled_at":null`} {
		if !strings.Contains(string(answer), part) {
			t.Errorf("%s is not in %s", part, answer)
		}
	}
}
