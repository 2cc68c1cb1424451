package cli

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"orderflow/test/env"
)

// patience limits every wait.
const patience = env.Patience

// background is a server in a process of its own.
type background struct {
	command *exec.Cmd
	url     string
	out     *collector
	err     *collector
	ended   chan struct{} // closed when the process and its children have ended
	result  error         // of the process; valid after ended
}

// startServer starts a server, directly or by a command such as make, and waits for its ready line.
func startServer(folder string, env []string, name string, args ...string) (*background, error) {
	b := &background{command: exec.Command(name, args...), out: newCollector(), err: newCollector(), ended: make(chan struct{})}
	b.command.Dir, b.command.Env = folder, env
	b.command.Stdout, b.command.Stderr = b.out, b.err
	b.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // stop reaches the children of make
	if err := b.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(b.ended)
		b.result = b.command.Wait()
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case b.url = <-b.out.ready:
		return b, nil
	case <-b.ended:
		return nil, fmt.Errorf("%s ended before it was ready (%w): %s%s", name, b.result, b.out, b.err)
	case <-timer.C:
		return nil, errors.Join(fmt.Errorf("%s was not ready within %s: %s%s", name, patience, b.out, b.err), b.kill())
	}
}

// stop sends a signal, as Ctrl-C and supervisors do, and waits for the end. It returns the error of the process.
func (b *background) stop(signal syscall.Signal) error {
	if err := syscall.Kill(-b.command.Process.Pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-b.ended:
		return b.result
	case <-timer.C:
		return errors.Join(fmt.Errorf("it did not end within %s after %s", patience, signal), b.kill())
	}
}

// kill kills the process and its children.
func (b *background) kill() error {
	err := syscall.Kill(-b.command.Process.Pid, syscall.SIGKILL)
	<-b.ended
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// collector keeps the output of a process, and sends the address in its ready line.
type collector struct {
	ready chan string // has a buffer for the address

	lock sync.Mutex
	text strings.Builder
	sent bool
}

func newCollector() *collector { return &collector{ready: make(chan string, 1)} }

// Write implements io.Writer.
func (c *collector) Write(p []byte) (int, error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.text.Write(p)
	if !c.sent {
		if _, rest, found := strings.Cut(c.text.String(), " is ready on "); found {
			if url, _, whole := strings.Cut(rest, "\n"); whole {
				c.sent = true
				c.ready <- url
			}
		}
	}
	return len(p), nil
}

// String returns the output.
func (c *collector) String() string {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.text.String()
}

// stackTrace reports whether a text looks like the stack trace of a panic.
func stackTrace(text string) bool {
	return strings.Contains(text, "goroutine ") || strings.Contains(text, "panic: ") || strings.Contains(text, "runtime error")
}

func TestStackTrace(t *testing.T) {
	for text, want := range map[string]bool{
		"panic: boom\n\ngoroutine 1 [running]:\nmain.main()\n": true,
		"orderflow: unknown flag --nope\n":                     false,
	} {
		if stackTrace(text) != want {
			t.Errorf("%q: stack trace %v", text, !want)
		}
	}
}
