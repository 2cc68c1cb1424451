package redis

import (
	"maps"
	"strconv"
	"time"
)

// place is the place of this process in the queue of a product. The process remembers it, because giving it a turn removes it from
// the queue: a process that misses its turn returns to the same place, and a dead process does not return.
type place struct {
	since string // when it joined, by the clock of Redis
	name  string // in the queue
	turn  time.Duration
	tried time.Time
}

// turn returns the length of the turn that this process needs: a process in a transaction cannot take the lock before its end. mu is
// held.
func (l *Locker) turn() time.Duration { return min(max(2*l.reaction, shortestTurn), longestTurn) }

// recordReaction updates the reaction time; mu is held. A slower one counts at once and decays slowly. One far longer than any turn
// is ignored, because no request needed the product meanwhile.
func (l *Locker) recordReaction(took time.Duration) {
	if took < 2*longestTurn {
		l.reaction = max(took, l.reaction-l.reaction/8)
	}
}

// newPlace returns a new place with the name of this process and the turn that it needs.
func (l *Locker) newPlace() place {
	l.mu.Lock()
	defer l.mu.Unlock()
	turn := l.turn()
	return place{name: l.client.node + ":" + strconv.FormatInt(turn.Milliseconds(), 10), turn: turn, tried: time.Now()}
}

// placesOf returns for each product the time since which this process has waited for it and its name in the queue, or two empty strings.
func (l *Locker) placesOf(products []int64) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]string, 0, 2*len(products))
	for _, p := range products {
		its := l.places[p]
		if time.Since(its.tried) > placeExpiry {
			its = place{}
		}
		all = append(all, its.since, its.name)
	}
	return all
}

// keepPlace remembers the place of this process in the queue of a product. After a missed turn the process requests one twice as long.
func (l *Locker) keepPlace(product int64, its place, missed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if missed {
		l.recordReaction(l.places[product].turn)
	}
	if len(l.places) >= placesMax {
		maps.DeleteFunc(l.places, func(_ int64, old place) bool { return its.tried.Sub(old.tried) > placeExpiry })
	}
	if len(l.places) < placesMax {
		l.places[product] = its
	}
}

// dropPlace forgets the place of this process in the queue of a product whose lock it has taken. This also holds for a lock that
// it cannot use because other products were busy: otherwise two processes could each be first in one queue and never get both locks.
func (l *Locker) dropPlace(product int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.places, product)
}
