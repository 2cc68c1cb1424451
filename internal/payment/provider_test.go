package payment_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/payment"
	"orderflow/internal/payment/paymenttest"
)

// once returns a script with the behaviour b at the first request of a kind for a key, and Succeed afterwards.
func once(b paymenttest.Behaviour) func(paymenttest.Call) paymenttest.Behaviour {
	return func(c paymenttest.Call) paymenttest.Behaviour {
		if c.Nth == 1 && c.Kind == order.KindCharge {
			return b
		}
		return paymenttest.Succeed
	}
}

// await waits, with a time limit, until the provider's entry of a key meets a condition. It is safe for concurrent use.
func await(t *testing.T, p *paymenttest.Provider, key string, want func(paymenttest.Entry) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.Await(ctx, key, want); err != nil {
		t.Error(err)
	}
}

// After any failure of the first attempt, repeating the request with the same key returns the answer of one charge.
func TestRepeatedChargeIsOneCharge(t *testing.T) {
	for name, test := range map[string]struct {
		first    paymenttest.Behaviour
		executed bool // by the first request
		silent   bool // the client must cancel
	}{
		"failed":                         {first: paymenttest.Fail},
		"executed, then failed":          {first: paymenttest.ExecuteAndFail, executed: true},
		"malformed answer":               {first: paymenttest.Garbage, executed: true},
		"disconnected":                   {first: paymenttest.Disconnect, executed: true},
		"no answer":                      {first: paymenttest.Hang, silent: true},
		"executed after the client left": {first: paymenttest.Late, executed: true, silent: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := paymenttest.NewProvider(t, paymenttest.Options{Secret: secret, Script: once(test.first)})
			g := newHTTP(t, payment.HTTPOptions{URL: p.URL(), Secret: secret})
			r := plausible()
			ctx, giveUp := context.WithCancel(t.Context())
			defer giveUp()
			var watch sync.WaitGroup
			if test.silent {
				watch.Go(func() {
					defer giveUp()
					await(t, p, r.Key, func(e paymenttest.Entry) bool { return e.Charges == 1 })
				})
			}
			result, err := g.Charge(ctx, r)
			watch.Wait()
			noAnswer(t, result, err, "payment provider: charge: ")
			if test.executed {
				await(t, p, r.Key, func(e paymenttest.Entry) bool { return e.Outcome == order.Succeeded })
			} else if e, _ := p.Entry(r.Key); e.Outcome != "" {
				t.Errorf("entry %+v", e)
			}

			r.Attempt = 2
			result, err = g.Charge(t.Context(), r)
			if err != nil || result.Outcome != order.Succeeded {
				t.Errorf("repeated: %+v, %v", result, err)
			}
			if e, _ := p.Entry(r.Key); e.Charges != 2 || e.Reference != result.Reference || p.Charged()[r.OrderID] != 1 {
				t.Errorf("entry %+v, charged %v; want one charge in two requests", e, p.Charged())
			}
			if problems := p.Problems(); len(problems) > 0 {
				t.Errorf("problems: %q", problems)
			}
		})
	}
}

// A charge that arrives after its void is declined, even if it was sent before.
func TestLateChargeOfAVoidedKey(t *testing.T) {
	p := paymenttest.NewProvider(t, paymenttest.Options{Script: once(paymenttest.Late)})
	g := newHTTP(t, payment.HTTPOptions{URL: p.URL()})
	r := plausible()
	ctx, giveUp := context.WithCancel(t.Context())
	charged := make(chan error, 1)
	go func() {
		_, err := g.Charge(ctx, r)
		charged <- err
	}()
	await(t, p, r.Key, func(e paymenttest.Entry) bool { return e.Charges == 1 })
	if result, err := g.Void(t.Context(), r); err != nil || result.Outcome != order.Succeeded {
		t.Fatalf("void: %+v, %v", result, err)
	}
	giveUp()
	if err := <-charged; err == nil {
		t.Error("the charge was answered")
	}
	result, err := g.Charge(t.Context(), r)
	if err != nil || result.Outcome != order.Declined {
		t.Errorf("charge after void: %+v, %v", result, err)
	}
	if e, _ := p.Entry(r.Key); e.Outcome != "" || !e.Voided || e.Voids != 1 || len(p.Charged()) != 0 {
		t.Errorf("entry %+v, charged %v", e, p.Charged())
	}
}

func TestProviderRefusesToVoid(t *testing.T) {
	p := paymenttest.NewProvider(t, paymenttest.Options{Script: func(c paymenttest.Call) paymenttest.Behaviour {
		if c.Kind == order.KindVoid {
			return paymenttest.Decline
		}
		return paymenttest.Succeed
	}})
	g := newHTTP(t, payment.HTTPOptions{URL: p.URL()})
	if _, err := g.Charge(t.Context(), plausible()); err != nil {
		t.Fatal(err)
	}
	result, err := g.Void(t.Context(), plausible())
	if err != nil || result.Outcome != order.Declined || p.Charged()[7] != 1 {
		t.Errorf("void: %+v, %v; charged %v", result, err, p.Charged())
	}
}

func TestProviderReportsProtocolViolations(t *testing.T) {
	p := paymenttest.NewProvider(t, paymenttest.Options{Secret: secret})
	expect := func(result payment.Result, err error, status, problem string) {
		t.Helper()
		noAnswer(t, result, err, status)
		problems := p.Problems()
		if len(problems) == 0 || !strings.Contains(problems[len(problems)-1], problem) {
			t.Errorf("problems %q, want the last one to contain %q", problems, problem)
		}
	}
	unsigned := newHTTP(t, payment.HTTPOptions{URL: p.URL()})
	result, err := unsigned.Charge(t.Context(), plausible())
	expect(result, err, "status 401", "is not t=")

	wrong := newHTTP(t, payment.HTTPOptions{URL: p.URL(), Secret: "another"})
	result, err = wrong.Charge(t.Context(), plausible())
	expect(result, err, "status 401", "does not match")

	g := newHTTP(t, payment.HTTPOptions{URL: p.URL(), Secret: secret})
	if _, err := g.Charge(t.Context(), plausible()); err != nil {
		t.Fatal(err)
	}
	other := plausible()
	other.Amount++
	result, err = g.Charge(t.Context(), other)
	expect(result, err, "status 409", "was used for order 7")

	other = plausible()
	other.OrderID = 0
	result, err = g.Charge(t.Context(), other)
	expect(result, err, "status 400", "one is missing")

	lost := newHTTP(t, payment.HTTPOptions{URL: strings.TrimSuffix(p.URL(), "/v1"), Secret: secret})
	result, err = lost.Charge(t.Context(), plausible())
	expect(result, err, "status 404", "not part of the protocol")

	if len(p.Problems()) != 5 || len(p.Entries()) != 1 || p.Charged()[7] != 1 {
		t.Errorf("problems %q, entries %+v", p.Problems(), p.Entries())
	}
}

// Charged shows an order that was charged under two keys.
func TestProviderShowsDoubleCharges(t *testing.T) {
	p := paymenttest.NewProvider(t, paymenttest.Options{})
	g := newHTTP(t, payment.HTTPOptions{URL: p.URL()})
	for _, key := range []string{"a-7", "b-7"} {
		r := plausible()
		r.Key = key
		if _, err := g.Charge(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if p.Charged()[7] != 2 || len(p.Entries()) != 2 {
		t.Errorf("charged %v, entries %+v", p.Charged(), p.Entries())
	}
}
