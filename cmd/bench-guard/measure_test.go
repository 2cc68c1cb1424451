package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"orderflow/test/servers"
)

// product builds the product as make build does, which reuses its compiled packages.
func product(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "orderflow")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, "orderflow/cmd/orderflow")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return binary
}

// A pair has the same number of orders on both builds, and the processor time of all processes that a load uses.
func TestPair(t *testing.T) {
	dir, err := servers.Folder()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary := product(t)
	g := &guard{settings: settings{Base: binary, Work: binary, Orders: 1, Clients: 4}, dir: dir, progress: io.Discard}
	defer func() {
		if err := g.stop(); err != nil {
			t.Error(err)
		}
	}()
	for _, l := range chosen([]string{"pipeline"}) {
		t.Run(filepath.Dir(l.name), func(t *testing.T) {
			p, err := g.pair(t.Context(), l, 0)
			if err != nil {
				t.Fatal(err)
			}
			for name, c := range map[string]cost{"base": p.base, "work": p.work} {
				if want := int64(g.Clients * turnsEach); c.orders != want {
					t.Errorf("%s: %d orders, want %d", name, c.orders, want)
				}
				if c.server <= 0 {
					t.Errorf("%s: the server used %s", name, c.server)
				}
				if used := c.database > 0 && c.redis > 0; used != l.shared {
					t.Errorf("%s: the database used %s, Redis %s", name, c.database, c.redis)
				}
			}
		})
	}
	if left, err := os.ReadDir(filepath.Join(dir, "pair")); err == nil {
		t.Errorf("the pairs left %v behind", left)
	}
}

// A load that cannot be measured does not pass.
func TestRunCannotMeasure(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, ctx := range map[string]context.Context{"no such binary": t.Context(), "interrupted": ended} {
		t.Run(name, func(t *testing.T) {
			s := settings{Base: "/nonexistent/a", Work: "/nonexistent/b", Loads: []string{"sqlite"}, Pairs: 12, Most: 12, Clients: 1}
			code, err := run(ctx, s, io.Discard, io.Discard)
			if err == nil {
				t.Error("no error")
			}
			if code != exitNotMeasured {
				t.Errorf("exit code %d, want %d", code, exitNotMeasured)
			}
		})
	}
}
