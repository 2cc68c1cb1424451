package bench

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// drainTimeout limits the wait for the last finished order after a load.
const drainTimeout = 2 * time.Minute

// pipelineServer is a server that also processes payments, with a gateway without latency.
func pipelineServer() Server {
	return Server{Roles: "api,worker", InstantGateway: true, Products: manyProducts, Stock: largeStock}
}

// pipeline compares orders per second that are created, claimed and settled with those of a server that only creates them. The time
// ends with the last finished order, so that no work is deferred.
func (t *table) pipeline(ctx context.Context) error {
	return t.withServers(ctx, func(servers []*measuredServer) error {
		load, err := t.load(ctx, servers[0], manyProducts)
		if err != nil {
			return err
		}
		web := newAPIClient(servers[0].running.URLs[0])
		defer web.close()
		var finished []float64
		for turn := range t.Rounds {
			what := fmt.Sprintf("100 products: round %d of %d", turn+1, t.Rounds)
			r, err := t.loadOnce(ctx, servers[0], what, load)
			if err != nil {
				return err
			}
			took, err := drain(ctx, web)
			if err != nil {
				return err
			}
			finished = append(finished, ratio(float64(r.Created), (r.Elapsed+took).Seconds()))
			if _, err := t.loadOnce(ctx, servers[1], what, load); err != nil {
				return err
			}
		}
		t.sustained = Median(finished)
		t.add(threshold{"create, claim and settle (gateway at 0 ms) against create alone", "×", 0.4, 0.6, false},
			ratio(t.sustained, servers[1].medianRate()), "%s finished against %s created orders/s",
			number(t.sustained), number(servers[1].medianRate()))
		return nil
	}, wantedServer{"whole pipeline", pipelineServer()},
		wantedServer{"create alone", Server{Roles: "api", Products: manyProducts, Stock: largeStock}})
}

// loadOnce sends one load and keeps its result.
func (t *table) loadOnce(ctx context.Context, s *measuredServer, what string, load Load) (round, error) {
	progress, over := t.Show.load(what+", "+s.name, load.Duration)
	defer over()
	load.Progress = progress
	r, err := s.load(ctx, load, false)
	if err != nil {
		return r, fmt.Errorf("%s, %s: %w", what, s.name, err)
	}
	return r, nil
}

// Drain waits at most two minutes until the server at base has finished every order.
func Drain(ctx context.Context, base string) error {
	web := newAPIClient(base)
	defer web.close()
	_, err := drain(ctx, web)
	return err
}

// drain waits until every order is finished, and returns the time that it took.
func drain(ctx context.Context, web *apiClient) (time.Duration, error) {
	begin := time.Now()
	for {
		left, err := web.open(ctx)
		if err != nil {
			return 0, err
		}
		took := time.Since(begin)
		switch {
		case left == 0:
			return took, nil
		case took > drainTimeout:
			return 0, fmt.Errorf("%d orders are not finished %s after the load", left, drainTimeout)
		case !pause(ctx, 25*time.Millisecond):
			return 0, ctx.Err()
		}
	}
}

// paidWhenIdle measures the time from the 201 to OrderPaid on an idle server, one order after the other.
func (t *table) paidWhenIdle(ctx context.Context) error {
	return t.withServers(ctx, func(servers []*measuredServer) error {
		load, err := t.load(ctx, servers[0], manyProducts)
		if err != nil {
			return err
		}
		t.Show.status("create to PAID, idle: %d orders", t.probes)
		waits, err := t.probe(ctx, servers[0], load.Products, 1, t.probes, time.Now().Add(time.Minute))
		if err != nil {
			return err
		}
		t.addPaidLatency(threshold{"create to PAID beyond the gateway's time, p95, idle", "ms", 20, 5, true}, waits)
		return nil
	}, wantedServer{nameOurs, pipelineServer()})
}

// paidAtHalfLoad measures the same while orders arrive at half the rate of the whole pipeline.
func (t *table) paidAtHalfLoad(ctx context.Context) error {
	const probers, most = 4, 100_000
	return t.withServers(ctx, func(servers []*measuredServer) error {
		load, err := t.load(ctx, servers[0], manyProducts)
		if err != nil {
			return err
		}
		load.Rate, load.Clients = max(1, t.sustained/2), 64
		progress, over := t.Show.load(fmt.Sprintf("create to PAID at %s orders/s", number(load.Rate)), load.Duration)
		defer over()
		load.Progress = progress
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var background error
		var under sync.WaitGroup
		under.Go(func() {
			if _, background = servers[0].load(ctx, load, true); background != nil {
				cancel()
			}
		})
		ids := &measuredServer{name: servers[0].name, running: servers[0].running} // the load appends to the ids of the other one
		waits, err := t.probe(ctx, ids, load.Products, probers, most, time.Now().Add(load.Duration))
		under.Wait()
		servers[0].ids = append(servers[0].ids, ids.ids...)
		if background != nil {
			return background
		}
		if err != nil {
			return err
		}
		t.addPaidLatency(threshold{"create to PAID beyond the gateway's time, p95, half load", "ms", 100, 30, true}, waits)
		return nil
	}, wantedServer{nameOurs, pipelineServer()})
}

func (t *table) addPaidLatency(b threshold, waits *hdrhistogram.Histogram) {
	all, p95 := latencyOf(waits), math.NaN()
	if waits.TotalCount() > 0 {
		p95 = all.P95
	}
	t.add(b, p95, "from the 201 to OrderPaid on the order's event stream; %s orders, p50 %s, p99 %s ms",
		count(waits.TotalCount()), number(all.P50), number(all.P99))
}

// probe starts probers, each of which places orders one after the other and follows each until it is paid, until the deadline or until
// it has placed most orders. It returns the times from 201 to OrderPaid in µs.
func (t *table) probe(
	ctx context.Context, s *measuredServer, products []int64, probers, most int, until time.Time,
) (*hdrhistogram.Histogram, error) {
	const rest = 10 * time.Millisecond // between two orders of a prober, so that the probes add little load
	web := newAPIClient(s.running.URLs[0])
	defer web.close()
	var (
		mu    sync.Mutex
		waits = newLatency()
		first error
		done  sync.WaitGroup
		run   = newRun()
	)
	for prober := range probers {
		done.Go(func() {
			for n := 0; n < most && time.Now().Before(until) && pause(ctx, rest); n++ {
				id, wait, err := probeOnce(ctx, web, fmt.Sprintf("probe-%s-%d-%d", run, prober, n), products[n%len(products)])
				mu.Lock()
				if id != 0 {
					s.ids = append(s.ids, id)
				}
				if err == nil {
					err = waits.RecordValue(max(1, wait.Microseconds()))
				}
				if err != nil && first == nil {
					first = err
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	done.Wait()
	return waits, first
}

// probeOnce places an order and follows it until it is paid.
func probeOnce(ctx context.Context, web *apiClient, key string, product int64) (id int64, wait time.Duration, err error) {
	o, err := web.order(ctx, 1, key, [2]int64{product, 1})
	if err != nil {
		return 0, 0, err
	}
	if o.status != 201 {
		return 0, 0, fmt.Errorf("an order got %d %s instead of 201", o.status, o.code)
	}
	var end streamEvent
	err = web.follow(ctx, o.placed.ID, func(e streamEvent) error { end = e; return nil })
	if err == nil && end.name != "OrderPaid" {
		err = fmt.Errorf("order %d ended with %s: %.200s", o.placed.ID, end.name, end.data)
	}
	return o.placed.ID, end.at.Sub(o.at), err
}
