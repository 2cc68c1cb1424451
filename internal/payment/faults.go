package payment

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// MaxDelay is the longest injected delay.
const MaxDelay = 10 * time.Second

// Fault is an injected fault of a gateway. The zero value injects none.
type Fault struct {
	Errors bool          // calls fail at once, without an answer and without calling the gateway
	Delay  time.Duration // of calls, at most MaxDelay
}

// Faults is a Gateway that injects faults, which can be changed while it works, to demonstrate their effects. It stands between the
// breaker and the gateway, and keeps the contract of Gateway: a call that fails has charged nothing, and a repeated Key is still
// the same charge. All methods are safe for concurrent use.
type Faults struct {
	gateway Gateway
	fault   atomic.Pointer[Fault]
}

// NewFaults returns a Faults that injects no fault yet.
func NewFaults(gateway Gateway) *Faults {
	f := &Faults{gateway: gateway}
	f.fault.Store(&Fault{})
	return f
}

// Set sets the injected fault of later calls. Waiting calls keep theirs.
func (f *Faults) Set(fault Fault) {
	fault.Delay = max(0, min(fault.Delay, MaxDelay))
	f.fault.Store(&fault)
}

// Fault returns the injected fault.
func (f *Faults) Fault() Fault { return *f.fault.Load() }

var errSwitchedOff = errors.New("injected fault: an operator has switched on errors of the gateway")

// Charge charges through the gateway, with the injected fault.
func (f *Faults) Charge(ctx context.Context, request Request) (Result, error) {
	if err := f.apply(ctx); err != nil {
		return Result{}, err
	}
	return f.gateway.Charge(ctx, request)
}

// Void voids through the gateway, with the injected fault.
func (f *Faults) Void(ctx context.Context, request Request) (Result, error) {
	if err := f.apply(ctx); err != nil {
		return Result{}, err
	}
	return f.gateway.Void(ctx, request)
}

// Features returns those of the gateway.
func (f *Faults) Features() Features { return f.gateway.Features() }

// apply waits for the injected delay and returns the injected error.
func (f *Faults) apply(ctx context.Context) error {
	fault := f.fault.Load()
	if fault.Delay > 0 {
		if err := wait(ctx, fault.Delay); err != nil {
			return err
		}
	}
	if fault.Errors {
		return errSwitchedOff
	}
	return nil
}
