package paymenttest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"orderflow/internal/order"
)

// Behaviour is the reaction of a Provider to a request.
type Behaviour int

// The behaviours. The first executed request decides the outcome of its key. Later requests of the key get the same answer; their
// Behaviour only decides whether and how that answer reaches the client.
const (
	Succeed        Behaviour = iota // charge, and answer
	Decline                         // decline, and answer; for a void: refuse to undo
	Fail                            // status 500, without executing the request
	ExecuteAndFail                  // execute it, then status 500
	Hang                            // neither execute nor answer
	Late                            // execute it after the client has disconnected, and never answer
	Garbage                         // execute it, then answer 200 with malformed JSON
	Disconnect                      // execute it, then close the connection without an answer
)

// Call describes a request to a Script.
type Call struct {
	Kind    order.PaymentKind // KindCharge or KindVoid
	Key     string
	OrderID int64
	Attempt int
	Nth     int // 1 for the first request of this kind for this key
}

// Options configure a Provider. With the zero value every charge succeeds and no signature is checked.
type Options struct {
	Secret string               // of the signatures; "" checks none
	Script func(Call) Behaviour // decides the behaviour of each request; called concurrently; nil for Succeed
}

// Entry is the state of one key of a Provider.
type Entry struct {
	Key       string
	OrderID   int64
	Amount    string
	Currency  string
	Outcome   order.Outcome // of the charge; "" when none was executed
	Reference string
	Voided    bool
	Charges   int // requests to charge, answered or not
	Voids     int // requests to void, answered or not
}

// Provider is a fake payment provider with the protocol of docs/payment-provider.md on a loopback port. It stores keys like a real one,
// and its script decides how it answers. All methods are safe for concurrent use.
type Provider struct {
	options Options
	server  *httptest.Server
	closing chan struct{} // closed at the end, to release unanswered requests

	mu       sync.Mutex
	entries  map[string]*Entry
	changed  chan struct{} // closed and replaced at every change of entries
	problems []string
}

// NewProvider starts a provider, which stops when the test ends.
func NewProvider(tb testing.TB, options Options) *Provider {
	tb.Helper()
	if options.Script == nil {
		options.Script = func(Call) Behaviour { return Succeed }
	}
	p := &Provider{
		options: options, closing: make(chan struct{}), entries: map[string]*Entry{}, changed: make(chan struct{}),
	}
	p.server = httptest.NewServer(p.routes())
	tb.Cleanup(func() {
		close(p.closing)
		p.server.Close()
	})
	return p
}

// URL returns the URL for a payment.HTTP. It has a path, so that a signature over a wrong path is detected.
func (p *Provider) URL() string { return p.server.URL + "/v1" }

// Entry returns the entry of a key; ok is false when there is none.
func (p *Provider) Entry(key string) (entry Entry, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.entries[key]; e != nil {
		return *e, true
	}
	return Entry{}, false
}

// Entries returns all entries, sorted by order and key.
func (p *Provider) Entries() []Entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	entries := make([]Entry, 0, len(p.entries))
	for _, e := range p.entries {
		entries = append(entries, *e)
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.OrderID, b.OrderID), strings.Compare(a.Key, b.Key))
	})
	return entries
}

// Charged returns the number of charges of each order that succeeded and were not voided. More than 1 is a double charge: one order
// under several keys.
func (p *Provider) Charged() map[int64]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	charged := map[int64]int{}
	for e := range maps.Values(p.entries) {
		if e.Outcome == order.Succeeded && !e.Voided {
			charged[e.OrderID]++
		}
	}
	return charged
}

// Problems returns the protocol violations: wrong signatures, headers that contradict the body, a key used for two different charges.
// A test should end without any.
func (p *Provider) Problems() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.problems)
}

// Await waits until the entry of a key meets a condition. It returns the error of ctx.
func (p *Provider) Await(ctx context.Context, key string, want func(Entry) bool) error {
	for {
		p.mu.Lock()
		e, ok := p.entries[key]
		met := ok && want(*e)
		changed := p.changed
		p.mu.Unlock()
		if met {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for the provider's entry of %s: %w", key, ctx.Err())
		}
	}
}

// record counts a request and returns its number for its kind and key. It refuses a key that belongs to another charge.
func (p *Provider) record(kind order.PaymentKind, r wireRequest) (nth int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.entries[r.Key]
	if e == nil {
		e = &Entry{Key: r.Key, OrderID: r.OrderID, Amount: r.Amount, Currency: r.Currency}
		p.entries[r.Key] = e
	}
	if e.OrderID != r.OrderID || e.Amount != r.Amount || e.Currency != r.Currency {
		p.problems = append(p.problems, fmt.Sprintf("key %s was used for order %d, %s %s; now for order %d, %s %s",
			r.Key, e.OrderID, e.Amount, e.Currency, r.OrderID, r.Amount, r.Currency))
		return 0, false
	}
	count := &e.Charges
	if kind == order.KindVoid {
		count = &e.Voids
	}
	*count++
	p.notify()
	return *count, true
}

// execute executes a request, unless its key was executed, and returns the status and body of the answer.
func (p *Provider) execute(kind order.PaymentKind, key string, decline bool) (status int, answer wireAnswer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.notify()
	e := p.entries[key]
	if kind == order.KindVoid {
		if decline && !e.Voided {
			return http.StatusPaymentRequired, wireAnswer{Status: "declined", Reason: "cannot be undone"}
		}
		e.Voided = true
		return http.StatusOK, wireAnswer{Status: "succeeded", Reference: "void_" + key}
	}
	switch {
	case e.Voided:
		return http.StatusPaymentRequired, wireAnswer{Status: "declined", Reason: "the key was voided"}
	case e.Outcome == "" && decline:
		e.Outcome = order.Declined
	case e.Outcome == "":
		e.Outcome, e.Reference = order.Succeeded, "charge_"+key
	}
	if e.Outcome == order.Declined {
		return http.StatusPaymentRequired, wireAnswer{Status: "declined", Reason: "insufficient funds"}
	}
	return http.StatusCreated, wireAnswer{Status: "succeeded", Reference: e.Reference}
}

// notify wakes the callers of Await. The caller holds mu.
func (p *Provider) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Provider) problem(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.problems = append(p.problems, fmt.Sprintf(format, args...))
}
