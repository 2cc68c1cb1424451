package payment_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/payment"
	"orderflow/internal/payment/paymenttest"
)

func TestContractFaults(t *testing.T) {
	paymenttest.Run(t, func(t *testing.T) payment.Gateway {
		f := payment.NewFaults(newSimulated(t, payment.SimulatedOptions{Success: 0.8, Seed: "contract"}))
		f.Set(payment.Fault{Delay: time.Millisecond})
		return f
	})
}

// With injected errors there is no answer. Once they are off, the same charge is answered.
func TestFaultsErrors(t *testing.T) {
	t.Parallel()
	f := payment.NewFaults(newSimulated(t, payment.SimulatedOptions{Success: 1, Seed: "s"}))
	r := paymenttest.NewRequest("installation", 1)
	want, err := f.Charge(t.Context(), r)
	if err != nil || want.Outcome != order.Succeeded {
		t.Fatal(want, err)
	}
	f.Set(payment.Fault{Errors: true})
	for name, call := range map[string]func() (payment.Result, error){
		"charge": func() (payment.Result, error) { return f.Charge(t.Context(), r) },
		"void":   func() (payment.Result, error) { return f.Void(t.Context(), r) },
	} {
		if got, err := call(); err == nil || got != (payment.Result{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if got := f.Fault(); !got.Errors {
		t.Errorf("Fault returns %+v", got)
	}
	f.Set(payment.Fault{})
	if got, err := f.Charge(t.Context(), r); err != nil || got != want {
		t.Errorf("after the fault: %+v, %v; want %+v", got, err, want)
	}
}

// A call waits for the injected delay, up to its bound and no longer than its context.
func TestFaultsDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := payment.NewFaults(newSimulated(t, payment.SimulatedOptions{Success: 1, Seed: "s"}))
		for set, want := range map[time.Duration]time.Duration{
			3 * time.Second: 3 * time.Second, -time.Second: 0, time.Hour: payment.MaxDelay,
		} {
			f.Set(payment.Fault{Delay: set})
			began := time.Now()
			if _, err := f.Charge(t.Context(), paymenttest.NewRequest("installation", 1)); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took != want {
				t.Errorf("a delay of %s took %s, want %s", set, took, want)
			}
		}
		f.Set(payment.Fault{Delay: 2 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := f.Charge(ctx, paymenttest.NewRequest("installation", 1)); err == nil {
			t.Error("the call waited longer than its context")
		}
	})
}

// Injected errors open the breaker in front, and it closes once they are off. Faults may be set concurrently.
func TestFaultsOpenTheBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := payment.NewFaults(newSimulated(t, payment.SimulatedOptions{Success: 1, Seed: "s"}))
		b := payment.NewBreaker(f, payment.BreakerOptions{})
		charge := func(n int) (refused int) {
			var all sync.WaitGroup
			var mu sync.Mutex
			for i := range n {
				all.Go(func() {
					if _, err := b.Charge(t.Context(), paymenttest.NewRequest("installation", int64(i+1))); errors.Is(err, payment.ErrOpen) {
						mu.Lock()
						defer mu.Unlock()
						refused++
					}
				})
			}
			all.Wait()
			return refused
		}
		f.Set(payment.Fault{Errors: true})
		charge(30)
		if b.Charges().State() != payment.StateOpen || charge(5) != 5 {
			t.Fatalf("the breaker is %s, want it open", b.Charges().State())
		}
		go f.Set(payment.Fault{})
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if refused := charge(3); refused != 0 || b.Charges().State() != payment.StateClosed {
			t.Errorf("%d of three probes were refused, and the breaker is %s", refused, b.Charges().State())
		}
	})
}
