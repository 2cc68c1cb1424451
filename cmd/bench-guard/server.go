package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"orderflow/internal/bench"
	"orderflow/test/servers"
)

// forSale is the number of products, of which a load buys some; their ids begin at 1.
const forSale = 100

// start fills an empty database and starts the server of a build on it. It uses only commands and flags that old builds have, too,
// since BASE may be an old commit.
func start(ctx context.Context, binary, name, dir string, l load, shared shared) (*side, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	database := "sqlite:" + filepath.Join(dir, name+".db")
	args := []string{
		"serve", "--addr", "127.0.0.1:0", "--realtime-addr", "127.0.0.1:0", "--rate-limit", "off", "--log-format", "json", "--roles", "api",
	}
	if l.shared {
		database = servers.MySQLURL(shared.mariadb.Addr(), "orderflow_"+name)
		args = append(args, "--redis", servers.RedisURL(shared.redis.Addr()), "--redis-prefix", name+":")
	}
	if l.pipeline {
		args = append(args, "--roles", "api,worker", "--simulated-latency", "0", "--simulated-success", "1")
	}
	for _, command := range [][]string{{"migrate", "fresh", "--yes"}, {"seed", "--products", strconv.Itoa(forSale), "--stock", "1000000000"}} {
		if out, err := exec.CommandContext(ctx, binary, append(command, "--database", database)...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s %s: %w: %s", binary, command[0], err, out)
		}
	}
	server, err := bench.StartProcess(ctx, binary, append(args, "--database", database), os.Environ())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", binary, err)
	}
	return &side{binary: binary, server: server, shared: shared}, nil
}
