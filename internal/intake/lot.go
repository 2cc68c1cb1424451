package intake

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"orderflow/internal/batch"
	"orderflow/internal/lock"
	"orderflow/internal/order"
)

// lot is where orders wait for a product that somebody else has locked: one line a product. Whoever first sees the
// release wakes the whole line, which re-enters in order of arrival.
type lot struct {
	lock  sync.Mutex
	lines map[int64]*line
	full  atomic.Int64 // lines there are
}

// line is who waits for a product, and how it was last seen to be busy.
type line struct {
	busy   lock.Busy
	parked []*parked
}

// parked is one waiting order. When it is woken, it is in the batcher's queue already: the channel on which its answer
// will come is sent on woken.
type parked struct {
	ticket *ticket
	woken  chan (<-chan batch.Answer[order.Placed])
}

func (l *lot) park(busy lock.Busy, t *ticket) *parked {
	p := &parked{ticket: t, woken: make(chan (<-chan batch.Answer[order.Placed]), 1)}
	t.waited = true
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.lines == nil {
		l.lines = map[int64]*line{}
	}
	its := l.lines[busy.Product]
	if its == nil {
		its = &line{}
		l.lines[busy.Product] = its
		l.full.Add(1)
	}
	its.busy, its.parked = busy, append(its.parked, p)
	return p
}

// empty reports whether nobody waits for anything.
func (l *lot) empty() bool { return l.full.Load() == 0 }

// waiting reports whether somebody waits for a product, and how it was last seen to be busy.
func (l *lot) waiting(product int64) (lock.Busy, bool) {
	l.lock.Lock()
	defer l.lock.Unlock()
	if its := l.lines[product]; its != nil {
		return its.busy, true
	}
	return lock.Busy{}, false
}

func (l *lot) drop(product int64) {
	delete(l.lines, product)
	l.full.Add(-1)
}

// leave takes p out of its line; false when it was woken before.
func (l *lot) leave(product int64, p *parked) bool {
	l.lock.Lock()
	defer l.lock.Unlock()
	its := l.lines[product]
	if its == nil {
		return false
	}
	i := slices.Index(its.parked, p)
	if i < 0 {
		return false
	}
	if its.parked = slices.Delete(its.parked, i, i+1); len(its.parked) == 0 {
		l.drop(product)
	}
	return true
}

// wake sends the whole line of a product through enter, in order of arrival. The lock is held meanwhile, so that two
// who wake at once cannot mix up the order; enter does not block.
func (l *lot) wake(product int64, enter func(...*ticket) []<-chan batch.Answer[order.Placed]) {
	l.lock.Lock()
	defer l.lock.Unlock()
	its := l.lines[product]
	if its == nil {
		return
	}
	l.drop(product)
	line := its.parked
	slices.SortFunc(line, func(a, b *parked) int { return cmp.Compare(a.ticket.arrival, b.ticket.arrival) })
	tickets := make([]*ticket, len(line))
	for i, p := range line {
		tickets[i] = p.ticket
	}
	for i, entered := range enter(tickets...) {
		line[i].woken <- entered
	}
}
