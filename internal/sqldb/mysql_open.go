package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// mysqlServer is a server as the settings name it.
type mysqlServer struct {
	config  *mysql.Config
	replica *mysql.Config // nil for none
	pool    int           // connections for writes, and as many for reads
	create  bool          // create a missing database
	warn    func(string)
}

const (
	mysqlDial      = 2 * time.Second
	mysqlOpen      = 10 * time.Second // for opening all pools
	mysqlIdle      = 5 * time.Minute  // connections for reads that are idle for longer are closed
	mysqlLife      = 5 * time.Minute  // of a connection, ± 25 %: the address may lead to another server by then
	mysqlPacketMin = 16 << 20         // bytes; the default of MariaDB, MySQL 8 has 64 MB
	mysqlLockWait  = 3                // seconds that a statement waits for a row; Limits.Write bounds all of them
	mysqlTableWait = 1                // seconds that a change of the schema waits for a table; later statements wait behind it
	mysqlPort      = "3306"
)

// parseMySQL reads mysql://USER:PASSWORD@HOST:PORT/NAME?tls=true&ca=FILE. Its errors do not show the address, which
// contains the password.
func parseMySQL(address string) (*mysql.Config, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("the address cannot be read; use mysql://USER:PASSWORD@HOST:PORT/NAME")
	}
	name := strings.TrimPrefix(u.Path, "/")
	if u.Scheme != "mysql" || u.Hostname() == "" || name == "" || strings.Contains(name, "/") {
		return nil, errors.New("the address cannot be read; use mysql://USER:PASSWORD@HOST:PORT/NAME")
	}
	port := u.Port()
	if port == "" {
		port = mysqlPort
	}
	c := mysql.NewConfig()
	c.User = u.User.Username()
	c.Passwd, _ = u.User.Password()
	c.Net, c.Addr, c.DBName = "tcp", net.JoinHostPort(u.Hostname(), port), name
	if err := encrypt(c, u.Query()); err != nil {
		return nil, err
	}
	c.ParseTime, c.Loc, c.InterpolateParams, c.ClientFoundRows = true, time.UTC, true, true
	c.Collation = "utf8mb4_bin" // MariaDB lacks the 0900 collations of MySQL 8
	c.Timeout = mysqlDial
	c.Logger = &mysql.NopLogger{} // calls return its errors
	return c, nil
}

// connect makes a pool.
func (d *mysqlDialect) connect(config *mysql.Config, of purpose, server *primary, connections int) (*sql.DB, error) {
	plain, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector{plain, d, of, server})
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxIdleTime(mysqlIdle)
	return db, nil
}

func (d *mysqlDialect) open(ctx context.Context) (p pools, err error) {
	ctx, cancel := context.WithTimeout(ctx, mysqlOpen)
	defer cancel()
	defer func() {
		if err != nil {
			err = errors.Join(d.openError(err), p.close())
			p = pools{}
		}
	}()
	if d.server.create {
		if err := d.createDatabase(ctx); err != nil {
			return p, err
		}
	}
	if d.galera, err = d.check(ctx); err != nil {
		return p, err
	}
	writes := d.server.config.Clone()
	writes.MultiStatements = true
	d.primary.balanced = d.galera
	if p.Writer, err = d.connect(writes, forWrites, &d.primary, d.server.pool); err != nil {
		return p, err
	}
	p.Writer.SetConnMaxIdleTime(0) // the writers keep theirs
	if p.Reader, err = d.readers(d.server.config, &d.primary); err != nil {
		return p, err
	}
	if d.server.replica != nil {
		p.Replica, err = d.readers(d.server.replica, nil)
	}
	return p, err
}

func (d *mysqlDialect) readers(config *mysql.Config, server *primary) (*Pool, error) {
	db, err := d.connect(config, forReads, server, d.server.pool)
	if err != nil {
		return nil, err
	}
	return NewPool(db, d.Prepares()), nil
}

// createDatabase creates the database if the server has none of that name.
func (d *mysqlDialect) createDatabase(ctx context.Context) error {
	bare := d.server.config.Clone()
	name := bare.DBName
	bare.DBName = ""
	db, err := d.connect(bare, forReads, nil, 1)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // it is not needed any more
	var there int
	const query = "SELECT count(*) FROM information_schema.schemata WHERE schema_name = ?"
	if err := db.QueryRowContext(ctx, query, name).Scan(&there); err != nil || there > 0 {
		return err
	}
	_, err = db.ExecContext(ctx, "CREATE DATABASE IF NOT EXISTS "+quoteName(name)+" CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
	return err
}

func quoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// check refuses a server that lacks what the statements need, and warns of settings that would lose orders. galera reports whether
// the server is a node of a Galera cluster.
func (d *mysqlDialect) check(ctx context.Context) (galera bool, err error) {
	db, err := d.connect(d.server.config, forReads, nil, 1)
	if err != nil {
		return false, err
	}
	defer func() { _ = db.Close() }() // it was only queried
	variables := map[string]string{}
	found, err := db.QueryContext(ctx, "SHOW GLOBAL VARIABLES WHERE variable_name IN ('version', 'innodb_flush_log_at_trx_commit', "+
		"'sync_binlog', 'log_bin', 'binlog_format', 'innodb_doublewrite', 'max_allowed_packet', 'wsrep_on', 'read_only', 'super_read_only')")
	if err != nil {
		return false, err
	}
	err = Each(found, func(scan Scan) error {
		var name, value string
		err := scan(&name, &value)
		variables[strings.ToLower(name)] = strings.ToUpper(value)
		return err
	})
	if err != nil {
		return false, err
	}
	galera = variables["wsrep_on"] == "ON"
	if err := refuse(variables); err != nil {
		return galera, err
	}
	for _, warning := range warnings(variables, galera) {
		d.server.warn(d.address() + ": " + warning)
	}
	return galera, nil
}

// refuse returns an error for a server on which Orderflow does not run.
func refuse(variables map[string]string) error {
	version := variables["version"]
	var major, minor, patch int
	_, _ = fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch) // an unreadable version stays 0, which is too old
	least, name := [3]int{8, 0, 16}, "MySQL"
	if strings.Contains(version, "MARIADB") {
		least, name = [3]int{10, 6, 0}, "MariaDB"
	}
	has := [3]int{major, minor, patch}
	for i := range has {
		if has[i] != least[i] {
			if has[i] < least[i] {
				return errorf(Unavailable, "The server is %s %s; Orderflow needs %d.%d.%d or later (MariaDB 10.6, MySQL 8.0.16).",
					name, strings.ToLower(version), least[0], least[1], least[2])
			}
			break
		}
	}
	if packet, err := strconv.ParseInt(variables["max_allowed_packet"], 10, 64); err == nil && packet < mysqlPacketMin {
		return errorf(Unavailable, "max_allowed_packet of the server is %d; a batch needs %d or more.", packet, mysqlPacketMin)
	}
	return nil
}

// warnings are the settings that lose orders when the machine fails, or that prevent writes.
func warnings(variables map[string]string, galera bool) (all []string) {
	if v := variables["innodb_flush_log_at_trx_commit"]; v != "1" && !galera {
		all = append(all, "innodb_flush_log_at_trx_commit is "+v+": orders that were confirmed may be lost when the machine fails; set it to 1")
	}
	if v := variables["sync_binlog"]; variables["log_bin"] == "ON" && v != "1" {
		all = append(all, "sync_binlog is "+v+": after the machine fails replicas may lack orders that were confirmed; set it to 1")
	}
	if variables["innodb_doublewrite"] == "OFF" || variables["innodb_doublewrite"] == "0" {
		all = append(all, "innodb_doublewrite is off: a page torn by a failure of the machine cannot be repaired; switch it on")
	}
	if variables["log_bin"] == "ON" && variables["binlog_format"] == "STATEMENT" {
		all = append(all, "binlog_format is STATEMENT: InnoDB refuses writes at READ COMMITTED; set it to ROW or MIXED")
	}
	if variables["read_only"] == "ON" || variables["super_read_only"] == "ON" {
		all = append(all, "the server is read-only: orders will be refused until it is not")
	}
	return all
}

// connected copies the properties of a new connection to its writer.
func (d *mysqlDialect) connected(w *writer) error {
	return w.conn.Raw(func(raw any) error {
		conn, ok := raw.(*mysqlConn)
		if !ok {
			return fmt.Errorf("a connection for writes is a %T", raw)
		}
		w.session, w.idsSpread, w.expired = conn.session, conn.idsSpread, conn.expired
		return nil
	})
}

func (d *mysqlDialect) address() string {
	c := d.server.config
	return "mysql://" + c.User + "@" + c.Addr + "/" + c.DBName
}

func (d *mysqlDialect) openError(err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return errorf(e.Kind, "Cannot use the database %s: %s", d.address(), e.Message)
	}
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok && e.Number == 1049 {
		return errorf(NotFound, "There is no database %s; check the name, or make one with orderflow migrate up.", d.address())
	}
	return errorf(Unavailable, "Cannot open the database %s: %s", d.address(), d.explain(err))
}
