package env

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a child process and all that it started.
type Process struct {
	Log   *Output         // the outputs that the command does not direct elsewhere
	Ended <-chan struct{} // closed when the process is gone
	Err   error           // how the process ended; read it after Ended

	command *exec.Cmd
}

// Start starts a command. End it with Stop or Kill.
func Start(command *exec.Cmd) (*Process, error) {
	ended := make(chan struct{})
	p := &Process{Log: &Output{}, Ended: ended, command: command}
	if command.Stdout == nil {
		command.Stdout = p.Log
	}
	if command.Stderr == nil {
		command.Stderr = p.Log
	}
	if command.SysProcAttr == nil {
		command.SysProcAttr = &syscall.SysProcAttr{}
	}
	command.SysProcAttr.Setpgid = true
	if err := command.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(ended)
		p.Err = command.Wait()
	}()
	return p, nil
}

// StartProcess is Start for one test. The process is killed when the test ends.
func StartProcess(t testing.TB, command *exec.Cmd) *Process {
	t.Helper()
	p, err := Start(command)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// Ready waits until a server of the product listens, and returns its HOST:PORT.
func (p *Process) Ready() (addr string, err error) {
	const announcement = " is ready on http://"
	err = Poll(func() error {
		addr = p.Log.After(announcement)
		select {
		case <-p.Ended:
			return nil
		default:
		}
		if addr == "" {
			return errors.New("the server is not ready")
		}
		return nil
	})
	if addr == "" {
		if err == nil {
			err = fmt.Errorf("the server ended before it was ready: %w", p.Err)
		}
		return "", fmt.Errorf("%w\n%s", err, p.Log)
	}
	return addr, nil
}

// PID returns the id of the process.
func (p *Process) PID() int { return p.command.Process.Pid }

// Signal sends a signal to the process alone.
func (p *Process) Signal(signal syscall.Signal) error {
	if err := p.command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// SignalGroup sends a signal to the process and all that it started.
func (p *Process) SignalGroup(signal syscall.Signal) error {
	if err := syscall.Kill(-p.command.Process.Pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

// Wait waits until the process ends and returns how it did. After the limit it kills the process.
func (p *Process) Wait(limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.Ended:
		return p.Err
	case <-timer.C:
		return errors.Join(fmt.Errorf("the process did not end within %s", limit), p.Kill())
	}
}

// Stop asks the process to end, and returns how it did.
func (p *Process) Stop(signal syscall.Signal) error {
	if err := p.Signal(signal); err != nil {
		return err
	}
	return p.Wait(Patience)
}

// Kill ends the process and all that it started; when it returns, the process is gone.
func (p *Process) Kill() error {
	err := p.SignalGroup(syscall.SIGKILL)
	<-p.Ended
	return err
}

// ExitCode returns the exit code of a process that has ended, -1 after a signal.
func (p *Process) ExitCode() int { return p.command.ProcessState.ExitCode() }

// Output collects what a process prints or logs.
type Output struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// String returns all that was written.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// After returns what follows a text up to the end of its line, "" before that line is complete.
func (o *Output) After(text string) string {
	_, rest, _ := strings.Cut(o.String(), text)
	line, _, complete := strings.Cut(rest, "\n")
	if !complete {
		return ""
	}
	return line
}

// Reset forgets what was written.
func (o *Output) Reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Reset()
}
