package cli

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"orderflow/test/env"
)

// background is a server in a process of its own.
type background struct {
	*env.Process
	addr   string
	stderr *env.Output
}

// startServer starts a server, directly or by a command such as make, and waits for its ready line.
func startServer(folder string, environ []string, name string, args ...string) (*background, error) {
	b, command := &background{stderr: &env.Output{}}, exec.Command(name, args...)
	command.Dir, command.Env, command.Stderr = folder, environ, b.stderr
	var err error
	if b.Process, err = env.Start(command); err != nil {
		return nil, err
	}
	if b.addr, err = b.Ready(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w%s", name, err, b.stderr), b.Kill())
	}
	return b, nil
}

// stop sends a signal to the server and to the command that started it, as Ctrl-C does, and waits for the end.
func (b *background) stop(signal syscall.Signal) error {
	if err := b.SignalGroup(signal); err != nil {
		return err
	}
	return b.Wait(env.Patience)
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
