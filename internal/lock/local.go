package lock

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Local is the in-process adapter: the locks of one process, in a map. It is what the embedded server runs on. Make one
// with NewLocal; it has nothing to close.
type Local struct {
	ttl time.Duration

	mu    sync.Mutex
	holds map[int64]hold // by product; what has expired stays until the product is next tried
}

// hold is one product in somebody's hands. (product, token) names a hold for ever, for tokens are never used again.
type hold struct {
	token    string
	until    time.Time
	released chan struct{} // closed when the hold ends; nil while nobody has asked for it
	expiry   *time.Timer   // ends the hold at its time; nil while nobody listens
}

// NewLocal returns a Local with all products free, whose locks live for ttl (TTL, save in tests).
func NewLocal(ttl time.Duration) *Local {
	return &Local{ttl: ttl, holds: make(map[int64]hold)}
}

// Features says: one process only, and waiters are told before Unlock returns.
func (l *Local) Features() Features { return Features{Shared: false, Prompt: true} }

// TryLock implements Locker. Its only error is that of a context that has ended; then nothing is held.
func (l *Local) TryLock(ctx context.Context, products []int64) (Grant, error) {
	if err := ctx.Err(); err != nil {
		return Grant{}, err
	}
	products = ascending(products)
	grant := Grant{Token: NewToken(), Held: make([]int64, 0, len(products))}

	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	taken := hold{token: grant.Token, until: now.Add(l.ttl)}
	for _, product := range products {
		if other, found := l.holds[product]; found {
			if now.Before(other.until) {
				grant.Busy = append(grant.Busy, Busy{Product: product, Token: other.token, Released: l.listen(product, other)})
				continue
			}
			other.end()
		}
		l.holds[product] = taken
		grant.Held = append(grant.Held, product)
	}
	return grant, nil
}

// Unlock implements Locker. It never fails and ignores ctx: there is nothing to wait for. Nor is there anybody to let go
// first: one process takes its orders in turn.
func (l *Local) Unlock(_ context.Context, token string, products []int64, _ bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, product := range products {
		l.release(product, token)
	}
	return nil
}

// listen returns the channel that is closed when the hold ends, and sees to it that it ends by its time.
func (l *Local) listen(product int64, h hold) <-chan struct{} {
	if h.released == nil {
		h.released = make(chan struct{})
		h.expiry = time.AfterFunc(time.Until(h.until), func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.release(product, h.token)
		})
		l.holds[product] = h
	}
	return h.released
}

// release ends the hold of a product if token is its holder.
func (l *Local) release(product int64, token string) {
	if h, found := l.holds[product]; found && h.token == token {
		h.end()
		delete(l.holds, product)
	}
}

// end tells those who listen. A timer that is past stopping finds another token, or none, and does nothing.
func (h hold) end() {
	if h.released != nil {
		h.expiry.Stop()
		close(h.released)
	}
}

// ascending returns the products in ascending order, each once; the slice itself when it is so already.
func ascending(products []int64) []int64 {
	for i := 1; i < len(products); i++ {
		if products[i-1] >= products[i] {
			products = slices.Clone(products)
			slices.Sort(products)
			return slices.Compact(products)
		}
	}
	return products
}
