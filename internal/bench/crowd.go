package bench

import (
	"context"
	"fmt"
	"time"
)

// thousand is how many clients a crowd has.
const thousand = 1000

// crowd: a thousand clients on one hot product.
func (t *table) crowd(ctx context.Context) error {
	return t.on(ctx, func(servers []*subject) error {
		load, err := t.load(ctx, servers[0], 1)
		if err != nil {
			return err
		}
		load.Clients = thousand
		if err := alternate(ctx, t.Show, "1,000 clients, hot product", load, t.Rounds, servers[0]); err != nil {
			return err
		}
		all := servers[0].together()
		latency := latencyOf(all.Latency)
		t.add(bar{"p99 at 1,000 clients on one hot product", "ms", 250, 100, true},
			latency.P99, "p50 %s, max %s ms; %s orders/s", number(latency.P50), number(latency.Max), number(servers[0].medianRate()))
		t.conflicts("lock_conflict answers among them", all, "")
		return nil
	}, named{nameOurs, Server{Roles: "api", Stock: plenty}})
}

// conflicts: not one order may be refused because others wanted the same product.
func (t *table) conflicts(what string, all round, more string) {
	const conflict = "409 lock_conflict"
	t.add(bar{what, "", 0, 0, true}, float64(all.Answers[conflict]), "%s orders; other refusals and failures: %s%s",
		count(all.Created), count(refused(all)-all.Answers[conflict]), more)
}

// pairs: the same crowd on two hot products, both in every order, at two processes.
func (t *table) pairs(ctx context.Context) error {
	return t.on(ctx, func(servers []*subject) error {
		load, err := t.load(ctx, servers[0], 2)
		if err != nil {
			return err
		}
		load.Clients, load.Lines = thousand, 2
		if err := alternate(ctx, t.Show, "1,000 clients, two hot products together", load, t.Rounds, servers[0]); err != nil {
			return err
		}
		all := servers[0].together()
		latency := latencyOf(all.Latency)
		t.conflicts("lock_conflict answers: 1,000 clients on two hot products together, two processes", all,
			fmt.Sprintf("; p99 %s, max %s ms; %s orders/s, the weaker process %s %%", number(latency.P99), number(latency.Max),
				number(servers[0].medianRate()), number(100*servers[0].weakest())))
		return nil
	}, named{"two processes", Server{Roles: "api", Stock: plenty, Processes: 2}})
}

// processes: two API processes on one hot product, how evenly they share it, and what they do together against one.
func (t *table) processes(ctx context.Context) error {
	one := Server{Roles: "api", Stock: plenty}
	two := one
	two.Processes = 2
	return t.on(ctx, func(servers []*subject) error {
		load, err := t.load(ctx, servers[0], 1)
		if err != nil {
			return err
		}
		if err := alternate(ctx, t.Show, "hot product", load, t.Rounds, servers...); err != nil {
			return err
		}
		one, two := servers[0], servers[1]
		all := two.together()
		t.add(bar{"two API processes on one hot product: the weaker one's share of the orders", "", 0.25, 1.0 / 3, false},
			two.weakest(), "%s and %s orders; p99 %s ms%s", count(all.By[0]), count(all.By[1]), number(latencyOf(all.Latency).P99), refusals(two))
		t.add(bar{"two API processes on one hot product: orders/s of both against one alone", "×", 0.8, 1, false},
			ratio(two.medianRate(), one.medianRate()), "%s against %s orders/s", number(two.medianRate()), number(one.medianRate()))
		return nil
	}, named{"one process", one}, named{"two processes", two})
}

// delays: the same load where MySQL and Redis are further away. All go through forwarders, so that only the delay differs.
func (t *table) delays(ctx context.Context) error {
	if !t.Delays {
		return nil
	}
	near := Server{Roles: "api", Stock: plenty, Forwarded: true}
	far, farther := near, near
	far.Delay, farther.Delay = time.Millisecond, 5*time.Millisecond
	return t.on(ctx, func(servers []*subject) error {
		load, err := t.load(ctx, servers[0], 1)
		if err != nil {
			return err
		}
		load.Clients = thousand
		if err := alternate(ctx, t.Show, "1,000 clients, hot product", load, t.Rounds, servers...); err != nil {
			return err
		}
		row := func(delay string, floor, goal float64, far *subject) {
			t.add(bar{"orders/s at 1,000 clients with " + delay + " of delay to MySQL and Redis, against none", "×", floor, goal, false},
				ratio(far.medianRate(), servers[0].medianRate()), "%s against %s orders/s, hot product; p99 %s against %s ms%s",
				number(far.medianRate()), number(servers[0].medianRate()), number(latencyOf(far.together().Latency).P99),
				number(latencyOf(servers[0].together().Latency).P99), refusals(far))
		}
		row("1 ms", 0.6, 0.9, servers[1])
		row("5 ms", none(), none(), servers[2])
		return nil
	}, named{"no delay", near}, named{"1 ms of delay", far}, named{"5 ms of delay", farther})
}
