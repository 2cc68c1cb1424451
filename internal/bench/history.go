package bench

import (
	"context"
	"fmt"
	"math"
)

// history: the same load with millions of orders in the tables as with none.
func (t *table) history(ctx context.Context) error {
	if t.Orders == 0 {
		return nil
	}
	t.Show.say("seeding %s orders", count(t.Orders))
	empty := Server{Roles: "api", Products: spread, Stock: plenty}
	full := empty
	full.Orders = t.Orders
	return t.on(ctx, func(servers []*subject) error {
		load, err := t.load(ctx, servers[0], spread)
		if err != nil {
			return err
		}
		if err := alternate(ctx, t.Show, "100 products", load, t.Rounds, servers...); err != nil {
			return err
		}
		t.add(bar{"orders/s with " + count(t.Orders) + " orders in the tables, against empty ones", "×", 0.8, 0.95, false},
			ratio(servers[1].medianRate(), servers[0].medianRate()),
			"%s against %s orders/s", number(servers[1].medianRate()), number(servers[0].medianRate()))
		if err := t.listing(ctx, servers); err != nil {
			return err
		}
		return t.sweeping(ctx, servers)
	}, named{"empty tables", empty}, named{"full tables", full})
}

// looks is how many times a query is timed.
const looks = 100

// listing: pages of lists by cursor, of all orders and of one user's, walked from the newest on.
func (t *table) listing(ctx context.Context, servers []*subject) error {
	var p95 [2]float64
	var p99 float64
	for i, s := range servers {
		latency, err := s.pages(ctx)
		if err != nil {
			return err
		}
		p95[i], p99 = latency.P95, latency.P99
	}
	t.add(bar{"a page of a list by cursor with " + count(t.Orders) + " orders in the tables, p95", "ms", none(), none(), true},
		p95[1], "%s ms with the load's orders alone; p99 %s ms; pages of all orders, of a user's and of those PAID", number(p95[0]), number(p99))
	return nil
}

// pages times the pages of some lists.
func (s *subject) pages(ctx context.Context) (Latency, error) {
	web := newWeb(s.running.URLs[0])
	defer web.close()
	took := newLatency()
	for _, query := range []string{"", "user_id=1&", "status=PAID&"} {
		if err := web.walk(ctx, query, looks, took); err != nil {
			return Latency{}, err
		}
	}
	return latencyOf(took), nil
}

// sweeping: the query by which workers find what is due.
func (t *table) sweeping(ctx context.Context, servers []*subject) error {
	var p95 [2]float64
	for i, s := range servers {
		if p95[i] = math.NaN(); s.running.Sweep == nil {
			continue
		}
		times, err := s.running.Sweep(ctx, looks)
		if err != nil {
			return fmt.Errorf("the query for what is due: %w", err)
		}
		took := newLatency()
		for _, each := range times {
			_ = took.RecordValue(max(1, each.Microseconds())) // in its range: a query has its time limit
		}
		p95[i] = latencyOf(took).P95
	}
	t.add(bar{"the sweeper's query with " + count(t.Orders) + " orders in the tables, p95", "ms", none(), none(), true},
		p95[1], "%s ms with the load's orders alone", number(p95[0]))
	return nil
}
