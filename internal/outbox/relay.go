package outbox

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/bus"
	"orderflow/internal/order"
	"orderflow/internal/tracing"
)

const (
	relayAge       = 3 * time.Second  // after which the Publisher is assumed to have missed an unpublished row
	relayLease     = 15 * time.Second // of a row
	relayBatchSize = 32               // rows leased at once; a row has the events of a whole transaction
	relayPause     = time.Second      // ±25 %, after a batch that was not full

	purgeAge       = time.Minute // after which a published row is deleted
	purgeBatchSize = 1000        // rows deleted at once
)

// RelayStore is the outbox table.
type RelayStore interface {
	PublishedMarker
	// LeaseOutbox leases and returns up to limit rows that have been unpublished for longer than age and are not leased.
	// Together with an error it returns the rows that could be read.
	LeaseOutbox(ctx context.Context, age, lease time.Duration, limit int) ([]order.EventBatch, error)
	// PurgeOutbox deletes up to limit rows that were published longer ago than age, and returns their number.
	PurgeOutbox(ctx context.Context, age time.Duration, limit int) (int, error)
	// RecordRefusal records that a full bus refused events just now, for an audit in another process.
	RecordRefusal(ctx context.Context) error
}

// RelayOptions configure a Relay.
type RelayOptions struct {
	Bus        bus.Bus               // required
	Store      RelayStore            // required
	Registerer prometheus.Registerer // nil for no metrics
	Logger     *slog.Logger          // nil for no log
	Tracer     tracing.Tracer        // traces nothing by default
	Random     rand.Source           // for the jitter; nil for the default one
}

// Relay publishes the events that no Publisher has published: the bus refused them, the queue was full, or the process died.
// Every process runs one; leases keep them from publishing the same row.
type Relay struct {
	deliverer deliverer
	store     RelayStore
	log       *slog.Logger
	metrics   *metrics
	random    *rand.Rand // nil for the default one; only Run uses it
}

// NewRelay returns a Relay; Run starts it.
func NewRelay(o RelayOptions) *Relay {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	m := newMetrics(o.Registerer, "relay")
	r := &Relay{deliverer: deliverer{o.Bus, o.Store, m, o.Tracer}, store: o.Store, log: o.Logger, metrics: m}
	if o.Random != nil {
		r.random = rand.New(o.Random)
	}
	return r
}

// result is the result of runOnce.
type result struct {
	found     int // unpublished rows
	delivered int // rows among them that were published
	purged    int // published rows that were deleted
}

// full reports whether more rows are likely to wait.
func (r result) full() bool { return r.found == relayBatchSize || r.purged == purgeBatchSize }

// Run relays until ctx ends and returns nil. Call it once.
func (r *Relay) Run(ctx context.Context) error {
	failing := false
	for ctx.Err() == nil {
		done, err := r.runOnce(ctx)
		r.logChange(ctx, done, err, failing)
		failing = err != nil
		if failing || !done.full() {
			r.pause(ctx)
		}
	}
	return nil
}

// logChange logs when the relay begins to fail and when it works again.
func (r *Relay) logChange(ctx context.Context, done result, err error, failing bool) {
	switch {
	case ctx.Err() != nil: // the shutdown interrupted runOnce
	case err != nil && !failing:
		r.log.WarnContext(ctx, "The relay cannot publish the outbox. It keeps trying.",
			"event", "outbox.relay_failed", "error", err.Error(), "found", done.found, "delivered", done.delivered)
	case err == nil && failing:
		r.log.InfoContext(ctx, "The relay publishes the outbox again.", "event", "outbox.relay_recovered")
	}
}

// runOnce publishes one batch of overdue rows and deletes one batch of published rows. After an error part of it was not done;
// rows that were not published are leased again after their lease.
func (r *Relay) runOnce(ctx context.Context) (result, error) {
	// LeaseOutbox may return rows together with an error: an unreadable row must not block the others.
	batches, leaseErr := r.store.LeaseOutbox(ctx, relayAge, relayLease, relayBatchSize)
	delivered, deliverErr := r.deliverer.deliver(ctx, batches)
	var recordErr error
	if errors.Is(deliverErr, bus.ErrFull) {
		recordErr = r.store.RecordRefusal(ctx)
	}
	purged, purgeErr := r.store.PurgeOutbox(ctx, purgeAge, purgeBatchSize)
	r.metrics.overdue.Set(float64(len(batches)))
	r.metrics.relayed.Add(float64(delivered))
	return result{len(batches), delivered, purged}, errors.Join(leaseErr, deliverErr, recordErr, purgeErr)
}

// pause waits with jitter, so that the relays of several processes do not run in step.
func (r *Relay) pause(ctx context.Context) {
	float := rand.Float64
	if r.random != nil {
		float = r.random.Float64
	}
	timer := time.NewTimer(time.Duration(float64(relayPause) * (0.75 + 0.5*float())))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
