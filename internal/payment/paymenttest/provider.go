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

// Behaviour is what a Provider does with one request.
type Behaviour int

// The behaviours. A key's fate is decided once, by the first request that gets as far as the books; later ones of the
// same key get the same answer, and their Behaviour only decides how, and whether, that answer reaches the client.
const (
	Succeed        Behaviour = iota // charge, and say so
	Decline                         // decline, and say so; a void: refuse to undo
	Fail                            // status 500, nothing is booked
	ExecuteAndFail                  // book it, then status 500
	Hang                            // book nothing and never answer
	Late                            // book it only when the client has gone, and never answer
	Garbage                         // book it, then answer 200 with what is no JSON
	Disconnect                      // book it, then close the connection without an answer
)

// Call is one request as a Script sees it.
type Call struct {
	Kind    order.PaymentKind // KindCharge or KindVoid
	Key     string
	OrderID int64
	Attempt int
	Nth     int // 1 for the first request of this kind for this key
}

// Options say how a Provider behaves. The zero value lets every charge succeed and checks no signature.
type Options struct {
	Secret string               // what requests must be signed with; "" checks no signature
	Script func(Call) Behaviour // decides about each request; called by many goroutines; nil for Succeed
}

// Entry is what a Provider's books say of one key.
type Entry struct {
	Key       string
	OrderID   int64
	Amount    string
	Currency  string
	Outcome   order.Outcome // of the charge; "" when no charge of this key was booked
	Reference string
	Voided    bool
	Charges   int // requests to charge that came in, answered or not
	Voids     int // requests to void that came in, answered or not
}

// Provider is a payment provider that speaks the protocol of docs/payment-provider.md on a loopback port. It remembers
// keys as a real one does and answers as its script wants. Its methods may be called from any goroutine.
type Provider struct {
	options Options
	server  *httptest.Server
	closing chan struct{} // closed by Close, to let hung requests go

	mu       sync.Mutex
	entries  map[string]*Entry
	changed  chan struct{} // closed and replaced at every change of books
	problems []string
}

// NewProvider starts a provider; it is closed when the test ends.
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

// URL is what a payment.HTTP is pointed at. It has a path, so that a signature over the wrong one is noticed.
func (p *Provider) URL() string { return p.server.URL + "/v1" }

// Entry is what the books say of a key; ok is false when they know nothing of it.
func (p *Provider) Entry(key string) (entry Entry, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.entries[key]; e != nil {
		return *e, true
	}
	return Entry{}, false
}

// Entries are all entries, by order and key.
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

// Charged is how many charges an order's customer paid for, by order: those that succeeded and were not voided. More
// than 1 is a double charge: one order under several keys.
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

// Problems are the requests that broke the protocol, in words: wrong signatures, headers that contradict the body, a
// key used for two different charges. A test should end by finding none.
func (p *Provider) Problems() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.problems)
}

// Await waits until the books say of a key what the test wants. Its error is that of ctx.
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
			return fmt.Errorf("wait for the provider's books on %s: %w", key, ctx.Err())
		}
	}
}

// arrive counts a request in and says which one of its kind and key it is. It refuses a key that stands for another
// charge already.
func (p *Provider) record(kind order.PaymentKind, r wireRequest) (nth int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.entries[r.Key]
	if e == nil {
		e = &Entry{Key: r.Key, OrderID: r.OrderID, Amount: r.Amount, Currency: r.Currency}
		p.entries[r.Key] = e
	}
	if e.OrderID != r.OrderID || e.Amount != r.Amount || e.Currency != r.Currency {
		p.problems = append(p.problems, fmt.Sprintf("key %s stood for order %d, %s %s; now for order %d, %s %s",
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

// book carries a request out, unless it was before, and returns the status and body of its answer.
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

// announce wakes those who Await. The caller holds mu.
func (p *Provider) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Provider) problem(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.problems = append(p.problems, fmt.Sprintf(format, args...))
}
