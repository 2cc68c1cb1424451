package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"syscall"
	"time"
)

// server is the product in a process of its own.
type server struct {
	url, live string // addresses of the API and of the WebSockets
	env       []string
	command   *exec.Cmd
}

// startWithin and stopWithin bound what a server takes to begin and to end.
const (
	startWithin = 20 * time.Second
	stopWithin  = 40 * time.Second
)

// What a server says when it is ready.
var (
	ready   = regexp.MustCompile(`ready on (http://\S+)`)
	sockets = regexp.MustCompile(`(ws://[^/\s]+)/app/`)
)

// start starts a server on a new SQLite file with enough to sell, and waits until it is ready.
func start(ctx context.Context, binary, file string, flags []string) (*server, error) {
	s := &server{env: []string{"HOME=/nonexistent"}} // no setting of the caller's
	database := []string{"--database", "sqlite:" + file}
	seed := exec.CommandContext(ctx, binary, append([]string{"seed", "--stock", "1000000000"}, database...)...)
	seed.Env = s.env
	if said, err := seed.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("seed: %w: %s", err, said)
	}
	args := append([]string{
		"serve", "--addr", "127.0.0.1:0", "--realtime-addr", "127.0.0.1:0", "--rate-limit", "off", "--roles", "api,realtime",
	}, append(database, flags...)...)
	s.command = exec.CommandContext(context.WithoutCancel(ctx), binary, args...) // it is stopped in order
	s.command.Env = s.env
	s.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for this process
	out, err := s.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.command.Start(); err != nil {
		return nil, err
	}
	limit := time.AfterFunc(startWithin, func() { _ = s.command.Process.Kill() })
	defer limit.Stop()
	for lines := bufio.NewScanner(out); lines.Scan() && (s.url == "" || s.live == ""); {
		if found := ready.FindStringSubmatch(lines.Text()); found != nil {
			s.url = found[1]
		}
		if found := sockets.FindStringSubmatch(lines.Text()); found != nil {
			s.live = found[1]
		}
		if s.url != "" && s.live != "" {
			return s, nil
		}
	}
	return nil, errors.Join(errors.New("the server did not say where it is ready"), s.stop())
}

// stop ends the server in order.
func (s *server) stop() error {
	if err := s.command.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	limit := time.AfterFunc(stopWithin, func() { _ = s.command.Process.Kill() })
	defer limit.Stop()
	return s.command.Wait()
}
