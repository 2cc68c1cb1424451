package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// classify goes by the error numbers of MySQL and MariaDB
// (https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html).
func (*mysqlDialect) classify(err error) Class {
	if err == nil {
		return Other
	}
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return classOfNumber(e.Number)
	}
	if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" {
		return unavailable
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return unavailable
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, mysql.ErrInvalidConn), errors.Is(err, io.EOF),
		errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, mysql.ErrMalformPkt), errors.Is(err, mysql.ErrPktSync),
		errors.Is(err, net.ErrClosed):
		return lost
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return lost
	}
	return Other
}

func (d *mysqlDialect) mayReturn(err error) bool {
	class := d.classify(err)
	return class == lost || class == unavailable
}

// unavailable returns no details: errors of a server name its accounts and hosts.
func (*mysqlDialect) unavailable(error) string { return unavailableMessage }

func (*mysqlDialect) lockTimedOut(err error) bool {
	e, ok := errors.AsType[*mysql.MySQLError](err)
	return ok && (e.Number == 1205 || e.Number == 3572) // lock wait time-out; NOWAIT
}

func classOfNumber(number uint16) Class {
	switch number {
	case 1062, // duplicate entry
		1586: // the same, with the name of the key
		return Duplicate
	case 1216, 1452: // no such row for a foreign key
		return ForeignKey
	case 1213, // deadlock; a certification conflict of Galera
		1205, // lock wait time-out
		1020, // a row changed since it was read
		3572, // NOWAIT
		1614: // XA transaction rolled back by a deadlock
		return transient
	case 1053, // shutting down
		1077, 1078, 1079, // likewise
		1317, // the statement was interrupted
		1927, // the connection was killed
		4031, // disconnected for being idle
		1180, // COMMIT failed; a Galera node that cannot replicate, since it met a conflict or lost its cluster
		2006, 2013:
		return lost
	case 1290, 1792, 1836: // read-only
		return moved
	case 1040, 1203, 1226, // too many connections, of all or of this user
		1044, 1045, 1049, 1142, // no access, no such database
		1047,                               // a Galera node without quorum
		3024,                               // took too long
		1021, 1030, 1037, 1041, 1114, 1135, // no disk, memory or threads
		1036, 1194, 1195, // a table that is read-only or broken
		1969,       // max_statement_time of MariaDB
		3100, 3101: // group replication gave the transaction up
		return unavailable
	}
	return Other
}

func (*mysqlDialect) needsRemedy(err error) bool {
	e, ok := errors.AsType[*mysql.MySQLError](err)
	if !ok {
		return false
	}
	switch e.Number {
	case 1290, 1792, 1836, // read-only
		1021, 1114, // the disk is full
		1044, 1142, // a grant is missing
		1047: // a Galera node without quorum
		return true
	}
	return false
}

func (d *mysqlDialect) explain(err error) string {
	e, ok := errors.AsType[*mysql.MySQLError](err)
	if !ok {
		if text := d.explainConnecting(err); text != "" {
			return text
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return "it did not answer in time; check the address and the server."
		}
		return strings.ReplaceAll(err.Error(), "\n", " ") + "; check the address and that the server runs."
	}
	if text := d.explainRefusal(e); text != "" {
		return text
	}
	switch e.Number {
	case 1049:
		return "there is no such database on the server."
	case 1040, 1203, 1226:
		return "the server has too many connections; raise max_connections, or lower --database-pool."
	case 1290: // mostly read_only, but also other options
		return "the server takes no writes: " + strings.ReplaceAll(e.Message, "\n", " ") + "; name the one that does."
	case 1792, 1836:
		return "the server is read-only; name the one that takes writes."
	case 1047:
		return "the Galera node has no quorum; restore the cluster."
	case 1114, 1021:
		return "the disk is full; free some space."
	}
	return fmt.Sprintf("error %d: %s", e.Number, strings.ReplaceAll(e.Message, "\n", " "))
}
