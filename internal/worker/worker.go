package worker

import (
	"cmp"
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"orderflow/internal/batch"
	"orderflow/internal/bus"
	"orderflow/internal/order"
	"orderflow/internal/tracing"
)

// Pauses before a failed call to the database or the bus is retried: doubled from firstPause to lastPause, with jitter.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 5 * time.Second
)

// Worker claims, charges and settles orders. New creates it and Run starts it.
type Worker struct {
	options Options
	caller  caller
	claims  *batch.Batcher[order.ClaimRequest, order.Claimed]
	settles *batch.Batcher[order.Settlement, order.Changed]
	slots   slots
	backoff backoff
	metrics *metrics
	group   bus.Group      // nil until joined; only Join and the consumer use it
	running sync.WaitGroup // claimed orders in process

	ackFailing atomic.Bool // the last acknowledgement failed

	charges, voids *admission

	randomMu sync.Mutex
	random   *rand.Rand
}

// New returns a Worker, or an error for invalid options.
func New(options Options) (*Worker, error) {
	options = options.withDefaults()
	if err := options.check(); err != nil {
		return nil, err
	}
	w := &Worker{
		options: options,
		caller:  caller{options.Gateway, options.Installation, options.ChargeTimeout, options.Logger},
		slots:   newSlots(options.Concurrency),
		random:  rand.New(options.Random),
	}
	w.charges = &admission{kind: order.KindCharge, breaker: options.Breaker, slots: w.slots, sweepTimer: newSweepTimer(), jitter: w.jitter}
	w.voids = &admission{kind: order.KindVoid, breaker: options.VoidBreaker, slots: w.slots, sweepTimer: newSweepTimer(), jitter: w.jitter}
	w.metrics = newMetrics(options.Registerer)
	w.metrics.registerSlots(options.Registerer, options.Concurrency, w.inFlight)
	registerQueueDepth(cmp.Or(options.OnScrape, options.Registerer), options.Bus)
	w.claims = newBatcher(w, "claim", w.commitClaims)
	w.settles = newBatcher(w, "settle", w.commitSettlements)
	return w, nil
}

// newBatcher returns a Batcher whose queue is never full: each request holds a slot.
func newBatcher[Req, Res any](w *Worker, kind string, commit batch.Commit[Req, Res]) *batch.Batcher[Req, Res] {
	return batch.New(commit, batch.Options[Req]{
		Queue: w.options.Concurrency, Max: w.options.BatchMax, Loops: w.options.BatchLoops,
		// One order may cause an internal error, but not an unreachable database.
		Halve:   func(err error) bool { return order.CodeOf(err) == order.CodeInternal },
		Observe: w.metrics.observeBatch(kind),
	})
}

// Join joins the workers' group of the bus, which keeps messages from then on. Call it before Run, and before orders come in: an
// earlier message may find no group, and its order then waits for the sweeper. Run joins if Join was not called or failed.
func (w *Worker) Join(ctx context.Context) error {
	group, err := w.options.Bus.Group(ctx, bus.TopicJobs, bus.GroupWorkers)
	if err == nil {
		w.group = group
	}
	return err
}

// Run processes orders until ctx ends. Then it stops claiming, hands back claims whose charge has not started, lets the charges in
// flight finish within the drain limit, settles them and returns nil. Call it once.
func (w *Worker) Run(ctx context.Context) error {
	drainCtx, cancelDrain := context.WithCancel(context.WithoutCancel(ctx)) // for claimed orders; ends DrainLimit after ctx
	defer cancelDrain()
	commits, stopCommits := context.WithCancel(context.WithoutCancel(ctx))
	defer stopCommits()

	var committers, loops sync.WaitGroup
	committers.Go(func() { _ = w.claims.Run(commits) }) // always returns nil
	committers.Go(func() { _ = w.settles.Run(commits) })
	loops.Go(func() { w.consume(ctx, drainCtx) })
	loops.Go(func() { w.sweep(ctx, drainCtx, w.charges) })
	loops.Go(func() { w.sweep(ctx, drainCtx, w.voids) })

	<-ctx.Done()
	limit := time.AfterFunc(w.options.DrainLimit, cancelDrain)
	defer limit.Stop()
	loops.Wait()
	w.running.Wait()
	stopCommits()
	committers.Wait()
	return nil
}

func (w *Worker) admissionOf(kind order.PaymentKind) *admission {
	if kind == order.KindVoid {
		return w.voids
	}
	return w.charges
}

func (w *Worker) inFlight() int { return w.options.Concurrency - w.slots.free() }

// commitClaims commits a batch of claims.
func (w *Worker) commitClaims(ctx context.Context, requests []order.ClaimRequest) (_ []batch.Answer[order.Claimed], err error) {
	ctx, spans := w.options.Tracer.Batch(ctx, "claim", tracing.Consumer, len(requests), func(i int) string { return requests[i].Trace.Parent })
	defer func() { spans.End(err) }()
	claimed, events, err := w.options.Orders.ClaimOrders(ctx, requests)
	if err != nil {
		return nil, err
	}
	w.options.Publisher.Publish(events)
	answers := make([]batch.Answer[order.Claimed], len(claimed))
	for i, c := range claimed {
		answers[i] = batch.Answer[order.Claimed]{Value: c, Err: c.Err}
	}
	return answers, nil
}

// commitSettlements commits a batch of settlements.
func (w *Worker) commitSettlements(ctx context.Context, settlements []order.Settlement) (_ []batch.Answer[order.Changed], err error) {
	ctx, spans := w.options.Tracer.Batch(ctx, "settle", tracing.Internal, len(settlements), func(i int) string { return settlements[i].Trace.Parent })
	defer func() { spans.End(err) }()
	changed, events, err := w.options.Orders.SettleOrders(ctx, settlements)
	if err != nil {
		return nil, err
	}
	w.options.Publisher.Publish(events)
	answers := make([]batch.Answer[order.Changed], len(changed))
	for i, c := range changed {
		answers[i] = batch.Answer[order.Changed]{Value: c, Err: c.Err}
	}
	return answers, nil
}

// sleep waits for d ± 25 %, or until ctx ends.
func (w *Worker) sleep(ctx context.Context, d time.Duration) { pauseFor(ctx, w.jitter(d)) }

// pauseFor waits for d, or until ctx ends.
func pauseFor(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// jitter returns d ± 25 %.
func (w *Worker) jitter(d time.Duration) time.Duration {
	w.randomMu.Lock()
	defer w.randomMu.Unlock()
	return time.Duration(float64(d) * (0.75 + 0.5*w.random.Float64()))
}
