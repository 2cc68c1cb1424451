package realtime

import (
	"context"
	"sync"
)

// flusher writes the queued frames of its conns. It goes through the conns with queued frames and writes all frames of a conn in one
// call. Meanwhile more frames are queued, so that under load a call writes many frames, and without load a frame goes out at once.
// It never waits for a client.
type flusher struct {
	index int           // in the hub's list
	wake  chan struct{} // has an element when a conn may be waiting

	mu       sync.Mutex
	waiting  []*conn // with queued frames
	added    uint64  // conns ever added to waiting
	flushed  uint64  // conns ever flushed
	progress sync.Cond
}

func newFlusher(index int) *flusher {
	f := &flusher{index: index, wake: make(chan struct{}, 1)}
	f.progress.L = &f.mu
	return f
}

// add adds conns whose state has just become waiting.
func (f *flusher) add(conns ...*conn) {
	f.mu.Lock()
	f.waiting = append(f.waiting, conns...)
	f.added += uint64(len(conns))
	f.mu.Unlock()
	notify(f.wake)
}

// run flushes until ctx ends and nothing is left.
func (f *flusher) run(ctx context.Context) {
	w := newWriter(maxWrite)
	var batch []*conn
	for ended := false; ; {
		f.mu.Lock()
		batch, f.waiting = f.waiting, batch[:0]
		f.mu.Unlock()
		if len(batch) == 0 {
			if ended {
				return
			}
			select {
			case <-f.wake:
			case <-ctx.Done():
				ended = true
			}
			continue
		}
		f.flush(batch, w)
		clear(batch)
	}
}

// flush flushes each conn once.
func (f *flusher) flush(batch []*conn, w *writer) {
	again := 0
	for _, c := range batch {
		if c.flush(w) {
			batch[again] = c
			again++
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting = append(f.waiting, batch[:again]...)
	f.added += uint64(again)
	f.flushed += uint64(len(batch))
	f.progress.Broadcast()
}

// waitForFlush waits until every conn that is waiting now has been flushed or is blocked. The flusher must be running.
func (f *flusher) waitForFlush() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for until := f.added; f.flushed < until; {
		f.progress.Wait()
	}
}

// notify puts an element into a channel of capacity 1, unless there is one.
func notify(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
