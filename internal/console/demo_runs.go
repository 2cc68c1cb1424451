package console

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"orderflow/internal/order"
)

// Demo runs order products of the sample data.
const (
	plentyProduct = 2 // has enough stock for every run
	raceProduct   = 5 // whose last unit all buyers want
	buyers        = 3 // users of the sample data
	crowdSize     = 50
	manyOrders    = 30
	restockUnits  = 200 // the stock after a restock
	restockReason = "Try it"
)

// Limits of a demo run.
const (
	runLimit        = 30 * time.Second
	winnerLimit     = 5 * time.Second // for the payment of the previous race's winner
	winnerPoll      = 20 * time.Millisecond
	restockAttempts = 5
	putBackLimit    = 10 * time.Second // to restore the stock after a run
)

// Kinds of demo runs.
const (
	demoOrder  = "order"
	demoRace   = "race"
	demoRepeat = "repeat"
	demoMany   = "many"
)

// demoResult is the API's response to one buyer.
type demoResult struct {
	Buyer   int // from 1
	Status  int // of HTTP
	OrderID int64
	Err     *order.Error // nil with an order
	Took    time.Duration
}

// Milliseconds returns the latency.
func (r *demoResult) Milliseconds() string { return milliseconds(r.Took) }

// Class returns the class of the buyer's cell.
func (r *demoResult) Class() string {
	switch {
	case r.Created():
		return "won"
	case r.Replayed():
		return "replayed"
	case r.soldOut():
		return "lost"
	default:
		return "odd"
	}
}

// Title describes the result.
func (r *demoResult) Title() string {
	what := "order " + strconv.FormatInt(r.OrderID, 10)
	if r.Err != nil {
		what = string(r.Err.Code)
	}
	return fmt.Sprintf("Buyer %d: %d %s, %s ms", r.Buyer, r.Status, what, r.Milliseconds())
}

// Created reports whether the request created an order.
func (r *demoResult) Created() bool { return r.Status == http.StatusCreated }

// Replayed reports whether the request returned an existing order.
func (r *demoResult) Replayed() bool { return r.Status == http.StatusOK }

func (r *demoResult) soldOut() bool { return r.Err != nil && r.Err.Code == order.CodeInsufficientStock }

// demoRun is a finished demo run.
type demoRun struct {
	Kind    string
	Results []demoResult
	At      time.Time
	Took    time.Duration
}

// Summary describes the results in a line.
func (d *demoRun) Summary() string {
	created, all := d.Count(http.StatusCreated), len(d.Results)
	switch d.Kind {
	case demoRace:
		return fmt.Sprintf("of %d buyers %d got the last unit (201), and %d were refused because it is sold out (409).",
			all, created, d.Count(http.StatusConflict))
	case demoRepeat:
		return fmt.Sprintf("of %d requests with one key %d created an order (201), and %d returned that order (200).",
			all, created, d.Count(http.StatusOK))
	default:
		return fmt.Sprintf("%d of %d orders were placed (201).", created, all)
	}
}

// Milliseconds returns the duration of the run.
func (d *demoRun) Milliseconds() string { return milliseconds(d.Took) }

// SlowestMilliseconds returns the highest latency.
func (d *demoRun) SlowestMilliseconds() string { return milliseconds(d.slowest()) }

func milliseconds(d time.Duration) string {
	return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 1, 64)
}

// Count returns the number of responses with a status.
func (d *demoRun) Count(status int) (n int) {
	for i := range d.Results {
		if d.Results[i].Status == status {
			n++
		}
	}
	return n
}

// Kept reports whether the run ended as the product promises.
func (d *demoRun) Kept() bool {
	created, all := d.Count(http.StatusCreated), len(d.Results)
	switch d.Kind {
	case demoRace:
		soldOut := 0
		for i := range d.Results {
			if d.Results[i].soldOut() {
				soldOut++
			}
		}
		return created == 1 && soldOut == all-1
	case demoRepeat:
		return created == 1 && d.Count(http.StatusOK) == all-1 && d.oneOrder()
	default:
		return created == all
	}
}

// Broken reports whether the run ended in a way that the product promises to exclude. A run that is neither Broken nor Kept proves
// nothing: other clients bought the unit, or the server was overloaded.
func (d *demoRun) Broken() bool {
	switch d.Kind {
	case demoRace:
		return d.Count(http.StatusCreated) > 1
	case demoRepeat:
		return d.Count(http.StatusCreated) > 1 || !d.oneOrder()
	default:
		return false
	}
}

// oneOrder reports whether all responses with an order have the same one.
func (d *demoRun) oneOrder() bool {
	var one int64
	for i := range d.Results {
		switch id := d.Results[i].OrderID; {
		case one == 0:
			one = id
		case id != 0 && id != one:
			return false
		}
	}
	return true
}

// Winner returns the first created order, 0 for none.
func (d *demoRun) Winner() int64 {
	for i := range d.Results {
		if d.Results[i].Created() {
			return d.Results[i].OrderID
		}
	}
	return 0
}

func (d *demoRun) slowest() (longest time.Duration) {
	for i := range d.Results {
		longest = max(longest, d.Results[i].Took)
	}
	return longest
}

// demoStore has the data that demo runs need.
type demoStore interface {
	ProductsByID(ctx context.Context, ids []int64) ([]order.Product, error)
	Order(ctx context.Context, id int64) (*order.Order, error)
}

// demo performs one demo run at a time and keeps the last one. Its methods may be called from any goroutine.
type demo struct {
	api   InProcess
	store demoStore

	mu      sync.Mutex
	running bool
	last    *demoRun
	winner  int64 // of the last race; its unit returns to the stock if its payment is declined
}

// latest returns the last run, nil for none, and whether one is running.
func (d *demo) latest() (last *demoRun, running bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last, d.running
}

// run performs a run. The error carries CodeJobInProgress while another run continues, CodeNotFound for an unknown kind, or another
// code when the run could not start. Errors of single buyers are results of the run.
func (d *demo) run(ctx context.Context, kind string) (*demoRun, error) {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	winner, err := d.begin()
	if err != nil {
		return nil, err
	}
	var done *demoRun
	defer func() { d.end(done, winner) }()
	name := rand.Text()[:12]
	key := func(buyer int) string { return fmt.Sprintf("try-%s-%d", name, buyer) }
	product, size, least, most := int64(plentyProduct), 1, int64(manyOrders), int64(math.MaxInt64)
	switch kind {
	case demoOrder:
	case demoMany:
		size = manyOrders
	case demoRepeat:
		size = crowdSize
		key = func(int) string { return "try-" + name }
	case demoRace:
		product, size, least, most = raceProduct, crowdSize, 1, 1
		if err := d.waitForPayment(ctx, winner); err != nil {
			return nil, err
		}
	default:
		return nil, order.Errorf(order.CodeNotFound, "This demo run does not exist.")
	}
	removed, err := d.adjustStock(ctx, product, least, most, name)
	if err == nil {
		if done = d.order(ctx, kind, size, product, key); kind == demoRace {
			winner = done.Winner()
		}
	}
	return done, errors.Join(err, d.putBack(ctx, product, removed, name))
}

// putBack returns removed units to the stock, even after the run's time limit.
func (d *demo) putBack(ctx context.Context, product, removed int64, name string) error {
	if removed == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), putBackLimit)
	defer cancel()
	var err error
	for range restockAttempts { // with one idempotency key
		if err = d.restock(ctx, product, removed, fmt.Sprintf("try-%s-back", name)); err == nil {
			return nil
		}
	}
	return order.Errorf(order.CodeOf(err), "The demo run removed %d units of product %d and could not put them back. Restock them on the "+
		"page Products. %v", removed, product, err)
}

func (d *demo) begin() (winner int64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running {
		return 0, order.Errorf(order.CodeJobInProgress, "Another demo run is in progress. Try again shortly.")
	}
	d.running = true
	return d.winner, nil
}

func (d *demo) end(done *demoRun, winner int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running, d.winner = false, winner
	if done != nil {
		d.last = done
	}
}

// order lets size buyers order one unit each at the same moment.
func (d *demo) order(ctx context.Context, kind string, size int, product int64, key func(buyer int) string) *demoRun {
	done := &demoRun{Kind: kind, Results: make([]demoResult, size)}
	start := make(chan struct{})
	var waiting sync.WaitGroup
	for i := range done.Results {
		waiting.Go(func() {
			<-start
			user := int64(i%buyers) + 1
			if kind == demoRepeat {
				user = 1
			}
			done.Results[i] = d.buy(ctx, i+1, user, product, key(i))
		})
	}
	done.At = time.Now()
	close(start)
	waiting.Wait()
	done.Took = time.Since(done.At)
	return done
}

// buy orders one unit for a user.
func (d *demo) buy(ctx context.Context, buyer int, user, product int64, key string) demoResult {
	body := map[string]any{
		"user_id": user, "idempotency_key": key, "items": []map[string]any{{"product_id": product, "quantity": 1}},
	}
	var reply struct{ Data struct{ ID int64 } }
	began := time.Now()
	status, err := d.api.call(ctx, order.Caller{}, "", http.MethodPost, "/api/v1/orders", body, &reply)
	result := demoResult{Buyer: buyer, Status: status, OrderID: reply.Data.ID, Took: time.Since(began)}
	if err != nil {
		result.Err = asError(err)
	}
	return result
}

// adjustStock brings the stock of a product between least and most units by restocking. removed is the number of units that it
// removed, also with an error.
func (d *demo) adjustStock(ctx context.Context, product, least, most int64, name string) (removed int64, err error) {
	for attempt := range restockAttempts {
		products, err := d.store.ProductsByID(ctx, []int64{product})
		if err != nil {
			return removed, err
		}
		p, err := onSale(products, product)
		if err != nil {
			return removed, err
		}
		if p.Stock >= least && p.Stock <= most {
			return removed, nil
		}
		quantity := min(restockUnits, most) - p.Stock
		err = d.restock(ctx, product, quantity, fmt.Sprintf("try-%s-%d", name, attempt))
		switch {
		case err == nil && quantity < 0:
			removed -= quantity
		case err != nil && order.CodeOf(err) != order.CodeInsufficientStock: // that code: another client bought meanwhile
			return removed, err
		}
	}
	return removed, order.Errorf(order.CodeUnavailable, "Other clients keep changing the stock of product %d. Try again when they pause.", product)
}

// restock adds units of a product, or removes some.
func (d *demo) restock(ctx context.Context, product, quantity int64, key string) error {
	body := map[string]any{"quantity": quantity, "reason": restockReason, "idempotency_key": key}
	_, err := d.api.call(ctx, order.Operator(), "", http.MethodPost, fmt.Sprintf("/api/v1/products/%d/restock", product), body, nil)
	return err
}

// waitForPayment waits until the order of the last race's winner is finished. If its payment were declined during the next race,
// its unit would return to the stock in the middle of that race.
func (d *demo) waitForPayment(ctx context.Context, winner int64) error {
	if winner == 0 {
		return nil
	}
	limit := time.NewTimer(winnerLimit)
	defer limit.Stop()
	poll := time.NewTicker(winnerPoll)
	defer poll.Stop()
	for {
		o, err := d.store.Order(ctx, winner)
		if err != nil || o.Status.Terminal() {
			return err
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return order.Errorf(order.CodeUnavailable, "Order %d, which won the last race, still waits for its payment; a declined payment would "+
				"return its unit during the next race. Repair the gateway or cancel the order, then race again.", winner)
		}
	}
}

// onSale returns the product with an id if it is on sale.
func onSale(products []order.Product, id int64) (*order.Product, error) {
	for i := range products {
		if products[i].ID != id {
			continue
		}
		if !products[i].Active {
			return nil, order.Errorf(order.CodeProductInactive, "The sale of %s is stopped. Start it on the page Products.", products[i].Name)
		}
		return &products[i], nil
	}
	return nil, order.Errorf(order.CodeNotFound, "Product %d of the sample data does not exist.", id)
}
