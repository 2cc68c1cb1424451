package intake

import (
	"sync"

	"orderflow/internal/order"
)

// knownMax bounds what is remembered, of users and of products each: some 40 MB at the most.
const knownMax = 1_000_000

// known remembers which users and products exist. Rows are never deleted, so what exists once exists for good; what does
// not exist is asked for each time.
type known struct {
	lock            sync.Mutex
	users, products map[int64]struct{}
}

func newKnown() known { return known{users: map[int64]struct{}{}, products: map[int64]struct{}{}} }

// missing returns the users and products of the open tickets that are not known to exist.
func (k *known) missing(r *round) (users, products []int64) {
	k.lock.Lock()
	defer k.lock.Unlock()
	for _, open := range r.open {
		draft := r.tickets[open].draft
		if _, ok := k.users[draft.UserID]; !ok {
			users = append(users, draft.UserID)
		}
		for _, line := range draft.Lines {
			if _, ok := k.products[line.ProductID]; !ok {
				products = append(products, line.ProductID)
			}
		}
	}
	return users, products
}

func (k *known) add(users, products map[int64]bool) {
	k.lock.Lock()
	defer k.lock.Unlock()
	remember(k.users, users)
	remember(k.products, products)
}

func remember(set map[int64]struct{}, found map[int64]bool) {
	if len(set)+len(found) > knownMax {
		clear(set)
	}
	for id := range found {
		set[id] = struct{}{}
	}
}

// check returns the CodeValidation error of a draft whose user or products do not exist, or nil. What was found just
// now counts beside what is remembered, which another batch may have cleared.
func (k *known) check(draft order.Draft, users, products map[int64]bool) error {
	k.lock.Lock()
	defer k.lock.Unlock()
	_, user := k.users[draft.UserID]
	return draft.Missing(user || users[draft.UserID], func(id int64) bool {
		_, product := k.products[id]
		return product || products[id]
	})
}
