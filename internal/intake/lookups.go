package intake

import "sync/atomic"

// lookupBatches is how many batches after a key in use are looked up before they are placed.
const lookupBatches = 100

// lookups decides whether the keys of a batch are looked up before it is placed.
//
// The unique index finds a key in use as well, but then the whole batch is rolled back and placed again without it. A lookup is a
// query of its own for each batch, and most batches have only new keys. So keys are looked up while repeated requests are likely:
// in the first batches of a process, and after a key in use, a locked row or a failed write. A client that repeats a request now and
// then costs one rollback in lookupBatches at most. The zero value is ready to use.
type lookups struct{ quiet atomic.Int64 } // batches since a repeated request was met or expected

// next reports whether the next batch is looked up.
func (l *lookups) next() bool {
	if l.quiet.Load() >= lookupBatches {
		return false
	}
	l.quiet.Add(1)
	return true
}

// expect makes the next batches be looked up: repeated requests are likely.
func (l *lookups) expect() {
	if l.quiet.Load() != 0 {
		l.quiet.Store(0)
	}
}
