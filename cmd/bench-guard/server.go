package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"orderflow/test/servers"
)

// forSale is how many products there are, whatever a load buys of them; their ids begin at 1.
const forSale = 100

// readyTimeout is how long a server may take to be ready after it accepts connections.
const readyTimeout = 30 * time.Second

// start fills an empty database and starts the server of a build on it. Commands and flags are those that builds have had
// for long, since BASE may be an old one.
func start(ctx context.Context, binary, name, dir string, l load, shared shared) (*side, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	port, err := servers.FreePort()
	if err != nil {
		return nil, err
	}
	address := "127.0.0.1:" + strconv.Itoa(port)
	database := "sqlite:" + filepath.Join(dir, name+".db")
	args := []string{
		"serve", "--addr", address, "--realtime-addr", "127.0.0.1:0", "--rate-limit", "off", "--log-format", "json", "--roles", "api",
	}
	if l.shared {
		database = servers.MySQLURL(shared.mariadb.Addr(), "orderflow_"+name)
		args = append(args, "--redis", servers.RedisURL(shared.redis.Addr()), "--redis-prefix", name+":")
	}
	if l.pipeline {
		args = append(args, "--roles", "api,worker", "--simulated-latency", "0", "--simulated-success", "1")
	}
	for _, verb := range [][]string{{"migrate", "fresh", "--yes"}, {"seed", "--products", strconv.Itoa(forSale), "--stock", "1000000000"}} {
		if said, err := exec.CommandContext(ctx, binary, append(verb, "--database", database)...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s %s: %w: %s", binary, verb[0], err, said)
		}
	}
	server, err := servers.Program(ctx, dir, binary, port, append(args, "--database", database)...)
	if err != nil {
		return nil, err
	}
	s := &side{binary: binary, server: server, url: "http://" + address, shared: shared}
	if err := s.ready(ctx); err != nil {
		return nil, errors.Join(err, server.Kill())
	}
	return s, nil
}

// ready waits until the server takes orders.
func (s *side) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // ctx limits its time
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/readyz", nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err == nil {
			_ = response.Body.Close() // the status is all that is read
			if response.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("%s is not ready: %s", s.binary, response.Status)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w; its log says:\n%s", err, s.server.Log())
		}
	}
}
