// Package paymenttest has the suite that every payment.Gateway must pass (Run), and a fake payment provider on a real port whose
// failures a test scripts (Provider).
package paymenttest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/payment"
)

// patience bounds every wait of the suite. Only a failing test reaches it.
const patience = 30 * time.Second

// Run checks an adapter against the contract of payment.Gateway. open returns a client of the gateway. A test calls it several times, like
// several processes, and all clients must use the same gateway, which must answer well within ten seconds.
func Run(t *testing.T, open func(t *testing.T) payment.Gateway) {
	t.Helper()
	for _, test := range []struct {
		name  string
		check func(t *testing.T, s suite)
	}{
		{"answers are definite", definite},
		{"a repeated key gives the same answer", repeated},
		{"another process gets the same answer", elsewhere},
		{"concurrent charges of one key agree", concurrent},
		{"many keys at once", many},
		{"void of a key never charged", voidUncharged},
		{"void of a charge, repeated", voidCharged},
		{"charge after void", chargeAfterVoid},
		{"ctx ends the wait", cancelled},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.check(t, suite{open})
		})
	}
}

// suite has what each check uses.
type suite struct {
	open func(t *testing.T) payment.Gateway
}

// NewRequest returns a plausible charge of 20.29 USD for an order; its key ends with the order's id.
func NewRequest(installation string, orderID int64) payment.Request {
	return payment.Request{
		Key: fmt.Sprintf("%s-%d", installation, orderID), OrderID: orderID, Attempt: 1, Amount: 20_29, Currency: "USD",
		Method: "pm_opaque_token_4242", Trace: order.Trace{
			ID: "trace-" + installation, Parent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		},
	}
}

// request is NewRequest with keys of the running test.
func request(t *testing.T, orderID int64) payment.Request {
	t.Helper()
	name := strings.NewReplacer("/", "_", " ", "_").Replace(t.Name())
	return NewRequest(name, orderID)
}

func (s suite) charge(t *testing.T, g payment.Gateway, r payment.Request) payment.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	result, err := g.Charge(ctx, r)
	if err != nil {
		t.Fatalf("charge %s: %v", r.Key, err)
	}
	return result
}

func (s suite) void(t *testing.T, g payment.Gateway, r payment.Request) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	result, err := g.Void(ctx, r)
	if err != nil || result.Outcome != order.Succeeded {
		t.Fatalf("void %s: %+v, %v; want it to succeed", r.Key, result, err)
	}
}

// wellFormed fails the test unless the result of a charge has one of the two valid forms.
func wellFormed(t *testing.T, r payment.Result) {
	t.Helper()
	switch {
	case r.Outcome == order.Succeeded && r.Reference != "" && r.Reason == "":
	case r.Outcome == order.Declined && r.Reference == "" && r.Reason != "":
	default:
		t.Errorf("result %+v is neither a success with a reference nor a decline with a reason", r)
	}
}

func definite(t *testing.T, s suite) {
	g := s.open(t)
	for id := range int64(20) {
		wellFormed(t, s.charge(t, g, request(t, id+1)))
	}
}

func repeated(t *testing.T, s suite) {
	g := s.open(t)
	for id := range int64(20) {
		r := request(t, id+1)
		first := s.charge(t, g, r)
		r.Attempt, r.Trace = 2, order.Trace{ID: "another-trace"}
		if again := s.charge(t, g, r); again != first {
			t.Errorf("%s: first %+v, then %+v", r.Key, first, again)
		}
	}
}

func elsewhere(t *testing.T, s suite) {
	here, there := s.open(t), s.open(t)
	for id := range int64(20) {
		r := request(t, id+1)
		if first, again := s.charge(t, here, r), s.charge(t, there, r); again != first {
			t.Errorf("%s: here %+v, there %+v", r.Key, first, again)
		}
	}
}

func concurrent(t *testing.T, s suite) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	here, there := s.open(t), s.open(t)
	r := request(t, 1)
	results := make([]payment.Result, 16)
	errs := make([]error, len(results))
	var calls sync.WaitGroup
	for i := range results {
		g := here
		if i%2 == 1 {
			g = there
		}
		calls.Go(func() { results[i], errs[i] = g.Charge(ctx, r) })
	}
	calls.Wait()
	for i := range results {
		if errs[i] != nil {
			t.Errorf("charge %d: %v", i, errs[i])
		} else if results[i] != results[0] {
			t.Errorf("charge %d: %+v, charge 0: %+v", i, results[i], results[0])
		}
	}
}

func many(t *testing.T, s suite) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	g := s.open(t)
	const keys = 64
	results := make([]payment.Result, keys)
	errs := make([]error, keys)
	var calls sync.WaitGroup
	for i := range keys {
		r := request(t, int64(i+1))
		calls.Go(func() { results[i], errs[i] = g.Charge(ctx, r) })
	}
	calls.Wait()
	references := map[string]int{}
	for i := range keys {
		if errs[i] != nil {
			t.Errorf("charge %d: %v", i, errs[i])
			continue
		}
		wellFormed(t, results[i])
		if other, taken := references[results[i].Reference]; taken && results[i].Reference != "" {
			t.Errorf("charges %d and %d share the reference %q", other, i, results[i].Reference)
		}
		references[results[i].Reference] = i
	}
}

func voidUncharged(t *testing.T, s suite) {
	g := s.open(t)
	r := request(t, 1)
	s.void(t, g, r)
	r.Attempt = 2
	s.void(t, g, r)
}

func voidCharged(t *testing.T, s suite) {
	g := s.open(t)
	r := request(t, 1)
	s.charge(t, g, r)
	for attempt := range 3 {
		r.Attempt = attempt + 2
		s.void(t, g, r)
	}
}

func chargeAfterVoid(t *testing.T, s suite) {
	g, other := s.open(t), s.open(t)
	if !g.Features().VoidBlocksCharge {
		t.Skip("the gateway does not promise that a void blocks its key")
	}
	r := request(t, 1)
	s.void(t, g, r)
	for range 2 {
		if late := s.charge(t, other, r); late.Outcome != order.Declined {
			t.Errorf("a charge of a voided key: %+v, want Declined", late)
		}
	}
}

func cancelled(t *testing.T, s suite) {
	g := s.open(t)
	r := request(t, 1)
	ended, end := context.WithCancel(t.Context())
	end()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Either result is valid: the gateway may have answered before.
		result, err := g.Charge(ended, r)
		if err != nil && result != (payment.Result{}) {
			t.Errorf("an error (%v) came with the result %+v", err, result)
		}
	}()
	select {
	case <-done:
	case <-timer.C:
		t.Fatal("a charge kept waiting after its ctx had ended")
	}
	wellFormed(t, s.charge(t, g, r)) // the key remains usable
}
