package intake

import (
	"sync"
	"time"

	"orderflow/internal/lock"
)

// staleAfter is the age at which a lock under one token of ours is stale: its owner has probably crashed. It is far longer than
// a batch takes, and shorter than the schedule, so that a waiter gets through with its last try at the latest.
const staleAfter = 2 * time.Second

// staleLocks detects stale locks. All requests of the process share it: a new one benefits from what earlier ones have observed.
type staleLocks struct {
	mu   sync.Mutex
	seen map[int64]observation // by product
}

// observation is the token of a busy product, and when it was first seen.
type observation struct {
	token string
	since time.Time
}

// split records the result of a try, and splits its busy products into those with a live lock and those with a stale one. The
// lock of foreign software is always live. A token that changes shows that an owner is alive.
func (s *staleLocks) split(grant lock.Grant) (live []lock.Busy, stale []int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, product := range grant.Locked {
		delete(s.seen, product)
	}
	now := time.Now()
	for _, busy := range grant.Busy {
		last, seen := s.seen[busy.Product]
		switch {
		case !seen || last.token != busy.Token:
			if s.seen == nil {
				s.seen = map[int64]observation{}
			}
			s.seen[busy.Product] = observation{busy.Token, now}
			live = append(live, busy)
		case lock.Ours(busy.Token) && now.Sub(last.since) >= staleAfter:
			stale = append(stale, busy.Product)
		default:
			live = append(live, busy)
		}
	}
	return live, stale
}
