package bench

import (
	"context"
	"fmt"
	"math"
)

// fullTables compares a server with many orders in its tables with one whose tables are empty.
func (t *table) fullTables(ctx context.Context) error {
	if t.Orders == 0 {
		return nil
	}
	t.Show.status("seeding %s orders", count(t.Orders))
	empty := Server{Roles: "api", Products: manyProducts, Stock: largeStock}
	full := empty
	full.Orders = t.Orders
	return t.withServers(ctx, func(servers []*measuredServer) error {
		load, err := t.load(ctx, servers[0], manyProducts)
		if err != nil {
			return err
		}
		if err := alternate(ctx, t.Show, "100 products", load, t.Rounds, servers...); err != nil {
			return err
		}
		t.add(threshold{"orders/s with " + count(t.Orders) + " orders in the tables, against empty ones", "×", 0.8, 0.95, false},
			ratio(servers[1].medianRate(), servers[0].medianRate()),
			"%s against %s orders/s", number(servers[1].medianRate()), number(servers[0].medianRate()))
		if err := t.pageLatency(ctx, servers); err != nil {
			return err
		}
		return t.sweepLatency(ctx, servers)
	}, wantedServer{"empty tables", empty}, wantedServer{"full tables", full})
}

// timedQueries is the number of timed runs of a query.
const timedQueries = 100

// pageLatency times pages of lists by cursor: of all orders, of one user's and of one status.
func (t *table) pageLatency(ctx context.Context, servers []*measuredServer) error {
	var p95 [2]float64
	var p99 float64
	for i, s := range servers {
		latency, err := s.listPages(ctx)
		if err != nil {
			return err
		}
		p95[i], p99 = latency.P95, latency.P99
	}
	t.add(threshold{"a page of a list by cursor with " + count(t.Orders) + " orders in the tables, p95", "ms", none(), none(), true},
		p95[1], "%s ms with the orders of the load only; p99 %s ms; pages of all orders, of a user's and of PAID ones", number(p95[0]), number(p99))
	return nil
}

// listPages times the pages of some lists.
func (s *measuredServer) listPages(ctx context.Context) (Latency, error) {
	web := newAPIClient(s.running.URLs[0])
	defer web.close()
	took := newLatency()
	for _, query := range []string{"", "user_id=1&", "status=PAID&"} {
		if err := web.walk(ctx, query, timedQueries, took); err != nil {
			return Latency{}, err
		}
	}
	return latencyOf(took), nil
}

// sweepLatency times the sweeper's query for due orders.
func (t *table) sweepLatency(ctx context.Context, servers []*measuredServer) error {
	var p95 [2]float64
	for i, s := range servers {
		if p95[i] = math.NaN(); s.running.Sweep == nil {
			continue
		}
		times, err := s.running.Sweep(ctx, timedQueries)
		if err != nil {
			return fmt.Errorf("the query for due orders: %w", err)
		}
		took := newLatency()
		for _, each := range times {
			_ = took.RecordValue(max(1, each.Microseconds())) // in range: a query has a time limit
		}
		p95[i] = latencyOf(took).P95
	}
	t.add(threshold{"the sweeper's query with " + count(t.Orders) + " orders in the tables, p95", "ms", none(), none(), true},
		p95[1], "%s ms with the orders of the load only", number(p95[0]))
	return nil
}
