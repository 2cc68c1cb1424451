package outbox

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/bus"
	"orderflow/internal/order"
	"orderflow/internal/tracing"
)

// DefaultQueue is how many events may wait for the Publisher when PublisherOptions says nothing: some seconds of a full
// load, a few tens of megabytes.
const DefaultQueue = 1 << 16

// PublisherOptions are what a Publisher works with.
type PublisherOptions struct {
	Bus        bus.Bus               // required
	Debts      PublishedMarker       // required
	Queue      int                   // events that may wait; 0 for DefaultQueue
	Registerer prometheus.Registerer // nil for no metrics
	Logger     *slog.Logger          // nil for no log
	Tracer     tracing.Tracer        // of nothing by default
}

// Publisher publishes what commits owe, right after them. Its methods may be called from any goroutine.
type Publisher struct {
	courier courier
	queue   int
	log     *slog.Logger
	metrics *metrics
	failing bool // the last delivery failed; only Run touches it

	mu      sync.Mutex
	waiting []order.EventBatch
	events  int // of those waiting
	stopped bool

	wake chan struct{} // has one element when something may wait
}

// NewPublisher returns a Publisher. It queues receipts at once and publishes them once Run is called.
func NewPublisher(o PublisherOptions) *Publisher {
	if o.Queue == 0 {
		o.Queue = DefaultQueue
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Publisher{queue: o.Queue, log: o.Logger, wake: make(chan struct{}, 1)}
	p.metrics = newMetrics(o.Registerer, "publisher")
	p.metrics.waiting(o.Registerer, p.Waiting)
	p.courier = courier{o.Bus, o.Debts, p.metrics, o.Tracer}
	return p
}

// Publish hands over a receipt. It never blocks and never fails: what finds no room, or comes after Run has ended,
// stays owed in the outbox, and the relay pays it; news that nothing owes is lost then.
func (p *Publisher) Publish(receipt order.EventBatch) {
	if len(receipt.Events) == 0 && receipt.ID == "" {
		return
	}
	if !p.enqueue(receipt) {
		p.metrics.dropped.Add(float64(len(receipt.Events)))
		return
	}
	select {
	case p.wake <- struct{}{}:
	default: // woken already
	}
}

func (p *Publisher) enqueue(receipt order.EventBatch) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped || p.events+len(receipt.Events) > p.queue {
		return false
	}
	p.waiting = append(p.waiting, receipt)
	p.events += len(receipt.Events)
	return true
}

// Waiting is the number of events that wait to be published.
func (p *Publisher) Waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.events
}

// Run publishes until ctx ends, then publishes what waits still and returns nil. Call it once, and end it after those
// who call Publish, so that their last words go out.
func (p *Publisher) Run(ctx context.Context) error {
	for {
		select {
		case <-p.wake:
			p.flush(ctx)
		case <-ctx.Done():
			p.mu.Lock()
			p.stopped = true
			p.mu.Unlock()
			p.flush(ctx)
			return nil
		}
	}
}

// flush publishes all that waits; its size and its time are bounded.
func (p *Publisher) flush(ctx context.Context) {
	start := time.Now()
	receipts := p.take()
	if len(receipts) == 0 {
		return
	}
	delivered, err := p.courier.deliver(ctx, receipts)
	p.metrics.took.Observe(time.Since(start).Seconds())
	switch {
	case err != nil && !p.failing:
		p.log.WarnContext(ctx, "The bus takes no events; they stay owed, and the relay publishes them when it does again.",
			"event", "outbox.publish_failed", "error", err.Error(), "receipts", len(receipts), "delivered", delivered)
	case err == nil && p.failing:
		p.log.InfoContext(ctx, "The bus takes events again.", "event", "outbox.publish_recovered")
	}
	p.failing = err != nil
}

// take empties the queue.
func (p *Publisher) take() []order.EventBatch {
	p.mu.Lock()
	defer p.mu.Unlock()
	receipts := p.waiting
	p.waiting, p.events = nil, 0
	return receipts
}
