// Command bench-watched measures how much observing a server slows orders down. It puts the same load in turn on a server without
// observers, on one that exports traces, and on one whose console ten browsers show.
//
//	go run ./cmd/bench-watched
//
// Each server is a process of its own with the roles api and realtime, over an SQLite file of its own. The load is that of
// orderflow bench on one hot product. The receiver of traces and the viewers run in this process and share the machine.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"

	"orderflow/internal/bench"
)

// settings are the flags.
type settings struct {
	Binary   string        `help:"The binary of the product." default:"bin/orderflow"`
	Rounds   int           `help:"Rounds; the servers alternate." default:"7"`
	Duration time.Duration `help:"Duration of one load, once a round." default:"4s"`
	Viewers  int           `help:"Viewers of the console's page Live." default:"10"`
	Sample   float64       `help:"Share of traced requests." default:"0.01"`
}

// Validate is called by the parser.
func (s *settings) Validate() error {
	if s.Rounds < 1 || s.Rounds > 1000 || s.Viewers < 1 || s.Viewers > 100 || s.Duration < 100*time.Millisecond || s.Duration > time.Minute {
		return errors.New("--rounds must be 1 to 1000, --viewers 1 to 100, --duration 100ms to 1m")
	}
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var s settings
	kong.Parse(&s, kong.Name("bench-watched"), kong.Description("Measures how much traces and the console slow orders down."))
	if err := measure(ctx, s, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench-watched:", err)
		stop()
		os.Exit(1)
	}
}

// subject is one server under load.
type subject struct {
	name   string
	flags  []string // additional flags
	server *server
	rates  []float64 // orders per second, by round
}

// measure loads all subjects in turn and prints the rates.
func measure(ctx context.Context, s settings, out, progress io.Writer) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dir, err := os.MkdirTemp("", "orderflow-watched-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	receiver, err := newReceiver(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, receiver.Close()) }()
	traces := []string{"--otlp-endpoint", "http://" + receiver.Addr, "--trace-sample", strconv.FormatFloat(s.Sample, 'f', -1, 64)}
	viewed := strconv.Itoa(s.Viewers) + " viewers of the console"
	all := []*subject{{name: "no observers"}, {name: "traces"}, {name: viewed}}
	all[1].flags = traces
	defer func() { err = errors.Join(err, stopAll(context.WithoutCancel(ctx), all)) }()
	for i, one := range all {
		if one.server, err = start(ctx, s.Binary, filepath.Join(dir, strconv.Itoa(i)+".db"), one.flags); err != nil {
			return err
		}
	}
	viewers, err := openViewers(ctx, all[2].server, s.Viewers)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, viewers.close()) }()
	for round := range s.Rounds {
		for i := range all { // each round begins with another subject
			one := all[(round+i)%len(all)]
			_, _ = fmt.Fprintf(progress, "round %d of %d: %s\n", round+1, s.Rounds, one.name)
			rate, err := load(ctx, s, one.server)
			if err != nil {
				return fmt.Errorf("%s: %w", one.name, err)
			}
			one.rates = append(one.rates, rate)
		}
	}
	return report(out, all)
}

// stopAll stops the started servers.
func stopAll(ctx context.Context, all []*subject) error {
	var errs []error
	for _, one := range all {
		if one.server != nil {
			errs = append(errs, one.server.process.Stop(ctx))
		}
	}
	return errors.Join(errs...)
}

// report prints a line for each subject, with the median of its rate relative to the first subject in the same round.
func report(out io.Writer, all []*subject) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "\torders/s\trelative\tby round\t")
	for _, one := range all {
		ratios, each := make([]float64, len(one.rates)), make([]string, len(one.rates))
		for i, rate := range one.rates {
			ratios[i] = rate / all[0].rates[i]
			each[i] = fmt.Sprintf("%.2f", ratios[i])
		}
		_, _ = fmt.Fprintf(table, "%s\t%.0f\t%.3f\t%s\t\n", one.name, bench.Median(one.rates), bench.Median(ratios), strings.Join(each, " "))
	}
	return table.Flush()
}

// load puts a load on a server and returns the orders per second.
func load(ctx context.Context, s settings, on *server) (float64, error) {
	command := exec.CommandContext(ctx, s.Binary, "bench", "--hot", "--json", "--url", on.url, "--duration", s.Duration.String())
	command.Env, command.Stderr = on.env, nil
	out, err := command.Output()
	if err != nil {
		return 0, fmt.Errorf("bench: %w: %s", err, errorText(err))
	}
	var read struct {
		Servers []struct {
			Rate float64 `json:"orders_per_second"`
		} `json:"servers"`
	}
	if err := json.Unmarshal(out, &read); err != nil || len(read.Servers) != 1 || read.Servers[0].Rate <= 0 {
		return 0, fmt.Errorf("bench reported no rate: %w", err)
	}
	return read.Servers[0].Rate, nil
}

func errorText(err error) []byte {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.Stderr
	}
	return nil
}

// newReceiver starts a receiver that discards traces.
func newReceiver(ctx context.Context) (*http.Server, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	receiver := &http.Server{
		Addr: listener.Addr().String(), ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }),
	}
	go func() { _ = receiver.Serve(listener) }() // ends with Close
	return receiver, nil
}
