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

// crowdSize is how many buyers race for the last item, and how often one key is repeated.
const crowdSize = 50

// maxDeclined is how many orders in a row the simulated gateway, which declines one in five, may decline.
const maxDeclined = 20

// Demo is the tour: it places an order and shows it become PAID, races fifty buyers for the last item, repeats one key
// fifty times, and has the books audited. The server must be new, with the sample data, without a rate limit, with the
// roles api and worker; the caller stops it. On a terminal it takes its time, so that it can be followed; elsewhere it
// prints the same lines without pauses. An error is a broken promise of the product, or what kept the tour from going
// on.
func Demo(ctx context.Context, out io.Writer, terminal bool, running Running) error {
	if running.Audit == nil {
		return errors.New("the tour ends with an audit, and there is no way to audit this server")
	}
	web := newWeb(running.URLs[0])
	defer web.close()
	t := &tour{stage: stage{out: out, terminal: terminal, paint: paint(terminal)}, web: web, running: running, run: newRun()}
	began := time.Now()
	products, err := web.products(ctx)
	if err != nil {
		return err
	}
	t.products = products
	t.title("Orderflow in one minute", "a private server, a temporary database, plain HTTP")
	t.rest(ctx, 2*time.Second)
	for _, scene := range []func(context.Context) error{t.payment, t.race, t.repeat, t.books} {
		if err := scene(ctx); err != nil {
			return errors.Join(err, t.err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	t.line("")
	t.line("  %s  Every promise held, in %s.", t.paint.green("✔"), number(time.Since(began).Seconds())+" s")
	t.line("     Your turn: %s", t.paint.bold("orderflow serve --samples"))
	t.line("")
	return t.err
}

// tour is a demo under way.
type tour struct {
	stage
	web      *web
	running  Running
	run      string // sets its keys apart
	products []product
}

// payment places an order and shows its life as it happens.
func (t *tour) payment(ctx context.Context) error {
	goods := slices.DeleteFunc(slices.Clone(t.products), func(p product) bool { return !p.Active || p.Stock < 2 })
	if len(goods) < 2 {
		return errors.New("two products with stock are needed to order; start on the sample data")
	}
	t.heading(ctx, 1, "An order, and its payment as it happens",
		"The order takes stock and is on disk before it is answered; payment follows on its own.")
	for try := range maxDeclined {
		t.line("     POST %s   1 × %s, 2 × %s", ordersPath, goods[0].Name, goods[1].Name)
		t.rest(ctx, time.Second)
		sent := time.Now()
		o, err := t.web.order(ctx, 1, fmt.Sprintf("demo-%s-%d", t.run, try), [2]int64{goods[0].ID, 1}, [2]int64{goods[1].ID, 2})
		if err != nil {
			return err
		}
		if o.status != http.StatusCreated {
			return fmt.Errorf("an order that nothing speaks against got %d %s instead of 201", o.status, o.code)
		}
		t.line("     %s in %s: order %d, %s %s", t.paint.green("201"), number(milliseconds(o.at.Sub(sent)))+" ms",
			o.placed.ID, o.placed.Total, o.placed.Currency)
		end, err := t.watch(ctx, o)
		if err != nil {
			return err
		}
		if end == "OrderPaid" {
			t.rest(ctx, 2*time.Second)
			return nil
		}
		t.line("     The simulated bank declines one in five, as now; the stock is back. Again, with a new key:")
		t.rest(ctx, 2*time.Second)
	}
	return fmt.Errorf("%d orders in a row were declined; the simulated gateway should decline one in five", maxDeclined)
}

// watch shows an order's events as they come in, and returns the name of the last one.
func (t *tour) watch(ctx context.Context, o ordered) (end string, err error) {
	err = t.web.follow(ctx, o.placed.ID, func(e streamEvent) error {
		status, what := e.name, ""
		switch e.name {
		case "OrderCreated":
			status, what = "PENDING", "stock taken, on disk"
		case "OrderProcessing":
			status, what = "PROCESSING", "a worker asks the bank"
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

// race lets fifty buyers loose on the last item.
func (t *tour) race(ctx context.Context) error {
	at := slices.IndexFunc(t.products, func(p product) bool { return p.Active && p.Stock == 1 })
	if at < 0 {
		return errors.New("a product with one piece left is needed for the race; start on the sample data")
	}
	last := t.products[at]
	t.heading(ctx, 2, "Fifty buyers, one item",
		fmt.Sprintf("%s: 1 in stock, %d orders at the same moment.", last.Name, crowdSize))
	answers, err := t.crowd(ctx, func(i int) (int64, string) { return int64(1 + i%users), fmt.Sprintf("race-%s-%d", t.run, i) }, last.ID)
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
			return fmt.Errorf("a buyer in the race got %d %s; only 201 and 409 insufficient_stock are right", o.status, o.code)
		}
	}
	if len(winners) == 0 {
		return errors.New("nobody in the race got the item that was there")
	}
	t.line("     %s   %s", t.paint.green(fmt.Sprintf("%d × 201 created", len(winners))),
		t.paint.dim(fmt.Sprintf("%d × 409 insufficient_stock", len(answers)-len(winners))))
	if err := t.soldOnce(ctx, winners); err != nil {
		return err
	}
	t.rest(ctx, 2*time.Second)
	return nil
}

// soldOnce follows those who got the item. Nearly always that is one. But a payment that is declined gives the piece
// back, so a straggler may rightly buy it again: what must hold is that no more than one of them paid.
func (t *tour) soldOnce(ctx context.Context, winners []ordered) error {
	paid := 0
	for _, o := range winners {
		var end streamEvent
		if err := t.web.follow(ctx, o.placed.ID, func(e streamEvent) error { end = e; return nil }); err != nil {
			return err
		}
		if end.name == "OrderPaid" {
			paid++
			t.line("     Order %d is paid for: sold, once.", o.placed.ID)
		} else {
			t.line("     The bank declined order %d: the item is for sale again.", o.placed.ID)
		}
	}
	if paid > 1 {
		return fmt.Errorf("oversold: %d buyers paid for the one item", paid)
	}
	return nil
}

// repeat sends the same order fifty times at once, as a client that got no answer would.
func (t *tour) repeat(ctx context.Context) error {
	at := slices.IndexFunc(t.products, func(p product) bool { return p.Active && p.Stock > crowdSize })
	if at < 0 {
		return fmt.Errorf("a product with more than %d pieces is needed; start on the sample data", crowdSize)
	}
	t.heading(ctx, 3, "One order, sent fifty times",
		"The same idempotency key each time: the first is placed, the others are told of it.")
	answers, err := t.crowd(ctx, func(int) (int64, string) { return 1, "repeat-" + t.run }, t.products[at].ID)
	if err != nil {
		return err
	}
	t.cells(ctx, answers)
	created := 0
	for _, o := range answers {
		switch {
		case o.status != http.StatusCreated && o.status != http.StatusOK:
			return fmt.Errorf("a repeated order got %d %s; only 201 and 200 are right", o.status, o.code)
		case o.placed.ID != answers[0].placed.ID:
			return fmt.Errorf("one key placed two orders, %d and %d", answers[0].placed.ID, o.placed.ID)
		case o.status == http.StatusOK && !o.replayed:
			return fmt.Errorf("order %d was answered with 200 without Idempotent-Replayed: true", o.placed.ID)
		case o.status == http.StatusCreated:
			created++
		}
	}
	if created != 1 {
		return fmt.Errorf("one key was answered %d times with 201", created)
	}
	t.line("     %s   %s", t.paint.green("1 × 201 created"),
		t.paint.dim(fmt.Sprintf("%d × 200 the same order, %d", crowdSize-1, answers[0].placed.ID)))
	t.rest(ctx, 2*time.Second)
	return nil
}

// crowd orders one piece of a product fifty times at the same moment and returns the answers as they came in.
func (t *tour) crowd(ctx context.Context, buyer func(i int) (user int64, key string), product int64) ([]ordered, error) {
	var ready, done sync.WaitGroup
	var mu sync.Mutex
	var answers []ordered
	var failure error
	gate := make(chan struct{})
	ready.Add(crowdSize)
	for i := range crowdSize {
		done.Go(func() {
			_, _, _, err := t.web.do(ctx, http.MethodGet, "/livez", "") // connects, so that the race is about the order alone
			ready.Done()
			<-gate
			var o ordered
			if err == nil {
				user, key := buyer(i)
				o, err = t.web.order(ctx, user, key, [2]int64{product, 1})
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

// books waits for the last payment and has everything proved.
func (t *tour) books(ctx context.Context) error {
	t.heading(ctx, 4, "The books", "Stock, orders, payments and histories, each figure proved against the others.")
	if _, err := drain(ctx, t.web); err != nil {
		return err
	}
	report, ok, err := t.running.Audit(ctx)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	for line := range strings.Lines(strings.TrimRight(report, "\n")) {
		t.line("     %s", strings.TrimRight(line, "\r\n"))
		t.rest(ctx, 100*time.Millisecond)
	}
	if !ok {
		return errors.New("the audit found the books broken")
	}
	return nil
}
