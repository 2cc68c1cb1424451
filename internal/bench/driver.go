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

// answerTimeout is how long after the end of a load an answer may still come.
const answerTimeout = 30 * time.Second

// maxFailures is how many requests in a row may get no answer before a client calls the server gone.
const maxFailures = 5

// ErrRateLimited is in the chain of the error of a load that met a 429.
var ErrRateLimited = errors.New("the server limits the rate")

// Load is what to send at a server: orders of one piece of each product in them, each order with a key of its own.
type Load struct {
	Clients  int           // connections, each with one request under way
	Duration time.Duration // how long new requests are sent; those under way are waited for
	Orders   int           // that each client places before it stops; 0: as many as Duration has time for
	Products []int64       // what is bought, at random; one product is a hot one
	Lines    int           // products in an order, each another; 0 counts as 1
	Users    int           // ids 1 to Users buy in turn; 0 counts as 1
	Rate     float64       // requests a second of all clients together, at most 1,000,000; 0: as fast as answers come
	Keys     string        // sets the idempotency keys apart from those of other loads, at most 40 letters and digits; "": random

	// Progress, if set, is called some times a second with the time since the first request.
	Progress func(since time.Duration)
}

func (l Load) check() error {
	switch {
	case l.Clients < 1 || l.Clients > MaxClients:
		return fmt.Errorf("%d clients: it must be 1 to %d", l.Clients, MaxClients)
	case l.Duration <= 0 || l.Duration > MaxDuration:
		return fmt.Errorf("a duration of %s: it must be over 0 and at most %s", l.Duration, MaxDuration)
	case len(l.Products) < 1 || len(l.Products) > MaxProducts:
		return fmt.Errorf("%d products: it must be 1 to %d", len(l.Products), MaxProducts)
	case l.Lines < 0 || l.Lines > MaxLines || l.Lines > len(l.Products):
		return fmt.Errorf("%d products in an order: it must be 1 to %d, and no more than the %d that are bought", l.Lines, MaxLines, len(l.Products))
	case l.Lines > 1 && distinct(slices.Clone(l.Products)) != 0:
		return errors.New("a product is there twice, and the products of an order must differ")
	case l.Orders < 0 || l.Orders > 0 && l.Rate > 0 || len(l.Keys) > 40:
		return fmt.Errorf("%d orders of each client, %g a second, and a prefix of %d letters for keys: "+
			"the orders must not be negative, nor go with a rate, the prefix have at most 40", l.Orders, l.Rate, len(l.Keys))
	case !(l.Rate >= 0 && l.Rate <= 1e6) || l.Users < 0:
		return fmt.Errorf("a rate of %g a second and %d users: the rate must be 0 to 1,000,000, the users not negative", l.Rate, l.Users)
	}
	return nil
}

// Result is what a load came to.
type Result struct {
	Created int64                   // 201 answers
	By      []int64                 // those of each address, in the order of the addresses
	Answers map[string]int64        // by status and code, such as "409 insufficient_stock"; "no answer: …" for failures
	Elapsed time.Duration           // from the first request to the last answer
	Latency *hdrhistogram.Histogram // µs, of all answers
	IDs     []int64                 // the orders of the 201 answers, in no order
}

// OrdersPerSecond is the rate of 201 answers.
func (r Result) OrdersPerSecond() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Created) / r.Elapsed.Seconds()
}

// Drive sends a load at the servers at bases, each client at one of them in turn, and returns what came of it; after an
// error, what came until then. The errors: a load out of bounds; a server that cannot be reached or goes away;
// ErrRateLimited at the first 429; the error of ctx, which ends it at once. It runs Load.Clients goroutines and leaves
// none behind.
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
	d := &drive{load: load, gate: make(chan struct{})}
	for i := range d.shards {
		d.shards[i].latency = newLatency()
	}
	buyers := make([]*buyer, load.Clients)
	run, deadline := cmp.Or(load.Keys, newRun()), time.Now().Add(load.Duration+2*answerTimeout)
	for i := range buyers {
		to := targets[i%len(targets)]
		buyers[i] = &buyer{
			drive: d, number: i, at: i % len(targets), client: to.client(deadline), request: to.newRequest(run, i, max(1, load.Lines)),
			random: rand.New(rand.NewPCG(uint64(i), 0)), basket: make([]int64, max(1, load.Lines)),
			answers: map[string]int64{}, shard: &d.shards[i%len(d.shards)],
		}
	}
	d.run(ctx, buyers)
	return d.result(buyers, len(targets)), d.verdict(ctx)
}

// newLatency is a histogram of µs up to a minute, to three digits.
func newLatency() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, time.Minute.Microseconds(), 3)
}

// drive is one load under way.
type drive struct {
	load       Load
	gate       chan struct{} // closed when all clients are connected
	begin, end time.Time     // set before gate is closed
	stopped    atomic.Bool
	failure    atomic.Pointer[error] // the first one
	shards     [8]shard              // a histogram for each client would take 140 kB each
}

type shard struct {
	mu      sync.Mutex
	latency *hdrhistogram.Histogram
}

func (s *shard) record(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.latency.RecordValue(min(max(took.Microseconds(), 1), time.Minute.Microseconds())) // in its range: cannot fail
}

// stop ends the load: what is under way is still answered. The first cause counts.
func (d *drive) stop(cause error) {
	d.failure.CompareAndSwap(nil, &cause)
	d.stopped.Store(true)
}

// run connects everybody, lets them go at one moment and waits until all are done.
func (d *drive) run(ctx context.Context, buyers []*buyer) {
	var connected, done sync.WaitGroup
	connected.Add(len(buyers))
	for _, b := range buyers {
		done.Go(func() {
			err := b.client.connect(ctx)
			defer b.client.close()
			connected.Done()
			<-d.gate
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
	over := d.report()
	close(d.gate)
	done.Wait()
	over()
}

// report tells Load.Progress of the time until the returned function is called.
func (d *drive) report() (over func()) {
	if d.load.Progress == nil {
		return func() {}
	}
	var told sync.WaitGroup
	end := make(chan struct{})
	told.Go(func() {
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
	return func() { close(end); told.Wait() }
}

func (d *drive) result(buyers []*buyer, servers int) Result {
	all := Result{By: make([]int64, servers), Answers: map[string]int64{}, Latency: newLatency()}
	for i := range d.shards {
		all.Latency.Merge(d.shards[i].latency)
	}
	last := d.begin
	for _, b := range buyers {
		all.Created += b.created
		all.By[b.at] += b.created
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

func (d *drive) verdict(ctx context.Context) error {
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

// buyer is one client of a load; all its state is its own.
type buyer struct {
	drive   *drive
	number  int
	at      int // which of the servers
	client  client
	request *request
	random  *rand.Rand
	basket  []int64 // what the next order buys
	shard   *shard

	created int64
	ids     []int64
	answers map[string]int64 // all but 201
	last    time.Time        // of the last answer
}

// buy places orders until the load is over. An error means that the load cannot go on.
func (b *buyer) buy(ctx context.Context) error {
	load, failures := b.drive.load, 0
	now := time.Now()
	n := 0
	for ; (load.Orders == 0 || n < load.Orders) && now.Before(b.drive.end) && !b.drive.stopped.Load(); n++ {
		if load.Rate > 0 {
			if now = b.due(n); !now.Before(b.drive.end) || !pause(ctx, time.Until(now)) {
				break
			}
		}
		b.fill(load.Products)
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
		b.answers["no answer: "+fault(err)]++
		if failures++; failures == maxFailures {
			return err
		}
		pause(ctx, 10*time.Millisecond<<failures)
		now = time.Now()
	}
	if load.Rate > 0 && ctx.Err() == nil && !b.drive.stopped.Load() {
		b.giveUp(n)
	}
	return ctx.Err()
}

// fill draws what the next order buys: products at random, each once.
func (b *buyer) fill(products []int64) {
	for i := range b.basket {
		b.basket[i] = products[b.random.IntN(len(products))]
		for slices.Contains(b.basket[:i], b.basket[i]) {
			b.basket[i] = products[b.random.IntN(len(products))]
		}
	}
}

// giveUp counts what was due from the n-th request on and could not be sent, because an answer before it took beyond
// the end. Each has waited at least until now; left out, the worst waits would be missing from the histogram.
func (b *buyer) giveUp(n int) {
	now := time.Now()
	for due := b.due(n); due.Before(b.drive.end); due = b.due(n) {
		b.answers["not sent: the answer before it came too late"]++
		b.shard.record(now.Sub(due))
		n++
	}
}

// due is when the n-th request of this client should go out, so that all clients together keep the rate evenly.
func (b *buyer) due(n int) time.Time {
	place := float64(n)*float64(b.drive.load.Clients) + float64(b.number)
	return b.drive.begin.Add(time.Duration(place / b.drive.load.Rate * float64(time.Second)))
}

func (b *buyer) count(got answer, took time.Duration) error {
	b.shard.record(took)
	if got.status == 201 {
		b.created++
		id := orderID(got.body)
		if id == 0 {
			return fmt.Errorf("%w: a 201 without the order's id: %.80q", errMalformed, got.body)
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
	return fmt.Errorf("%w (429%s): measure one that was started with --rate-limit off", ErrRateLimited, wait)
}

// pause waits, and reports whether it came to the end of it rather than of ctx.
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

// distinct sorts ids and returns the first one that is there twice, 0 when none is.
func distinct(ids []int64) (twice int64) {
	slices.Sort(ids)
	for i := 1; i < len(ids); i++ {
		if ids[i] == ids[i-1] {
			return ids[i]
		}
	}
	return 0
}
