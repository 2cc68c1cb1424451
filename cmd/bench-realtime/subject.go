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

// subject is a measured server, a process of its own.
type subject struct {
	name     string
	wire     wire
	server   *servers.Server
	addr     string // of WebSockets and of publishing, HOST:PORT
	api      string // of the API, HOST:PORT; orderflow only
	database string // likewise
}

// start starts a server; flags are additional flags for orderflow. With redis, the URL of a server, orderflow has the role realtime
// alone, else all roles.
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
	// More stock than any load buys.
	if out, err := exec.CommandContext(ctx, m.settings.Binary, "seed", "--database", s.database, "--stock", "1000000000").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("seed: %w: %s", err, out)
	}
	app := application()
	s.server, err = servers.Program(ctx, m.dir, m.settings.Binary, port, append([]string{
		"serve", "--realtime-addr", s.addr, "--realtime-app-id", app.ID, "--realtime-key", app.Key, "--realtime-secret", app.Secret,
		"--database", s.database, "--rate-limit", "off",
	}, flags...)...)
	return s, err
}

// audit verifies the invariants of a server that has stopped.
func (m *measurement) audit(ctx context.Context, s *subject) error {
	if out, err := exec.CommandContext(ctx, m.settings.Binary, "audit", "--database", s.database).CombinedOutput(); err != nil {
		return fmt.Errorf("audit: %w: %s", err, out)
	}
	return nil
}

// stop stops the server.
func (s *subject) stop() error {
	if s == nil || s.server == nil {
		return nil
	}
	return s.server.Stop()
}

// watched is a subject with its listener and its publishers.
type watched struct {
	*subject

	listener   *listenerProcess
	publishers *publisherGroup
}

// watch connects the subscribers. The caller closes the result, also after an error.
func watch(ctx context.Context, s *subject, subscribers, channels int) (*watched, counts, error) {
	w := &watched{subject: s}
	var err error
	if w.listener, err = newListenerProcess(ctx); err != nil {
		return w, counts{}, err
	}
	w.publishers = newPublishers(s.wire, s.addr, channels)
	h, err := w.listener.ask(request{Do: doConnect, Subject: s.name, Addr: s.addr, Subscribers: subscribers, Channels: channels})
	return w, h, err
}

func (w *watched) close() error {
	var err error
	if w.listener != nil {
		err = w.listener.close()
	}
	if w.publishers != nil {
		w.publishers.close()
	}
	return errors.Join(err, w.stop())
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
