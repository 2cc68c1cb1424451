package sqldb

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"
)

// migrator returns connections of their own: goose expects that statements outside a transaction are committed. A change of a
// table waits until no transaction reads it, and all later transactions wait behind it. So it gives up early, to let them
// pass, and is tried again (see retryChange).
func (d *mysqlDialect) migrator(*sql.DB) (*sql.DB, func(), goose.Dialect, error) {
	db, err := d.connect(d.server.config, forMigrations, nil, 4)
	if err != nil {
		return nil, nil, "", err
	}
	return db, func() { _ = db.Close() }, goose.DialectMySQL, nil
}

// sessions implements migrating. A Galera node shows only its own. SHOW PROCESSLIST needs no privilege for the account's own
// sessions. Unlike information_schema.processlist of MySQL, it does not fail on the texts of other sessions' statements.
func (d *mysqlDialect) sessions(ctx context.Context, db *sql.DB) (n int, err error) {
	found, err := db.QueryContext(ctx, "SHOW PROCESSLIST")
	if err != nil {
		return 0, err
	}
	defer found.Close()
	columns, err := found.Columns()
	if err != nil {
		return 0, err
	}
	var name sql.NullString
	targets := make([]any, len(columns))
	for i, column := range columns {
		if targets[i] = new(sql.RawBytes); strings.EqualFold(column, "db") {
			targets[i] = &name
		}
	}
	err = Each(found, func(scan Scan) error {
		err := scan(targets...)
		if name.String == d.server.config.DBName {
			n++
		}
		return err
	})
	return n, err
}

// lockMigrations takes a named lock of the server on a connection of its own; it ends with the connection at the latest. Nodes
// of a Galera cluster do not see each other's named locks, and take a second lock that all of them see.
func (d *mysqlDialect) lockMigrations(ctx context.Context, db *sql.DB) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, migrateWait+mysqlOpen)
	defer cancel()
	ofServer, err := d.lockServer(ctx, db)
	if err != nil || !d.galera {
		return ofServer, err
	}
	ofCluster, err := d.lockCluster(ctx, db)
	if err != nil {
		ofServer()
		return nil, err
	}
	return func() {
		ofCluster()
		ofServer()
	}, nil
}

// lockCluster creates a table: of all nodes that do so at once, one succeeds. The table stays when its owner dies; the error of
// the next process names it.
func (d *mysqlDialect) lockCluster(ctx context.Context, db *sql.DB) (release func(), err error) {
	const name = "orderflow_migrating"
	for deadline := time.Now().Add(migrateWait); ; {
		_, err := db.ExecContext(ctx, "CREATE TABLE "+name+" (id INT PRIMARY KEY) ENGINE=InnoDB ROW_FORMAT=DYNAMIC")
		e, failed := errors.AsType[*mysql.MySQLError](err)
		switch {
		case err == nil:
			return func() {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), mysqlDial)
				defer cancel()
				_, _ = db.ExecContext(ctx, "DROP TABLE IF EXISTS "+name) // a table that stays is named in the error of the next process
			}, nil
		case !failed || e.Number != mysqlTableExists:
			return nil, d.openError(err)
		case time.Now().After(deadline) || !sleep(ctx, 10*lockPause):
			return nil, errorf(Unavailable, "Another process has been migrating %s for too long; check that process. "+
				"If there is none, it died during a migration: DROP TABLE %s, and try again.", d.address(), name)
		}
	}
}

// mysqlTableExists is the error of a table that exists already.
const mysqlTableExists = 1050

func (d *mysqlDialect) lockServer(ctx context.Context, db *sql.DB) (release func(), err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, d.openError(err)
	}
	var got sql.NullInt64
	err = conn.QueryRowContext(ctx, "SELECT GET_LOCK(?, ?)", d.migrationLock(), int(migrateWait.Seconds())).Scan(&got)
	switch {
	case err != nil:
		err = d.openError(err)
	case got.Int64 != 1:
		err = errorf(Unavailable, "Another process has been migrating %s for too long; check that process.", d.address())
	default:
		return func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), mysqlDial)
			defer cancel()
			_, _ = conn.ExecContext(ctx, "DO RELEASE_LOCK(?)", d.migrationLock()) // else it ends with the connection
			_ = conn.Close()
		}, nil
	}
	return nil, errors.Join(err, conn.Close())
}

// migrationLock is the name of the lock: names of locks are the server's, not the database's, and short.
func (d *mysqlDialect) migrationLock() string {
	sum := sha256.Sum256([]byte(d.server.config.DBName))
	return "orderflow:migrate:" + hex.EncodeToString(sum[:16])
}
