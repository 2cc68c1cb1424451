package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"orderflow/internal/config"
)

const (
	childReady = time.Minute      // from the start of a child to its ready line; a busy machine takes its time
	childStop  = 35 * time.Second // from SIGTERM to SIGKILL; a server ends within 30 s
	childLog   = 64 << 10         // bytes of a child's last log lines that are kept for an error
)

// child is a server that runs as a process of its own.
type child struct {
	command *exec.Cmd
	out     io.ReadCloser
	log     *lastBytes
	ended   chan struct{} // closed when the process has ended
	result  error         // of the process; read it after ended
}

func spawn(binary string, args, environ []string) (*child, error) {
	c := &child{log: &lastBytes{max: childLog}, ended: make(chan struct{})}
	c.command = exec.Command(binary, args...) //nolint:noctx // this very binary; stop ends it, in its own time
	c.command.Env = append(config.Without(os.Environ()), environ...)
	c.command.Stderr = c.log
	c.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the parent, which stops it in order
	out, err := c.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = out
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
