package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"

	"orderflow/test/servers"
)

// subject is a server that is measured: a process of its own.
type subject struct {
	name     string
	wire     wire
	server   *servers.Server
	addr     string // where clients connect and publishers post, HOST:PORT
	api      string // where orders are placed, HOST:PORT; orderflow alone has one
	database string // likewise
}

// start starts a server; flags are for orderflow, besides those that every run has. With redis, the address of one, it
// has the role realtime alone, else all roles.
func (m *measurement) start(ctx context.Context, name, redis string, flags ...string) (*subject, error) {
	w, err := wireOf(name)
	if err != nil {
		return nil, err
	}
	port, err := servers.FreePort()
	if err != nil {
		return nil, err
	}
	s := &subject{name: name, wire: w, addr: loopback(port)}
	if name == socketIO {
		node, err := exec.LookPath("node")
		if err != nil {
			return nil, fmt.Errorf("socket.io needs node: %w", err)
		}
		s.server, err = servers.Program(ctx, m.dir, node, port, filepath.Join(m.settings.SocketIO, "server.mjs"), strconv.Itoa(port))
		return s, err
	}
	api, err := servers.FreePort()
	if err != nil {
		return nil, err
	}
	if redis == "" {
		flags = append(flags, "--roles", "api,worker,realtime", "--addr", loopback(api))
	} else {
		flags = append(flags, "--roles", "realtime", "--addr", "off", "--redis", redis)
	}
	s.api, s.database = loopback(api), "sqlite:"+filepath.Join(m.dir, strconv.Itoa(port)+".db")
	// Stock that no load buys up.
	if said, err := exec.CommandContext(ctx, m.settings.Binary, "seed", "--database", s.database, "--stock", "1000000000").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("seed: %w: %s", err, said)
	}
	app := application()
	s.server, err = servers.Program(ctx, m.dir, m.settings.Binary, port, append([]string{
		"serve", "--realtime-addr", s.addr, "--realtime-app-id", app.ID, "--realtime-key", app.Key, "--realtime-secret", app.Secret,
		"--database", s.database, "--rate-limit", "off",
	}, flags...)...)
	return s, err
}

// audit proves the books of a server that has ended.
func (m *measurement) audit(ctx context.Context, s *subject) error {
	if said, err := exec.CommandContext(ctx, m.settings.Binary, "audit", "--database", s.database).CombinedOutput(); err != nil {
		return fmt.Errorf("audit: %w: %s", err, said)
	}
	return nil
}

// stop ends the server in order.
func (s *subject) stop() error {
	if s == nil || s.server == nil {
		return nil
	}
	return s.server.Stop()
}

// watched is a subject with its audience and its publishers.
type watched struct {
	*subject

	audience *audience
	crowd    *crowd
}

// watch connects an audience. What it returns with an error must be closed, too.
func watch(ctx context.Context, s *subject, subscribers, channels int) (*watched, heard, error) {
	w := &watched{subject: s}
	var err error
	if w.audience, err = newAudience(ctx); err != nil {
		return w, heard{}, err
	}
	w.crowd = newCrowd(s.wire, s.addr, channels)
	h, err := w.audience.ask(ask{Do: askConnect, Subject: s.name, Addr: s.addr, Subscribers: subscribers, Channels: channels})
	return w, h, err
}

func (w *watched) close() error {
	var err error
	if w.audience != nil {
		err = w.audience.close()
	}
	if w.crowd != nil {
		w.crowd.close()
	}
	return errors.Join(err, w.stop())
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
