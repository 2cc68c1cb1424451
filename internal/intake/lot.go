package intake

import (
	"cmp"
	"slices"
	"sync"

	"orderflow/internal/batch"
	"orderflow/internal/order"
)

// lot is where orders wait for a product that somebody else has locked: one line a product. Whoever first sees the
// release wakes the whole line, which re-enters in order of arrival.
type lot struct {
	lock  sync.Mutex
	lines map[int64][]*parked
}

// parked is one waiting order. When it is woken, it is in the batcher's queue already: the channel on which its answer
// will come is sent on woken.
type parked struct {
	ticket *ticket
	woken  chan (<-chan batch.Answer[order.Placed])
}

func (l *lot) park(product int64, t *ticket) *parked {
	p := &parked{ticket: t, woken: make(chan (<-chan batch.Answer[order.Placed]), 1)}
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.lines == nil {
		l.lines = map[int64][]*parked{}
	}
	l.lines[product] = append(l.lines[product], p)
	return p
}

// leave takes p out of its line; false when it was woken before.
func (l *lot) leave(product int64, p *parked) bool {
	l.lock.Lock()
	defer l.lock.Unlock()
	line := l.lines[product]
	i := slices.Index(line, p)
	if i < 0 {
		return false
	}
	if line = slices.Delete(line, i, i+1); len(line) == 0 {
		delete(l.lines, product)
	} else {
		l.lines[product] = line
	}
	return true
}

// wake sends the whole line of a product through enter, in order of arrival. The lock is held meanwhile, so that two
// who wake at once cannot mix up the order; enter does not block.
func (l *lot) wake(product int64, enter func(...*ticket) []<-chan batch.Answer[order.Placed]) {
	l.lock.Lock()
	defer l.lock.Unlock()
	line := l.lines[product]
	delete(l.lines, product)
	slices.SortFunc(line, func(a, b *parked) int { return cmp.Compare(a.ticket.arrival, b.ticket.arrival) })
	tickets := make([]*ticket, len(line))
	for i, p := range line {
		tickets[i] = p.ticket
	}
	for i, entered := range enter(tickets...) {
		line[i].woken <- entered
	}
}
