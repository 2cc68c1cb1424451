package main

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"

	"orderflow/internal/bench"
	"orderflow/test/servers"
)

// server is the product in a process of its own.
type server struct {
	process *bench.Process
	url     string // of the API
	live    string // of the WebSockets
	env     []string
}

// start starts a server on a new SQLite file with enough stock.
func start(ctx context.Context, binary, file string, flags []string) (*server, error) {
	env := []string{"HOME=/nonexistent"} // without the caller's settings
	database := []string{"--database", "sqlite:" + file}
	seed := exec.CommandContext(ctx, binary, append([]string{"seed", "--stock", "1000000000"}, database...)...)
	seed.Env = env
	if out, err := seed.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("seed: %w: %s", err, out)
	}
	port, err := servers.FreePort()
	if err != nil {
		return nil, err
	}
	live := "127.0.0.1:" + strconv.Itoa(port)
	args := append([]string{
		"serve", "--addr", "127.0.0.1:0", "--realtime-addr", live, "--rate-limit", "off", "--roles", "api,realtime",
	}, append(database, flags...)...)
	process, err := bench.StartProcess(ctx, binary, args, env)
	if err != nil {
		return nil, err
	}
	return &server{process: process, url: process.URL, live: "ws://" + live, env: env}, nil
}
