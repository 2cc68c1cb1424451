// Command bench-guard compares two builds of the product. It sends the same orders to both in alternating turns, and compares the
// processor time per order of the server, the database and Redis.
//
//	go run ./cmd/bench-guard --base bin/before --work bin/after
//
// `make bench-guard BASE=<commit>` builds both and runs it. docs/performance.md describes the method.
//
// Exit codes: 0 when all loads pass, 3 when a load fails, 4 when a load is not known and none fails, 1 when the measurement failed.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"orderflow/test/servers"
)

// settings are the flags.
type settings struct {
	Base    string   `help:"Binary to compare with." required:"" placeholder:"FILE"`
	Work    string   `help:"Binary that is compared (default: ${default})." default:"bin/orderflow" placeholder:"FILE"`
	Loads   []string `help:"Only loads whose name contains one of these words, such as sqlite or create-100 (default: all)." placeholder:"WORD"`
	Pairs   int      `help:"Pairs of each load before its verdict is computed (default: ${default})." placeholder:"N" default:"13"`
	Most    int      `help:"Limit of pairs of a load whose interval is too wide for a verdict (default: ${default})." placeholder:"N" default:"60"`
	Orders  int      `help:"Orders of each client in a turn (default: those of the load)." placeholder:"N"`
	Clients int      `help:"Connections, each with one request in flight (default: ${default})." placeholder:"N" default:"256"`
}

// Validate is called by the parser.
func (s *settings) Validate() error {
	switch {
	case s.Pairs < minPairs || s.Pairs > s.Most || s.Most > 1000:
		return fmt.Errorf("--pairs (%d) is at least %d, --most (%d) at least as many and at most 1000", s.Pairs, minPairs, s.Most)
	case s.Orders < 0 || s.Orders > 10_000 || s.Clients < 1 || s.Clients > 10_000:
		return errors.New("--orders is 0 to 10000, --clients 1 to 10000")
	case len(chosen(s.Loads)) == 0:
		return fmt.Errorf("--loads: none of %s contains one of %q", names(loads()), s.Loads)
	}
	return nil
}

// minPairs is the least number of pairs for a verdict.
const minPairs = 12

// Exit codes, besides 0 and those of the parser.
const (
	exitNotMeasured = 1
	exitFails       = 3
	exitNotKnown    = 4
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var s settings
	kong.Parse(&s, kong.Name("bench-guard"), kong.Description(
		"Compare the processor time per order of two builds.\n\nExample: bench-guard --base bin/before --work bin/after --loads sqlite"))
	for _, variable := range os.Environ() { // the servers must not read the caller's settings
		if name, _, _ := strings.Cut(variable, "="); name != "PATH" && name != "HOME" && name != "TMPDIR" {
			_ = os.Unsetenv(name)
		}
	}
	code, err := run(ctx, s, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-guard:", err)
	}
	os.Exit(code)
}

// run measures the chosen loads and prints the table.
func run(ctx context.Context, s settings, out, progress io.Writer) (code int, err error) {
	dir, err := servers.Folder()
	if err != nil {
		return exitNotMeasured, err
	}
	g := &guard{settings: s, dir: dir, progress: progress}
	defer func() {
		if err = errors.Join(err, g.stop(), os.RemoveAll(dir)); err != nil {
			code = exitNotMeasured
		}
	}()
	var done []outcome
	for _, l := range chosen(s.Loads) {
		pairs, err := g.measure(ctx, l)
		if err != nil {
			return exitNotMeasured, err
		}
		done = append(done, outcome{l, pairs})
	}
	return exitCode(done), report(out, done)
}

func exitCode(done []outcome) int {
	switch worst(done) {
	case fails:
		return exitFails
	case notKnown:
		return exitNotKnown
	case passes:
	}
	return 0
}
