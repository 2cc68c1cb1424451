package intake

import "sync/atomic"

// lookupBatches is how many batches after a repeated request look up their keys.
const lookupBatches = 100

// lookups decides whether the keys of a batch are looked up before its transaction. The zero value is ready to use.
//
// A lookup is one more query for each batch, and most batches have only new keys. Without it the unique index detects a key in use,
// but then the batch rolls back and runs again. So keys are looked up while repeated requests are likely: in the first batches of a
// process, and after a key in use, a locked row or a failed write. Occasional repeats cost at most one rollback in lookupBatches.
type lookups struct{ quiet atomic.Int64 } // batches since the last repeated request

// next reports whether the next batch looks up its keys.
func (l *lookups) next() bool {
	if l.quiet.Load() >= lookupBatches {
		return false
	}
	l.quiet.Add(1)
	return true
}

// expect makes the next batches look up their keys, since repeated requests are likely.
func (l *lookups) expect() {
	if l.quiet.Load() != 0 {
		l.quiet.Store(0)
	}
}
