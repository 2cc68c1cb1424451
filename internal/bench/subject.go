package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// stopTimeout is how long a private server may take to end.
const stopTimeout = time.Minute

// subject is a server that is measured: what runs, what was sent to it so far, and the ids it gave out.
type subject struct {
	name    string
	noop    bool // serves NoopHandler, and so keeps no books
	running Running
	rounds  []round
	ids     []int64
}

// round is one load on a subject.
type round struct {
	Result
	server time.Duration // processor time of the server's process; -1: not known
	driver time.Duration // of this process; -1: not known
}

// start starts a private server. An error of a run that has begun must still reach stop.
func start(ctx context.Context, start Starter, name string, want Server) (*subject, error) {
	running, err := start(ctx, want)
	if err != nil {
		return nil, fmt.Errorf("start the server for %q: %w", name, err)
	}
	return &subject{name: name, noop: want.Noop, running: running}, nil
}

// load sends one load and keeps what came of it; with warmUp only the ids.
func (s *subject) load(ctx context.Context, load Load, warmUp bool) (round, error) {
	before, own := s.processor(), ownProcessor()
	result, err := Drive(ctx, s.running.URLs, load)
	r := round{Result: result, server: since(before, s.processor()), driver: since(own, ownProcessor())}
	s.ids = append(s.ids, result.IDs...)
	if !warmUp {
		s.rounds = append(s.rounds, r)
	}
	return r, err
}

func (s *subject) processor() time.Duration {
	if s.running.CPU == nil {
		return -1
	}
	used, err := s.running.CPU()
	if err != nil {
		return -1
	}
	return used
}

func ownProcessor() time.Duration {
	if used, ok := ownCPU(); ok {
		return used
	}
	return -1
}

func since(before, after time.Duration) time.Duration {
	if before < 0 || after < 0 {
		return -1
	}
	return after - before
}

// prove checks what may never go wrong, whatever the speed: no id came twice, every order exists, the books are right.
func (s *subject) prove(ctx context.Context) (AuditResult, error) {
	if twice := distinct(s.ids); twice != 0 {
		return AuditResult{}, fmt.Errorf("%s: two 201 answers carry order %d", s.name, twice)
	}
	books := AuditResult{Distinct: int64(len(s.ids))}
	if s.running.Verify != nil {
		if err := s.running.Verify(ctx, s.ids); err != nil {
			return books, fmt.Errorf("%s: not every order that was answered with 201 exists: %w", s.name, err)
		}
		books.Verified = true
	}
	if s.running.Audit == nil {
		return books, nil
	}
	report, ok, err := s.running.Audit(ctx)
	if err != nil {
		return books, fmt.Errorf("%s: audit: %w", s.name, err)
	}
	books.Audited, books.Report = true, strings.TrimRight(report, "\n")
	if !ok {
		return books, fmt.Errorf("%s: the audit found the books broken:\n%s", s.name, books.Report)
	}
	return books, nil
}

// AuditResult is what was proved after a load.
type AuditResult struct {
	Distinct int64  `json:"distinct_orders"`     // ids that came with a 201, each once
	Verified bool   `json:"all_exist,omitempty"` // each was looked up and exists; absent when none was looked up
	Audited  bool   `json:"audited"`
	Report   string `json:"report,omitempty"` // the audit's own words
}

// stopAll stops servers, also when ctx has ended, and joins err with what goes wrong in it.
func stopAll(ctx context.Context, err error, subjects ...*subject) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	for _, s := range subjects {
		if s == nil || s.running.Stop == nil {
			continue
		}
		if failed := s.running.Stop(ctx); failed != nil {
			err = errors.Join(err, fmt.Errorf("stop the server for %q: %w", s.name, failed))
		}
	}
	return err
}

// weakest is the median over the rounds of the smallest share that a process had of the orders; NaN of none.
func (s *subject) weakest() float64 {
	var shares []float64
	for _, r := range s.rounds {
		if r.Created > 0 {
			shares = append(shares, float64(slices.Min(r.By))/float64(r.Created))
		}
	}
	return Median(shares)
}

// medianRate is the median of the rounds' orders a second.
func (s *subject) medianRate() float64 {
	rates := make([]float64, len(s.rounds))
	for i, r := range s.rounds {
		rates[i] = r.OrdersPerSecond()
	}
	return Median(rates)
}

// together is all rounds as one.
func (s *subject) together() round {
	all := round{Result: Result{By: make([]int64, len(s.running.URLs)), Answers: map[string]int64{}, Latency: newLatency()}}
	for _, r := range s.rounds {
		all.Created += r.Created
		for i, n := range r.By {
			all.By[i] += n
		}
		all.Elapsed += r.Elapsed
		all.Latency.Merge(r.Latency)
		for what, n := range r.Answers {
			all.Answers[what] += n
		}
		all.server = sum(all.server, r.server)
		all.driver = sum(all.driver, r.driver)
	}
	return all
}

// sum adds processor times; what is not known stays so.
func sum(a, b time.Duration) time.Duration {
	if a < 0 || b < 0 {
		return -1
	}
	return a + b
}

// perOrder is a processor time an order in µs; NaN when it is not known.
func (r round) perOrder(used time.Duration) float64 {
	if used < 0 || r.Created == 0 {
		return math.NaN()
	}
	return float64(used.Nanoseconds()) / 1e3 / float64(r.Created)
}

// Median returns the middle of values, NaN of none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	values = slices.Sorted(slices.Values(values))
	middle := len(values) / 2
	if len(values)%2 == 1 {
		return values[middle]
	}
	return (values[middle-1] + values[middle]) / 2
}

// ratio is a ÷ b, NaN where that means nothing.
func ratio(a, b float64) float64 {
	if b <= 0 || math.IsInf(a, 0) || math.IsInf(b, 0) {
		return math.NaN()
	}
	return a / b
}

// alternate sends a load to each subject in turn, in rounds, after a short load each that is not counted.
func alternate(ctx context.Context, show Display, what string, load Load, rounds int, subjects ...*subject) error {
	for turn := range rounds + 1 {
		for _, s := range subjects {
			this, title := load, fmt.Sprintf("%s, %s: round %d of %d", what, s.name, turn, rounds)
			if turn == 0 {
				this.Duration, title = warmUp(load.Duration), fmt.Sprintf("%s, %s: warm-up", what, s.name)
			}
			progress, over := show.load(title, this.Duration)
			this.Progress = progress
			_, err := s.load(ctx, this, turn == 0)
			over()
			if err != nil {
				return fmt.Errorf("%s, %s: %w", what, s.name, err)
			}
		}
	}
	return nil
}

// warmUp is how long a load is sent before it counts.
func warmUp(takes time.Duration) time.Duration { return min(time.Second, takes/4) }
