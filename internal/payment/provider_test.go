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

// once behaves as b at the first request of a kind for a key, and well afterwards.
func once(b paymenttest.Behaviour) func(paymenttest.Call) paymenttest.Behaviour {
	return func(c paymenttest.Call) paymenttest.Behaviour {
		if c.Nth == 1 && c.Kind == order.KindCharge {
			return b
		}
		return paymenttest.Succeed
	}
}

// await waits for the provider's books, but not for ever. It may be called from any goroutine.
func await(t *testing.T, p *paymenttest.Provider, key string, want func(paymenttest.Entry) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.Await(ctx, key, want); err != nil {
		t.Error(err)
	}
}

// Whatever befalls the first attempt, asking again with the same key finds one charge and its answer.
func TestChargeAskedAgainIsOneCharge(t *testing.T) {
	for name, test := range map[string]struct {
		first  paymenttest.Behaviour
		booked bool // by the first request already
		silent bool // the client has to give up
	}{
		"failed":            {first: paymenttest.Fail},
		"booked and failed": {first: paymenttest.ExecuteAndFail, booked: true},
		"garbage":           {first: paymenttest.Garbage, booked: true},
		"cut":               {first: paymenttest.Disconnect, booked: true},
		"hung":              {first: paymenttest.Hang, silent: true},
		"late":              {first: paymenttest.Late, booked: true, silent: true},
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
			if test.booked {
				await(t, p, r.Key, func(e paymenttest.Entry) bool { return e.Outcome == order.Succeeded })
			} else if e, _ := p.Entry(r.Key); e.Outcome != "" {
				t.Errorf("booked %+v", e)
			}

			r.Attempt = 2
			result, err = g.Charge(t.Context(), r)
			if err != nil || result.Outcome != order.Succeeded {
				t.Errorf("asked again: %+v, %v", result, err)
			}
			if e, _ := p.Entry(r.Key); e.Charges != 2 || e.Reference != result.Reference || p.Charged()[r.OrderID] != 1 {
				t.Errorf("the books say %+v, charged %v; want one charge in two requests", e, p.Charged())
			}
			if problems := p.Problems(); len(problems) > 0 {
				t.Errorf("problems: %q", problems)
			}
		})
	}
}

// A charge that arrives behind its void is declined, also when it was sent before.
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
		t.Errorf("the books say %+v, charged %v", e, p.Charged())
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

func TestProviderNoticesWhatIsWrong(t *testing.T) {
	p := paymenttest.NewProvider(t, paymenttest.Options{Secret: secret})
	expect := func(result payment.Result, err error, status, problem string) {
		t.Helper()
		noAnswer(t, result, err, status)
		problems := p.Problems()
		if len(problems) == 0 || !strings.Contains(problems[len(problems)-1], problem) {
			t.Errorf("problems %q, want the last to say %q", problems, problem)
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
	expect(result, err, "status 409", "stood for order 7")

	other = plausible()
	other.OrderID = 0
	result, err = g.Charge(t.Context(), other)
	expect(result, err, "status 400", "one is missing")

	lost := newHTTP(t, payment.HTTPOptions{URL: strings.TrimSuffix(p.URL(), "/v1"), Secret: secret})
	result, err = lost.Charge(t.Context(), plausible())
	expect(result, err, "status 404", "not part of the protocol")

	if len(p.Problems()) != 5 || len(p.Entries()) != 1 || p.Charged()[7] != 1 {
		t.Errorf("problems %q, books %+v", p.Problems(), p.Entries())
	}
}

// One order charged under two keys is the mistake that the books exist to show.
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
		t.Errorf("charged %v, books %+v", p.Charged(), p.Entries())
	}
}
