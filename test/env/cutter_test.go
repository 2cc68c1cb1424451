package env_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"orderflow/test/env"
)

// through opens a database by way of a cutter, and beside it, with a table of numbers in it.
func through(t *testing.T) (cutter *env.CommitCutter, db, beside *sql.DB) {
	t.Helper()
	address := env.MySQL(t)
	cutter = env.NewCommitCutter(t, address)
	db, beside = env.Admin(t, cutter.URL()), env.Admin(t, address)
	if _, err := beside.Exec("CREATE TABLE numbers (n INT PRIMARY KEY) ENGINE=InnoDB"); err != nil {
		t.Fatal(err)
	}
	return cutter, db, beside
}

// add adds a number in a transaction of its own, and returns the error of COMMIT and the connection's id at the server.
func add(t *testing.T, db *sql.DB, n int) (connection int64, err error) {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.QueryRow("SELECT CONNECTION_ID()").Scan(&connection); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec("INSERT INTO numbers VALUES (?)", n); err != nil {
		t.Fatal(err)
	}
	return connection, tx.Commit()
}

// has tells whether a number was committed. It waits for transactions that hold it.
func has(t *testing.T, db *sql.DB, n int) (found bool) {
	t.Helper()
	if err := db.QueryRow("SELECT COUNT(*) > 0 FROM numbers WHERE n = ? LOCK IN SHARE MODE", n).Scan(&found); err != nil {
		t.Fatal(err)
	}
	return found
}

// soon waits for a channel to be closed.
func soon(t *testing.T, done <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
		t.Fatal("nothing was cut")
	}
}

// TestCommitCutter: to the client both cuts look the same, to the books they do not; and they happen once.
func TestCommitCutter(t *testing.T) {
	t.Parallel()
	cutter, db, beside := through(t)
	for n, moment := range []env.Moment{0, env.BeforeCommit, 0, env.AfterCommit, 0} {
		var done <-chan struct{}
		if moment != 0 {
			done = cutter.Arm(moment, "")
		}
		_, err := add(t, db, n)
		if moment == 0 {
			if err != nil {
				t.Errorf("COMMIT that nobody cut: %v", err)
			}
			continue
		}
		soon(t, done)
		if err == nil {
			t.Errorf("cut at moment %d, COMMIT has an answer", moment)
		}
		if got, want := has(t, beside, n), moment == env.AfterCommit; got != want {
			t.Errorf("cut at moment %d: committed is %v", moment, got)
		}
	}
}

// TestCommitCutterLate: the transaction stays open at the server, and its COMMIT comes when the client has long given up;
// unless its connection was killed first.
func TestCommitCutterLate(t *testing.T) {
	t.Parallel()
	cutter, db, beside := through(t)
	if cutter.Deliver() {
		t.Error("something was late before anything was sent")
	}
	for n, killed := range []bool{false, true} {
		done := cutter.Arm(env.LateCommit, "")
		connection, err := add(t, db, n)
		soon(t, done)
		if err == nil {
			t.Error("COMMIT has an answer and is not at the server yet")
		}
		if _, err := beside.Exec("SELECT n FROM numbers WHERE n = ? FOR UPDATE NOWAIT", n); err == nil {
			t.Error("the transaction is not open")
		}
		if killed {
			if _, err := beside.Exec("KILL ?", connection); err != nil {
				t.Error(err)
			}
		}
		if carried := cutter.Deliver(); carried == killed || has(t, beside, n) == killed {
			t.Errorf("killed is %v; carried out is %v", killed, carried)
		}
	}
}

// TestCommitCutterChooses: only the transaction that has sent the text is cut, whatever else is committed meanwhile.
func TestCommitCutterChooses(t *testing.T) {
	t.Parallel()
	cutter, db, beside := through(t)
	done := cutter.Arm(env.AfterCommit, "VALUES (7)")
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec("INSERT INTO numbers VALUES (7)"); err != nil {
		t.Fatal(err)
	}
	if _, err := add(t, db, 1); err != nil { // on another connection
		t.Error(err)
	}
	if err := tx.Rollback(); err != nil {
		t.Error(err)
	}
	for n := 2; n < 5; n++ { // on that one, too
		if _, err := add(t, db, n); err != nil {
			t.Error(err)
		}
	}
	if _, err := add(t, db, 7); err == nil {
		t.Error("it was not cut")
	}
	soon(t, done)
	for n, want := range map[int]bool{1: true, 2: true, 4: true, 7: true} {
		if got := has(t, beside, n); got != want {
			t.Errorf("%d: %v", n, got)
		}
	}
}
