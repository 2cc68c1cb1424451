// Package batch is the group committer. It commits the requests of concurrent callers in batches, and returns to each caller the
// answer to its own request. A batch contains the requests that arrived while the previous batch was committing. There is no
// timer, so a single caller does not wait for others.
//
//	callers ──Do──▶ bounded queue ──take all──▶ commit ──an answer each──▶ callers
//	                  │ full                      │ failed, and one request may be the cause
//	                  ▼                           ▼
//	             ErrOverloaded                  halve the batch, until this request is alone
//
// Guarantees:
//
//   - Every accepted request gets exactly one answer, also when its commit fails or panics.
//   - Requests of Do are committed in order of arrival. Requests of Ahead are committed before all waiting requests of Do.
//   - At most Options.Queue requests of Do wait, and as many of Ahead. Further requests are refused at once.
//   - A batch has at most Options.Max requests, with a total weight of at most Options.Weight (a single request may exceed it).
//   - The request of a caller whose context has ended is committed like the others.
//
// After halving, Commit runs again for the same requests, so it must be idempotent. Orders, locks and retries are the concern of
// the users of this package.
package batch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Errors that Do returns besides those of Commit.
var (
	// ErrOverloaded means that the request was refused because the queue is full.
	ErrOverloaded = errors.New("batch: the queue is full")
	// ErrStopped means that the request was refused because the batcher has stopped.
	ErrStopped = errors.New("batch: stopped")
)

// Answer is the result of one request.
type Answer[Res any] struct {
	Value Res
	Err   error
}

// Commit commits a batch. It returns an answer for each request, in their order, or an error when nothing was committed.
type Commit[Req, Res any] func(ctx context.Context, batch []Req) ([]Answer[Res], error)

// Options are the bounds and hooks of a Batcher.
type Options[Req any] struct {
	Queue  int              // requests that may wait; at least 1
	Max    int              // requests in a batch; at least 1
	Loops  int              // batches that commit at once; default 1. With more than one, the order of commits is undefined
	Weight int              // weight of a batch; 0 for no bound
	Weigh  func(Req) int    // weight of a request; default 1
	Halve  func(error) bool // whether one member may have caused this error of a batch; default never

	// Observe, if set, is called after each commit, by the committing goroutine, with the size of the batch, the longest wait of a
	// member in the queue, and the duration of the commit.
	Observe func(size int, waited, took time.Duration)
}

// Batcher commits requests in batches. Make one with New. Its methods are safe for concurrent use.
type Batcher[Req, Res any] struct {
	commit  Commit[Req, Res]
	options Options[Req]
	queue   chan *member[Req, Res]
	ahead   chan *member[Req, Res]

	mu       sync.RWMutex // read-locked to enqueue, locked to stop
	stopped  bool
	stopping chan struct{} // closed after stopped is set, to wake idle loops
}

// member is a request in the queue or in a batch. Its channel has a capacity of 1, so that the committer never waits for a caller
// whose context has ended.
type member[Req, Res any] struct {
	request Req
	since   time.Time
	answer  chan Answer[Res]
}

// New returns a Batcher, which commits nothing before Run.
func New[Req, Res any](commit Commit[Req, Res], options Options[Req]) *Batcher[Req, Res] {
	if options.Queue < 1 || options.Max < 1 {
		panic(fmt.Sprintf("batch: queue %d and max %d must be at least 1", options.Queue, options.Max))
	}
	if options.Weigh == nil {
		options.Weigh = func(Req) int { return 1 }
	}
	if options.Halve == nil {
		options.Halve = func(error) bool { return false }
	}
	return &Batcher[Req, Res]{
		commit: commit, options: options,
		queue: make(chan *member[Req, Res], options.Queue), ahead: make(chan *member[Req, Res], options.Queue),
		stopping: make(chan struct{}),
	}
}

// Do enqueues a request and waits for its answer. It returns ErrOverloaded, ErrStopped, the error of ctx (the request is
// committed nevertheless), or an error of Commit.
func (b *Batcher[Req, Res]) Do(ctx context.Context, request Req) (Res, error) {
	m, err := b.enqueue(b.queue, request)
	if err != nil {
		var none Res
		return none, err
	}
	return b.wait(ctx, m.answer)
}

// Ahead enqueues requests ahead of those of Do, in the order given. It never blocks. It returns a channel for the answer to each,
// which may be ErrOverloaded or ErrStopped.
func (b *Batcher[Req, Res]) Ahead(requests ...Req) []<-chan Answer[Res] {
	answers := make([]<-chan Answer[Res], len(requests))
	for i, request := range requests {
		m, err := b.enqueue(b.ahead, request)
		if err != nil {
			m = &member[Req, Res]{answer: make(chan Answer[Res], 1)}
			m.answer <- Answer[Res]{Err: err}
		}
		answers[i] = m.answer
	}
	return answers
}

// Queued returns the number of requests that wait.
func (b *Batcher[Req, Res]) Queued() int { return len(b.queue) + len(b.ahead) }

func (b *Batcher[Req, Res]) enqueue(queue chan *member[Req, Res], request Req) (*member[Req, Res], error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.stopped {
		return nil, ErrStopped
	}
	m := &member[Req, Res]{request: request, since: time.Now(), answer: make(chan Answer[Res], 1)}
	select {
	case queue <- m:
		return m, nil
	default:
		return nil, ErrOverloaded
	}
}

func (b *Batcher[Req, Res]) wait(ctx context.Context, answer <-chan Answer[Res]) (Res, error) {
	select {
	case a := <-answer:
		return a.Value, a.Err
	case <-ctx.Done():
		select {
		case a := <-answer: // prefer an answer that arrived at the same time
			return a.Value, a.Err
		default:
			var none Res
			return none, ctx.Err()
		}
	}
}
