// Package limittest holds the tests that every limit.Limiter must pass. An adapter's own test is one call of Run.
package limittest

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"orderflow/internal/limit"
)

// Adapter is a Limiter with its Features.
type Adapter interface {
	limit.Limiter
	Features() limit.Features
}

// Open returns two views of the same buckets, all full: two clients of one server for limits that processes share, otherwise the same
// value twice. It registers its own clean-up.
type Open func(t *testing.T) (a, b Adapter)

// timeout is how long a step may take. Only a failing test waits for it.
const timeout = 30 * time.Second

// slow returns a rate that adds no token while a test runs.
func slow() limit.Rate { return limit.Rate{Tokens: 5, Per: time.Hour} }

// env is the environment of a test: two views, and the beginning of its own keys.
type env struct {
	a, b Adapter
	key  string
}

// Run runs the suite: each test on its own buckets, then all tests concurrently, several times, on the same limiter.
func Run(t *testing.T, open Open) {
	tests := []struct {
		name string
		run  func(*testing.T, env)
	}{
		{"a bucket has N tokens", drains},
		{"both views take from one bucket", shares},
		{"keys are independent", keys},
		{"rates are independent", rates},
		{"off", off},
		{"rates outside the bounds", bounds},
		{"the largest rates", largest},
		{"refills evenly", refills},
		{"a refused request takes nothing", refusedTakesNothing},
		{"concurrent requests", many},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a, b := open(t)
			test.run(t, env{a, b, test.name})
		})
	}
	t.Run("stress", func(t *testing.T) {
		t.Parallel()
		a, b := open(t)
		for round := range 4 {
			for _, test := range tests {
				t.Run(test.name, func(t *testing.T) {
					t.Parallel()
					test.run(t, env{a, b, test.name + strings.Repeat("+", round)})
				})
			}
		}
	})
}

// allow calls Allow, which must not fail.
func allow(t *testing.T, limiter limit.Limiter, key string, rate limit.Rate) limit.Decision {
	t.Helper()
	d, err := limiter.Allow(t.Context(), key, rate)
	if err != nil {
		t.Fatalf("Allow(%q, %v): %v", key, rate, err)
	}
	return d
}

// drain takes all tokens of a slow bucket and checks each decision.
func drain(t *testing.T, r env, key string) {
	t.Helper()
	rate := slow()
	token := rate.Per / time.Duration(rate.Tokens)
	for taken := 1; taken <= rate.Tokens; taken++ {
		d := allow(t, []limit.Limiter{r.a, r.b}[taken%2], key, slow())
		if !d.Allowed || d.Limit != rate.Tokens || d.Remaining != rate.Tokens-taken || d.RetryAfter != 0 {
			t.Errorf("request %d of %d: %+v", taken, rate.Tokens, d)
		}
		if want := time.Duration(taken) * token; d.Reset > want || d.Reset < want-timeout {
			t.Errorf("request %d of %d: Reset %v, want %v or a little less", taken, rate.Tokens, d.Reset, want)
		}
	}
}

func drains(t *testing.T, r env) {
	rate := slow()
	drain(t, r, r.key)
	for range 2 {
		d := allow(t, r.a, r.key, slow())
		if d.Allowed || d.Limit != rate.Tokens || d.Remaining != 0 {
			t.Errorf("beyond the limit: %+v", d)
		}
		if token := rate.Per / time.Duration(rate.Tokens); d.RetryAfter > token || d.RetryAfter < token-timeout {
			t.Errorf("beyond the limit: RetryAfter %v, want %v or a little less", d.RetryAfter, token)
		}
		if d.Reset > rate.Per || d.Reset < rate.Per-timeout {
			t.Errorf("beyond the limit: Reset %v, want %v or a little less", d.Reset, rate.Per)
		}
	}
}

func shares(t *testing.T, r env) {
	for _, view := range []Adapter{r.a, r.b, r.a, r.b, r.a} {
		if d := allow(t, view, r.key, slow()); !d.Allowed {
			t.Errorf("refused too early: %+v", d)
		}
	}
	for _, view := range []Adapter{r.a, r.b} {
		if d := allow(t, view, r.key, slow()); d.Allowed {
			t.Errorf("a view has tokens that the other view took: %+v", d)
		}
	}
}

func keys(t *testing.T, r env) {
	long := r.key + strings.Repeat("x", 10_000)
	for _, key := range []string{
		r.key, r.key + " ", r.key + "\x00", r.key + "é", r.key + ":1", "{" + r.key + "}", long + "1", long + "2",
	} {
		drain(t, r, key)
	}
	if d := allow(t, r.b, long+"2", slow()); d.Allowed {
		t.Errorf("a long key has a new bucket: %+v", d)
	}
}

func rates(t *testing.T, r env) {
	drain(t, r, r.key)
	for _, other := range []limit.Rate{{Tokens: 6, Per: time.Hour}, {Tokens: 5, Per: 59 * time.Minute}} {
		if d := allow(t, r.a, r.key, other); !d.Allowed || d.Remaining != other.Tokens-1 {
			t.Errorf("another rate of the same key has no bucket of its own: %+v", d)
		}
	}
	if d := allow(t, r.b, r.key, slow()); d.Allowed {
		t.Errorf("another rate of the same key filled the bucket: %+v", d)
	}
}

func off(t *testing.T, r env) {
	for range 3 {
		if d := allow(t, r.a, r.key, limit.Rate{}); !d.Allowed || d.Limit != 0 {
			t.Errorf("no limit: %+v", d)
		}
	}
}

func bounds(t *testing.T, r env) {
	for _, rate := range []limit.Rate{
		{Tokens: 0, Per: time.Second},
		{Tokens: -1, Per: time.Second},
		{Tokens: limit.MaxTokens + 1, Per: time.Second},
		{Tokens: 1, Per: 0},
		{Tokens: 1, Per: -time.Second},
		{Tokens: 1, Per: limit.MaxPer + 1},
	} {
		if d, err := r.a.Allow(t.Context(), r.key, rate); err == nil {
			t.Errorf("rate %+v: %+v and no error", rate, d)
		}
	}
}

func largest(t *testing.T, r env) {
	most := limit.Rate{Tokens: limit.MaxTokens, Per: limit.MaxPer}
	if d := allow(t, r.a, r.key, most); !d.Allowed || d.Remaining != limit.MaxTokens-1 || d.Reset > time.Second {
		t.Errorf("%v: %+v", most, d)
	}
	one := limit.Rate{Tokens: 1, Per: limit.MaxPer}
	if d := allow(t, r.a, r.key, one); !d.Allowed || d.Remaining != 0 {
		t.Errorf("%v: %+v", one, d)
	}
	if d := allow(t, r.b, r.key, one); d.Allowed || d.RetryAfter < limit.MaxPer-timeout {
		t.Errorf("%v, drained: %+v", one, d)
	}
}

// refills sends requests for a while, and compares the number that is allowed with the elapsed time.
func refills(t *testing.T, r env) {
	rate := limit.Rate{Tokens: 10, Per: time.Second}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	start := time.Now()
	for allowed := 0; allowed < 15; { // the bucket's ten at once, five more over half a second
		d := allow(t, r.a, r.key, rate)
		if d.Allowed {
			allowed++
		}
		elapsed := time.Since(start)
		if most := 10*(1+elapsed.Seconds()) + 0.001; float64(allowed) > most {
			t.Fatalf("%d requests allowed within %v, want at most %.3f", allowed, elapsed, most)
		}
		if d.Allowed {
			continue
		}
		if d.RetryAfter <= 0 || d.RetryAfter > 100*time.Millisecond {
			t.Fatalf("RetryAfter %v, want up to 100 ms", d.RetryAfter)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d requests allowed within %v, want 15 within half a second", allowed, elapsed)
		}
	}
}

func refusedTakesNothing(t *testing.T, r env) {
	rate := limit.Rate{Tokens: 1, Per: 300 * time.Millisecond}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	allow(t, r.a, r.key, rate)
	for !allow(t, r.b, r.key, rate).Allowed { // if refused requests took tokens, none would ever be allowed
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("no token was added while requests were refused")
		}
	}
}

func many(t *testing.T, r env) {
	rate := limit.Rate{Tokens: 200, Per: time.Hour} // a token in 18 s
	start := time.Now()
	var allowed atomic.Int64
	var all sync.WaitGroup
	for n := range 8 {
		view := []Adapter{r.a, r.b}[n%2]
		all.Go(func() {
			for range 50 {
				d, err := view.Allow(t.Context(), r.key, rate)
				if err != nil {
					t.Errorf("Allow: %v", err)
				}
				if d.Allowed {
					allowed.Add(1)
				}
			}
		})
	}
	all.Wait()
	most := 200 + int64(time.Since(start)/(18*time.Second)) + 1
	if n := allowed.Load(); n < 200 || n > most {
		t.Errorf("%d of 400 concurrent requests were allowed, want 200 (at most %d)", n, most)
	}
}
