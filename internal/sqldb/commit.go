package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// commit sends COMMIT.
func commit(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, "COMMIT")
	return err
}

// marker is a query that finds a row if, and only if, a transaction was committed; the zero value for a transaction that
// leaves no such row.
type marker struct {
	query string
	args  []any
}

// SetCommitMarker names a row by which a COMMIT of unknown outcome is resolved: the query finds one if, and only if, the
// transaction was committed. A transaction without a marker must change nothing when it runs again.
func (t *Tx) SetCommitMarker(query string, args ...any) { t.marker = marker{query, args} }

// outcomePause is the time between two checks of the outcome of a COMMIT.
const outcomePause = 50 * time.Millisecond

// resolveUnknownCommit finds out whether a transaction was committed whose COMMIT returned an error: it makes sure that the
// transaction is over, and looks for its commit marker. It returns nil when the transaction was committed.
//
// A transaction without a marker is treated as not committed: a lease or a unique key makes it harmless to repeat.
//
// The outcome is often unknown because the database is unavailable for a moment. So the check is repeated until the database
// answers, for as long as a read may take.
func (db *DB) resolveUnknownCommit(t *Tx, cause error) error {
	t.rollback()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), db.Limits.Read)
	defer cancel()
	for {
		committed, err := db.committed(ctx, t)
		switch {
		case err == nil && committed:
			return nil
		case err == nil:
			return cause
		case !db.dialect.mayReturn(err) || !sleep(ctx, outcomePause):
			return &Error{Kind: Unavailable, Message: "The database did not confirm the change; try again with the same key.", Cause: cause}
		}
	}
}

// committed makes sure that a transaction is over and looks for its commit marker.
func (db *DB) committed(ctx context.Context, t *Tx) (bool, error) {
	var unsure error
	if t.w.conn == nil { // else it was rolled back
		err := db.dialect.endTransaction(ctx, db.Reader.DB, t.w)
		if errors.Is(err, errOtherServer) { // the marker may have been replicated; a missing one proves nothing
			unsure = err
		} else if err != nil {
			return false, err
		}
	}
	if t.marker.query == "" {
		return false, unsure
	}
	var found int
	err := db.Reader.QueryRowContext(ctx, t.marker.query, t.marker.args...).Scan(&found)
	if errors.Is(err, sql.ErrNoRows) {
		return false, unsure
	}
	return err == nil, err
}

// errOtherServer reports that a transaction of unknown outcome ran on a server that the address no longer leads to.
var errOtherServer = errors.New("the address leads to another server than the one that received the COMMIT")
