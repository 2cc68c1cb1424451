package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// postgresServer is a server as the settings name it.
type postgresServer struct {
	config  *pgx.ConnConfig
	replica *pgx.ConnConfig // nil for none
	pool    int             // connections for writes, and as many for reads
	create  bool            // a database that does not exist is created
	warn    func(string)
}

const (
	postgresDial      = 2 * time.Second
	postgresOpen      = 10 * time.Second // for all that opening does
	postgresIdle      = 5 * time.Minute  // connections that are idle for longer are closed
	postgresLife      = 5 * time.Minute  // of a connection, give or take a quarter: addresses may come to lead elsewhere
	postgresLockWait  = "3s"             // that a statement waits for a row; a write may take Limits.Write in all
	postgresTableWait = "1s"             // that a change of the schema waits for a table, and all others behind it
	postgresVersion   = 150000           // the least
	postgresForm      = "postgres://USER:PASSWORD@HOST:PORT/NAME"
)

// postgresVariables are the session variables that a statement depends on, with the values that every session gets. They come with
// the start of the session, where they override the defaults of the server, the database and the role. PostgreSQL 15 has all
// of them.
func postgresVariables(p purpose) map[string]string {
	variables := map[string]string{
		"application_name": "orderflow",
		// Transactions.
		"default_transaction_isolation":  "read committed",
		"default_transaction_read_only":  "off",
		"default_transaction_deferrable": "off",
		"exit_on_error":                  "off",
		// What a statement means.
		"client_encoding":             "UTF8",
		"standard_conforming_strings": "on",
		"backslash_quote":             "safe_encoding",
		"search_path":                 "public",
		"TimeZone":                    "UTC",
		"DateStyle":                   "ISO, MDY",
		"IntervalStyle":               "postgres",
		"bytea_output":                "hex",
		"extra_float_digits":          "1",
		"array_nulls":                 "on",
		"transform_null_equals":       "off",
		"row_security":                "off", // rows that a policy hides are an error
		// Where and how rows are stored.
		"default_table_access_method": "heap",
		"default_tablespace":          "",
		// A plan for any values does not serve lists of ids of all lengths.
		"plan_cache_mode": "auto",
		// Time limits, in milliseconds where no unit is given. A client that vanishes keeps its row locks until one of them ends its session.
		"statement_timeout":                   "0",
		"lock_timeout":                        "0",
		"idle_session_timeout":                "0",
		"idle_in_transaction_session_timeout": "10min",
		"tcp_user_timeout":                    "0",
	}
	switch p {
	case forWrites:
		limit := strconv.Itoa(SessionTimeout) + "s"
		variables["statement_timeout"] = limit
		variables["idle_in_transaction_session_timeout"] = limit
		variables["tcp_user_timeout"] = limit
		variables["lock_timeout"] = postgresLockWait
	case forMigrations:
		variables["lock_timeout"] = postgresTableWait
	case forReads:
	}
	return variables
}

// newPostgres returns the dialect of the server that address names. Its errors do not show the address.
func newPostgres(address string, options Options) (*postgresDialect, error) {
	server := postgresServer{pool: options.Pool, create: !options.Existing, warn: options.Warn}
	if server.pool == 0 {
		server.pool = DefaultPool
	}
	if server.warn == nil {
		server.warn = func(string) {}
	}
	var err error
	if server.config, err = parsePostgres(address); err == nil && options.Replica != "" {
		server.replica, err = parsePostgres(options.Replica)
	}
	if err != nil {
		return nil, errorf(Unavailable, "Cannot open the database: %s.", err)
	}
	return &postgresDialect{server: server}, nil
}

// parsePostgres reads postgres://USER:PASSWORD@HOST:PORT/NAME?sslmode=…. Its errors do not show the address, which contains the
// password.
func parsePostgres(address string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(address)
	if err != nil || config.Host == "" || config.Database == "" || strings.Contains(config.Database, "/") {
		return nil, errors.New("the address cannot be read; use " + postgresForm)
	}
	config.ConnectTimeout = postgresDial
	config.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
	return config, nil
}

// connect makes a pool.
func (d *postgresDialect) connect(config *pgx.ConnConfig, p purpose, connections int) *sql.DB {
	config = config.Copy()
	maps.Copy(config.RuntimeParams, postgresVariables(p))
	db := sql.OpenDB(postgresConnector{stdlib.GetConnector(*config), d, p})
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxIdleTime(postgresIdle)
	return db
}

// postgresConnector opens the connections of one pool.
type postgresConnector struct {
	driver.Connector

	dialect *postgresDialect
	purpose purpose
}

const (
	// postgresIdentity tells servers apart: by the number of the cluster of databases, which copies share, and by the timeline,
	// which changes when a standby is promoted.
	postgresIdentity = "(SELECT system_identifier FROM pg_control_system()) || ' ' || " +
		"CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END"

	backendStart = "EXTRACT(EPOCH FROM a.backend_start)::text"
)

// Connect implements driver.Connector. All of it has a time limit, since database/sql opens connections for waiting callers
// without one: a server that accepts and then stays silent would block them all.
func (c postgresConnector) Connect(ctx context.Context) (driver.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, postgresDial)
	defer cancel()
	plain, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	inner, ok := plain.(*stdlib.Conn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a connection of the driver is a %T", plain), plain.Close())
	}
	life := postgresLife*3/4 + time.Duration(mathrand.Int64N(int64(postgresLife/2)))
	conn := &postgresConn{Conn: inner, dialect: c.dialect, generation: c.dialect.generation.Load(), expires: time.Now().Add(life)}
	if c.purpose == forWrites {
		const query = "SELECT " + postgresIdentity + ", a.pid, " + backendStart + " FROM pg_stat_activity a WHERE a.pid = pg_backend_pid()"
		err = inner.Conn().QueryRow(ctx, query).Scan(&conn.session.server, &conn.session.pid, &conn.session.start)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// postgresConn is a connection that accepts the placeholders of this package, and that its pool gives up when it has become old
// or leads to a server that refused a write.
type postgresConn struct {
	*stdlib.Conn

	dialect    *postgresDialect
	generation int64
	expires    time.Time
	session    sessionID // of a connection for writes
}

func (c *postgresConn) expired() bool {
	return time.Now().After(c.expires) || c.generation != c.dialect.generation.Load()
}

// ResetSession implements driver.SessionResetter: a pool calls it before it hands a connection out again.
func (c *postgresConn) ResetSession(ctx context.Context) error {
	if c.expired() {
		return driver.ErrBadConn
	}
	return c.Conn.ResetSession(ctx)
}

// IsValid implements driver.Validator.
func (c *postgresConn) IsValid() bool { return !c.expired() && !c.Conn.Conn().IsClosed() }

// Close implements driver.Conn. The server may have closed the connection already, which is no failure.
func (c *postgresConn) Close() error {
	_ = c.Conn.Close()
	return nil
}

// errRolledBack is the answer to a COMMIT in a transaction in which a statement failed.
var errRolledBack = errors.New("the server rolled the transaction back, since one of its statements had failed")

// ExecContext implements driver.ExecerContext.
func (c *postgresConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if query == "COMMIT" {
		tag, err := c.Conn.Conn().Exec(ctx, query)
		if err == nil && tag.String() != query {
			err = errRolledBack
		}
		return driver.ResultNoRows, err
	}
	return c.Conn.ExecContext(ctx, numbered(query), args)
}

// QueryContext implements driver.QueryerContext.
func (c *postgresConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.Conn.QueryContext(ctx, numbered(query), args)
}

// numbered returns a statement with $1, $2, … for its placeholders. A question mark between quotes is text.
func numbered(query string) string {
	if !strings.Contains(query, "?") {
		return query
	}
	b := make([]byte, 0, len(query)+len(query)/4)
	quoted, n := false, int64(0)
	for i := range len(query) {
		switch c := query[i]; {
		case c == '?' && !quoted:
			n++
			b = strconv.AppendInt(append(b, '$'), n, 10)
		default:
			quoted = quoted != (c == '\'')
			b = append(b, c)
		}
	}
	return string(b)
}

func (d *postgresDialect) open(ctx context.Context) (p pools, err error) {
	ctx, cancel := context.WithTimeout(ctx, postgresOpen)
	defer cancel()
	defer func() {
		if err != nil {
			err = errors.Join(d.openError(err), p.close())
			p = pools{}
		}
	}()
	err = d.check(ctx)
	if hasState(err, postgresNoDatabase) && d.server.create {
		if err = d.createDatabase(ctx); err == nil {
			err = d.check(ctx)
		}
	}
	if err != nil {
		return p, err
	}
	p.Writer = d.connect(d.server.config, forWrites, d.server.pool)
	p.Writer.SetConnMaxIdleTime(0) // the writers keep theirs
	p.Reader = NewPool(d.connect(d.server.config, forReads, d.server.pool), d.Prepares())
	if d.server.replica != nil {
		p.Replica = NewPool(d.connect(d.server.replica, forReads, d.server.pool), d.Prepares())
	}
	return p, nil
}

// onServer runs work on a connection to the database that every server has.
func (d *postgresDialect) onServer(_ context.Context, work func(db *sql.DB) error) error {
	config := d.server.config.Copy()
	config.Database = "postgres"
	db := d.connect(config, forReads, 1)
	defer func() { _ = db.Close() }() // it has done what it was for
	return work(db)
}

// createDatabase creates the database. Another process may do it at the same time.
func (d *postgresDialect) createDatabase(ctx context.Context) error {
	return d.onServer(ctx, func(db *sql.DB) error {
		_, err := db.ExecContext(ctx, "CREATE DATABASE "+pgx.Identifier{d.server.config.Database}.Sanitize()+" ENCODING 'UTF8' TEMPLATE template0")
		if hasState(err, "42P04", "23505") { // it exists by now
			return nil
		}
		return err
	})
}

// check refuses a server that cannot keep the promises, and warns of settings by which it would not.
func (d *postgresDialect) check(ctx context.Context) error {
	db := d.connect(d.server.config, forReads, 1)
	defer func() { _ = db.Close() }() // it was only queried
	variables := map[string]string{}
	found, err := db.QueryContext(ctx, "SELECT name, setting FROM pg_settings WHERE name IN ('server_version', 'server_version_num', "+
		"'server_encoding', 'session_replication_role', 'synchronous_commit', 'fsync', 'full_page_writes') "+
		"UNION ALL SELECT 'in_recovery', pg_is_in_recovery()::text")
	if err != nil {
		return err
	}
	err = Each(found, func(scan Scan) error {
		var name, value string
		err := scan(&name, &value)
		variables[name] = value
		return err
	})
	if err != nil {
		return err
	}
	if version, err := strconv.Atoi(variables["server_version_num"]); err != nil || version < postgresVersion {
		return errorf(Unavailable, "The server is PostgreSQL %s; Orderflow needs 15 or later.", variables["server_version"])
	}
	if encoding := variables["server_encoding"]; encoding != "UTF8" {
		return errorf(Unavailable, "The encoding of the database is %s; create it with ENCODING 'UTF8'.", encoding)
	}
	for _, warning := range postgresWarnings(variables) {
		d.server.warn(d.address() + ": " + warning)
	}
	return nil
}

// postgresWarnings are the settings that break a promise only when the machine, not the server, fails, or that will hinder.
func postgresWarnings(variables map[string]string) (all []string) {
	if variables["synchronous_commit"] == "off" {
		all = append(all, "synchronous_commit is off: orders that were confirmed may be lost when the server fails; set it to on")
	}
	if variables["fsync"] == "off" {
		all = append(all, "fsync is off: the database may be lost when the machine fails; switch it on")
	}
	if variables["full_page_writes"] == "off" {
		all = append(all, "full_page_writes is off: a page torn by a failure of the machine cannot be repaired; switch it on")
	}
	if role := variables["session_replication_role"]; role != "origin" {
		all = append(all, "session_replication_role is "+role+": the server does not check foreign keys; set it to origin")
	}
	if variables["in_recovery"] == "true" {
		all = append(all, "the server is a standby: orders will be refused until it is promoted")
	}
	return all
}

// connected takes over what was learnt about a writer's new connection.
func (d *postgresDialect) connected(w *writer) error {
	return w.conn.Raw(func(raw any) error {
		conn, ok := raw.(*postgresConn)
		if !ok {
			return fmt.Errorf("a connection for writes is a %T", raw)
		}
		w.session, w.expired = conn.session, conn.expired
		return nil
	})
}

func (d *postgresDialect) address() string {
	c := d.server.config
	return "postgres://" + c.User + "@" + c.Host + ":" + strconv.Itoa(int(c.Port)) + "/" + c.Database
}

func (d *postgresDialect) openError(err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return errorf(e.Kind, "Cannot use the database %s: %s", d.address(), e.Message)
	}
	if hasState(err, postgresNoDatabase) {
		return errorf(NotFound, "There is no database %s; check the name, or make one with orderflow migrate up.", d.address())
	}
	return errorf(Unavailable, "Cannot open the database %s: %s", d.address(), d.explain(err))
}
