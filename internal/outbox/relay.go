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

// The relay's pace.
const (
	relayAge   = 3 * time.Second  // a row unpaid for longer has been missed by its Publisher
	relayLease = 15 * time.Second // how long a row is left to the relay that took it
	relayBite  = 32               // rows in one round; a row has the events of a whole batch
	relayPause = time.Second      // between rounds, give or take a quarter, unless a round was full

	purgeAge  = time.Minute // paid rows are kept this long
	purgeBite = 1000        // rows deleted in one round
)

// RelayStore is the outbox table.
type RelayStore interface {
	PublishedMarker
	// LeaseOutbox returns up to limit receipts that have been unpaid for longer than age and are leased to nobody, and
	// leases them. Together with an error it returns those that could be read.
	LeaseOutbox(ctx context.Context, age, lease time.Duration, limit int) ([]order.EventBatch, error)
	// PurgeOutbox deletes up to limit rows that were paid longer ago than age, and returns how many.
	PurgeOutbox(ctx context.Context, age time.Duration, limit int) (int, error)
	// RecordRefusal records that a full bus refused events just now: the audit must know it in a process without this bus.
	RecordRefusal(ctx context.Context) error
}

// RelayOptions are what a Relay works with.
type RelayOptions struct {
	Bus        bus.Bus               // required
	Ledger     RelayStore            // required
	Registerer prometheus.Registerer // nil for no metrics
	Logger     *slog.Logger          // nil for no log
	Tracer     tracing.Tracer        // of nothing by default
	Random     rand.Source           // of the jitter; nil for the default one
}

// Relay publishes what the Publisher of some process did not: because the bus refused it, because its queue was full,
// or because that process died. One runs in every process; the lease keeps them apart.
type Relay struct {
	courier courier
	ledger  RelayStore
	log     *slog.Logger
	metrics *metrics
	random  *rand.Rand // nil for the default one; only Run touches it
}

// NewRelay returns a Relay; it does nothing until Run.
func NewRelay(o RelayOptions) *Relay {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	m := newMetrics(o.Registerer, "relay")
	r := &Relay{courier: courier{o.Bus, o.Ledger, m, o.Tracer}, ledger: o.Ledger, log: o.Logger, metrics: m}
	if o.Random != nil {
		r.random = rand.New(o.Random)
	}
	return r
}

// round is what one turn of the relay came to.
type round struct {
	found     int // receipts that were owed for too long
	delivered int // of those, how many are on the bus now
	purged    int // paid rows deleted
}

// full reports whether more of the same is likely to wait.
func (r round) full() bool { return r.found == relayBite || r.purged == purgeBite }

// Run relays until ctx ends and returns nil. Call it once.
func (r *Relay) Run(ctx context.Context) error {
	failing := false
	for ctx.Err() == nil {
		done, err := r.runOnce(ctx)
		r.tell(ctx, done, err, failing)
		failing = err != nil
		if failing || !done.full() {
			r.pause(ctx)
		}
	}
	return nil
}

// tell logs when the relay begins to fail and when it works again, not every round between.
func (r *Relay) tell(ctx context.Context, done round, err error, before bool) {
	switch {
	case ctx.Err() != nil: // the round was cut off by the shutdown
	case err != nil && !before:
		r.log.WarnContext(ctx, "The outbox cannot be relayed; the relay keeps trying.",
			"event", "outbox.relay_failed", "error", err.Error(), "found", done.found, "delivered", done.delivered)
	case err == nil && before:
		r.log.InfoContext(ctx, "The outbox is relayed again.", "event", "outbox.relay_recovered")
	}
}

// runOnce publishes one bite of what is overdue and deletes one bite of what is settled. An error means that part of it
// was not done; nothing is lost: rows that were not delivered come again after their lease.
func (r *Relay) runOnce(ctx context.Context) (round, error) {
	// Receipts may come together with an error: those that could be read. One that cannot must not hold up the others.
	receipts, leaseErr := r.ledger.LeaseOutbox(ctx, relayAge, relayLease, relayBite)
	delivered, deliverErr := r.courier.deliver(ctx, receipts)
	var recordErr error
	if errors.Is(deliverErr, bus.ErrFull) {
		recordErr = r.ledger.RecordRefusal(ctx)
	}
	purged, purgeErr := r.ledger.PurgeOutbox(ctx, purgeAge, purgeBite)
	r.metrics.overdue.Set(float64(len(receipts)))
	r.metrics.relayed.Add(float64(delivered))
	return round{len(receipts), delivered, purged}, errors.Join(leaseErr, deliverErr, recordErr, purgeErr)
}

// pause waits for the next round, with jitter, so that the relays of many processes do not march in step.
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
