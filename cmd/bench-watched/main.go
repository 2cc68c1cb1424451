// Command cost measures what watching costs the orders: the same load, in turn and in one run, on a server that nobody
// watches, on one that sends traces, and on one whose console ten people look at.
//
//	go run ./cmd/bench-watched
//
// Each server is a process of its own, over an SQLite file of its own, with the roles api and realtime; the load is that of
// orderflow bench on one hot product. Receiver of traces and viewers are in this process, and take their share of the
// machine, as they would elsewhere on it.
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

// settings are what the command line says.
type settings struct {
	Binary   string        `help:"The product." default:"bin/orderflow"`
	Rounds   int           `help:"In which the servers take turns." default:"7"`
	Duration time.Duration `help:"Of one load, once a round." default:"4s"`
	Viewers  int           `help:"Who look at the console's page Live." default:"10"`
	Sample   float64       `help:"Share of requests that are traced." default:"0.01"`
}

// Validate is called by the parser.
func (s *settings) Validate() error {
	if s.Rounds < 1 || s.Rounds > 1000 || s.Viewers < 1 || s.Viewers > 100 || s.Duration < 100*time.Millisecond || s.Duration > time.Minute {
		return errors.New("--rounds is 1 to 1000, --viewers 1 to 100, --duration 100ms to 1m")
	}
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var s settings
	kong.Parse(&s, kong.Name("cost"), kong.Description("Measure what traces and the console cost the orders."))
	if err := measure(ctx, s, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "cost:", err)
		stop()
		os.Exit(1)
	}
}

// subject is one server under load.
type subject struct {
	name   string
	flags  []string // beside those that all have
	server *server
	rates  []float64 // orders a second, a round each
}

// measure loads all subjects in turn and prints what came of it.
func measure(ctx context.Context, s settings, out, progress io.Writer) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dir, err := os.MkdirTemp("", "orderflow-cost-")
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
	viewed := strconv.Itoa(s.Viewers) + " look at the console"
	all := []*subject{{name: "nobody watches"}, {name: "traces"}, {name: viewed}}
	all[1].flags = traces
	defer func() { err = errors.Join(err, stopAll(context.WithoutCancel(ctx), all)) }()
	for i, one := range all {
		if one.server, err = start(ctx, s.Binary, filepath.Join(dir, strconv.Itoa(i)+".db"), one.flags); err != nil {
			return err
		}
	}
	viewers, err := look(ctx, all[2].server, s.Viewers)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, viewers.leave()) }()
	for round := range s.Rounds {
		for i := range all { // another one begins each time
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

// stopAll ends the servers that have been started.
func stopAll(ctx context.Context, all []*subject) error {
	var errs []error
	for _, one := range all {
		if one.server != nil {
			errs = append(errs, one.server.process.Stop(ctx))
		}
	}
	return errors.Join(errs...)
}

// report prints a line for each, with its rate against that of the first in the same round, median of all rounds.
func report(out io.Writer, all []*subject) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "\torders/s\tof the first\tin each round\t")
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

// load puts orders on one server and returns how many a second were taken.
func load(ctx context.Context, s settings, on *server) (float64, error) {
	command := exec.CommandContext(ctx, s.Binary, "bench", "--hot", "--json", "--url", on.url, "--duration", s.Duration.String())
	command.Env, command.Stderr = on.env, nil
	said, err := command.Output()
	if err != nil {
		return 0, fmt.Errorf("bench: %w: %s", err, errorText(err))
	}
	var read struct {
		Servers []struct {
			Rate float64 `json:"orders_per_second"`
		} `json:"servers"`
	}
	if err := json.Unmarshal(said, &read); err != nil || len(read.Servers) != 1 || read.Servers[0].Rate <= 0 {
		return 0, fmt.Errorf("bench said nothing of its rate: %w", err)
	}
	return read.Servers[0].Rate, nil
}

func errorText(err error) []byte {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.Stderr
	}
	return nil
}

// newReceiver starts a receiver of traces that reads and forgets.
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
