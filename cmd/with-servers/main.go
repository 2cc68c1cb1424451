// Command with runs another command beside a private database server (see servers.Database) and a private Redis. The other finds
// their addresses in DATABASE_URL and REDIS_URL:
//
//	go run ./cmd/with-servers bin/orderflow serve
//
// Both servers end with it, and their data is deleted.
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
		if ended, ok := errors.AsType[*exec.ExitError](err); ok && ended.ExitCode() > 0 {
			os.Exit(ended.ExitCode())
		}
		fmt.Fprintln(os.Stderr, "with:", err)
		os.Exit(1)
	}
}

func run(args []string) (err error) {
	if len(args) == 0 {
		return errors.New("usage: with COMMAND [ARGUMENT ...]")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := servers.Folder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	database, err := servers.Database(ctx, dir)
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
		"DATABASE_URL="+servers.MySQLURL(database.Addr(), "orderflow"), "REDIS_URL="+servers.RedisURL(redis.Addr()))
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
