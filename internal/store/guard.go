package store

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"orderflow/internal/order"
)

// Guard makes this process the one server of the database file until release is called or the process ends, however it
// ends. It returns CodeUnavailable when another server has it.
//
// SQLite's own locks do not do for this: they are held for a transaction, and the tools (audit, jobs) may well work on
// the file beside the server. The lock is of a file beside the database, since closing any handle of the database file
// itself would drop SQLite's locks with it.
func (s *Store) Guard() (release func() error, err error) {
	d, ok := s.dialect.(sqliteDialect)
	if !ok {
		return func() error { return nil }, nil
	}
	file, err := os.OpenFile(d.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, d.openError(err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close() // the error that counts is the one above
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, order.Errorf(order.CodeUnavailable, "Another orderflow server is using %s; stop it, or give this one its own --database.", d.path)
		}
		return nil, d.openError(fmt.Errorf("lock %s: %w", file.Name(), err))
	}
	return file.Close, nil
}

// served reports whether a server has the database file right now, this process's own included.
func (s *Store) served() bool {
	d, ok := s.dialect.(sqliteDialect)
	if !ok {
		return true
	}
	file, err := os.Open(d.path + ".lock")
	if err != nil {
		return false
	}
	defer file.Close()
	return errors.Is(syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}
