package payment

import (
	"context"
	"fmt"
	"time"

	"orderflow/internal/order"
)

// BreakerOptions configure the circuits of a Breaker. A zero field means its default.
type BreakerOptions struct {
	FailureRate float64       // share of unanswered calls that opens a circuit, above 0 to 1; default 0.5
	MinCalls    int           // calls within Window before the rate counts; default 10
	Window      time.Duration // period of the rate, at least 10 ms; default 30 s
	Delay       time.Duration // time in state open before probes are allowed; default 5 s
	Probes      int           // calls that must all be answered before the circuit closes; default 3

	// OnStateChange, if set, receives the state changes of each circuit in their order. It is called while the circuit is
	// locked: it must be quick, and may call no method of the circuit except State.
	OnStateChange func(kind order.PaymentKind, from, to string)
}

// The states of a circuit.
const (
	StateClosed   = "closed"
	StateOpen     = "open"
	StateHalfOpen = "half-open"
)

// Breaker is a Gateway that stops calling another Gateway while that does not answer. Charges and voids have a circuit each, so
// a provider that fails at one of the two still gets calls of the other kind.
type Breaker struct {
	gateway        Gateway
	charges, voids *Circuit
}

// NewBreaker returns a Breaker with closed circuits in front of a gateway. It panics when an option is out of its range.
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
		return fmt.Errorf("payment: breaker: window %v must be at least 10ms, and delay %v must not be negative", o.Window, o.Delay)
	}
	return nil
}

// Charges returns the circuit of charges.
func (b *Breaker) Charges() *Circuit { return b.charges }

// Voids returns the circuit of voids.
func (b *Breaker) Voids() *Circuit { return b.voids }

// Charge charges through the gateway. When the circuit allows no charge, it returns ErrOpen without calling the gateway.
func (b *Breaker) Charge(ctx context.Context, request Request) (Result, error) {
	return b.charges.call(ctx, request, b.gateway.Charge)
}

// Void voids through the gateway. When the circuit allows no void, it returns ErrOpen without calling the gateway.
func (b *Breaker) Void(ctx context.Context, request Request) (Result, error) {
	return b.voids.call(ctx, request, b.gateway.Void)
}

// Features returns those of the gateway.
func (b *Breaker) Features() Features { return b.gateway.Features() }
