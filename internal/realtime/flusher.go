package realtime

import (
	"context"
	"sync"
)

// flusher writes what is queued on its conns. It goes round those that have something, and writes all that one has in
// one call: while it goes round, more gathers, so that under load a call carries many frames, and alone a frame goes out
// at once. It never waits for a client.
type flusher struct {
	index int           // among the hub's
	bell  chan struct{} // has an element when there may be something to do

	mu    sync.Mutex
	dirty []*conn // that have something queued
	given uint64  // conns ever put into dirty
	done  uint64  // conns ever flushed
	moved sync.Cond
}

func newFlusher(index int) *flusher {
	f := &flusher{index: index, bell: make(chan struct{}, 1)}
	f.moved.L = &f.mu
	return f
}

// add hands over conns whose state has just become waiting.
func (f *flusher) add(conns ...*conn) {
	f.mu.Lock()
	f.dirty = append(f.dirty, conns...)
	f.given += uint64(len(conns))
	f.mu.Unlock()
	select {
	case f.bell <- struct{}{}:
	default:
	}
}

// run flushes until ctx ends, and then what is left.
func (f *flusher) run(ctx context.Context) {
	w := newWriter(writeRoom)
	var round []*conn
	for ended := false; ; {
		f.mu.Lock()
		round, f.dirty = f.dirty, round[:0]
		f.mu.Unlock()
		if len(round) == 0 {
			if ended {
				return
			}
			select {
			case <-f.bell:
			case <-ctx.Done():
				ended = true
			}
			continue
		}
		f.flush(round, w)
		clear(round)
	}
}

// flush goes round once.
func (f *flusher) flush(round []*conn, w *writer) {
	again := 0
	for _, c := range round {
		if c.flush(w) {
			round[again] = c
			again++
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dirty = append(f.dirty, round[:again]...)
	f.given += uint64(again)
	f.done += uint64(len(round))
	f.moved.Broadcast()
}

// settle waits until all that is queued now has been flushed, or has to wait for its client. The flusher must be running.
func (f *flusher) settle() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for until := f.given; f.done < until; {
		f.moved.Wait()
	}
}
