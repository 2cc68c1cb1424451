package bench

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
)

const (
	readyTimeout = time.Minute      // from the start of a process to its ready line, also on a busy machine
	endTimeout   = 35 * time.Second // from SIGTERM to SIGKILL; a server ends within 30 s
	logKept      = 64 << 10         // bytes of the log that are kept for errors
)

// Process is a server in a process of its own.
type Process struct {
	URL string // without a path, such as http://127.0.0.1:40123

	command *exec.Cmd
	log     *tail
	ended   chan struct{} // closed when the process has ended
	result  error         // of the process; valid after ended
}

// StartProcess starts a server that prints the line "… is ready on URL", and waits for that line. environ is its whole environment.
// Ctrl-C does not reach the process; the caller stops it.
func StartProcess(ctx context.Context, binary string, args, environ []string) (*Process, error) {
	p := &Process{log: &tail{max: logKept}, ended: make(chan struct{})}
	p.command = exec.Command(binary, args...) //nolint:noctx // Stop ends it in order
	p.command.Env, p.command.Stderr = environ, p.log
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	if err := p.awaitReady(ctx, out); err != nil {
		return nil, errors.Join(err, p.Kill())
	}
	return p, nil
}

// awaitReady waits for the ready line. The output is read until its end, so that the process never blocks on it.
func (p *Process) awaitReady(ctx context.Context, out io.Reader) error {
	lines := make(chan string, 1)
	go func() {
		defer close(p.ended)
		reader := bufio.NewReader(out)
		line, _ := reader.ReadString('\n') // after an error the line has no address
		lines <- line
		_, _ = io.Copy(io.Discard, reader)
		p.result = p.command.Wait()
	}()
	timer := time.NewTimer(readyTimeout)
	defer timer.Stop()
	select {
	case line := <-lines:
		_, url, found := strings.Cut(strings.TrimSpace(line), " is ready on ")
		if found {
			p.URL = url
			return nil
		}
		<-p.ended
		return fmt.Errorf("the server did not start: %s", p.Log())
	case <-timer.C:
		return fmt.Errorf("the server was not ready within %s: %s", readyTimeout, p.Log())
	case <-ctx.Done():
		return ctx.Err()
	}
}

// PID returns the id of the process.
func (p *Process) PID() int { return p.command.Process.Pid }

// Log returns the end of the log.
func (p *Process) Log() string { return strings.TrimSpace(p.log.String()) }

// Stop sends SIGTERM and waits until the process has ended. After 35 s, or when ctx ends, it kills the process. A process that ended
// with an error, or had to be killed, is an error.
func (p *Process) Stop(ctx context.Context) error {
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	timer := time.NewTimer(endTimeout)
	defer timer.Stop()
	select {
	case <-p.ended:
		if p.result != nil {
			return fmt.Errorf("the server ended with an error: %w: %s", p.result, p.Log())
		}
		return nil
	case <-timer.C:
	case <-ctx.Done():
	}
	return errors.Join(fmt.Errorf("the server did not stop within %s", endTimeout), p.Kill())
}

// Kill kills the process and waits for its end.
func (p *Process) Kill() error {
	err := p.command.Process.Kill()
	<-p.ended
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}
