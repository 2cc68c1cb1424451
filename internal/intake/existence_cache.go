package intake

import (
	"sync"

	"orderflow/internal/order"
)

// existenceMax bounds the ids of users and of products in the cache: some 40 MB at most.
const existenceMax = 1_000_000

// existenceCache is the set of ids of users and products that exist. It never expires, since rows are never deleted. Missing ids
// are not cached.
type existenceCache struct {
	mu              sync.Mutex
	users, products map[int64]struct{}
}

func newExistenceCache() existenceCache {
	return existenceCache{users: map[int64]struct{}{}, products: map[int64]struct{}{}}
}

// uncached returns the users and products of the open requests that are not in the cache.
func (c *existenceCache) uncached(b *createBatch) (users, products []int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, open := range b.open {
		draft := b.requests[open].draft
		if _, ok := c.users[draft.UserID]; !ok {
			users = append(users, draft.UserID)
		}
		for _, line := range draft.Lines {
			if _, ok := c.products[line.ProductID]; !ok {
				products = append(products, line.ProductID)
			}
		}
	}
	return users, products
}

func (c *existenceCache) add(users, products map[int64]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	addIDs(c.users, users)
	addIDs(c.products, products)
}

func addIDs(set map[int64]struct{}, ids map[int64]bool) {
	if len(set)+len(ids) > existenceMax {
		clear(set)
	}
	for id := range ids {
		set[id] = struct{}{}
	}
}

// check returns the CodeValidation error of a draft whose user or products do not exist, or nil. users and products were found
// just now; another batch may have cleared the cache since.
func (c *existenceCache) check(draft order.Draft, users, products map[int64]bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, user := c.users[draft.UserID]
	return draft.Missing(user || users[draft.UserID], func(id int64) bool {
		_, product := c.products[id]
		return product || products[id]
	})
}
