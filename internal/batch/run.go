package batch

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// Run commits batches until ctx ends; then it lets nobody in any more, commits what was let in, and returns nil. Call
// it once.
//
// Nobody is left without an answer: who enters holds the door for reading until the request is in its line, so when Run
// has had the door for writing, all that were let in are in a line and no more follow. Only then are the loops told, and
// each ends when it finds both lines empty.
func (b *Batcher[Req, Res]) Run(ctx context.Context) error {
	commits := context.WithoutCancel(ctx)
	var loops sync.WaitGroup
	for range max(1, b.options.Loops) {
		loops.Go(func() { b.loop(commits) })
	}
	<-ctx.Done()
	b.door.Lock()
	b.stopped = true
	b.door.Unlock()
	close(b.shut)
	loops.Wait()
	return nil
}

// loop is one committer: take what waits, commit it, again. All its state is local.
func (b *Batcher[Req, Res]) loop(ctx context.Context) {
	var batch []*member[Req, Res]
	var next *member[Req, Res] // taken from the queue, too heavy for the batch before
	for {
		if next == nil {
			if next = b.first(); next == nil {
				return
			}
		}
		if b.options.Max > 1 {
			// The scheduler runs whom it has just woken ahead of all that is ready to run, so this would often be a batch of
			// one while many requests are on their way. Yielding lets them come in first. A lone caller waits for nobody:
			// where nothing is ready to run, yielding returns at once.
			runtime.Gosched()
		}
		batch, next = b.take(batch[:0], next)
		b.settle(ctx, batch)
		clear(batch) // so that no answered request is kept alive until the next batch of this size
	}
}

// first waits for a request; it returns nil when the batcher is shut and empty.
func (b *Batcher[Req, Res]) first() *member[Req, Res] {
	if m := b.waiting(); m != nil {
		return m
	}
	select {
	case m := <-b.ahead:
		return m
	case m := <-b.queue:
		return m
	case <-b.shut:
		return b.waiting() // what came in between the look above and the end; after the end nothing does
	}
}

// waiting returns a request that waits already, those of Ahead first, or nil.
func (b *Batcher[Req, Res]) waiting() *member[Req, Res] {
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

// take adds to first all that waits, up to the bounds. A request that would make the batch too heavy is returned, to
// be the first of the next one.
func (b *Batcher[Req, Res]) take(batch []*member[Req, Res], first *member[Req, Res]) (full []*member[Req, Res], over *member[Req, Res]) {
	weight := b.options.Weigh(first.request)
	batch = append(batch, first)
	for len(batch) < b.options.Max {
		m := b.waiting()
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

// settle commits a batch and answers each member. A batch that fails through what may be one member's fault is halved.
func (b *Batcher[Req, Res]) settle(ctx context.Context, batch []*member[Req, Res]) {
	start := time.Now()
	requests := make([]Req, len(batch))
	oldest := start
	for i, m := range batch {
		requests[i] = m.request
		if m.since.Before(oldest) {
			oldest = m.since
		}
	}
	answers, panicked, err := b.try(ctx, requests)
	if b.options.Observe != nil {
		b.options.Observe(len(batch), start.Sub(oldest), time.Since(start))
	}
	if err != nil && len(batch) > 1 && (panicked || b.options.Halve(err)) {
		b.settle(ctx, batch[:len(batch)/2])
		b.settle(ctx, batch[len(batch)/2:])
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

// Error says what the panic said; the stack is for logs.
func (e *PanicError) Error() string { return fmt.Sprintf("batch: commit panicked: %v", e.Value) }

// try runs one commit; a panic in it becomes an error, and so does a wrong number of answers.
func (b *Batcher[Req, Res]) try(ctx context.Context, requests []Req) (answers []Answer[Res], panicked bool, err error) {
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
