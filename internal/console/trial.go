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

// What trials order, of the sample data.
const (
	trialProduct  = 2 // there are many
	raceProduct   = 5 // the one that everybody wants
	trialUsers    = 3
	trialCrowd    = 50               // buyers of a race, and repetitions of a key
	trialFlood    = 30               // orders that show what becomes of them when the gateway is broken
	trialLimit    = 30 * time.Second // of a whole trial
	winnerLimit   = 5 * time.Second  // for the payment of the last race's winner
	winnerLook    = 20 * time.Millisecond
	restockTries  = 5
	putBackLimit  = 10 * time.Second // to put back what was taken out
	restockReason = "Try it"
	trialStock    = 200 // that is put in where there is too little
)

// The kinds of trials.
const (
	trialOrder  = "order"
	trialRace   = "race"
	trialRepeat = "repeat"
	trialMany   = "many"
)

// attempt is what one buyer got.
type attempt struct {
	Buyer   int // from 1
	Status  int // of HTTP
	OrderID int64
	Err     *order.Error // nil when there is an order
	Took    time.Duration
}

// Milliseconds is how long the answer took.
func (a *attempt) Milliseconds() string { return milliseconds(a.Took) }

// Class is how the buyer's cell looks.
func (a *attempt) Class() string {
	switch {
	case a.Won():
		return "won"
	case a.Replayed():
		return "replayed"
	case a.Err != nil && a.Err.Code == order.CodeInsufficientStock:
		return "lost"
	default:
		return "odd"
	}
}

// Title says what the buyer got.
func (a *attempt) Title() string {
	what := "order " + strconv.FormatInt(a.OrderID, 10)
	if a.Err != nil {
		what = string(a.Err.Code)
	}
	return fmt.Sprintf("Buyer %d: %d %s, %s ms", a.Buyer, a.Status, what, a.Milliseconds())
}

// Won reports whether the buyer has a new order.
func (a *attempt) Won() bool { return a.Status == http.StatusCreated }

// Replayed reports whether the buyer was shown the order that was there already.
func (a *attempt) Replayed() bool { return a.Status == http.StatusOK }

// trial is one trial and what came of it.
type trial struct {
	Kind     string
	Attempts []attempt
	At       time.Time
	Took     time.Duration
}

// Summary says in a line what came of it.
func (t *trial) Summary() string {
	won, all := t.Count(http.StatusCreated), len(t.Attempts)
	switch t.Kind {
	case trialRace:
		return fmt.Sprintf("of %d buyers %d got the last one (201), and %d were told that it is sold out (409).",
			all, won, t.Count(http.StatusConflict))
	case trialRepeat:
		return fmt.Sprintf("of %d requests with one key %d made an order (201), and %d were shown that order (200).",
			all, won, t.Count(http.StatusOK))
	default:
		return fmt.Sprintf("%d of %d orders were placed (201).", won, all)
	}
}

// Milliseconds is how long all of it took.
func (t *trial) Milliseconds() string { return milliseconds(t.Took) }

// SlowestMilliseconds is Slowest in milliseconds.
func (t *trial) SlowestMilliseconds() string { return milliseconds(t.Slowest()) }

func milliseconds(d time.Duration) string {
	return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 1, 64)
}

// Count is how many buyers got an answer with this status.
func (t *trial) Count(status int) (n int) {
	for i := range t.Attempts {
		if t.Attempts[i].Status == status {
			n++
		}
	}
	return n
}

// AsPromised reports whether it ended as the product promises.
func (t *trial) AsPromised() bool {
	won, all := t.Count(http.StatusCreated), len(t.Attempts)
	switch t.Kind {
	case trialRace:
		sold := 0
		for i := range t.Attempts {
			if e := t.Attempts[i].Err; e != nil && e.Code == order.CodeInsufficientStock {
				sold++
			}
		}
		return won == 1 && sold == all-1
	case trialRepeat:
		return won == 1 && t.Count(http.StatusOK) == all-1 && t.oneOrder()
	default:
		return won == all
	}
}

// Broken reports whether it ended as the product promises that it cannot. What is neither that nor AsPromised says nothing: others
// bought the piece, or the server had no time for somebody.
func (t *trial) Broken() bool {
	switch t.Kind {
	case trialRace:
		return t.Count(http.StatusCreated) > 1
	case trialRepeat:
		return t.Count(http.StatusCreated) > 1 || !t.oneOrder()
	default:
		return false
	}
}

// oneOrder reports whether all who have an order have the same one.
func (t *trial) oneOrder() bool {
	var one int64
	for i := range t.Attempts {
		switch id := t.Attempts[i].OrderID; {
		case one == 0:
			one = id
		case id != 0 && id != one:
			return false
		}
	}
	return true
}

// Winner is the order of the first buyer who has a new one; 0 when nobody has.
func (t *trial) Winner() int64 {
	for i := range t.Attempts {
		if t.Attempts[i].Won() {
			return t.Attempts[i].OrderID
		}
	}
	return 0
}

// Slowest is how long the buyer waited who waited longest.
func (t *trial) Slowest() (longest time.Duration) {
	for i := range t.Attempts {
		longest = max(longest, t.Attempts[i].Took)
	}
	return longest
}

// trialReader is what trials look up.
type trialReader interface {
	ProductsByID(ctx context.Context, ids []int64) ([]order.Product, error)
	Order(ctx context.Context, id int64) (*order.Order, error)
}

// trials runs one trial at a time and keeps the last one. Its methods may be called from any goroutine.
type trials struct {
	inside InProcess
	reader trialReader

	mu      sync.Mutex
	running bool
	last    *trial
	winner  int64 // of the last race: until its payment is settled, its piece may come back
}

// latest is the last trial, nil when there was none, and whether one is running.
func (t *trials) latest() (last *trial, running bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last, t.running
}

// run runs a trial to its end. The error carries CodeJobInProgress while another one runs, CodeNotFound for a kind that there is
// not, or says why the trial could not begin. What buyers are told is no error: it stands in the trial.
func (t *trials) run(ctx context.Context, kind string) (*trial, error) {
	ctx, cancel := context.WithTimeout(ctx, trialLimit)
	defer cancel()
	winner, err := t.begin()
	if err != nil {
		return nil, err
	}
	var done *trial
	defer func() { t.end(done, winner) }()
	run := rand.Text()[:12]
	key := func(buyer int) string { return fmt.Sprintf("try-%s-%d", run, buyer) }
	product, size, fewest, most := int64(trialProduct), 1, int64(trialFlood), int64(math.MaxInt64)
	switch kind {
	case trialOrder:
	case trialMany:
		size = trialFlood
	case trialRepeat:
		size = trialCrowd
		key = func(int) string { return "try-" + run }
	case trialRace:
		product, size, fewest, most = raceProduct, trialCrowd, 1, 1
		if err := t.settled(ctx, winner); err != nil {
			return nil, err
		}
	default:
		return nil, order.Errorf(order.CodeNotFound, "There is no such trial.")
	}
	taken, err := t.stock(ctx, product, fewest, most, run)
	if err == nil {
		if done = t.crowd(ctx, kind, size, product, key); kind == trialRace {
			winner = done.Winner()
		}
	}
	return done, errors.Join(err, t.putBack(ctx, product, taken, run))
}

// putBack puts back what a trial took out, also when the trial's time is over.
func (t *trials) putBack(ctx context.Context, product, taken int64, run string) error {
	if taken == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), putBackLimit)
	defer cancel()
	var err error
	for range restockTries { // with the same key, so that it counts once
		if err = t.move(ctx, product, taken, fmt.Sprintf("try-%s-back", run)); err == nil {
			return nil
		}
	}
	return order.Errorf(order.CodeOf(err), "%d pieces of product %d were taken out for the trial and could not be put back; do so on the "+
		"page Products. %v", taken, product, err)
}

func (t *trials) begin() (winner int64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running {
		return 0, order.Errorf(order.CodeJobInProgress, "Something is being tried already. Try again when it has ended.")
	}
	t.running = true
	return t.winner, nil
}

func (t *trials) end(done *trial, winner int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running, t.winner = false, winner
	if done != nil {
		t.last = done
	}
}

// crowd lets so many buyers order one piece at the same moment.
func (t *trials) crowd(ctx context.Context, kind string, size int, product int64, key func(buyer int) string) *trial {
	done := &trial{Kind: kind, Attempts: make([]attempt, size)}
	start := make(chan struct{})
	var buyers sync.WaitGroup
	for i := range done.Attempts {
		buyers.Go(func() {
			<-start
			user := int64(i%trialUsers) + 1
			if kind == trialRepeat {
				user = 1
			}
			done.Attempts[i] = t.buy(ctx, i+1, user, product, key(i))
		})
	}
	done.At = time.Now()
	close(start)
	buyers.Wait()
	done.Took = time.Since(done.At)
	return done
}

// buy orders one piece for a user.
func (t *trials) buy(ctx context.Context, buyer int, user, product int64, key string) attempt {
	body := map[string]any{
		"user_id": user, "idempotency_key": key, "items": []map[string]any{{"product_id": product, "quantity": 1}},
	}
	var reply struct{ Data struct{ ID int64 } }
	began := time.Now()
	status, err := t.inside.ask(ctx, order.Caller{}, "", http.MethodPost, "/api/v1/orders", body, &reply)
	a := attempt{Buyer: buyer, Status: status, OrderID: reply.Data.ID, Took: time.Since(began)}
	if err != nil {
		a.Err = asError(err)
	}
	return a
}

// stock sees to it that there are from fewest to most pieces of a product: it puts some in, or takes some out, as a movement of
// stock. taken is how many it took out, also with an error.
func (t *trials) stock(ctx context.Context, product, fewest, most int64, run string) (taken int64, err error) {
	for try := range restockTries {
		products, err := t.reader.ProductsByID(ctx, []int64{product})
		if err != nil {
			return taken, err
		}
		p, err := onSale(products, product)
		if err != nil {
			return taken, err
		}
		if p.Stock >= fewest && p.Stock <= most {
			return taken, nil
		}
		quantity := min(trialStock, most) - p.Stock
		err = t.move(ctx, product, quantity, fmt.Sprintf("try-%s-%d", run, try))
		switch {
		case err == nil && quantity < 0:
			taken -= quantity
		case err != nil && order.CodeOf(err) != order.CodeInsufficientStock: // that: somebody was faster; look again
			return taken, err
		}
	}
	return taken, order.Errorf(order.CodeUnavailable, "Others buy and bring back product %d all the time; it cannot be ordered in peace.", product)
}

// move puts pieces of a product in, or takes some out.
func (t *trials) move(ctx context.Context, product, quantity int64, key string) error {
	body := map[string]any{"quantity": quantity, "reason": restockReason, "idempotency_key": key}
	_, err := t.inside.ask(ctx, order.Operator(), "", http.MethodPost, fmt.Sprintf("/api/v1/products/%d/restock", product), body, nil)
	return err
}

// settled waits until the payment of the last race's winner is through: were it declined during the next race, its piece would
// come back in the middle of it.
func (t *trials) settled(ctx context.Context, winner int64) error {
	if winner == 0 {
		return nil
	}
	limit := time.NewTimer(winnerLimit)
	defer limit.Stop()
	look := time.NewTicker(winnerLook)
	defer look.Stop()
	for {
		o, err := t.reader.Order(ctx, winner)
		if err != nil || o.Status.Terminal() {
			return err
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return order.Errorf(order.CodeUnavailable, "Order %d, which won the last race, still waits for its payment, and brings its piece "+
				"back if that is declined. Switch the gateway's faults off, or cancel the order, and race again.", winner)
		}
	}
}

// onSale finds a product that trials need.
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
	return nil, order.Errorf(order.CodeNotFound, "Product %d, of the sample data, is not there.", id)
}

// asError is err as people may see it.
func asError(err error) *order.Error {
	if e, ok := errors.AsType[*order.Error](err); ok {
		return e
	}
	return order.Errorf(order.CodeUnavailable, "There was no answer: %v.", err)
}
