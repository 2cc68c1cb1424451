package intake

import (
	"sync"
	"time"

	"orderflow/internal/lock"
)

// deadAfter is how long one token of ours may stay on a lock until its holder is taken for dead: far longer than a batch
// takes, and shorter than the schedule, so that who waited through it all is let in with its last try at the latest.
const deadAfter = 2 * time.Second

// holders remember since when each busy product has been seen under the token that it has. All orders of the process see
// for each other: who comes late knows at once what those before found out by waiting.
type holders struct {
	mu   sync.Mutex
	seen map[int64]sighting
}

// sighting is the token that a product was last seen under, and since when.
type sighting struct {
	token string
	since time.Time
}

// judge takes down what a try found, and parts the busy products into those whose holders may be alive and those whose
// must be dead. A stranger's token is respected, and one that changed belongs to somebody alive.
func (h *holders) judge(grant lock.Grant) (alive []lock.Busy, dead []int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, product := range grant.Held {
		delete(h.seen, product)
	}
	now := time.Now()
	for _, busy := range grant.Busy {
		last, known := h.seen[busy.Product]
		switch {
		case !known || last.token != busy.Token:
			if h.seen == nil {
				h.seen = map[int64]sighting{}
			}
			h.seen[busy.Product] = sighting{busy.Token, now}
			alive = append(alive, busy)
		case lock.Ours(busy.Token) && now.Sub(last.since) >= deadAfter:
			dead = append(dead, busy.Product)
		default:
			alive = append(alive, busy)
		}
	}
	return alive, dead
}
