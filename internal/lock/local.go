package lock

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Local is the in-process adapter, which the embedded server uses: the locks of one process, in a map. Make one with NewLocal. It
// need not be closed.
type Local struct {
	ttl time.Duration

	mu      sync.Mutex
	entries map[int64]entry // by product; an expired one stays until the product is next tried
}

// entry is one lock of a product. Tokens are never reused, so product and token identify it.
type entry struct {
	token    string
	until    time.Time
	released chan struct{} // closed when the entry ends; nil without a waiter
	expiry   *time.Timer   // ends the entry; nil without a waiter
}

// NewLocal returns a Local with all products free. Its locks live for ttl: TTL, except in tests.
func NewLocal(ttl time.Duration) *Local {
	return &Local{ttl: ttl, entries: make(map[int64]entry)}
}

// Features implements locktest.Adapter.
func (l *Local) Features() Features { return Features{Shared: false, Prompt: true} }

// TryLock implements Locker. Its only error is that of ctx; then nothing is locked.
func (l *Local) TryLock(ctx context.Context, products []int64) (Grant, error) {
	if err := ctx.Err(); err != nil {
		return Grant{}, err
	}
	products = ascending(products)
	grant := Grant{Token: NewToken(), Locked: make([]int64, 0, len(products))}

	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	own := entry{token: grant.Token, until: now.Add(l.ttl)}
	for _, product := range products {
		if other, found := l.entries[product]; found {
			if now.Before(other.until) {
				grant.Busy = append(grant.Busy, Busy{Product: product, Token: other.token, Released: l.watch(product, other)})
				continue
			}
			other.end()
		}
		l.entries[product] = own
		grant.Locked = append(grant.Locked, product)
	}
	return grant, nil
}

// Unlock implements Locker. It never fails. It ignores ctx, since it does not wait, and used, since one process serves its own
// requests in order of arrival.
func (l *Local) Unlock(_ context.Context, token string, products []int64, _ bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, product := range products {
		l.release(product, token)
	}
	return nil
}

// watch returns the channel that closes when the entry ends, and starts the timer that ends it.
func (l *Local) watch(product int64, e entry) <-chan struct{} {
	if e.released == nil {
		e.released = make(chan struct{})
		e.expiry = time.AfterFunc(time.Until(e.until), func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.release(product, e.token)
		})
		l.entries[product] = e
	}
	return e.released
}

// release ends the entry of a product if it has this token.
func (l *Local) release(product int64, token string) {
	if e, found := l.entries[product]; found && e.token == token {
		e.end()
		delete(l.entries, product)
	}
}

// end wakes the waiters. A timer that has fired already finds another token, or none, and does nothing.
func (e entry) end() {
	if e.released != nil {
		e.expiry.Stop()
		close(e.released)
	}
}

// ascending returns the products in ascending order without duplicates; the slice itself if it is so already.
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
