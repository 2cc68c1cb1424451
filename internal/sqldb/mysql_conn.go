package sqldb

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
)

// driverConn is the methods of the driver's connections.
type driverConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.NamedValueChecker
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// mysqlConn is a connection with the session variables set. Its pool gives it up when it is old, or leads to a server that has been
// replaced.
type mysqlConn struct {
	driverConn

	primary    *primary // nil for the replica's
	generation int64    // of primary
	opened     time.Time
	expires    time.Time
	session    sessionID
	idsSpread  bool // ids of rows inserted together need not follow each other
	mariaDB    bool
}

// expired reports whether the connection should be replaced by a new one.
func (c *mysqlConn) expired() bool {
	now := time.Now()
	return now.After(c.expires) || c.primary != nil && c.primary.replaced(c, now)
}

// ResetSession implements driver.SessionResetter: a pool calls it before it hands a connection out again.
func (c *mysqlConn) ResetSession(ctx context.Context) error {
	if c.expired() {
		return driver.ErrBadConn
	}
	return c.driverConn.ResetSession(ctx)
}

// IsValid implements driver.Validator.
func (c *mysqlConn) IsValid() bool { return !c.expired() && c.driverConn.IsValid() }

// Close implements driver.Conn. The server may have closed the connection already, which is not an error.
func (c *mysqlConn) Close() error {
	_ = c.driverConn.Close()
	return nil
}

// connector opens the connections of one pool.
type connector struct {
	driver.Connector

	dialect *mysqlDialect
	purpose purpose
	primary *primary // nil for the replica's
}

// Connect implements driver.Connector. All of it has a time limit, since database/sql opens connections for waiting
// callers without one, one after the other: a server that accepts and then stays silent would block them all.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, mysqlDial)
	defer cancel()
	plain, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	inner, ok := plain.(driverConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a connection of the driver is a %T, which lacks methods", plain), plain.Close())
	}
	life := mysqlLife*3/4 + time.Duration(mathrand.Int64N(int64(mysqlLife/2)))
	now := time.Now()
	conn := &mysqlConn{driverConn: inner, primary: c.primary, opened: now, expires: now.Add(life)}
	if err := c.setUp(ctx, conn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// mysqlUnknownVariable is the error of a variable that the server lacks.
const mysqlUnknownVariable = 1193

// setUp sets the session's variables and reads which server it is on.
func (c connector) setUp(ctx context.Context, conn *mysqlConn) error {
	if err := c.identify(ctx, conn); err != nil {
		return err
	}
	for try := 1; ; try++ {
		names, err := c.dialect.variables(ctx, conn, try > 1)
		if err != nil {
			return err
		}
		_, err = conn.ExecContext(ctx, setStatement(sessionVariables(c.dialect.galera), names, c.purpose), nil)
		if e, ok := errors.AsType[*mysql.MySQLError](err); ok && e.Number == mysqlUnknownVariable && try == 1 {
			continue // another release of the server has replaced the one whose names were read
		}
		return err
	}
}

// identify reads which server the connection leads to; a connection for writes also takes its named lock.
func (c connector) identify(ctx context.Context, conn *mysqlConn) error {
	lock, args := "1", []driver.NamedValue(nil)
	if c.purpose == forWrites {
		conn.session.lock = "orderflow:writer:" + rand.Text()
		lock, args = "GET_LOCK(?, 0)", []driver.NamedValue{{Ordinal: 1, Value: conn.session.lock}}
	}
	var got, step int64
	var version string
	err := queryRow(ctx, conn, unlimited+lock+", @@auto_increment_increment, "+identity+", VERSION() LIMIT 1", args,
		&got, &step, &conn.session.server, &version)
	if err != nil {
		return err
	}
	conn.mariaDB = strings.Contains(strings.ToLower(version), "mariadb")
	if got != 1 {
		return errors.New("the server gave a connection no named lock")
	}
	conn.idsSpread = step != 1 || c.dialect.galera
	if c.primary != nil {
		conn.generation = c.primary.noteServer(conn.session.server)
	}
	return nil
}

// unlimited begins a SELECT on a session that still has the server's limits; each kind of server reads its own comment. A LIMIT must
// end the SELECT, since it overrides sql_select_limit.
const unlimited = "/*M!100600 SET STATEMENT max_statement_time = 2 FOR */ SELECT /*+ MAX_EXECUTION_TIME(2000) */ "

// identity is an expression that tells servers apart: by the name and the port, and by the number where these are the same in
// containers.
const identity = "CONCAT_WS(' ', @@hostname, @@port, @@server_id)"

// queryRow reads the one row of a query on a driver's connection.
func queryRow(ctx context.Context, conn driver.QueryerContext, query string, args []driver.NamedValue, targets ...any) error {
	found, err := conn.QueryContext(ctx, query, args)
	if err != nil {
		return err
	}
	row := make([]driver.Value, len(found.Columns()))
	if err := found.Next(row); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("the server answers a query of one row with none; check its settings of sessions, such as init_connect")
		}
		return errors.Join(err, found.Close())
	}
	for i, target := range targets {
		if err := scanInto(target, row[i]); err != nil {
			return errors.Join(err, found.Close())
		}
	}
	return found.Close()
}

func scanInto(target any, value driver.Value) error {
	if text, ok := value.([]byte); ok {
		value = string(text)
	}
	switch to := target.(type) {
	case *int64:
		var number sql.NullInt64
		err := number.Scan(value)
		*to = number.Int64
		return err
	case *string:
		var text sql.NullString
		err := text.Scan(value)
		*to = text.String
		return err
	}
	return fmt.Errorf("no column is read into a %T", target)
}

// primary is the server for writes behind the address. The address may come to lead to another server: after a fail-over,
// or a switch-over that leaves the old server alive and read-only. Connections that were opened before belong to the old
// server and never meet an error there, so they are given up. A connection is given up when a later one has led to another
// server, and when a write was refused after it was opened, so that the address is looked up again.
type primary struct {
	balanced bool // several servers behind one address are usual: nodes of a Galera cluster

	mu         sync.Mutex
	server     string       // which the last connection led to
	changes    [4]time.Time // of server, the latest ones in a ring
	changed    int          // of changes, in all
	generation int64        // counts refusals
	refused    time.Time
}

// SettleTime is how long a connection is used at least where the address has led to several servers within settlePeriod.
// Otherwise a connection would be opened for every statement.
const (
	SettleTime   = time.Second
	settlePeriod = 10 * time.Second
)

// noteServer notes which server a new connection leads to, and returns the connection's generation.
func (p *primary) noteServer(server string) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server != "" && p.server != server {
		p.changes[p.changed%len(p.changes)] = time.Now()
		p.changed++
	}
	p.server = server
	return p.generation
}

// replaced reports whether a connection leads to a server that has been replaced, or may have been.
func (p *primary) replaced(c *mysqlConn, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.generation != p.generation {
		return true
	}
	if p.balanced || c.session.server == p.server {
		return false
	}
	several := now.Sub(p.changes[p.changed%len(p.changes)]) < settlePeriod // the earliest of the latest changes
	return !several || now.Sub(c.opened) >= SettleTime
}

// noteMoved notes that the server accepts no more writes, at most once in SettleTime.
func (p *primary) noteMoved() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.refused) >= SettleTime {
		p.generation++
		p.refused = time.Now()
	}
}
