package sqldb

import (
	"context"
	"crypto/x509"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// postgresNoDatabase is the state of a connection to a database that does not exist.
const postgresNoDatabase = "3D000"

// classify goes by SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html).
func (*postgresDialect) classify(err error) Class {
	if err == nil {
		return Other
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return classOfState(e.Code)
	}
	if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" {
		return unavailable
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return unavailable
	}
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, pgconn.ErrConnClosed) || pgconn.SafeToRetry(err) {
		return lost
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return unavailable
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return lost
	}
	return Other
}

func classOfState(state string) Class {
	switch state {
	case "23505", "23P01": // a unique key, an exclusion constraint
		return Duplicate
	case "23503": // no such row for a foreign key
		return ForeignKey
	case "40001", "40P01", // a serialization failure, a deadlock
		"55P03", // a lock that was not granted in time
		"26000", // a prepared statement is gone
		"0A000": // the plan of a prepared statement no longer fits the table, after a migration; the driver has forgotten it
		return transient
	case "25006": // read-only
		return moved
	case "57P01", "57P02", // the session was ended; another session crashed
		"57P05", "25P03", "25P04", // idle for too long; the same in a transaction; a transaction took too long
		"40003": // it is unknown whether the statement was completed
		return lost
	case "57014", // took too long, or was cancelled
		"57P03", "57P04", // starting up or shutting down; the database was dropped
		"42501", "3D000", // not allowed, no such database
		"55000": // not in this state
		return unavailable
	}
	switch state[:min(2, len(state))] {
	case "08": // connection exceptions
		return lost
	case "28", // the user is refused
		"53",       // too many connections; no disk or memory
		"58", "XX": // errors of the system; damaged data, errors of the server
		return unavailable
	}
	return Other
}

// hasState reports whether an error of the server has one of these states.
func hasState(err error, states ...string) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && slices.Contains(states, e.Code)
}

// mayReturn implements errorClasses.
func (d *postgresDialect) mayReturn(err error) bool {
	class := d.classify(err)
	return class == lost || class == unavailable
}

// unavailable does not explain: errors of a server name its accounts and hosts.
func (*postgresDialect) unavailable(error) string { return unavailableMessage }

// lockTimedOut implements errorClasses.
func (*postgresDialect) lockTimedOut(err error) bool { return hasState(err, "55P03") }

// needsRemedy implements errorClasses: read-only, the disk is full, a grant is missing.
func (*postgresDialect) needsRemedy(err error) bool { return hasState(err, "25006", "53100", "42501") }

func (d *postgresDialect) explain(err error) string {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return d.explainConnecting(err)
	}
	switch e.Code {
	case "28P01", "28000":
		return fmt.Sprintf("the server refuses the user (%s); check user, password and pg_hba.conf, "+
			"and add ?sslmode=require where the server asks for encryption.", oneLine(errors.New(e.Message)))
	case postgresNoDatabase:
		return "there is no such database on the server."
	case "42501":
		return fmt.Sprintf("the user lacks a right (%s); grant it. docs/operations/configure.md names the rights that are needed.",
			oneLine(errors.New(e.Message)))
	case "53300":
		return "the server has too many connections; raise max_connections, or lower --database-pool."
	case "53100":
		return "the disk is full; free some space."
	case "25006":
		return "the server is read-only; name the one that takes writes."
	case "57P03":
		return "the server is starting up or shutting down; try again shortly."
	}
	return fmt.Sprintf("error %s: %s", e.Code, oneLine(errors.New(e.Message)))
}

// explainConnecting makes an error of a connection that could not be made one clear line.
func (d *postgresDialect) explainConnecting(err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "the certificate of the server is signed by an authority that is not known here; name the file with the certificate of " +
			"that authority: ?sslmode=verify-full&sslrootcert=FILE."
	}
	if wrong, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Sprintf("the certificate of the server is not for the host in the address (%s); name the host as the certificate does.",
			oneLine(wrong))
	}
	if unknown, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Sprintf("the host %s cannot be looked up (%s); check the address and the name server.", unknown.Name, unknown.Err)
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "the connection was refused; check the address and that the server runs."
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "it did not answer in time; check the address and the server."
	}
	// The driver's own text names user and host, but never the password.
	return oneLine(err) + "; check the address and that the server runs."
}
