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

// waitlist has the requests that wait for busy products, in a queue for each product. The waiter that first observes the release
// requeues all of its queue, in the order of arrival.
type waitlist struct {
	mu     sync.Mutex
	queues map[int64]*queue // by product; none is empty
	length atomic.Int64     // of queues
}

// queue is the waiters for a product, and the product's lock as last seen.
type queue struct {
	busy    lock.Busy
	waiters []*waiter
}

// waiter is a waiting request. When another waiter has put it back into the batcher, requeued receives the channel of its answer.
type waiter struct {
	request  *request
	requeued chan (<-chan batch.Answer[order.Placed])
}

func (l *waitlist) add(busy lock.Busy, r *request) *waiter {
	w := &waiter{request: r, requeued: make(chan (<-chan batch.Answer[order.Placed]), 1)}
	r.waited = true
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.queues == nil {
		l.queues = map[int64]*queue{}
	}
	q := l.queues[busy.Product]
	if q == nil {
		q = &queue{}
		l.queues[busy.Product] = q
		l.length.Add(1)
	}
	q.busy, q.waiters = busy, append(q.waiters, w)
	return w
}

// empty reports whether no request waits.
func (l *waitlist) empty() bool { return l.length.Load() == 0 }

// busy reports whether a request waits for a product, and the product's lock as last seen.
func (l *waitlist) busy(product int64) (lock.Busy, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if q := l.queues[product]; q != nil {
		return q.busy, true
	}
	return lock.Busy{}, false
}

func (l *waitlist) deleteQueue(product int64) {
	delete(l.queues, product)
	l.length.Add(-1)
}

// remove takes a waiter out of its queue. It returns false when the waiter was requeued before.
func (l *waitlist) remove(product int64, w *waiter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.queues[product]
	if q == nil {
		return false
	}
	i := slices.Index(q.waiters, w)
	if i < 0 {
		return false
	}
	if q.waiters = slices.Delete(q.waiters, i, i+1); len(q.waiters) == 0 {
		l.deleteQueue(product)
	}
	return true
}

// requeue passes the waiters for a product to ahead, in the order of arrival. It holds the mutex meanwhile, so that two calls at
// once keep that order; ahead does not block.
func (l *waitlist) requeue(product int64, ahead func(...*request) []<-chan batch.Answer[order.Placed]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.queues[product]
	if q == nil {
		return
	}
	l.deleteQueue(product)
	slices.SortFunc(q.waiters, func(a, b *waiter) int { return cmp.Compare(a.request.arrival, b.request.arrival) })
	requests := make([]*request, len(q.waiters))
	for i, w := range q.waiters {
		requests[i] = w.request
	}
	for i, answer := range ahead(requests...) {
		q.waiters[i].requeued <- answer
	}
}
