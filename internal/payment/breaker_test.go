package payment_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"orderflow/internal/order"
	"orderflow/internal/payment"
)

var errDown = errors.New("the gateway is down")

func TestBreakerOpensOnTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		b.charge(t, 5, false)
		b.charge(t, 4, true)
		b.expect(t, payment.StateClosed, math.MaxInt) // 4 of 9: below the rate, and too few calls
		b.charge(t, 1, true)
		b.expect(t, payment.StateOpen, 0)

		called := b.behind.called.Load()
		if result, err := b.Charge(t.Context(), payment.Request{Key: "k"}); !errors.Is(err, payment.ErrOpen) || result != (payment.Result{}) {
			t.Errorf("charge while open: %+v, %v; want ErrOpen", result, err)
		}
		if now := b.behind.called.Load(); now != called {
			t.Errorf("the gateway was called %d times while open", now-called)
		}
	})
}

func TestBreakerNeedsEnoughCallsWithinTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		b.charge(t, 9, true)
		time.Sleep(34 * time.Second) // the window, and the slice with the calls
		b.charge(t, 9, true)
		b.expect(t, payment.StateClosed, math.MaxInt)
		b.charge(t, 1, true)
		b.expect(t, payment.StateOpen, 0)
	})
}

func TestBreakerStaysClosedBelowTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		for range 200 {
			b.charge(t, 11, false)
			b.charge(t, 9, true)
			time.Sleep(3 * time.Second)
		}
		b.expect(t, payment.StateClosed, math.MaxInt)
	})
}

func TestBreakerCountsDeclinesAsAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 0)
		b.charge(t, 100, false)
		result, err := b.Charge(t.Context(), payment.Request{Key: "k"})
		if err != nil || result.Outcome != order.Declined {
			t.Errorf("charge: %+v, %v; want it declined", result, err)
		}
		b.expect(t, payment.StateClosed, math.MaxInt)

		time.Sleep(34 * time.Second)
		b.open(t) // as probes they close it
		time.Sleep(5 * time.Second)
		synctest.Wait()
		b.charge(t, 3, false)
		b.expect(t, payment.StateClosed, math.MaxInt)
	})
}

func TestBreakerIgnoresCancelledCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		cancelAll := func(n int) {
			t.Helper()
			resume := b.behind.stop()
			ctx, cancel := context.WithCancel(t.Context())
			errs := b.start(ctx, n)
			synctest.Wait()
			cancel()
			for range n {
				if err := <-errs; !errors.Is(err, context.Canceled) {
					t.Errorf("cancelled call: %v", err)
				}
			}
			resume()
			synctest.Wait()
		}
		cancelAll(100)
		b.expect(t, payment.StateClosed, math.MaxInt)
		b.charge(t, 9, true)
		b.expect(t, payment.StateClosed, math.MaxInt) // the 100 do not count towards the 10 calls
		b.charge(t, 1, true)
		b.expect(t, payment.StateOpen, 0)

		time.Sleep(5 * time.Second)
		synctest.Wait()
		for range 5 {
			cancelAll(3) // cancelled probes are returned
			b.expect(t, payment.StateHalfOpen, 3)
		}
	})
}

func TestBreakerCountsTimeOuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		resume := b.behind.stop()
		defer resume()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		errs := b.start(ctx, 10)
		for range 10 {
			if err := <-errs; !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("timed-out call: %v", err)
			}
		}
		b.expect(t, payment.StateOpen, 0)
	})
}

// A provider that fails at one kind of call still gets the other kind.
func TestBreakerSeparatesChargesAndVoids(t *testing.T) {
	for _, failing := range []order.PaymentKind{order.KindCharge, order.KindVoid} {
		t.Run(string(failing)+"s fail", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				behind := &faulty{Gateway: newSimulated(t, payment.SimulatedOptions{Success: 1})}
				var mu sync.Mutex // the timer of a circuit also changes it
				var changes []order.PaymentKind
				b := payment.NewBreaker(behind, payment.BreakerOptions{Delay: time.Second, OnStateChange: func(kind order.PaymentKind, _, _ string) {
					mu.Lock()
					defer mu.Unlock()
					changes = append(changes, kind)
				}})
				broken, sound := b.Charge, b.Void
				open, closed := b.Charges(), b.Voids()
				if failing == order.KindVoid {
					broken, sound, open, closed = sound, broken, closed, open
				}
				behind.down.Store(true)
				for range 10 {
					if _, err := broken(t.Context(), payment.Request{Key: "k"}); !errors.Is(err, errDown) {
						t.Fatalf("a failing call: %v", err)
					}
				}
				behind.down.Store(false)
				if got := open.State(); got != payment.StateOpen {
					t.Errorf("the circuit of %ss is %s, want it open", failing, got)
				}
				if _, err := broken(t.Context(), payment.Request{Key: "k"}); !errors.Is(err, payment.ErrOpen) {
					t.Errorf("another %s: %v, want it refused", failing, err)
				}
				if got := closed.State(); got != payment.StateClosed {
					t.Errorf("the other circuit is %s, want it closed", got)
				}
				if _, err := sound(t.Context(), payment.Request{Key: "k"}); err != nil {
					t.Errorf("a call of the other kind: %v", err)
				}
				mu.Lock()
				if diff := cmp.Diff([]order.PaymentKind{failing}, changes); diff != "" {
					t.Errorf("reported changes (-want +got)\n%s", diff)
				}
				mu.Unlock()
				time.Sleep(time.Second) // the timer of the circuit ends inside the bubble
				synctest.Wait()
			})
		})
	}
}

type panicking struct{ payment.Gateway }

func (panicking) Charge(context.Context, payment.Request) (payment.Result, error) { panic("bug") }

func TestBreakerCountsPanicsAsFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := payment.NewBreaker(panicking{}, payment.BreakerOptions{MinCalls: 2, Delay: time.Second})
		charge := func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was not passed on")
				}
			}()
			_, _ = b.Charge(t.Context(), payment.Request{})
		}
		charge()
		charge()
		if state := b.Charges().State(); state != payment.StateOpen {
			t.Errorf("state %s after panics only", state)
		}
	})
}

func TestBreakerRefusesBadOptions(t *testing.T) {
	for name, options := range map[string]payment.BreakerOptions{
		"rate above 1":   {FailureRate: 1.1},
		"rate below 0":   {FailureRate: -1},
		"rate NaN":       {FailureRate: math.NaN()},
		"calls below 0":  {MinCalls: -1},
		"probes below 0": {Probes: -1},
		"tiny window":    {Window: time.Millisecond},
		"delay below 0":  {Delay: -1},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("invalid options were accepted")
				}
			}()
			payment.NewBreaker(newSimulated(t, payment.SimulatedOptions{}), options)
		})
	}
}

// Under concurrent calls, the number of slots stays in its range and waiters are woken.
func TestBreakerUnderLoad(t *testing.T) {
	b := newBench(t, 1)
	b.Breaker = payment.NewBreaker(b.behind, payment.BreakerOptions{MinCalls: 20, Delay: time.Millisecond, Probes: 3})
	b.Circuit = b.Charges()
	var callers sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var closings atomic.Int64
	for i := range 8 {
		callers.Go(func() {
			for n := range 2000 {
				b.behind.down.Store((n/200+i)%2 == 0)
				if _, err := b.Charge(ctx, payment.Request{Key: "k"}); errors.Is(err, payment.ErrOpen) {
					_, ready := b.Ready()
					select {
					case <-ready:
					case <-ctx.Done():
						t.Error("the circuit did not become ready again")
						return
					}
				}
				if slots := b.Slots(); slots != math.MaxInt && (slots < 0 || slots > 3) {
					t.Errorf("%d slots", slots)
				}
				if b.State() == payment.StateClosed {
					closings.Add(1)
				}
			}
		})
	}
	callers.Wait()
	if closings.Load() == 0 {
		t.Error("the circuit never closed")
	}
}
