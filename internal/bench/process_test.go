package bench

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
)

// wait is a shell script that runs until a signal ends it. It starts no process, which would keep the output open.
const wait = `while :; do :; done`

func TestProcess(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		code   int // exit code after Stop
	}{
		"ends in order":      {`trap 'exit 0' TERM; echo "Test is ready on http://127.0.0.1:1"; ` + wait, 0},
		"ends with an error": {`trap 'echo broken >&2; exit 3' TERM; echo "Test is ready on http://127.0.0.1:1"; ` + wait, 3},
	} {
		t.Run(name, func(t *testing.T) {
			process, err := StartProcess(t.Context(), "/bin/sh", []string{"-c", c.script}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if process.URL != "http://127.0.0.1:1" {
				t.Errorf("the address is %q", process.URL)
			}
			err = process.Stop(t.Context())
			exit, failed := errors.AsType[*exec.ExitError](err)
			if failed != (c.code != 0) {
				t.Fatalf("Stop returned %v", err)
			}
			if failed && exit.ExitCode() != c.code {
				t.Errorf("exit code %d, want %d", exit.ExitCode(), c.code)
			}
			if failed && !strings.Contains(err.Error(), "broken") {
				t.Errorf("the error has no log: %v", err)
			}
			if err := process.Kill(); err != nil {
				t.Errorf("Kill of a process that has ended: %v", err)
			}
		})
	}
}

func TestProcessDoesNotStart(t *testing.T) {
	for name, c := range map[string]struct{ binary, script, want string }{
		"ends before it is ready": {"/bin/sh", "echo broken >&2", "the server did not start: broken"},
		"no such binary":          {"/nonexistent/sh", "", "no such file"},
		"interrupted":             {"/bin/sh", wait, "context canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if name == "interrupted" {
				cancel()
			}
			_, err := StartProcess(ctx, c.binary, []string{"-c", c.script}, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}
