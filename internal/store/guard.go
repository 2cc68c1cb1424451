package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"orderflow/internal/order"
)

const (
	lockPause   = 10 * time.Millisecond // between two looks at a lock that somebody has
	guardLooks  = 5                     // an audit's look at the lock (see served) is over within the first pause
	migrateWait = time.Minute           // for another process that migrates
)

// LockFile makes this process the one server of the database file until release is called or the process ends, however it
// ends. It returns CodeUnavailable when another server has it.
//
// SQLite's own locks do not do for this: they are held for a transaction, and the tools (audit, jobs) may well work on
// the file beside the server. The lock is of a file beside the database, since closing any handle of the database file
// itself would drop SQLite's locks with it.
func (s *Store) LockFile() (release func() error, err error) {
	d, ok := s.dialect.(sqliteDialect)
	if !ok {
		return func() error { return nil }, nil
	}
	file, err := os.OpenFile(d.guardPath(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, d.openError(err)
	}
	if info, statErr := os.Stat(d.file); statErr == nil {
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Nlink > 1 {
			_ = file.Close() // nothing was done with it
			return nil, order.Errorf(order.CodeUnavailable,
				"The database file %s has another name (a hard link), under which another server could use it; remove that one.", d.path)
		}
	}
	for look := 1; ; look++ {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) || look == guardLooks {
			break
		}
		<-time.NewTimer(lockPause).C
	}
	if err == nil {
		s.guard = file // kept, since a file that nothing refers to is closed by the collector
		return file.Close, nil
	}
	_ = file.Close() // the error that counts is the one above
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, order.Errorf(order.CodeUnavailable, "Another orderflow server is using %s; stop it, or give this one its own --database.", d.path)
	}
	return nil, d.openError(fmt.Errorf("lock %s: %w", file.Name(), err))
}

// intact is called before every commit. It returns CodeUnavailable in three cases:
//   - An operation found the database file damaged. The restore of a backup would lose what is written now.
//   - The database file was moved, replaced or deleted. What is written to the open file would be lost with the process.
//   - The lock file was replaced or deleted. Another server may write to the database.
func (s *Store) intact() error {
	d, ok := s.dialect.(sqliteDialect)
	if !ok {
		return nil
	}
	if damage := s.health.damage.Load(); damage != nil {
		return damage
	}
	if !sameFile(d.file, s.opened) {
		return order.Errorf(order.CodeUnavailable, "The database file %s was moved or deleted under the server; put it back, or restart.", d.path)
	}
	if s.guard != nil {
		held, err := s.guard.Stat()
		if err == nil && !sameFile(s.guard.Name(), held) {
			return order.Errorf(order.CodeUnavailable, "The lock file %s was removed under the server; restart it.", s.guard.Name())
		}
	}
	return nil
}

func sameFile(path string, as os.FileInfo) bool {
	info, err := os.Stat(path)
	return err == nil && os.SameFile(info, as)
}

// guardPath is the file that a server locks: beside the database file itself, by whatever name or link that was opened.
func (d sqliteDialect) guardPath() string {
	if file, err := filepath.EvalSymlinks(d.file); err == nil {
		return file + ".lock"
	}
	return d.file + ".lock"
}

// served reports whether a server has the database file right now, this process's own included.
func (d sqliteDialect) served() bool {
	file, err := os.Open(d.guardPath())
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }() // it was only looked at
	return errors.Is(syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

// lockMigrations waits until no other process migrates a database in the same folder. A step is applied and recorded in
// one transaction, but which steps are wanted is read before it; two at once would apply a step twice. It is the folder
// that is locked, so that no file is left behind.
func (d sqliteDialect) lockMigrations(ctx context.Context, _ *sql.DB) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, migrateWait)
	defer cancel()
	folder, err := os.Open(filepath.Dir(d.file))
	if err != nil {
		return nil, d.openError(err)
	}
	tick := time.NewTicker(lockPause)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = folder.Close() }, nil // closing it gives the lock back
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			_ = folder.Close() // the error that counts is the one above
			return nil, d.openError(fmt.Errorf("lock %s: %w", folder.Name(), err))
		}
		select {
		case <-ctx.Done():
			_ = folder.Close() // the wait is over
			return nil, order.Errorf(order.CodeUnavailable, "Another process has been migrating %s for too long; look after that one.", d.path)
		case <-tick.C:
		}
	}
}
