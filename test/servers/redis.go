package servers

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strconv"
	"strings"
)

// Redis starts a Redis server on a new, empty folder below dir (see Folder): append-only, never evicting, unless flags
// say otherwise: "--NAME", "VALUE", later ones win.
func Redis(ctx context.Context, dir string, flags ...string) (*Server, error) {
	s, err := newRedis(dir, flags...)
	if err != nil {
		return nil, err
	}
	return s, s.Start(ctx)
}

// RedisURL is the address of a Redis server, as --redis takes it.
func RedisURL(addr string) string { return "redis://" + addr }

// newRedis makes a server that is not started yet.
func newRedis(dir string, flags ...string) (*Server, error) {
	path, err := find("redis-server", "redis-server")
	if err != nil {
		return nil, err
	}
	s := &Server{name: "redis-server", path: path, answers: pongs}
	if s.port, err = FreePort(); err != nil {
		return nil, err
	}
	s.dir = filepath.Join(dir, "redis-"+strconv.Itoa(s.port))
	if err := own(s.dir, nil); err != nil {
		return nil, err
	}
	s.args = append([]string{
		"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--appendonly", "yes",
		"--maxmemory-policy", "noeviction",
	}, flags...)
	return s, nil
}

// pongs asks a Redis server for an answer. That it wants a password is one; that it is still loading is none.
func pongs(conn net.Conn) error {
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	answer := make([]byte, 64)
	n, err := conn.Read(answer)
	if err != nil {
		return err
	}
	if said := string(answer[:n]); !strings.HasPrefix(said, "+PONG") && !strings.HasPrefix(said, "-NOAUTH") {
		return errors.New(strings.TrimSpace(said))
	}
	return nil
}
