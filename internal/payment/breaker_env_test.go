package payment_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"orderflow/internal/order"
	"orderflow/internal/payment"
)

// faulty injects faults into a gateway: while hold is set, calls wait until it is closed; while down is set, they get no answer.
type faulty struct {
	payment.Gateway
	down   atomic.Bool
	hold   atomic.Pointer[chan struct{}]
	called atomic.Int64
}

func (f *faulty) Charge(ctx context.Context, r payment.Request) (payment.Result, error) {
	return f.pass(ctx, r, f.Gateway.Charge)
}

func (f *faulty) Void(ctx context.Context, r payment.Request) (payment.Result, error) {
	return f.pass(ctx, r, f.Gateway.Void)
}

func (f *faulty) pass(
	ctx context.Context, r payment.Request, on func(context.Context, payment.Request) (payment.Result, error),
) (payment.Result, error) {
	f.called.Add(1)
	if hold := f.hold.Load(); hold != nil {
		select {
		case <-*hold:
		case <-ctx.Done():
			return payment.Result{}, ctx.Err()
		}
	}
	if f.down.Load() {
		return payment.Result{}, errDown
	}
	return on(ctx, r)
}

// stop makes calls wait until the returned function is called.
func (f *faulty) stop() (resume func()) {
	hold := make(chan struct{})
	f.hold.Store(&hold)
	return func() {
		f.hold.Store(nil)
		close(hold)
	}
}

// bench is a breaker in front of a faulty gateway: rate 0.5 of at least 10 calls in 30 s, 5 s open, 3 probes.
type bench struct {
	*payment.Breaker
	*payment.Circuit // of charges
	behind           *faulty
	changes          []string
}

func newBench(t *testing.T, success float64) *bench {
	t.Helper()
	b := &bench{behind: &faulty{Gateway: newSimulated(t, payment.SimulatedOptions{Success: success})}}
	b.Breaker = payment.NewBreaker(b.behind, payment.BreakerOptions{
		OnStateChange: func(kind order.PaymentKind, from, to string) {
			if kind != order.KindCharge {
				t.Errorf("the circuit of %ss changed", kind)
			}
			if b.State() != to {
				t.Errorf("reported %s → %s, but State returns %s", from, to, b.State())
			}
			b.changes = append(b.changes, from+" → "+to)
		},
	})
	b.Circuit = b.Charges()
	return b
}

// charge makes n charges, with or without the gateway's answers.
func (b *bench) charge(t *testing.T, n int, down bool) {
	t.Helper()
	b.behind.down.Store(down)
	for range n {
		_, err := b.Charge(t.Context(), payment.Request{Key: "k"})
		if down != errors.Is(err, errDown) || (!down && err != nil) {
			t.Errorf("charge with the gateway down=%t: %v", down, err)
		}
	}
}

// open opens the breaker.
func (b *bench) open(t *testing.T) {
	t.Helper()
	b.charge(t, 10, true)
	b.expect(t, payment.StateOpen, 0)
	b.behind.down.Store(false)
}

// start makes n concurrent charges and returns the channel of their errors.
func (b *bench) start(ctx context.Context, n int) <-chan error {
	errs := make(chan error, n)
	for range n {
		go func() {
			_, err := b.Charge(ctx, payment.Request{Key: "k"})
			errs <- err
		}()
	}
	return errs
}

func (b *bench) expect(t *testing.T, state string, slots int) {
	t.Helper()
	ready, signal := b.Ready()
	closed := false
	select {
	case <-signal:
		closed = true
	default:
	}
	if b.State() != state || b.Slots() != slots || ready != (slots > 0) || closed != ready {
		t.Errorf("state %s, slots %d, ready %t, its channel closed %t; want %s with %d slots", b.State(), b.Slots(), ready, closed, state, slots)
	}
}
