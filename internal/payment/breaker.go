package payment

import (
	"context"
	"fmt"
	"time"

	"orderflow/internal/order"
)

// BreakerOptions say when a circuit of a Breaker opens and how it closes again. A zero field stands for its default.
type BreakerOptions struct {
	FailureRate float64       // share of calls without an answer that opens it, above 0 to 1; default 0.5
	MinCalls    int           // answers or failures within Window before the rate counts; default 10
	Window      time.Duration // how far back the rate looks, at least 10 ms; default 30 s
	Delay       time.Duration // how long it stays open before it lets probes through; default 5 s
	Probes      int           // calls that must all be answered before it closes; default 3

	// OnStateChange, if set, receives each change of a circuit between "closed", "open" and "half-open", in their order. It is
	// called while the circuit is locked: it must be quick, and of the circuit's methods may call State alone.
	OnStateChange func(kind order.PaymentKind, from, to string)
}

// The states, as State and OnStateChange spell them.
const (
	StateClosed   = "closed"
	StateOpen     = "open"
	StateHalfOpen = "half-open"
)

// Breaker is a Gateway that stops calling the one behind it while that gives no answers. Charges and voids have a circuit
// each, so that a provider that fails at one of the two still gets calls of the other.
type Breaker struct {
	gateway        Gateway
	charges, voids *Circuit
}

// NewBreaker puts a breaker with closed circuits before a gateway. It panics when an option is out of its range.
func NewBreaker(gateway Gateway, options BreakerOptions) *Breaker {
	options = options.withDefaults()
	if err := options.check(); err != nil {
		panic(err)
	}
	return &Breaker{gateway, newCircuit(order.KindCharge, options), newCircuit(order.KindVoid, options)}
}

func (o BreakerOptions) withDefaults() BreakerOptions {
	if o.FailureRate == 0 {
		o.FailureRate = 0.5
	}
	if o.MinCalls == 0 {
		o.MinCalls = 10
	}
	if o.Window == 0 {
		o.Window = 30 * time.Second
	}
	if o.Delay == 0 {
		o.Delay = 5 * time.Second
	}
	if o.Probes == 0 {
		o.Probes = 3
	}
	return o
}

func (o BreakerOptions) check() error {
	switch {
	case !(o.FailureRate > 0 && o.FailureRate <= 1): // written so that NaN is refused
		return fmt.Errorf("payment: breaker: failure rate %v must be above 0 and at most 1", o.FailureRate)
	case o.MinCalls < 0 || o.Probes < 0:
		return fmt.Errorf("payment: breaker: min calls %d and probes %d must be at least 1", o.MinCalls, o.Probes)
	case o.Window < 10*time.Millisecond || o.Delay < 0:
		return fmt.Errorf("payment: breaker: window %v must be at least 10ms, delay %v not negative", o.Window, o.Delay)
	}
	return nil
}

// Charges is the circuit of charges.
func (b *Breaker) Charges() *Circuit { return b.charges }

// Voids is the circuit of voids.
func (b *Breaker) Voids() *Circuit { return b.voids }

// Charge charges through the gateway. It returns ErrOpen without calling it when no charge may be started.
func (b *Breaker) Charge(ctx context.Context, request Request) (Result, error) {
	return b.charges.call(ctx, request, b.gateway.Charge)
}

// Void voids through the gateway. It returns ErrOpen without calling it when no void may be started.
func (b *Breaker) Void(ctx context.Context, request Request) (Result, error) {
	return b.voids.call(ctx, request, b.gateway.Void)
}

// Features are those of the gateway behind.
func (b *Breaker) Features() Features { return b.gateway.Features() }
