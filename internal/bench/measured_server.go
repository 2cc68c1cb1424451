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

// stopTimeout limits the end of a private server.
const stopTimeout = time.Minute

// measuredServer is a server with the loads that were put on it.
type measuredServer struct {
	name    string
	noop    bool // serves NoopHandler, and so cannot be audited
	running Running
	rounds  []round
	ids     []int64 // of the 201 answers
}

// round is one load on a server.
type round struct {
	Result
	server time.Duration // processor time of Running.Counted; -1: unknown
	driver time.Duration // processor time of this process; -1: unknown
}

// startServer starts a private server.
func startServer(ctx context.Context, start Starter, name string, want Server) (*measuredServer, error) {
	running, err := start(ctx, want)
	if err != nil {
		return nil, fmt.Errorf("start the server for %q: %w", name, err)
	}
	return &measuredServer{name: name, noop: want.Noop, running: running}, nil
}

// load sends one load and keeps its result; of a warm-up only the ids.
func (s *measuredServer) load(ctx context.Context, load Load, warmUp bool) (round, error) {
	before, own := s.processorTime(), ownProcessorTime()
	result, err := Drive(ctx, s.running.URLs, load)
	r := round{Result: result, server: difference(before, s.processorTime()), driver: difference(own, ownProcessorTime())}
	s.ids = append(s.ids, result.IDs...)
	if !warmUp {
		s.rounds = append(s.rounds, r)
	}
	return r, err
}

func (s *measuredServer) processorTime() time.Duration {
	if s.running.CPU == nil {
		return -1
	}
	used, err := s.running.CPU()
	if err != nil {
		return -1
	}
	return used
}

func ownProcessorTime() time.Duration {
	if used, ok := ownCPU(); ok {
		return used
	}
	return -1
}

func difference(before, after time.Duration) time.Duration {
	if before < 0 || after < 0 {
		return -1
	}
	return after - before
}

// verify checks the orders that were created: no duplicate id, every order exists, the audit passes.
func (s *measuredServer) verify(ctx context.Context) (AuditResult, error) {
	if id := duplicate(s.ids); id != 0 {
		return AuditResult{}, fmt.Errorf("%s: two 201 answers have order %d", s.name, id)
	}
	result := AuditResult{Distinct: int64(len(s.ids))}
	if s.running.Verify != nil {
		if err := s.running.Verify(ctx, s.ids); err != nil {
			return result, fmt.Errorf("%s: orders that were answered with 201 are missing: %w", s.name, err)
		}
		result.Verified = true
	}
	if s.running.Audit == nil {
		return result, nil
	}
	report, ok, err := s.running.Audit(ctx)
	if err != nil {
		return result, fmt.Errorf("%s: audit: %w", s.name, err)
	}
	result.Audited, result.Report = true, strings.TrimRight(report, "\n")
	if !ok {
		return result, fmt.Errorf("%s: the audit failed:\n%s", s.name, result.Report)
	}
	return result, nil
}

// AuditResult is the result of the checks after a load.
type AuditResult struct {
	Distinct int64  `json:"distinct_orders"`     // unique ids of 201 answers
	Verified bool   `json:"all_exist,omitempty"` // every order was looked up and exists; absent when none was looked up
	Audited  bool   `json:"audited"`
	Report   string `json:"report,omitempty"` // of the audit, as text
}

// stopAll stops servers, also when ctx has ended, and joins the errors with err.
func stopAll(ctx context.Context, err error, servers ...*measuredServer) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	for _, s := range servers {
		if s == nil || s.running.Stop == nil {
			continue
		}
		if failed := s.running.Stop(ctx); failed != nil {
			err = errors.Join(err, fmt.Errorf("stop the server for %q: %w", s.name, failed))
		}
	}
	return err
}

// smallestShare is the median over the rounds of the smallest share of the orders that a process had; NaN without orders.
func (s *measuredServer) smallestShare() float64 {
	var shares []float64
	for _, r := range s.rounds {
		if r.Created > 0 {
			shares = append(shares, float64(slices.Min(r.ByServer))/float64(r.Created))
		}
	}
	return Median(shares)
}

// medianRate is the median over the rounds of the orders per second.
func (s *measuredServer) medianRate() float64 {
	rates := make([]float64, len(s.rounds))
	for i, r := range s.rounds {
		rates[i] = r.OrdersPerSecond()
	}
	return Median(rates)
}

// total adds up all rounds.
func (s *measuredServer) total() round {
	all := round{Result: Result{ByServer: make([]int64, len(s.running.URLs)), Answers: map[string]int64{}, Latency: newLatency()}}
	for _, r := range s.rounds {
		all.Created += r.Created
		for i, n := range r.ByServer {
			all.ByServer[i] += n
		}
		all.Elapsed += r.Elapsed
		all.Latency.Merge(r.Latency)
		for what, n := range r.Answers {
			all.Answers[what] += n
		}
		all.server = addTimes(all.server, r.server)
		all.driver = addTimes(all.driver, r.driver)
	}
	return all
}

// addTimes adds processor times; unknown plus anything is unknown.
func addTimes(a, b time.Duration) time.Duration {
	if a < 0 || b < 0 {
		return -1
	}
	return a + b
}

// perOrder is a processor time per order in µs; NaN when it is unknown.
func (r round) perOrder(used time.Duration) float64 {
	if used < 0 || r.Created == 0 {
		return math.NaN()
	}
	return float64(used.Nanoseconds()) / 1e3 / float64(r.Created)
}

// Median returns the median of values; NaN of none.
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

// ratio is a ÷ b; NaN where it is undefined.
func ratio(a, b float64) float64 {
	if b <= 0 || math.IsInf(a, 0) || math.IsInf(b, 0) {
		return math.NaN()
	}
	return a / b
}

// alternate warms up each server and then sends the load to each in turn, in rounds.
func alternate(ctx context.Context, show Display, what string, load Load, rounds int, servers ...*measuredServer) error {
	for turn := range rounds + 1 {
		for _, s := range servers {
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

// warmUp is the duration of the warm-up for a load of this duration.
func warmUp(takes time.Duration) time.Duration { return min(time.Second, takes/4) }
