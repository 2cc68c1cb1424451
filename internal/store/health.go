package store

import (
	"sync/atomic"
	"time"

	"orderflow/internal/order"
)

// writeFailureShown is how long Writable reports a write that failed. A write that succeeds in the meantime is no proof: a disk
// that is nearly full takes a small transaction and refuses the next larger one.
const writeFailureShown = 30 * time.Second

// databaseHealth is what the operations of this process have found out about the database.
type databaseHealth struct {
	damage atomic.Pointer[order.Error] // of an SQLite file; stays until the process ends
	report func(err error)             // Options.Damaged
	failed atomic.Pointer[failedWrite]
}

// failedWrite is a write that failed for a reason that somebody has to remove.
type failedWrite struct {
	at  time.Time
	err error
}

// damaged records that the file is damaged, which intact reports from now on, and returns it as an error.
func (s *Store) damaged(cause error) error {
	damage := &order.Error{Code: order.CodeUnavailable, Message: "The database file is damaged; restore it from a backup.", Cause: cause}
	if s.health.damage.CompareAndSwap(nil, damage) && s.health.report != nil {
		s.health.report(damage)
	}
	return damage
}

// CheckDamage returns the damage of the database file that an operation found; nil for none. It stays until the process ends.
func (s *Store) CheckDamage() error {
	if damage := s.health.damage.Load(); damage != nil {
		return damage
	}
	return nil
}

// writeFailed records a write that failed, if somebody has to remove the reason.
func (s *Store) writeFailed(err error) {
	if s.dialect.needsRemedy(err) {
		s.health.failed.Store(&failedWrite{time.Now(), s.coded(err)})
	}
}

// CheckWritable returns CodeUnavailable, with cause and remedy, when a write failed shortly before for a reason that somebody has
// to remove, such as a full disk or a server that takes no writes. Reads may work all the same.
func (s *Store) CheckWritable() error {
	failed := s.health.failed.Load()
	if failed == nil || time.Since(failed.at) > writeFailureShown {
		return nil
	}
	return failed.err
}
