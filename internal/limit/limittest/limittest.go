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

// Adapter is a Limiter that says what it promises.
type Adapter interface {
	limit.Limiter
	Features() limit.Features
}

// Open returns two views of the same buckets, all full: for limits that processes share two clients of one server, else
// the same value twice. It registers its own clean-up.
type Open func(t *testing.T) (a, b Adapter)

// patience is how long anything may take. No test waits for it unless it fails.
const patience = 30 * time.Second

// slow is a rate that brings no token back while a test runs.
func slow() limit.Rate { return limit.Rate{Tokens: 5, Per: time.Hour} }

// room is what a test works with: two views, and the beginning of its own keys.
type room struct {
	a, b Adapter
	key  string
}

// Run runs the suite: each test on buckets of its own, then all of them at once, several times, on the same limiter.
func Run(t *testing.T, open Open) {
	tests := []struct {
		name string
		run  func(*testing.T, room)
	}{
		{"a bucket of N, then none", drains},
		{"both views take from one bucket", shares},
		{"keys are apart", keys},
		{"rates are apart", rates},
		{"off", off},
		{"rates outside the bounds", bounds},
		{"the largest rates", largest},
		{"refills evenly", refills},
		{"what is refused takes nothing", refusedTakesNothing},
		{"many at once", many},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a, b := open(t)
			test.run(t, room{a, b, test.name})
		})
	}
	t.Run("stress", func(t *testing.T) {
		t.Parallel()
		a, b := open(t)
		for round := range 4 {
			for _, test := range tests {
				t.Run(test.name, func(t *testing.T) {
					t.Parallel()
					test.run(t, room{a, b, test.name + strings.Repeat("+", round)})
				})
			}
		}
	})
}

// allow is Allow that must not fail.
func allow(t *testing.T, limiter limit.Limiter, key string, rate limit.Rate) limit.Decision {
	t.Helper()
	d, err := limiter.Allow(t.Context(), key, rate)
	if err != nil {
		t.Fatalf("Allow(%q, %v): %v", key, rate, err)
	}
	return d
}

// drain takes all tokens of a slow bucket and checks each decision on the way.
func drain(t *testing.T, r room, key string) {
	t.Helper()
	rate := slow()
	token := rate.Per / time.Duration(rate.Tokens)
	for taken := 1; taken <= rate.Tokens; taken++ {
		d := allow(t, []limit.Limiter{r.a, r.b}[taken%2], key, slow())
		if !d.Allowed || d.Limit != rate.Tokens || d.Remaining != rate.Tokens-taken || d.RetryAfter != 0 {
			t.Errorf("request %d of %d: %+v", taken, rate.Tokens, d)
		}
		if want := time.Duration(taken) * token; d.Reset > want || d.Reset < want-patience {
			t.Errorf("request %d of %d: full again in %v, want %v or a little less", taken, rate.Tokens, d.Reset, want)
		}
	}
}

func drains(t *testing.T, r room) {
	rate := slow()
	drain(t, r, r.key)
	for range 2 {
		d := allow(t, r.a, r.key, slow())
		if d.Allowed || d.Limit != rate.Tokens || d.Remaining != 0 {
			t.Errorf("one too many: %+v", d)
		}
		if token := rate.Per / time.Duration(rate.Tokens); d.RetryAfter > token || d.RetryAfter < token-patience {
			t.Errorf("one too many: try again in %v, want %v or a little less", d.RetryAfter, token)
		}
		if d.Reset > rate.Per || d.Reset < rate.Per-patience {
			t.Errorf("one too many: full again in %v, want %v or a little less", d.Reset, rate.Per)
		}
	}
}

func shares(t *testing.T, r room) {
	for _, view := range []Adapter{r.a, r.b, r.a, r.b, r.a} {
		if d := allow(t, view, r.key, slow()); !d.Allowed {
			t.Errorf("refused too early: %+v", d)
		}
	}
	for _, view := range []Adapter{r.a, r.b} {
		if d := allow(t, view, r.key, slow()); d.Allowed {
			t.Errorf("a view has tokens that the other took: %+v", d)
		}
	}
}

func keys(t *testing.T, r room) {
	long := r.key + strings.Repeat("x", 10_000)
	for _, key := range []string{
		r.key, r.key + " ", r.key + "\x00", r.key + "é", r.key + ":1", "{" + r.key + "}", long + "1", long + "2",
	} {
		drain(t, r, key)
	}
	if d := allow(t, r.b, long+"2", slow()); d.Allowed {
		t.Errorf("a long key is not known again: %+v", d)
	}
}

func rates(t *testing.T, r room) {
	drain(t, r, r.key)
	for _, other := range []limit.Rate{{Tokens: 6, Per: time.Hour}, {Tokens: 5, Per: 59 * time.Minute}} {
		if d := allow(t, r.a, r.key, other); !d.Allowed || d.Remaining != other.Tokens-1 {
			t.Errorf("another rate of the same key is no bucket of its own: %+v", d)
		}
	}
	if d := allow(t, r.b, r.key, slow()); d.Allowed {
		t.Errorf("another rate of the same key filled the bucket: %+v", d)
	}
}

func off(t *testing.T, r room) {
	for range 3 {
		if d := allow(t, r.a, r.key, limit.Rate{}); !d.Allowed || d.Limit != 0 {
			t.Errorf("no limit: %+v", d)
		}
	}
}

func bounds(t *testing.T, r room) {
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

func largest(t *testing.T, r room) {
	most := limit.Rate{Tokens: limit.MaxTokens, Per: limit.MaxPer}
	if d := allow(t, r.a, r.key, most); !d.Allowed || d.Remaining != limit.MaxTokens-1 || d.Reset > time.Second {
		t.Errorf("%v: %+v", most, d)
	}
	one := limit.Rate{Tokens: 1, Per: limit.MaxPer}
	if d := allow(t, r.a, r.key, one); !d.Allowed || d.Remaining != 0 {
		t.Errorf("%v: %+v", one, d)
	}
	if d := allow(t, r.b, r.key, one); d.Allowed || d.RetryAfter < limit.MaxPer-patience {
		t.Errorf("%v, drained: %+v", one, d)
	}
}

// refills asks again and again for a while, and holds what it got against the time that passed.
func refills(t *testing.T, r room) {
	rate := limit.Rate{Tokens: 10, Per: time.Second}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
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
			t.Fatalf("try again in %v, want up to 100 ms", d.RetryAfter)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d requests allowed within %v, want 15 within half a second", allowed, elapsed)
		}
	}
}

func refusedTakesNothing(t *testing.T, r room) {
	rate := limit.Rate{Tokens: 1, Per: 300 * time.Millisecond}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	allow(t, r.a, r.key, rate)
	for !allow(t, r.b, r.key, rate).Allowed { // were these counted, there would never be a token again
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("no token came back while others were refused")
		}
	}
}

func many(t *testing.T, r room) {
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
		t.Errorf("%d of 400 requests at once were allowed, want 200 (at most %d)", n, most)
	}
}
