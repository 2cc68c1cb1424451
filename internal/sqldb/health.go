package sqldb

import (
	"sync/atomic"
	"time"
)

// writeFailureShown is how long CheckWritable reports a failed write. A later write that succeeds proves nothing: a disk that
// is nearly full takes a small transaction and refuses the next larger one.
const writeFailureShown = 30 * time.Second

// health is the failures of the database that operations of this process have found.
type health struct {
	damage atomic.Pointer[Error] // of an SQLite file; stays until the process ends
	report func(err error)       // Options.Damaged
	failed atomic.Pointer[failedWrite]
}

// failedWrite is a write that failed for a reason that an operator has to remove.
type failedWrite struct {
	at  time.Time
	err error
}

// damaged records that the file is damaged, which CheckFile returns from now on, and returns it as an error.
func (db *DB) damaged(cause error) error {
	damage := &Error{Kind: Unavailable, Message: "The database file is damaged; restore it from a backup.", Cause: cause}
	if db.health.damage.CompareAndSwap(nil, damage) && db.health.report != nil {
		db.health.report(damage)
	}
	return damage
}

// CheckDamage returns the damage of the database file that an operation found; nil for none. It stays until the process ends.
func (db *DB) CheckDamage() error {
	if damage := db.health.damage.Load(); damage != nil {
		return damage
	}
	return nil
}

// noteFailedWrite records a failed write if an operator has to remove the reason.
func (db *DB) noteFailedWrite(err error) {
	if db.dialect.needsRemedy(err) {
		db.health.failed.Store(&failedWrite{time.Now(), db.explained(err)})
	}
}

// CheckWritable returns Unavailable, with cause and remedy, when a write failed shortly before for a reason that an operator has
// to remove, such as a full disk or a server that accepts no writes. Reads may still work.
func (db *DB) CheckWritable() error {
	failed := db.health.failed.Load()
	if failed == nil || time.Since(failed.at) > writeFailureShown {
		return nil
	}
	return failed.err
}
