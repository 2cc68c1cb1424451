package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	lockPause   = 10 * time.Millisecond // between two tries of a lock that another process holds
	lockTries   = 5                     // of the lock file: an audit tests it (see hasServer) for less than the first pause
	migrateWait = time.Minute           // for another process that migrates
)

// lockFile implements singleFile. SQLite's own locks do not suffice: they are held for a transaction, and tools (audit,
// failed-jobs) may work on the file beside the server. The lock file stands beside the database file, since closing any handle
// of the database file itself would drop SQLite's locks with it.
func (d *sqliteDialect) lockFile() (release func() error, err error) {
	file, err := os.OpenFile(d.lockPath(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, d.openError(err)
	}
	if info, statErr := os.Stat(d.file); statErr == nil {
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Nlink > 1 {
			_ = file.Close() // nothing was done with it
			return nil, errorf(Unavailable,
				"The database file %s has another name (a hard link), under which another server could use it; remove that name.", d.path)
		}
	}
	for try := 1; ; try++ {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) || try == lockTries {
			break
		}
		<-time.NewTimer(lockPause).C
	}
	if err == nil {
		d.lock = file // kept, since the collector closes a file without references
		return file.Close, nil
	}
	_ = file.Close() // the error that counts is the one above
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errorf(Unavailable, "Another orderflow server is using %s; stop it, or give this one its own --database.", d.path)
	}
	return nil, d.openError(fmt.Errorf("lock %s: %w", file.Name(), err))
}

func (d *sqliteDialect) checkUnchanged() error {
	if !sameFile(d.file, d.opened) {
		return errorf(Unavailable, "The database file %s was moved or deleted under the server; put it back, or restart.", d.path)
	}
	if d.lock != nil {
		held, err := d.lock.Stat()
		if err == nil && !sameFile(d.lock.Name(), held) {
			return errorf(Unavailable, "The lock file %s was removed under the server; restart it.", d.lock.Name())
		}
	}
	return nil
}

func sameFile(path string, as os.FileInfo) bool {
	info, err := os.Stat(path)
	return err == nil && os.SameFile(info, as)
}

// lockPath is the file that a server locks. It stands beside the database file itself, whatever link was opened.
func (d *sqliteDialect) lockPath() string {
	if file, err := filepath.EvalSymlinks(d.file); err == nil {
		return file + ".lock"
	}
	return d.file + ".lock"
}

func (d *sqliteDialect) hasServer() (has, known bool) {
	file, err := os.Open(d.lockPath())
	if err != nil {
		return false, true
	}
	defer func() { _ = file.Close() }() // it was only tested
	return errors.Is(syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK), true
}

// lockMigrations waits until no other process migrates a database in the same folder. A step is applied and recorded in one
// transaction, but which steps are missing is read before it: two processes at once would apply a step twice. The lock is on
// the folder, so that no file is left behind.
func (d *sqliteDialect) lockMigrations(ctx context.Context, _ *sql.DB) (release func(), err error) {
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
			return nil, errorf(Unavailable, "Another process has been migrating %s for too long; check that process.", d.path)
		case <-tick.C:
		}
	}
}
