package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Bounds of a load.
const (
	MaxClients  = 10_000
	MaxDuration = time.Hour
	MaxProducts = 100_000
	MaxLines    = 100 // products in an order
	MaxServers  = 100 // addresses
)

// answerTimeout limits the wait for answers after the end of a load.
const answerTimeout = 30 * time.Second

// maxFailures is the number of consecutive requests without an answer after which a client fails.
const maxFailures = 5

// ErrRateLimited is in the chain of the error of a load that got a 429.
var ErrRateLimited = errors.New("the server limits the rate")

// Load is a load of orders, each with a key of its own and one unit of each of its products.
type Load struct {
	Clients  int           // connections, each with one request in flight
	Duration time.Duration // how long requests are sent; the answers to all are awaited
	Orders   int           // of each client; 0: as many as fit into Duration
	Products []int64       // bought at random; a single one is a hot product
	Lines    int           // different products in an order; 0 means 1
	Users    int           // users 1 to Users buy in turn; 0 means 1
	Rate     float64       // requests per second of all clients together, at most 1,000,000; 0: a closed loop
	Keys     string        // prefix of the idempotency keys, at most 40 letters and digits; "": random

	// Progress, if set, is called ten times a second with the time since the first request.
	Progress func(since time.Duration)
}

func (l Load) check() error {
	switch {
	case l.Clients < 1 || l.Clients > MaxClients:
		return fmt.Errorf("%d clients: it must be 1 to %d", l.Clients, MaxClients)
	case l.Duration <= 0 || l.Duration > MaxDuration:
		return fmt.Errorf("a duration of %s: it must be more than 0 and at most %s", l.Duration, MaxDuration)
	case len(l.Products) < 1 || len(l.Products) > MaxProducts:
		return fmt.Errorf("%d products: it must be 1 to %d", len(l.Products), MaxProducts)
	case l.Lines < 0 || l.Lines > MaxLines || l.Lines > len(l.Products):
		return fmt.Errorf("%d products in an order: it must be 1 to %d, and no more than the %d that are bought", l.Lines, MaxLines, len(l.Products))
	case l.Lines > 1 && duplicate(slices.Clone(l.Products)) != 0:
		return errors.New("duplicate product: the products of an order must differ")
	case l.Orders < 0 || l.Orders > 0 && l.Rate > 0 || len(l.Keys) > 40:
		return fmt.Errorf("%d orders of each client, a rate of %g per second and a key prefix of %d letters: "+
			"orders must not be negative or combined with a rate, and the prefix has at most 40 letters", l.Orders, l.Rate, len(l.Keys))
	case !(l.Rate >= 0 && l.Rate <= 1e6) || l.Users < 0:
		return fmt.Errorf("a rate of %g per second and %d users: the rate must be 0 to 1,000,000, and users not negative", l.Rate, l.Users)
	}
	return nil
}

// Result is the result of a load.
type Result struct {
	Created  int64                   // 201 answers
	ByServer []int64                 // 201 answers of each address, in the order of the addresses
	Answers  map[string]int64        // by status and code, such as "409 insufficient_stock"; "no answer: …" for failures
	Elapsed  time.Duration           // from the first request to the last answer
	Latency  *hdrhistogram.Histogram // µs, of all answers
	IDs      []int64                 // of the orders of the 201 answers, unsorted
}

// OrdersPerSecond returns the rate of 201 answers.
func (r Result) OrdersPerSecond() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Created) / r.Elapsed.Seconds()
}

// Drive puts a load on the servers at bases, to which the clients are assigned in turn. With an error it returns the result until then.
// Errors are a load out of bounds, a server that cannot be reached or fails, ErrRateLimited at the first 429, and the error of ctx,
// which ends the load at once. It runs Load.Clients goroutines, and none remains.
func Drive(ctx context.Context, bases []string, load Load) (Result, error) {
	if err := load.check(); err != nil {
		return Result{}, err
	}
	if len(bases) < 1 || len(bases) > MaxServers || len(bases) > load.Clients {
		return Result{}, fmt.Errorf("%d servers: there must be 1 to %d, and at least as many clients (%d)", len(bases), MaxServers, load.Clients)
	}
	targets := make([]target, len(bases))
	for i, base := range bases {
		var err error
		if targets[i], err = newTarget(base, answerTimeout); err != nil {
			return Result{}, err
		}
	}
	return driveAt(ctx, targets, load)
}

func driveAt(ctx context.Context, targets []target, load Load) (Result, error) {
	d := &loadRun{load: load, started: make(chan struct{})}
	for i := range d.shards {
		d.shards[i].latency = newLatency()
	}
	buyers := make([]*buyer, load.Clients)
	run, deadline := cmp.Or(load.Keys, newRun()), time.Now().Add(load.Duration+2*answerTimeout)
	for i := range buyers {
		to := targets[i%len(targets)]
		buyers[i] = &buyer{
			run: d, number: i, at: i % len(targets), client: to.client(deadline), request: to.newRequest(run, i, max(1, load.Lines)),
			random: rand.New(rand.NewPCG(uint64(i), 0)), basket: make([]int64, max(1, load.Lines)),
			answers: map[string]int64{}, shard: &d.shards[i%len(d.shards)],
		}
	}
	d.run(ctx, buyers)
	return d.result(buyers, len(targets)), d.err(ctx)
}

// newLatency returns a histogram of µs up to a minute, with three digits.
func newLatency() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, time.Minute.Microseconds(), 3)
}

// loadRun is one running load.
type loadRun struct {
	load       Load
	started    chan struct{} // closed when all clients are connected
	begin, end time.Time     // set before started is closed
	stopped    atomic.Bool
	failure    atomic.Pointer[error] // the first one
	shards     [8]shard              // a histogram per client would take 140 kB each
}

type shard struct {
	mu      sync.Mutex
	latency *hdrhistogram.Histogram
}

func (s *shard) record(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.latency.RecordValue(min(max(took.Microseconds(), 1), time.Minute.Microseconds())) // in range, so it cannot fail
}

// stop ends the load after the requests in flight. The first cause is kept.
func (d *loadRun) stop(cause error) {
	d.failure.CompareAndSwap(nil, &cause)
	d.stopped.Store(true)
}

// run connects all clients, starts them at the same time, and waits for their end.
func (d *loadRun) run(ctx context.Context, buyers []*buyer) {
	var connected, done sync.WaitGroup
	connected.Add(len(buyers))
	for _, b := range buyers {
		done.Go(func() {
			err := b.client.connect(ctx)
			defer b.client.close()
			connected.Done()
			<-d.started
			if err == nil {
				err = b.buy(ctx)
			}
			if err != nil {
				d.stop(fmt.Errorf("%s: %w", b.client.server(), err))
			}
		})
	}
	connected.Wait()
	d.begin = time.Now()
	d.end = d.begin.Add(d.load.Duration)
	over := d.reportProgress()
	close(d.started)
	done.Wait()
	over()
}

// reportProgress calls Load.Progress until the returned function is called.
func (d *loadRun) reportProgress() (over func()) {
	if d.load.Progress == nil {
		return func() {}
	}
	var reporter sync.WaitGroup
	end := make(chan struct{})
	reporter.Go(func() {
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case now := <-ticker.C:
				d.load.Progress(min(now.Sub(d.begin), d.load.Duration))
			case <-end:
				d.load.Progress(d.load.Duration)
				return
			}
		}
	})
	return func() { close(end); reporter.Wait() }
}

func (d *loadRun) result(buyers []*buyer, servers int) Result {
	all := Result{ByServer: make([]int64, servers), Answers: map[string]int64{}, Latency: newLatency()}
	for i := range d.shards {
		all.Latency.Merge(d.shards[i].latency)
	}
	last := d.begin
	for _, b := range buyers {
		all.Created += b.created
		all.ByServer[b.at] += b.created
		all.IDs = append(all.IDs, b.ids...)
		for what, n := range b.answers {
			all.Answers[what] += n
		}
		if b.last.After(last) {
			last = b.last
		}
	}
	if all.Created > 0 {
		all.Answers["201"] = all.Created
	}
	all.Elapsed = last.Sub(d.begin)
	return all
}

func (d *loadRun) err(ctx context.Context) error {
	failure := d.failure.Load()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("the load was interrupted: %w", context.Cause(ctx))
	case failure == nil:
		return nil
	case errors.Is(*failure, ErrRateLimited):
		return *failure
	default:
		return fmt.Errorf("the load ended early: %w", *failure)
	}
}

// buyer is one client of a load. It is for one goroutine.
type buyer struct {
	run     *loadRun
	number  int
	at      int // index of its server
	client  client
	request *request
	random  *rand.Rand
	basket  []int64 // products of the next order
	shard   *shard

	created int64
	ids     []int64
	answers map[string]int64 // except 201
	last    time.Time        // of the last answer
}

// buy places orders until the load ends. An error ends the load of all clients.
func (b *buyer) buy(ctx context.Context) error {
	load, failures := b.run.load, 0
	now := time.Now()
	n := 0
	for ; (load.Orders == 0 || n < load.Orders) && now.Before(b.run.end) && !b.run.stopped.Load(); n++ {
		if load.Rate > 0 {
			if now = b.due(n); !now.Before(b.run.end) || !pause(ctx, time.Until(now)) {
				break
			}
		}
		b.fillBasket(load.Products)
		b.request.next(int64(1+(b.number+n)%max(1, load.Users)), b.basket)
		began := now
		got, err := b.client.send(ctx, b.request)
		now = time.Now()
		if err == nil {
			failures, b.last = 0, now
			if err := b.count(got, now.Sub(began)); err != nil {
				return err
			}
			continue
		}
		if ctx.Err() != nil {
			break
		}
		b.answers["no answer: "+failureKind(err)]++
		if failures++; failures == maxFailures {
			return err
		}
		pause(ctx, 10*time.Millisecond<<failures)
		now = time.Now()
	}
	if load.Rate > 0 && ctx.Err() == nil && !b.run.stopped.Load() {
		b.countUnsent(n)
	}
	return ctx.Err()
}

// fillBasket draws different products at random.
func (b *buyer) fillBasket(products []int64) {
	for i := range b.basket {
		b.basket[i] = products[b.random.IntN(len(products))]
		for slices.Contains(b.basket[:i], b.basket[i]) {
			b.basket[i] = products[b.random.IntN(len(products))]
		}
	}
}

// countUnsent counts the scheduled requests from the n-th on that could not be sent, because an earlier answer came after the end. Each
// has waited at least until now; without them the longest waits would be missing in the histogram.
func (b *buyer) countUnsent(n int) {
	now := time.Now()
	for due := b.due(n); due.Before(b.run.end); due = b.due(n) {
		b.answers["not sent: the previous answer came too late"]++
		b.shard.record(now.Sub(due))
		n++
	}
}

// due returns the scheduled time of this client's n-th request. The requests of all clients together are evenly spaced.
func (b *buyer) due(n int) time.Time {
	place := float64(n)*float64(b.run.load.Clients) + float64(b.number)
	return b.run.begin.Add(time.Duration(place / b.run.load.Rate * float64(time.Second)))
}

func (b *buyer) count(got answer, took time.Duration) error {
	b.shard.record(took)
	if got.status == 201 {
		b.created++
		id := orderID(got.body)
		if id == 0 {
			return fmt.Errorf("%w: a 201 without an order id: %.80q", errMalformed, got.body)
		}
		b.ids = append(b.ids, id)
		return nil
	}
	what := strconv.Itoa(got.status)
	if code := errorCode(got.body); code != "" {
		what += " " + code
	}
	b.answers[what]++
	if got.status != 429 {
		return nil
	}
	wait := ""
	if got.retryAfter != "" {
		wait = ", Retry-After " + got.retryAfter + " s"
	}
	return fmt.Errorf("%w (429%s): start it with --rate-limit off", ErrRateLimited, wait)
}

// pause waits, and returns false when ctx ended before.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// duplicate sorts ids and returns the first duplicate; 0 when there is none.
func duplicate(ids []int64) int64 {
	slices.Sort(ids)
	for i := 1; i < len(ids); i++ {
		if ids[i] == ids[i-1] {
			return ids[i]
		}
	}
	return 0
}
