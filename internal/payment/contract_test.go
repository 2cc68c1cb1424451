package payment_test

import (
	"testing"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/payment"
	"orderflow/internal/payment/paymenttest"
)

func newSimulated(tb testing.TB, options payment.SimulatedOptions) *payment.Simulated {
	tb.Helper()
	g, err := payment.NewSimulated(options)
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

func newHTTP(tb testing.TB, options payment.HTTPOptions) *payment.HTTP {
	tb.Helper()
	if options.MaxConns == 0 {
		options.MaxConns = 16
	}
	g, err := payment.NewHTTP(options)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(g.Close)
	return g
}

func TestContractSimulated(t *testing.T) {
	for name, latency := range map[string]time.Duration{"at once": 0, "up to 5ms": 5 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			paymenttest.Run(t, func(t *testing.T) payment.Gateway {
				return newSimulated(t, payment.SimulatedOptions{MaxLatency: latency, Success: 0.8, Seed: "contract"})
			})
		})
	}
}

func TestContractHTTP(t *testing.T) {
	p := paymenttest.NewProvider(t, paymenttest.Options{Secret: "whsec_contract", Script: everyFifthDeclined})
	paymenttest.Run(t, func(t *testing.T) payment.Gateway {
		return newHTTP(t, payment.HTTPOptions{URL: p.URL(), Secret: "whsec_contract"})
	})
	if problems := p.Problems(); len(problems) > 0 {
		t.Errorf("protocol violations: %q", problems)
	}
}

func TestContractBreaker(t *testing.T) {
	p := paymenttest.NewProvider(t, paymenttest.Options{Script: everyFifthDeclined})
	paymenttest.Run(t, func(t *testing.T) payment.Gateway {
		return payment.NewBreaker(newHTTP(t, payment.HTTPOptions{URL: p.URL() + "/"}), payment.BreakerOptions{})
	})
	if problems := p.Problems(); len(problems) > 0 {
		t.Errorf("protocol violations: %q", problems)
	}
}

// everyFifthDeclined lets the suite see both outcomes.
func everyFifthDeclined(c paymenttest.Call) paymenttest.Behaviour {
	if c.Kind == order.KindCharge && c.OrderID%5 == 0 {
		return paymenttest.Decline
	}
	return paymenttest.Succeed
}

func BenchmarkSimulatedAtOnce(b *testing.B) {
	g := newSimulated(b, payment.SimulatedOptions{Success: 0.8, Seed: "00000000-0000-4000-8000-000000000000"})
	r := paymenttest.NewRequest("00000000-0000-4000-8000-000000000000", 12345678)
	b.Run("bare", func(b *testing.B) { benchmarkCharge(b, g, r) })
	b.Run("breaker", func(b *testing.B) { benchmarkCharge(b, payment.NewBreaker(g, payment.BreakerOptions{}), r) })
}

func benchmarkCharge(b *testing.B, g payment.Gateway, r payment.Request) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.Charge(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}
