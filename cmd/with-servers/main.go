// Command with-servers runs a command with a private database server (see servers.Database) and a private Redis. The command gets their
// addresses in DATABASE_URL and REDIS_URL:
//
//	go run ./cmd/with-servers bin/orderflow serve
//	go run ./cmd/with-servers --postgres bin/orderflow serve
//
// With --postgres the database server is PostgreSQL. Both servers end with the command, and their data is deleted. The exit code is
// that of the command.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"orderflow/test/servers"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() > 0 {
			os.Exit(exit.ExitCode())
		}
		fmt.Fprintln(os.Stderr, "with-servers:", err)
		os.Exit(1)
	}
}

func run(args []string) (err error) {
	start, url := servers.Database, servers.MySQLURL
	if len(args) > 0 && args[0] == "--postgres" {
		args, start, url = args[1:], servers.Postgres, servers.PostgresURL
	}
	if len(args) == 0 {
		return errors.New("name the command to run, such as: with-servers bin/orderflow serve")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := servers.Folder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	database, err := start(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Stop()) }()
	redis, err := servers.Redis(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, redis.Stop()) }()

	command := exec.Command(args[0], args[1:]...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	command.Env = append(os.Environ(),
		"DATABASE_URL="+url(database.Addr(), "orderflow"), "REDIS_URL="+servers.RedisURL(redis.Addr()))
	if err := command.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return errors.Join(command.Process.Signal(syscall.SIGTERM), <-ended)
	}
}
