package servers

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// PostgresURL is the address of a database on a PostgreSQL server, as --database takes it.
func PostgresURL(addr, database string) string { return "postgres://postgres@" + addr + "/" + database }

// Postgres starts a PostgreSQL server with a new, empty cluster of databases below dir (see Folder), durable unless settings,
// NAME=VALUE, say otherwise; later ones win. Its user postgres has no password.
func Postgres(ctx context.Context, dir string, settings ...string) (*Server, error) {
	s, err := newPostgres(ctx, dir, settings...)
	if err != nil {
		return nil, err
	}
	return s, s.Start(ctx)
}

// newPostgres makes a server that is not started yet.
func newPostgres(ctx context.Context, dir string, settings ...string) (*Server, error) {
	path, err := findPostgres("postgres")
	if err != nil {
		return nil, err
	}
	initdb, err := findPostgres("initdb")
	if err != nil {
		return nil, err
	}
	s := &Server{name: "postgres", path: path, answers: startsSession, stop: syscall.SIGINT, workers: true}
	if s.user, err = account("postgres"); err != nil {
		return nil, err
	}
	if s.port, err = FreePort(); err != nil {
		return nil, err
	}
	s.dir = filepath.Join(dir, "postgres-"+strconv.Itoa(s.port))
	if err := own(s.dir, s.user); err != nil {
		return nil, err
	}
	data := filepath.Join(s.dir, "data")
	fill := exec.CommandContext(ctx, initdb, "--pgdata="+data, "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
	fill.Dir, fill.SysProcAttr = s.dir, attributes(s.user)
	if output, err := fill.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, output)
	}
	s.args = []string{"-D", data}
	for _, setting := range append([]string{
		"listen_addresses=127.0.0.1", "port=" + strconv.Itoa(s.port), "unix_socket_directories=",
		"max_connections=500", "shared_buffers=256MB", "fsync=on", "synchronous_commit=on",
	}, settings...) {
		s.args = append(s.args, "-c", setting)
	}
	return s, nil
}

// findPostgres returns the path of a binary of the server. Debian installs several versions beside each other; the newest counts.
func findPostgres(binary string) (string, error) {
	if path, err := exec.LookPath(binary); err == nil {
		return path, nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + binary)
	if err != nil || len(found) == 0 {
		return "", errors.Join(missing(binary, "postgresql"), err)
	}
	slices.Sort(found)
	return found[len(found)-1], nil
}

// startsSession asks for a session, which the server refuses while it is starting.
func startsSession(conn net.Conn) error {
	const version = 3 << 16
	parameters := "user\x00postgres\x00database\x00postgres\x00\x00"
	message := binary.BigEndian.AppendUint32(nil, uint32(8+len(parameters)))
	message = append(binary.BigEndian.AppendUint32(message, version), parameters...)
	if _, err := conn.Write(message); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return err
	}
	if answer[0] != 'R' {
		return errors.New("it refuses sessions")
	}
	return nil
}
