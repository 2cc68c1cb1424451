package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"orderflow/internal/app"
	"orderflow/internal/bench"
	"orderflow/internal/config"
)

const (
	childReady = 15 * time.Second // from the start of a child to its ready line
	childStop  = 35 * time.Second // from SIGTERM to SIGKILL; a server ends within 30 s
	childLog   = 64 << 10         // bytes of a child's last log lines that are kept for an error
)

// startChild starts this binary as a private server: on a free loopback port, on a new database in a temporary folder,
// with logs and metrics on and the rate limit off.
func startChild(ctx context.Context, want bench.Server) (running bench.Running, err error) {
	binary, err := os.Executable()
	if err != nil {
		return running, err
	}
	folder, err := os.MkdirTemp("", "orderflow-")
	if err != nil {
		return running, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(folder))
		}
	}()
	database := "sqlite:" + filepath.Join(folder, "orderflow.db")
	args := []string{"noop"}
	if !want.Noop {
		if err := prepare(ctx, database, want); err != nil {
			return running, err
		}
		args = serveArgs(database, want)
	}
	child, err := spawn(binary, args)
	if err != nil {
		return running, err
	}
	url, err := child.ready(ctx)
	if err != nil {
		return running, errors.Join(err, child.stop(context.WithoutCancel(ctx)))
	}
	running = bench.Running{
		URL: url, Spawned: child.started,
		Stop:   func(ctx context.Context) error { return errors.Join(child.stop(ctx), os.RemoveAll(folder)) },
		CPU:    func() (time.Duration, error) { return bench.ProcessCPU(child.command.Process.Pid) },
		Memory: func() (int64, error) { return bench.ProcessMemory(child.command.Process.Pid) },
	}
	if !want.Noop {
		books := booksOf(config.NewURL(database))
		running.Audit, running.Verify = books.audit, books.verify
	}
	return running, nil
}

// prepare fills a private database before its server starts.
func prepare(ctx context.Context, database string, want bench.Server) error {
	settings := config.Defaults()
	settings.Database = config.NewURL(database)
	return withNewDatabase(ctx, settings, func(db *app.Database) error {
		if err := db.Migrate(ctx); err != nil {
			return err
		}
		return db.Seed(ctx, app.SeedPlan{
			Products: int64(want.Products), Orders: want.Orders, SetStock: want.Stock > 0, Stock: want.Stock,
		})
	})
}

func serveArgs(database string, want bench.Server) []string {
	args := []string{
		"serve", "--addr", "127.0.0.1:0", "--database", database, "--rate-limit", "off", "--log-format", "json",
	}
	if want.Roles != "" {
		args = append(args, "--roles", want.Roles)
	}
	if want.BatchMax > 0 {
		args = append(args, "--batch-max", strconv.Itoa(want.BatchMax))
	}
	if want.InstantGateway {
		args = append(args, "--simulated-latency", "0", "--simulated-success", "1")
	}
	return args
}

// child is a server that runs as a process of its own.
type child struct {
	command *exec.Cmd
	started time.Time
	out     io.ReadCloser
	log     *lastBytes
	ended   chan struct{} // closed when the process has ended
	result  error         // of the process; read it after ended
}

func spawn(binary string, args []string) (*child, error) {
	c := &child{log: &lastBytes{max: childLog}, ended: make(chan struct{})}
	c.command = exec.Command(binary, args...) //nolint:noctx // this very binary; stop ends it, in its own time
	c.command.Env = config.Without(os.Environ())
	c.command.Stderr = c.log
	c.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the parent, which stops it in order
	out, err := c.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = out
	c.started = time.Now()
	return c, c.command.Start()
}

// ready waits for the line that says where the child listens, and from then on reads on so that it never blocks.
func (c *child) ready(ctx context.Context) (url string, err error) {
	lines := make(chan string, 1)
	go func() {
		defer close(c.ended)
		reader := bufio.NewReader(c.out)
		line, _ := reader.ReadString('\n') // an error leaves the line without an address
		lines <- line
		_, _ = io.Copy(io.Discard, reader) // until the child closes it
		c.result = c.command.Wait()
	}()
	timer := time.NewTimer(childReady)
	defer timer.Stop()
	select {
	case line := <-lines:
		if _, url, found := strings.Cut(strings.TrimSpace(line), " is ready on "); found {
			return url, nil
		}
		<-c.ended
		return "", fmt.Errorf("the private server did not start: %s", strings.TrimSpace(c.log.String()))
	case <-timer.C:
		return "", fmt.Errorf("the private server was not ready within %s", childReady)
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// stop ends the child, in order if it can.
func (c *child) stop(ctx context.Context) error {
	select {
	case <-c.ended:
		return c.verdict()
	default:
	}
	if err := c.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	timer := time.NewTimer(childStop)
	defer timer.Stop()
	select {
	case <-c.ended:
		return c.verdict()
	case <-timer.C:
	case <-ctx.Done():
	}
	err := c.command.Process.Kill()
	<-c.ended
	return errors.Join(fmt.Errorf("the private server did not stop within %s", childStop), err)
}

func (c *child) verdict() error {
	if c.result == nil {
		return nil
	}
	return fmt.Errorf("the private server ended badly: %w: %s", c.result, strings.TrimSpace(c.log.String()))
}
