package batch

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// Run commits batches until ctx ends. Then it refuses further requests, commits those that wait, and returns nil. Call it once.
//
// Every accepted request gets an answer. A caller holds the read lock until its request is in a queue. So when Run has held the
// write lock, all accepted requests are in a queue and no more follow. Only then do the loops stop, each when it finds both queues
// empty.
func (b *Batcher[Req, Res]) Run(ctx context.Context) error {
	commits := context.WithoutCancel(ctx)
	var loops sync.WaitGroup
	for range max(1, b.options.Loops) {
		loops.Go(func() { b.loop(commits) })
	}
	<-ctx.Done()
	b.mu.Lock()
	b.stopped = true
	b.mu.Unlock()
	close(b.stopping)
	loops.Wait()
	return nil
}

// loop commits one batch after the other. All its state is local.
func (b *Batcher[Req, Res]) loop(ctx context.Context) {
	var batch []*member[Req, Res]
	var next *member[Req, Res] // taken from the queue, but too heavy for the previous batch
	for {
		if next == nil {
			if next = b.first(); next == nil {
				return
			}
		}
		if b.options.Max > 1 {
			// The scheduler runs a goroutine that it has just woken before others that are ready, so this would often be a batch
			// of one although more requests are about to arrive. Yielding lets them arrive first. It returns at once when no
			// other goroutine is ready.
			runtime.Gosched()
		}
		batch, next = b.take(batch[:0], next)
		b.commitBatch(ctx, batch)
		clear(batch) // so that answered requests can be garbage-collected
	}
}

// first waits for a request. It returns nil when the batcher has stopped and both queues are empty.
func (b *Batcher[Req, Res]) first() *member[Req, Res] {
	if m := b.poll(); m != nil {
		return m
	}
	select {
	case m := <-b.ahead:
		return m
	case m := <-b.queue:
		return m
	case <-b.stopping:
		return b.poll() // a request may have arrived since the first poll; none arrives from now on
	}
}

// poll returns a waiting request (a request of Ahead first), or nil.
func (b *Batcher[Req, Res]) poll() *member[Req, Res] {
	select {
	case m := <-b.ahead:
		return m
	default:
	}
	select {
	case m := <-b.queue:
		return m
	default:
		return nil
	}
}

// take adds first and all waiting requests to the batch, up to its bounds. over is a request that would make the batch too heavy:
// the first of the next batch.
func (b *Batcher[Req, Res]) take(batch []*member[Req, Res], first *member[Req, Res]) (full []*member[Req, Res], over *member[Req, Res]) {
	weight := b.options.Weigh(first.request)
	batch = append(batch, first)
	for len(batch) < b.options.Max {
		m := b.poll()
		if m == nil {
			break
		}
		weight += b.options.Weigh(m.request)
		if b.options.Weight > 0 && weight > b.options.Weight {
			return batch, m
		}
		batch = append(batch, m)
	}
	return batch, nil
}

// commitBatch commits a batch and answers each member. It halves a batch that fails with an error that one member may have caused.
func (b *Batcher[Req, Res]) commitBatch(ctx context.Context, batch []*member[Req, Res]) {
	start := time.Now()
	requests := make([]Req, len(batch))
	oldest := start
	for i, m := range batch {
		requests[i] = m.request
		if m.since.Before(oldest) {
			oldest = m.since
		}
	}
	answers, panicked, err := b.tryCommit(ctx, requests)
	if b.options.Observe != nil {
		b.options.Observe(len(batch), start.Sub(oldest), time.Since(start))
	}
	if err != nil && len(batch) > 1 && (panicked || b.options.Halve(err)) {
		b.commitBatch(ctx, batch[:len(batch)/2])
		b.commitBatch(ctx, batch[len(batch)/2:])
		return
	}
	for i, m := range batch {
		if err != nil {
			m.answer <- Answer[Res]{Err: err}
		} else {
			m.answer <- answers[i]
		}
	}
}

// PanicError is the error of a member whose commit panicked.
type PanicError struct {
	Value any
	Stack []byte
}

// Error returns the value of the panic. The stack is for logs.
func (e *PanicError) Error() string { return fmt.Sprintf("batch: commit panicked: %v", e.Value) }

// tryCommit calls Commit. A panic becomes an error, and so does a wrong number of answers.
func (b *Batcher[Req, Res]) tryCommit(ctx context.Context, requests []Req) (answers []Answer[Res], panicked bool, err error) {
	defer func() {
		if value := recover(); value != nil {
			answers, panicked, err = nil, true, &PanicError{value, debug.Stack()}
		}
	}()
	answers, err = b.commit(ctx, requests)
	if err == nil && len(answers) != len(requests) {
		panic(fmt.Sprintf("%d answers to %d requests", len(answers), len(requests)))
	}
	return answers, false, err
}
