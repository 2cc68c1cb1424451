package redis

import (
	"maps"
	"strconv"
	"time"
)

// place is where this process stands in the line of a product. It is remembered here, since a turn that is given takes the
// process out of the line: one that misses its turn returns to the same place, and one that is gone does not.
type place struct {
	since string // when it joined, by Redis's clock
	name  string // in the line
	turn  time.Duration
	tried time.Time
}

// turn is for how long a lock must be kept for this process to come for it: a process that is in the middle of a transaction
// cannot come before its end. mu is held.
func (l *Locker) turn() time.Duration { return min(max(2*l.reaction, turnLeast), turnMost) }

// react learns from one reaction; mu is held. Slow ones count at once, and are forgotten bit by bit. One that took far longer
// than a turn does not count, because no request needed the product meanwhile.
func (l *Locker) react(took time.Duration) {
	if took < 2*turnMost {
		l.reaction = max(took, l.reaction-l.reaction/8)
	}
}

// newPlace names this process and the turn that it needs.
func (l *Locker) newPlace() place {
	l.mu.Lock()
	defer l.mu.Unlock()
	turn := l.turn()
	return place{name: l.client.node + ":" + strconv.FormatInt(turn.Milliseconds(), 10), turn: turn, tried: time.Now()}
}

// placesOf returns for each product since when this process has waited for it and its name in the line, empty for none.
func (l *Locker) placesOf(products []int64) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]string, 0, 2*len(products))
	for _, p := range products {
		its := l.places[p]
		if time.Since(its.tried) > placeLast {
			its = place{}
		}
		all = append(all, its.since, its.name)
	}
	return all
}

// keepPlace remembers where this process stands in the line of a product. After a turn that it missed it asks for one that is
// twice as long.
func (l *Locker) keepPlace(product int64, its place, missed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if missed {
		l.react(l.places[product].turn)
	}
	if len(l.places) >= placesMax {
		maps.DeleteFunc(l.places, func(_ int64, old place) bool { return its.tried.Sub(old.tried) > placeLast })
	}
	if len(l.places) < placesMax {
		l.places[product] = its
	}
}

// leaveLine forgets this process's place in the line of a product, whose lock it has got. A lock that is then of no use, because
// others were busy, has cost the place: were it kept, two processes could be first in one line each, and never get both.
func (l *Locker) leaveLine(product int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.places, product)
}
