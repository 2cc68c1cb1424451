package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

func (*sqliteDialect) lockTimedOut(error) bool { return false }

// mayReturn: a file needs no connection, so an operation that failed will fail again.
func (*sqliteDialect) mayReturn(error) bool { return false }

func (*sqliteDialect) needsRemedy(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		return true
	}
	return false
}

// unavailable returns cause and remedy of lasting errors.
func (d *sqliteDialect) unavailable(err error) string {
	if d.needsRemedy(err) {
		return "The database file cannot be read or written: " + d.explain(err)
	}
	return unavailableMessage
}

// classify goes by SQLite's result codes (https://www.sqlite.org/rescode.html).
func (*sqliteDialect) classify(err error) Class {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, sql.ErrConnDone) {
		return unavailable
	}
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return Other
	}
	switch e.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return Duplicate
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return ForeignKey
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return transient
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN,
		sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOMEM:
		return unavailable
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return damaged
	}
	return Other
}

func (d *sqliteDialect) explain(err error) string {
	var e *sqlite.Error
	switch {
	case errors.As(err, &e):
	case errors.Is(err, fs.ErrNotExist):
		return "the folder " + filepath.Dir(d.path) + " does not exist; create it, or check the path."
	case errors.Is(err, fs.ErrPermission):
		return "permission denied; make the file and its folder writable for this user."
	case errors.Is(err, context.DeadlineExceeded):
		return "it took too long; another process may hold its lock."
	default:
		return strings.ReplaceAll(err.Error(), "\n", " ")
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return "another process holds its lock; stop that process, or wait."
	case sqlite3.SQLITE_FULL:
		return "the disk is full; free some space."
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return "the file or its folder is read-only; make both writable for this user."
	case sqlite3.SQLITE_CANTOPEN:
		return "it cannot be opened or created; check the path and its permissions."
	case sqlite3.SQLITE_CORRUPT:
		return "the file is damaged; restore it from a backup."
	case sqlite3.SQLITE_NOTADB:
		return "the file is not an SQLite database, or its beginning is damaged; check the path, or restore it from a backup."
	case sqlite3.SQLITE_IOERR:
		return "reading or writing failed (" + e.Error() + "); check the disk."
	}
	return strings.ReplaceAll(e.Error(), "\n", " ")
}
