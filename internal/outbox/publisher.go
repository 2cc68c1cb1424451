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

// DefaultQueue is the default of PublisherOptions.Queue: some seconds of full load, a few tens of megabytes.
const DefaultQueue = 1 << 16

// PublisherOptions configure a Publisher.
type PublisherOptions struct {
	Bus        bus.Bus               // required
	Marker     PublishedMarker       // required
	Queue      int                   // most waiting events; 0 for DefaultQueue
	Registerer prometheus.Registerer // nil for no metrics
	Logger     *slog.Logger          // nil for no log
	Tracer     tracing.Tracer        // traces nothing by default
}

// Publisher publishes the events of a transaction right after its commit. All methods are safe for concurrent use.
type Publisher struct {
	deliverer deliverer
	queue     int
	log       *slog.Logger
	metrics   *metrics
	failing   bool // the last delivery failed; only Run uses it

	mu      sync.Mutex
	waiting []order.EventBatch
	events  int // of the waiting batches
	stopped bool

	wake chan struct{} // a signal: batches may be waiting
}

// NewPublisher returns a Publisher. It accepts batches at once and publishes them when Run is called.
func NewPublisher(o PublisherOptions) *Publisher {
	if o.Queue == 0 {
		o.Queue = DefaultQueue
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Publisher{queue: o.Queue, log: o.Logger, wake: make(chan struct{}, 1)}
	p.metrics = newMetrics(o.Registerer, "publisher")
	p.metrics.registerWaiting(o.Registerer, p.Waiting)
	p.deliverer = deliverer{o.Bus, o.Marker, p.metrics, o.Tracer}
	return p
}

// Publish queues a batch. It never blocks and never fails. If the queue is full, or Run has ended, the batch stays unpublished in
// the outbox and the relay publishes it; a batch without an outbox row is lost.
func (p *Publisher) Publish(batch order.EventBatch) {
	if len(batch.Events) == 0 && batch.ID == "" {
		return
	}
	if !p.enqueue(batch) {
		p.metrics.dropped.Add(float64(len(batch.Events)))
		return
	}
	select {
	case p.wake <- struct{}{}:
	default: // the signal is set already
	}
}

func (p *Publisher) enqueue(batch order.EventBatch) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped || p.events+len(batch.Events) > p.queue {
		return false
	}
	p.waiting = append(p.waiting, batch)
	p.events += len(batch.Events)
	return true
}

// Waiting returns the number of queued events.
func (p *Publisher) Waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.events
}

// Run publishes until ctx ends, then publishes the queued batches and returns nil. Call it once, and stop it after all callers of
// Publish, so that their last batches are published.
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

// flush publishes all queued batches. Their number and the time are bounded.
func (p *Publisher) flush(ctx context.Context) {
	start := time.Now()
	batches := p.take()
	if len(batches) == 0 {
		return
	}
	delivered, err := p.deliverer.deliver(ctx, batches)
	p.metrics.took.Observe(time.Since(start).Seconds())
	switch {
	case err != nil && !p.failing:
		p.log.WarnContext(ctx, "The bus refuses events. They stay in the outbox, and the relay publishes them later.",
			"event", "outbox.publish_failed", "error", err.Error(), "batches", len(batches), "delivered", delivered)
	case err == nil && p.failing:
		p.log.InfoContext(ctx, "The bus accepts events again.", "event", "outbox.publish_recovered")
	}
	p.failing = err != nil
}

// take empties the queue.
func (p *Publisher) take() []order.EventBatch {
	p.mu.Lock()
	defer p.mu.Unlock()
	batches := p.waiting
	p.waiting, p.events = nil, 0
	return batches
}
