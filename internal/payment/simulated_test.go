package payment

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"orderflow/internal/order"
)

func TestSimulatedFateIsAFunctionOfSeedAndKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		low := time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "low"))
		high := low + time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "spread"))
		options := SimulatedOptions{
			MinLatency: low, MaxLatency: high, Success: rapid.Float64Range(0, 1).Draw(t, "success"), Seed: rapid.String().Draw(t, "seed"),
		}
		key := rapid.String().Draw(t, "key")
		one, err := NewSimulated(options)
		if err != nil {
			t.Fatal(err)
		}
		other, err := NewSimulated(options)
		if err != nil {
			t.Fatal(err)
		}
		f := one.fate(key)
		if again := other.fate(key); again != f {
			t.Fatalf("one process returned %+v, another %+v", f, again)
		}
		if f.latency < low || f.latency > high {
			t.Fatalf("latency %v is outside %v-%v", f.latency, low, high)
		}
	})
}

func TestSimulatedSuccessRate(t *testing.T) {
	const keys = 20_000
	for _, want := range []float64{0, 0.2, 0.8, 1} {
		for _, seed := range []string{"", "a", "b"} {
			g, err := NewSimulated(SimulatedOptions{MinLatency: 50, MaxLatency: 200, Success: want, Seed: seed})
			if err != nil {
				t.Fatal(err)
			}
			succeeded, latency := 0, time.Duration(0)
			for i := range keys {
				f := g.fate(fmt.Sprintf("installation-%d", i))
				latency += f.latency
				if f.succeeds {
					succeeded++
				}
			}
			// 3.5 standard deviations; none at 0 and 1.
			if got := float64(succeeded) / keys; math.Abs(got-want) > 3.5*math.Sqrt(want*(1-want)/keys) {
				t.Errorf("seed %q: %v of the keys succeed, want %v", seed, got, want)
			}
			if mean := float64(latency) / keys; math.Abs(mean-125) > 2 {
				t.Errorf("seed %q: mean latency %v, want about the middle of 50 to 200 ms", seed, mean)
			}
		}
	}
}

// Processes of two releases may run together: if the function changed, a charge repeated by the other release would get another answer.
func TestSimulatedFateIsTheSameInEveryRelease(t *testing.T) {
	g, err := NewSimulated(SimulatedOptions{MinLatency: 50 * time.Millisecond, MaxLatency: 200 * time.Millisecond, Success: 0.8, Seed: "seed"})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"installation-1": "true 163.980777ms f0ee3c759009f8c5",
		"installation-2": "true 193.007656ms c6a323ad396c5a36",
		"installation-3": "true 86.678333ms ffd8536e4aa64ca1",
	} {
		f := g.fate(key)
		if got := fmt.Sprintf("%t %v %x", f.succeeds, f.latency, f.reference); got != want {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
	}
}

func TestSimulatedLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, err := NewSimulated(SimulatedOptions{MinLatency: 50 * time.Millisecond, MaxLatency: 200 * time.Millisecond, Success: 1})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			key := fmt.Sprint("key-", i)
			start := time.Now()
			if _, err := g.Charge(t.Context(), Request{Key: key}); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took != g.fate(key).latency || took < 50*time.Millisecond || took > 200*time.Millisecond {
				t.Errorf("%s took %v, want %v", key, took, g.fate(key).latency)
			}
		}

		ctx, cancel := context.WithTimeout(t.Context(), 49*time.Millisecond)
		defer cancel()
		start := time.Now()
		result, err := g.Charge(ctx, Request{Key: "key"})
		if !errors.Is(err, context.DeadlineExceeded) || result != (Result{}) {
			t.Errorf("a cancelled charge: %+v, %v", result, err)
		}
		if took := time.Since(start); took != 49*time.Millisecond {
			t.Errorf("ctx ended after 49ms, the wait after %v", took)
		}
	})
}

func TestSimulatedRefusesBadOptions(t *testing.T) {
	for name, options := range map[string]SimulatedOptions{
		"latency below 0":     {MinLatency: -1},
		"latency upside down": {MinLatency: 2, MaxLatency: 1},
		"success below 0":     {Success: -0.1},
		"success above 1":     {Success: 1.1},
		"success NaN":         {Success: math.NaN()},
	} {
		if _, err := NewSimulated(options); order.CodeOf(err) != order.CodeValidation {
			t.Errorf("%s: %v, want %s", name, err, order.CodeValidation)
		}
	}
}
