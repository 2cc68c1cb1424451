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

// Orders are the database operations that a Worker needs. Each method is one whole transaction.
type Orders interface {
	ClaimOrders(ctx context.Context, requests []order.ClaimRequest) ([]order.Claimed, order.EventBatch, error)
	SettleOrders(ctx context.Context, settlements []order.Settlement) ([]order.Changed, order.EventBatch, error)
	// DueOrders returns up to limit orders that need calls of these kinds now, the most overdue first. Actor is left empty.
	DueOrders(ctx context.Context, limit int, kinds ...order.PaymentKind) ([]order.ClaimRequest, error)
}

// Publisher publishes the events of commits. Publish never blocks and never fails.
type Publisher interface {
	Publish(events order.EventBatch)
}

// Breaker decides whether calls of one kind may be started. payment.Circuit implements it.
type Breaker interface {
	// Slots returns how many calls may be started now.
	Slots() int
	// Ready reports whether Slots is above 0. The channel is closed as soon as it is.
	Ready() (bool, <-chan struct{})
}

// Defaults of Options.
const (
	DefaultConcurrency   = 256
	DefaultChargeTimeout = 10 * time.Second
	DefaultBatchMax      = 512
	DefaultDrainLimit    = 20 * time.Second
)

// settleMargin is the part of a lease that must remain besides the longest charge: time to commit the claim and the settlement.
const settleMargin = 5 * time.Second

// Options configure a Worker. Those without a default are required.
type Options struct {
	Orders       Orders
	Gateway      payment.Gateway
	Breaker      Breaker // for charges; nil for none
	VoidBreaker  Breaker // for voids; nil for none
	Bus          bus.Bus
	Publisher    Publisher
	Installation string      // id of the installation; begins the idempotency key of every charge
	Node         string      // identifies this worker in histories and payments, such as "worker:host-4711"
	Rules        order.Rules // the same as those of Orders

	Concurrency   int           // most orders in flight; 0 for DefaultConcurrency
	ChargeTimeout time.Duration // of one call to the gateway; 0 for DefaultChargeTimeout
	BatchMax      int           // most claims or settlements per transaction; 0 for DefaultBatchMax
	BatchLoops    int           // concurrent transactions of each kind; 0 for 1
	DrainLimit    time.Duration // most time that a shutdown waits for charges in flight; 0 for DefaultDrainLimit

	Registerer prometheus.Registerer // nil for no metrics
	OnScrape   prometheus.Registerer // for metrics that query the bus at each scrape; nil for Registerer
	Logger     *slog.Logger          // nil for no log
	Tracer     tracing.Tracer        // traces nothing by default
	Random     rand.Source           // for the jitter; nil for the default one
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

// check returns an error for invalid options.
func (o Options) check() error {
	switch {
	case o.Orders == nil || o.Gateway == nil || o.Bus == nil || o.Publisher == nil:
		return errors.New("worker: orders, gateway, bus and publisher are required")
	case o.Installation == "" || o.Node == "":
		return errors.New("worker: installation and node are required")
	case o.Concurrency < 1 || o.ChargeTimeout < 0 || o.BatchMax < 1 || o.BatchLoops < 0 || o.DrainLimit < 0:
		return fmt.Errorf("worker: concurrency %d and batch max %d must be at least 1; "+
			"charge time-out %s, batch loops %d and drain limit %s must not be negative",
			o.Concurrency, o.BatchMax, o.ChargeTimeout, o.BatchLoops, o.DrainLimit)
	default:
		return CheckLease(o.ChargeTimeout, o.Rules.Lease)
	}
}

// CheckLease returns an error when a charge time-out does not fit a lease. An order must be settled before its lease ends; otherwise
// another worker repeats the charge at the same time.
func CheckLease(chargeTimeout, lease time.Duration) error {
	if chargeTimeout+settleMargin > lease {
		return fmt.Errorf("the charge time-out %s plus %s for its settlement exceeds the lease %s: "+
			"shorten the charge time-out or lengthen the lease", chargeTimeout, settleMargin, lease)
	}
	return nil
}

// noBreaker allows every call.
type noBreaker struct{}

func (noBreaker) Slots() int                     { return int(^uint(0) >> 1) }
func (noBreaker) Ready() (bool, <-chan struct{}) { return true, nil }
