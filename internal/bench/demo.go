package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// raceSize is the number of buyers that race for the last item, and of the requests with one key.
const raceSize = 50

// maxDeclined is the limit of consecutive orders that the simulated gateway declines. It declines one in five.
const maxDeclined = 20

// Demo is the tour. It places an order and shows it become PAID, races fifty buyers for the last item, sends one key fifty times, and
// runs the audit. The server must be new, with the sample data, without a rate limit, and with the roles api and worker; the caller
// stops it. On a terminal the tour pauses between its lines. An error is a violated guarantee of the product, or the reason why the tour
// could not continue.
func Demo(ctx context.Context, out io.Writer, terminal bool, running Running) error {
	if running.Audit == nil {
		return errors.New("the tour ends with the audit, but this server cannot be audited")
	}
	web := newAPIClient(running.URLs[0])
	defer web.close()
	t := &tour{screen: screen{out: out, terminal: terminal, paint: paint(terminal)}, api: web, running: running, run: newRun()}
	began := time.Now()
	products, err := web.products(ctx)
	if err != nil {
		return err
	}
	t.products = products
	t.title("Orderflow in one minute", "a private server, a temporary database, plain HTTP")
	t.wait(ctx, 2*time.Second)
	for _, scene := range []func(context.Context) error{t.payment, t.race, t.repeat, t.audit} {
		if err := scene(ctx); err != nil {
			return errors.Join(err, t.err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	t.line("")
	t.line("  %s  All guarantees held, in %s.", t.paint.green("✔"), number(time.Since(began).Seconds())+" s")
	t.line("     Your turn: %s", t.paint.bold("orderflow serve --samples"))
	t.line("")
	return t.err
}

// tour is a running demo.
type tour struct {
	screen
	api      *apiClient
	running  Running
	run      string // prefix of its keys
	products []product
}

// payment places an order and shows its events as they happen.
func (t *tour) payment(ctx context.Context) error {
	goods := slices.DeleteFunc(slices.Clone(t.products), func(p product) bool { return !p.Active || p.Stock < 2 })
	if len(goods) < 2 {
		return errors.New("the tour needs two products with stock: start it on the sample data")
	}
	t.heading(ctx, 1, "An order, and its payment as it happens",
		"The order takes stock and is durable before the answer; the payment follows in the background.")
	for try := range maxDeclined {
		t.line("     POST %s   1 × %s, 2 × %s", ordersPath, goods[0].Name, goods[1].Name)
		t.wait(ctx, time.Second)
		sent := time.Now()
		o, err := t.api.order(ctx, 1, fmt.Sprintf("demo-%s-%d", t.run, try), [2]int64{goods[0].ID, 1}, [2]int64{goods[1].ID, 2})
		if err != nil {
			return err
		}
		if o.status != http.StatusCreated {
			return fmt.Errorf("a valid order got %d %s instead of 201", o.status, o.code)
		}
		t.line("     %s in %s: order %d, %s %s", t.paint.green("201"), number(milliseconds(o.at.Sub(sent)))+" ms",
			o.placed.ID, o.placed.Total, o.placed.Currency)
		end, err := t.watch(ctx, o)
		if err != nil {
			return err
		}
		if end == "OrderPaid" {
			t.wait(ctx, 2*time.Second)
			return nil
		}
		t.line("     The simulated gateway declined it, as one in five; the stock is back. Again, with a new key:")
		t.wait(ctx, 2*time.Second)
	}
	return fmt.Errorf("%d consecutive orders were declined; the simulated gateway should decline one in five", maxDeclined)
}

// watch shows an order's events as they arrive, and returns the name of the last one.
func (t *tour) watch(ctx context.Context, o ordered) (end string, err error) {
	err = t.api.follow(ctx, o.placed.ID, func(e streamEvent) error {
		status, what := e.name, ""
		switch e.name {
		case "OrderCreated":
			status, what = "PENDING", "stock taken, durable"
		case "OrderProcessing":
			status, what = "PROCESSING", "a worker charges it"
		case "OrderPaid":
			status, what = t.paint.green(fmt.Sprintf("%-10s", "PAID")), "charged, once"
		case "OrderFailed":
			status, what = t.paint.yellow(fmt.Sprintf("%-10s", "FAILED")), "declined"
		}
		after := max(0, e.at.Sub(o.at)).Milliseconds()
		t.line("     %s  %-10s  %s", t.paint.dim(fmt.Sprintf("%5d ms", after)), status, t.paint.dim(what))
		end = e.name
		return nil
	})
	return end, err
}

// race sends fifty orders for the last item at the same time.
func (t *tour) race(ctx context.Context) error {
	at := slices.IndexFunc(t.products, func(p product) bool { return p.Active && p.Stock == 1 })
	if at < 0 {
		return errors.New("the tour needs a product with a stock of one: start it on the sample data")
	}
	last := t.products[at]
	t.heading(ctx, 2, "Fifty buyers, one item",
		fmt.Sprintf("%s: 1 in stock, %d orders at the same time.", last.Name, raceSize))
	buyer := func(i int) (user int64, key string) {
		return int64(1 + i%sampleUsers), fmt.Sprintf("race-%s-%d", t.run, i)
	}
	answers, err := t.placeTogether(ctx, buyer, last.ID)
	if err != nil {
		return err
	}
	t.cells(ctx, answers)
	var winners []ordered
	for _, o := range answers {
		switch {
		case o.status == http.StatusCreated:
			winners = append(winners, o)
		case o.status != http.StatusConflict || o.code != "insufficient_stock":
			return fmt.Errorf("a buyer in the race got %d %s, want 201 or 409 insufficient_stock", o.status, o.code)
		}
	}
	if len(winners) == 0 {
		return errors.New("no buyer in the race got the item")
	}
	t.line("     %s   %s", t.paint.green(fmt.Sprintf("%d × 201 created", len(winners))),
		t.paint.dim(fmt.Sprintf("%d × 409 insufficient_stock", len(answers)-len(winners))))
	if err := t.checkSoldOnce(ctx, winners); err != nil {
		return err
	}
	t.wait(ctx, 2*time.Second)
	return nil
}

// checkSoldOnce follows the orders that got the item: nearly always one. A declined payment restores the stock, so that a later order may
// get the item again. At most one of them may be paid.
func (t *tour) checkSoldOnce(ctx context.Context, winners []ordered) error {
	paid := 0
	for _, o := range winners {
		var end streamEvent
		if err := t.api.follow(ctx, o.placed.ID, func(e streamEvent) error { end = e; return nil }); err != nil {
			return err
		}
		if end.name == "OrderPaid" {
			paid++
			t.line("     Order %d is paid: sold, once.", o.placed.ID)
		} else {
			t.line("     The gateway declined order %d: the item is for sale again.", o.placed.ID)
		}
	}
	if paid > 1 {
		return fmt.Errorf("oversold: %d buyers paid for the one item", paid)
	}
	return nil
}

// repeat sends the same order fifty times at the same time, like a client that retries.
func (t *tour) repeat(ctx context.Context) error {
	at := slices.IndexFunc(t.products, func(p product) bool { return p.Active && p.Stock > raceSize })
	if at < 0 {
		return fmt.Errorf("the tour needs a product with a stock of more than %d: start it on the sample data", raceSize)
	}
	t.heading(ctx, 3, "One order, sent fifty times",
		"The same idempotency key each time: one order is created, the other answers return it.")
	answers, err := t.placeTogether(ctx, func(int) (int64, string) { return 1, "repeat-" + t.run }, t.products[at].ID)
	if err != nil {
		return err
	}
	t.cells(ctx, answers)
	created := 0
	for _, o := range answers {
		switch {
		case o.status != http.StatusCreated && o.status != http.StatusOK:
			return fmt.Errorf("a repeated order got %d %s, want 201 or 200", o.status, o.code)
		case o.placed.ID != answers[0].placed.ID:
			return fmt.Errorf("one key created two orders, %d and %d", answers[0].placed.ID, o.placed.ID)
		case o.status == http.StatusOK && !o.replayed:
			return fmt.Errorf("order %d was answered with 200 without Idempotent-Replayed: true", o.placed.ID)
		case o.status == http.StatusCreated:
			created++
		}
	}
	if created != 1 {
		return fmt.Errorf("one key got %d answers of 201", created)
	}
	t.line("     %s   %s", t.paint.green("1 × 201 created"),
		t.paint.dim(fmt.Sprintf("%d × 200 the same order, %d", raceSize-1, answers[0].placed.ID)))
	t.wait(ctx, 2*time.Second)
	return nil
}

// placeTogether orders one unit of a product fifty times at the same time, and returns the answers in order of arrival.
func (t *tour) placeTogether(ctx context.Context, buyer func(i int) (user int64, key string), product int64) ([]ordered, error) {
	var ready, done sync.WaitGroup
	var mu sync.Mutex
	var answers []ordered
	var failure error
	gate := make(chan struct{})
	ready.Add(raceSize)
	for i := range raceSize {
		done.Go(func() {
			_, _, _, err := t.api.do(ctx, http.MethodGet, "/livez", "") // connects, so that only the orders race
			ready.Done()
			<-gate
			var o ordered
			if err == nil {
				user, key := buyer(i)
				o, err = t.api.order(ctx, user, key, [2]int64{product, 1})
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil && failure == nil {
				failure = err
			}
			answers = append(answers, o)
		})
	}
	ready.Wait()
	close(gate)
	done.Wait()
	return answers, failure
}

// audit waits for the last payment and runs the audit.
func (t *tour) audit(ctx context.Context) error {
	t.heading(ctx, 4, "The audit", "Stock, orders, payments and histories are checked against each other.")
	if _, err := drain(ctx, t.api); err != nil {
		return err
	}
	report, ok, err := t.running.Audit(ctx)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	for line := range strings.Lines(strings.TrimRight(report, "\n")) {
		t.line("     %s", strings.TrimRight(line, "\r\n"))
		t.wait(ctx, 100*time.Millisecond)
	}
	if !ok {
		return errors.New("the audit failed")
	}
	return nil
}
