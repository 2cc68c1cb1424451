package sqldb

import (
	"context"
	"errors"
	"fmt"
)

// Kind is what an Error means for a caller.
type Kind int

// The kinds of errors.
const (
	Unavailable Kind = iota // the database cannot do this at present
	NotFound                // there is no such database, or nothing to revert
	Invalid                 // the call's arguments
)

// Error is an error with a message for operators and callers: what happened, then what to do. Other errors of this package
// come from the caller's work function, or from one statement.
type Error struct {
	Kind    Kind
	Message string
	Cause   error // for the log
}

// Error returns the message, followed by the cause.
func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Message + ": " + e.Cause.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

func errorf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

func isUnavailable(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Kind == Unavailable
}

// Class is what an error of the database means for a transaction.
type Class int

// The classes. All but Other, Duplicate and ForeignKey concern this package alone.
const (
	Other       Class = iota // an error of one statement: a member of the batch may have caused it
	Duplicate                // a unique key is taken
	ForeignKey               // a referenced row does not exist
	transient                // lost to another transaction: run again
	lost                     // the connection broke: run again on another one
	moved                    // the server accepts no writes: run again once, another server may have taken its place
	unavailable              // the database cannot be reached or written at present
	damaged                  // the database file is damaged: only a backup helps
)

// Classify returns the class of an error, by its number.
func (db *DB) Classify(err error) Class { return db.dialect.classify(err) }

// ErrRowsChanged reports that rows are no longer as they were read.
var ErrRowsChanged = errors.New("the rows are not as they were read")

const unavailableMessage = "The database cannot do this at the moment; try again shortly."

// explained turns an error that prevents an operation into an Error. It leaves an Error, and errors of one statement, as they are.
func (db *DB) explained(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	switch db.dialect.classify(err) {
	case damaged:
		return db.damaged(err)
	case transient, lost, moved, unavailable:
		return &Error{Kind: Unavailable, Message: db.dialect.unavailable(err), Cause: err}
	default:
		return err
	}
}
