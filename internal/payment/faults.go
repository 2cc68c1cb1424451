package payment

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// MaxDelay is the longest delay that Faults adds to a call.
const MaxDelay = 10 * time.Second

// Fault says what is wrong with a gateway. The zero value is for nothing.
type Fault struct {
	Errors bool          // calls end with an error at once: there is no answer, and the gateway is not called
	Delay  time.Duration // that calls wait before they go on, at most MaxDelay
}

// Faults is a Gateway with faults that can be switched on and off while it works, to show what they lead to. It stands
// between the breaker and the gateway. It keeps the contract of Gateway: a call that fails has charged nothing, and a
// repeated Key is the same charge still. Its methods may be called from any goroutine.
type Faults struct {
	gateway Gateway
	fault   atomic.Pointer[Fault]
}

// NewFaults returns a gateway without a fault.
func NewFaults(gateway Gateway) *Faults {
	f := &Faults{gateway: gateway}
	f.fault.Store(&Fault{})
	return f
}

// Set says what is wrong from now on. Calls that wait already go on as they began.
func (f *Faults) Set(fault Fault) {
	fault.Delay = max(0, min(fault.Delay, MaxDelay))
	f.fault.Store(&fault)
}

// Fault is what is wrong now.
func (f *Faults) Fault() Fault { return *f.fault.Load() }

var errSwitchedOff = errors.New("the gateway does not answer: an operator has switched its errors on")

// Charge charges through the gateway, unless a fault is in the way.
func (f *Faults) Charge(ctx context.Context, request Request) (Result, error) {
	if err := f.apply(ctx); err != nil {
		return Result{}, err
	}
	return f.gateway.Charge(ctx, request)
}

// Void voids through the gateway, unless a fault is in the way.
func (f *Faults) Void(ctx context.Context, request Request) (Result, error) {
	if err := f.apply(ctx); err != nil {
		return Result{}, err
	}
	return f.gateway.Void(ctx, request)
}

// Features are those of the gateway behind.
func (f *Faults) Features() Features { return f.gateway.Features() }

// suffer waits as long as the fault says and returns its error.
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
