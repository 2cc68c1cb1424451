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
)

// patience is how long a test waits for what should come in milliseconds: machines that run tests are busy.
const patience = time.Minute

// background is a server that a test started.
type background struct {
	command *exec.Cmd
	url     string
	out     *collector
	err     *collector
	ended   chan struct{} // closed when the process and all that it started are gone
	result  error         // of the process; read it after ended
}

// startServer starts a command that becomes a server, by itself or as make does, and waits until it says that it is
// ready.
func startServer(folder string, env []string, name string, args ...string) (*background, error) {
	b := &background{command: exec.Command(name, args...), out: newCollector(), err: newCollector(), ended: make(chan struct{})}
	b.command.Dir, b.command.Env = folder, env
	b.command.Stdout, b.command.Stderr = b.out, b.err
	b.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that stop reaches what make started
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

// stop asks the server to end, as Ctrl-C and supervisors do, and waits for it. The error is that of the process.
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

// kill leaves nothing behind.
func (b *background) kill() error {
	err := syscall.Kill(-b.command.Process.Pid, syscall.SIGKILL)
	<-b.ended
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// collector keeps what a process prints, and tells the address of a ready line as soon as there is one.
type collector struct {
	ready chan string // has room for the one address

	lock sync.Mutex
	text strings.Builder
	told bool
}

func newCollector() *collector { return &collector{ready: make(chan string, 1)} }

// Write implements io.Writer.
func (c *collector) Write(p []byte) (int, error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.text.Write(p)
	if !c.told {
		if _, rest, found := strings.Cut(c.text.String(), " is ready on "); found {
			if url, _, whole := strings.Cut(rest, "\n"); whole {
				c.told = true
				c.ready <- url
			}
		}
	}
	return len(p), nil
}

// String is all that was printed.
func (c *collector) String() string {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.text.String()
}

// stackTrace reports whether a text looks like what a Go program prints when it panics.
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
