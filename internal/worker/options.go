package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/bus"
	"orderflow/internal/order"
	"orderflow/internal/payment"
	"orderflow/internal/tracing"
)

// Orders is what a Worker needs of the database. Every method is one whole transaction.
type Orders interface {
	ClaimOrders(ctx context.Context, requests []order.ClaimRequest) ([]order.Claimed, order.EventBatch, error)
	SettleOrders(ctx context.Context, settlements []order.Settlement) ([]order.Changed, order.EventBatch, error)
	// DueOrders returns up to limit orders that need calls of these kinds now, those due longest first. Actor is left empty.
	DueOrders(ctx context.Context, limit int, kinds ...order.PaymentKind) ([]order.ClaimRequest, error)
}

// Publisher takes the receipts of commits. Publish never blocks and never fails.
type Publisher interface {
	Publish(receipt order.EventBatch)
}

// Breaker decides whether calls of one kind may be started. payment.Circuit does.
type Breaker interface {
	// Slots is how many calls may be started now.
	Slots() int
	// Ready reports whether Slots is above 0; the channel is closed as soon as it is.
	Ready() (bool, <-chan struct{})
}

// Defaults of Options.
const (
	DefaultConcurrency   = 256
	DefaultChargeTimeout = 10 * time.Second
	DefaultBatchMax      = 512
	DefaultDrainLimit    = 20 * time.Second
)

// settleMargin is what has to remain of a lease after the longest charge: time to commit the claim before it and the
// settlement after it.
const settleMargin = 5 * time.Second

// Options are what a Worker works with. Those without a default are required.
type Options struct {
	Orders       Orders
	Gateway      payment.Gateway
	Breaker      Breaker // of Gateway's charges; nil when there is none
	VoidBreaker  Breaker // of Gateway's voids; nil when there is none
	Bus          bus.Bus
	Publisher    Publisher
	Installation string      // id of the installation; begins the idempotency key of every charge
	Node         string      // who this worker is in histories and payments, such as "worker:host-4711"
	Rules        order.Rules // those that Orders decides by

	Concurrency   int           // charges in flight; 0 for DefaultConcurrency
	ChargeTimeout time.Duration // how long one call to the gateway may take; 0 for DefaultChargeTimeout
	BatchMax      int           // claims or settlements in a transaction; 0 for DefaultBatchMax
	BatchLoops    int           // transactions of each kind at once; 0 for 1
	DrainLimit    time.Duration // how long a shutdown waits for charges under way; 0 for DefaultDrainLimit

	Registerer prometheus.Registerer // nil for no metrics
	Asked      prometheus.Registerer // of those that ask the bus when somebody looks; nil for Registerer
	Logger     *slog.Logger          // nil for no log
	Tracer     tracing.Tracer        // of nothing by default
	Random     rand.Source           // of the jitter; nil for the default one
}

func (o Options) withDefaults() Options {
	if o.Concurrency == 0 {
		o.Concurrency = DefaultConcurrency
	}
	if o.ChargeTimeout == 0 {
		o.ChargeTimeout = DefaultChargeTimeout
	}
	if o.BatchMax == 0 {
		o.BatchMax = DefaultBatchMax
	}
	if o.DrainLimit == 0 {
		o.DrainLimit = DefaultDrainLimit
	}
	if o.Breaker == nil {
		o.Breaker = noBreaker{}
	}
	if o.VoidBreaker == nil {
		o.VoidBreaker = noBreaker{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Random == nil {
		o.Random = rand.NewPCG(rand.Uint64(), rand.Uint64())
	}
	return o
}

// check says which option cannot be worked with.
func (o Options) check() error {
	switch {
	case o.Orders == nil || o.Gateway == nil || o.Bus == nil || o.Publisher == nil:
		return errors.New("worker: orders, gateway, bus and publisher are required")
	case o.Installation == "" || o.Node == "":
		return errors.New("worker: installation and node are required")
	case o.Concurrency < 1 || o.ChargeTimeout < 0 || o.BatchMax < 1 || o.BatchLoops < 0 || o.DrainLimit < 0:
		return fmt.Errorf("worker: concurrency %d and batch max %d must be at least 1, "+
			"charge time-out %s, batch loops %d and drain limit %s not negative",
			o.Concurrency, o.BatchMax, o.ChargeTimeout, o.BatchLoops, o.DrainLimit)
	default:
		return CheckLease(o.ChargeTimeout, o.Rules.Lease)
	}
}

// CheckLease says why a charge time-out does not fit a lease: an order must be settled while it is still leased, else
// another worker asks the gateway again while this one does.
func CheckLease(chargeTimeout, lease time.Duration) error {
	if chargeTimeout+settleMargin > lease {
		return fmt.Errorf("a charge may take %s and is given %s more to be settled, which is longer than the lease of %s: "+
			"shorten the charge time-out or lengthen the lease", chargeTimeout, settleMargin, lease)
	}
	return nil
}

// noBreaker lets everything through.
type noBreaker struct{}

func (noBreaker) Slots() int                     { return int(^uint(0) >> 1) }
func (noBreaker) Ready() (bool, <-chan struct{}) { return true, nil }
