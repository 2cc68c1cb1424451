package payment_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"orderflow/internal/payment"
)

func TestBreakerClosesAfterItsProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		b.open(t)
		_, ready := b.Ready()
		time.Sleep(5*time.Second - 1)
		synctest.Wait()
		b.expect(t, payment.StateOpen, 0)
		<-ready // it becomes ready without any call
		synctest.Wait()
		b.expect(t, payment.StateHalfOpen, 3)

		resume := b.behind.stop()
		called := b.behind.called.Load()
		errs := b.start(t.Context(), 50)
		synctest.Wait()
		b.expect(t, payment.StateHalfOpen, 0)
		if probes := b.behind.called.Load() - called; probes != 3 {
			t.Errorf("%d calls reached the gateway, want 3", probes)
		}
		for range 47 {
			if err := <-errs; !errors.Is(err, payment.ErrOpen) {
				t.Errorf("a call beyond the probes: %v, want ErrOpen", err)
			}
		}
		_, ready = b.Ready()
		resume()
		for range 3 {
			if err := <-errs; err != nil {
				t.Errorf("probe: %v", err)
			}
		}
		<-ready
		b.expect(t, payment.StateClosed, math.MaxInt)
		if want := []string{"closed → open", "open → half-open", "half-open → closed"}; !slices.Equal(b.changes, want) {
			t.Errorf("reported %q, want %q", b.changes, want)
		}

		b.charge(t, 9, true) // earlier failures no longer count
		b.expect(t, payment.StateClosed, math.MaxInt)
	})
}

func TestBreakerCountsProbesOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		b.open(t)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		for left := 3; left > 0; left-- {
			b.expect(t, payment.StateHalfOpen, left)
			b.charge(t, 1, false)
		}
		b.expect(t, payment.StateClosed, math.MaxInt)
	})
}

func TestBreakerOpensAgainWhenAProbeFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		b.open(t)
		for range 3 {
			time.Sleep(5 * time.Second)
			synctest.Wait()
			b.charge(t, 2, false)
			b.expect(t, payment.StateHalfOpen, 1)
			b.charge(t, 1, true)
			b.expect(t, payment.StateOpen, 0)
			time.Sleep(5*time.Second - 1)
			synctest.Wait()
			b.expect(t, payment.StateOpen, 0) // for the whole delay again
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			b.expect(t, payment.StateHalfOpen, 3)
			b.charge(t, 1, true)
		}
	})
}

func TestBreakerWakesWaitersAfterACancelledProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		b.open(t)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		resume := b.behind.stop()
		defer resume()
		ctx, cancel := context.WithCancel(t.Context())
		errs := b.start(ctx, 3)
		synctest.Wait()
		ready, signal := b.Ready()
		if ready {
			t.Fatal("ready although all probes are in flight")
		}
		cancel()
		<-signal
		for range 3 {
			if err := <-errs; !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled probe: %v", err)
			}
		}
		b.expect(t, payment.StateHalfOpen, 3)
	})
}

// A charge that began before the breaker opened, and ends while it is half-open, is not a probe: neither its failure nor its success
// counts, and it allows no further probe.
func TestBreakerIgnoresAnswersOfEarlierStates(t *testing.T) {
	for name, down := range map[string]bool{"failures": true, "successes": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, 1)
				resume := b.behind.stop()
				old := b.start(t.Context(), 20)
				synctest.Wait()
				b.behind.hold.Store(nil) // the 20 calls keep waiting; later calls do not
				b.open(t)
				time.Sleep(5 * time.Second)
				synctest.Wait()
				b.charge(t, 1, false)
				b.expect(t, payment.StateHalfOpen, 2)

				b.behind.down.Store(down)
				resume()
				for range 20 {
					if err := <-old; down != errors.Is(err, errDown) {
						t.Errorf("the earlier call returned %v", err)
					}
				}
				synctest.Wait()
				b.expect(t, payment.StateHalfOpen, 2)
				b.charge(t, 2, false)
				b.expect(t, payment.StateClosed, math.MaxInt)
			})
		})
	}
}
