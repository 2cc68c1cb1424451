// Package batch is the group committer. Callers hand in one request each; while one batch commits, the next gathers;
// each caller gets the answer to its own request. There is no timer, so a lone caller waits for nobody, and under load
// a batch is whatever came in while the last one was committing.
//
//	callers ──Do──▶ bounded queue ──take all──▶ commit ──an answer each──▶ callers
//	                  │ full                      │ failed, and one member alone may be the cause
//	                  ▼                           ▼
//	             ErrOverloaded                  halve, until that member stands alone
//
// What it guarantees:
//
//   - every request that was let in gets exactly one answer, also when its commit fails or panics;
//   - requests are committed in the order in which they came in; those of Ahead come before all that wait in the queue;
//   - the queue holds at most Options.Queue requests, and as many of Ahead; one more is refused at once;
//   - a batch has at most Options.Max requests of Options.Weight together (one request alone may be heavier);
//   - a caller that goes away takes nothing with it: its request is committed with the others;
//   - Commit may run more than once for a request (after halving), so it must be safe to repeat.
//
// The package knows no order, lock, retry or clock: what a busy product or a deadlock means is decided by its users.
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
	// ErrOverloaded says that the queue was full; nothing was done.
	ErrOverloaded = errors.New("batch: the queue is full")
	// ErrStopped says that the batcher is shutting down; nothing was done.
	ErrStopped = errors.New("batch: stopped")
)

// Answer is what one request came to.
type Answer[Res any] struct {
	Value Res
	Err   error
}

// Commit carries out a batch. It returns an answer for each request, in their order, or an error that stands for the
// whole batch, of which then nothing was done.
type Commit[Req, Res any] func(ctx context.Context, batch []Req) ([]Answer[Res], error)

// Options are the bounds and hooks of a Batcher.
type Options[Req any] struct {
	Queue  int              // requests that may wait; at least 1
	Max    int              // requests in a batch; at least 1
	Loops  int              // batches that commit at once; 0 counts as 1. More than 1 gives up the order of commits
	Weight int              // weight of a batch; 0 for no bound
	Weigh  func(Req) int    // weight of a request; nil counts each as 1
	Halve  func(error) bool // whether one member alone may have caused this error of a batch; nil: never

	// Observe, if set, is told of each batch: its size, the longest wait of a member in the queue, and how long the
	// commit took. It is called from the committing goroutines.
	Observe func(size int, waited, took time.Duration)
}

// Batcher gathers requests into batches. Make one with New; its methods may be called from any goroutine.
type Batcher[Req, Res any] struct {
	commit  Commit[Req, Res]
	options Options[Req]
	queue   chan *member[Req, Res]
	ahead   chan *member[Req, Res]

	door    sync.RWMutex // held for reading to enter, for writing to shut
	stopped bool
	shut    chan struct{} // closed with stopped, to wake idle loops
}

// member is a request on its way. Its answer channel has room for the one answer, so that the committer never waits
// for a caller who left.
type member[Req, Res any] struct {
	request Req
	since   time.Time
	answer  chan Answer[Res]
}

// New returns a Batcher; it does nothing until Run.
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
		shut: make(chan struct{}),
	}
}

// Do hands in a request and waits for its answer. It returns ErrOverloaded at once when the queue is full, ErrStopped
// after Run has ended, the error of ctx when that ends first (the request is committed all the same), or what Commit
// says.
func (b *Batcher[Req, Res]) Do(ctx context.Context, request Req) (Res, error) {
	m, err := b.enter(b.queue, request)
	if err != nil {
		var none Res
		return none, err
	}
	return b.wait(ctx, m.answer)
}

// Ahead hands in requests that have waited before, in the order given, before all that wait in the queue. It returns a
// channel for each, on which its one answer arrives. It never blocks: what finds no room is answered ErrOverloaded, and
// what comes after the end of Run ErrStopped.
func (b *Batcher[Req, Res]) Ahead(requests ...Req) []<-chan Answer[Res] {
	answers := make([]<-chan Answer[Res], len(requests))
	for i, request := range requests {
		m, err := b.enter(b.ahead, request)
		if err != nil {
			m = &member[Req, Res]{answer: make(chan Answer[Res], 1)}
			m.answer <- Answer[Res]{Err: err}
		}
		answers[i] = m.answer
	}
	return answers
}

// Queued is the number of requests that wait.
func (b *Batcher[Req, Res]) Queued() int { return len(b.queue) + len(b.ahead) }

func (b *Batcher[Req, Res]) enter(line chan *member[Req, Res], request Req) (*member[Req, Res], error) {
	b.door.RLock()
	defer b.door.RUnlock()
	if b.stopped {
		return nil, ErrStopped
	}
	m := &member[Req, Res]{request: request, since: time.Now(), answer: make(chan Answer[Res], 1)}
	select {
	case line <- m:
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
		case a := <-answer: // both at once: the answer says more
			return a.Value, a.Err
		default:
			var none Res
			return none, ctx.Err()
		}
	}
}
