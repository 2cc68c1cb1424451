package bench

import (
	"context"
	"fmt"
	"time"
)

// clientsMany is the number of clients of manyClients and twoHotProducts.
const clientsMany = 1000

// manyClients measures a thousand clients on one hot product.
func (t *table) manyClients(ctx context.Context) error {
	return t.withServers(ctx, func(servers []*measuredServer) error {
		load, err := t.load(ctx, servers[0], 1)
		if err != nil {
			return err
		}
		load.Clients = clientsMany
		if err := alternate(ctx, t.Show, "1,000 clients, hot product", load, t.Rounds, servers[0]); err != nil {
			return err
		}
		all := servers[0].total()
		latency := latencyOf(all.Latency)
		t.add(threshold{"p99 at 1,000 clients on one hot product", "ms", 250, 100, true},
			latency.P99, "p50 %s, max %s ms; %s orders/s", number(latency.P50), number(latency.Max), number(servers[0].medianRate()))
		t.conflicts("lock_conflict answers among them", all, "")
		return nil
	}, wantedServer{nameOurs, Server{Roles: "api", Stock: largeStock}})
}

// conflicts adds the number of lock_conflict answers, which must be 0.
func (t *table) conflicts(what string, all round, more string) {
	const conflict = "409 lock_conflict"
	t.add(threshold{what, "", 0, 0, true}, float64(all.Answers[conflict]), "%s orders; other refusals and failures: %s%s",
		count(all.Created), count(refused(all)-all.Answers[conflict]), more)
}

// twoHotProducts measures a thousand clients on two hot products, both in every order, with two processes.
func (t *table) twoHotProducts(ctx context.Context) error {
	return t.withServers(ctx, func(servers []*measuredServer) error {
		load, err := t.load(ctx, servers[0], 2)
		if err != nil {
			return err
		}
		load.Clients, load.Lines = clientsMany, 2
		if err := alternate(ctx, t.Show, "1,000 clients, two hot products together", load, t.Rounds, servers[0]); err != nil {
			return err
		}
		all := servers[0].total()
		latency := latencyOf(all.Latency)
		t.conflicts("lock_conflict answers: 1,000 clients on two hot products together, two processes", all,
			fmt.Sprintf("; p99 %s, max %s ms; %s orders/s, the smaller share %s %%", number(latency.P99), number(latency.Max),
				number(servers[0].medianRate()), number(100*servers[0].smallestShare())))
		return nil
	}, wantedServer{"two processes", Server{Roles: "api", Stock: largeStock, Processes: 2}})
}

// twoProcesses measures two API processes on one hot product: their shares of the orders, and their sum against one process.
func (t *table) twoProcesses(ctx context.Context) error {
	one := Server{Roles: "api", Stock: largeStock}
	two := one
	two.Processes = 2
	return t.withServers(ctx, func(servers []*measuredServer) error {
		load, err := t.load(ctx, servers[0], 1)
		if err != nil {
			return err
		}
		if err := alternate(ctx, t.Show, "hot product", load, t.Rounds, servers...); err != nil {
			return err
		}
		one, two := servers[0], servers[1]
		all := two.total()
		t.add(threshold{"two API processes on one hot product: the smaller share of the orders", "", 0.25, 1.0 / 3, false},
			two.smallestShare(), "%s and %s orders; p99 %s ms%s",
			count(all.ByServer[0]), count(all.ByServer[1]), number(latencyOf(all.Latency).P99), refusals(two))
		t.add(threshold{"two API processes on one hot product: orders/s of both against one alone", "×", 0.8, 1, false},
			ratio(two.medianRate(), one.medianRate()), "%s against %s orders/s", number(two.medianRate()), number(one.medianRate()))
		return nil
	}, wantedServer{"one process", one}, wantedServer{"two processes", two})
}

// networkDelay compares delays to MySQL and Redis. All servers use delay proxies, so that only the delay differs.
func (t *table) networkDelay(ctx context.Context) error {
	if !t.Delays {
		return nil
	}
	near := Server{Roles: "api", Stock: largeStock, Proxied: true}
	far, farther := near, near
	far.Delay, farther.Delay = time.Millisecond, 5*time.Millisecond
	return t.withServers(ctx, func(servers []*measuredServer) error {
		load, err := t.load(ctx, servers[0], 1)
		if err != nil {
			return err
		}
		load.Clients = clientsMany
		if err := alternate(ctx, t.Show, "1,000 clients, hot product", load, t.Rounds, servers...); err != nil {
			return err
		}
		row := func(delay string, floor, goal float64, far *measuredServer) {
			t.add(threshold{"orders/s at 1,000 clients with " + delay + " of delay to MySQL and Redis, against none", "×", floor, goal, false},
				ratio(far.medianRate(), servers[0].medianRate()), "%s against %s orders/s, hot product; p99 %s against %s ms%s",
				number(far.medianRate()), number(servers[0].medianRate()), number(latencyOf(far.total().Latency).P99),
				number(latencyOf(servers[0].total().Latency).P99), refusals(far))
		}
		row("1 ms", 0.6, 0.9, servers[1])
		row("5 ms", none(), none(), servers[2])
		return nil
	}, wantedServer{"no delay", near}, wantedServer{"1 ms of delay", far}, wantedServer{"5 ms of delay", farther})
}
