package chaos

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"orderflow/test/env"
)

// operator runs commands of docs/operations with the product in its PATH and no other settings than those that it is given.
type operator struct {
	t   *testing.T
	dir string // where it stands
	env []string
}

func newOperator(t *testing.T, dir string, settings ...string) *operator {
	t.Helper()
	return &operator{t: t, dir: dir, env: append([]string{
		"PATH=" + filepath.Dir(binary(t)) + string(os.PathListSeparator) + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + env.SharedFolder(t),
		"GORACE=halt_on_error=1 atexit_sleep_ms=0",
	}, settings...)}
}

// run runs one block of commands, as bash does, and returns what it printed.
func (o *operator) run(block string) string {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), env.Patience)
	defer cancel()
	shell := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", block)
	shell.Dir, shell.Env = o.dir, o.env
	var out, said bytes.Buffer
	shell.Stdout, shell.Stderr = &out, &said
	if err := shell.Run(); err != nil {
		o.t.Fatalf("%s%v: %s%s", block, err, out.String(), said.String())
	}
	return out.String()
}

// blocks returns the command blocks below a heading of a page of docs/operations; the test fails unless there are n.
func blocks(t *testing.T, page, heading string, n int) (found []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations", page))
	if err != nil {
		t.Fatal(err)
	}
	_, chapter, there := strings.Cut(string(text), "\n"+heading+"\n")
	chapter = regexp.MustCompile(`(?m)^##+ `).Split(chapter, 2)[0]
	for rest := chapter; ; {
		_, after, more := strings.Cut(rest, "\n```sh\n")
		if !more {
			break
		}
		block, after, _ := strings.Cut(after, "```")
		found, rest = append(found, block), after
	}
	if !there || len(found) != n {
		t.Fatalf("docs/operations/%s has %d command blocks below %q (heading found: %v), want %d", page, len(found), heading, there, n)
	}
	return found
}
