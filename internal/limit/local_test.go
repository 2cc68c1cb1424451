package limit_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"orderflow/internal/limit"
	"orderflow/internal/limit/limittest"
)

func TestLocal(t *testing.T) {
	limittest.Run(t, func(*testing.T) (a, b limittest.Adapter) {
		local := limit.NewLocal(limit.DefaultKeys)
		return local, local
	})
}

func allow(t *testing.T, local *limit.Local, key string, rate limit.Rate) limit.Decision {
	t.Helper()
	d, err := local.Allow(context.Background(), key, rate)
	if err != nil {
		t.Fatalf("Allow(%q, %v): %v", key, rate, err)
	}
	return d
}

func TestLocalRefillsEvenly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local := limit.NewLocal(limit.DefaultKeys)
		rate := limit.Rate{Tokens: 60, Per: time.Minute}
		for range 60 {
			allow(t, local, "k", rate)
		}
		step := func(wait time.Duration, want limit.Decision) {
			t.Helper()
			time.Sleep(wait)
			want.Limit = 60
			if got := allow(t, local, "k", rate); got != want {
				t.Errorf("after %v more: %+v, want %+v", wait, got, want)
			}
		}
		step(0, limit.Decision{RetryAfter: time.Second, Reset: time.Minute})
		step(time.Second-time.Nanosecond, limit.Decision{RetryAfter: 1, Reset: 59*time.Second + 1})
		step(time.Nanosecond, limit.Decision{Allowed: true, Reset: time.Minute})
		step(2500*time.Millisecond, limit.Decision{Allowed: true, Remaining: 1, Reset: 58500 * time.Millisecond})
		step(0, limit.Decision{Allowed: true, Remaining: 0, Reset: 59500 * time.Millisecond})
		step(0, limit.Decision{RetryAfter: 500 * time.Millisecond, Reset: 59500 * time.Millisecond})
		step(24*time.Hour, limit.Decision{Allowed: true, Remaining: 59, Reset: time.Second}) // full
	})
}

func TestLocalRetryAfterAndResetAreEnough(t *testing.T) {
	for _, rate := range []limit.Rate{
		{Tokens: 7, Per: time.Second}, // a token every 142,857,142.857… ns
		{Tokens: 9_973, Per: time.Minute},
		{Tokens: 3, Per: 10 * time.Nanosecond},
		{Tokens: 10, Per: 3 * time.Nanosecond},
		{Tokens: 1, Per: limit.MaxPer},
	} {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				local := limit.NewLocal(limit.DefaultKeys)
				d := allow(t, local, "k", rate)
				for d.Allowed {
					d = allow(t, local, "k", rate)
				}
				for range 100 {
					time.Sleep(d.RetryAfter - time.Nanosecond)
					if early := allow(t, local, "k", rate); early.Allowed && d.RetryAfter > 1 {
						t.Fatalf("allowed a nanosecond before %v", d.RetryAfter)
					}
					time.Sleep(time.Nanosecond)
					if d = allow(t, local, "k", rate); !d.Allowed {
						t.Fatalf("refused after RetryAfter: %+v", d)
					}
					for d.Allowed {
						d = allow(t, local, "k", rate)
					}
				}
				time.Sleep(d.Reset)
				if d = allow(t, local, "k", rate); d.Remaining != rate.Tokens-1 {
					t.Errorf("not full after Reset: %+v", d)
				}
			})
		})
	}
}

func TestLocalAfterALongTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local := limit.NewLocal(limit.DefaultKeys)
		rate := limit.Rate{Tokens: limit.MaxTokens, Per: limit.MaxPer} // the largest figures
		for _, wait := range []time.Duration{0, limit.MaxPer - 1, limit.MaxPer, 24 * time.Hour, 50 * 365 * 24 * time.Hour} {
			allow(t, local, "k", rate)
			time.Sleep(wait)
			d := allow(t, local, "k", rate)
			if want := limit.MaxTokens - 1; !d.Allowed || d.Remaining > want || d.Remaining < want-1 {
				t.Errorf("after %v: %+v, want all tokens except the one or two just taken", wait, d)
			}
		}
	})
}

// A rate whose tokens do not divide its period must neither gain nor lose a token over time.
func TestLocalIsExactOverTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local := limit.NewLocal(limit.DefaultKeys)
		rate := limit.Rate{Tokens: 7, Per: time.Second}
		allowed, seconds := 0, 600
		for range seconds * 100 {
			for allow(t, local, "k", rate).Allowed {
				allowed++
			}
			time.Sleep(10 * time.Millisecond)
		}
		for allow(t, local, "k", rate).Allowed {
			allowed++
		}
		if want := 7 + 7*seconds; allowed != want {
			t.Errorf("%d requests allowed within %d s, want %d", allowed, seconds, want)
		}
	})
}

func TestLocalBound(t *testing.T) {
	for _, keys := range []int{1, 10, 64, 1000} {
		local := limit.NewLocal(keys)
		rate := limit.Rate{Tokens: 1, Per: time.Hour}
		for n := range 5 * keys {
			if d := allow(t, local, strconv.Itoa(n), rate); !d.Allowed {
				t.Fatalf("bound %d, key %d: a new key was refused: %+v", keys, n, d)
			}
			if kept := local.Len(); kept > keys {
				t.Fatalf("bound %d: %d buckets are kept", keys, kept)
			}
		}
		if d := allow(t, local, strconv.Itoa(5*keys-1), rate); d.Allowed {
			t.Errorf("bound %d: the newest key was dropped: %+v", keys, d)
		}
	}
}

func TestLocalDropsTheLeastRecentlyUsed(t *testing.T) {
	local := limit.NewLocal(1) // one shard of one
	if got := local.Features(); got.Keys != 1 || got.Shared {
		t.Errorf("Features %+v", got)
	}
	rate := limit.Rate{Tokens: 1, Per: time.Hour}
	allow(t, local, "a", rate)
	allow(t, local, "b", rate)
	if !allow(t, local, "a", rate).Allowed {
		t.Error("a was kept beyond the bound")
	}

	local = limit.NewLocal(64 * 3) // three to each shard
	allow(t, local, "old", rate)
	for n := range 2000 { // always in use, so it is never the one to drop
		if d := allow(t, local, "old", rate); d.Allowed {
			t.Fatalf("a key in use was dropped after %d others", n)
		}
		allow(t, local, strconv.Itoa(n), rate)
	}
}

func TestLocalDropsFullBuckets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local := limit.NewLocal(limit.DefaultKeys)
		rate := limit.Rate{Tokens: 2, Per: time.Minute}
		for n := range 10_000 {
			allow(t, local, strconv.Itoa(n), rate)
		}
		if got := local.Len(); got != 10_000 {
			t.Fatalf("%d buckets are kept, want 10,000: none is full yet", got)
		}
		time.Sleep(time.Minute)
		for n := range 10_000 {
			allow(t, local, "new "+strconv.Itoa(n), rate)
		}
		if got := local.Len(); got > 10_500 { // shards differ a little
			t.Errorf("%d buckets are kept, want about 10,000: the old ones are full", got)
		}
	})
}

func TestShort(t *testing.T) {
	for _, n := range []int{0, 1, 64} {
		if key := strings.Repeat("k", n); limit.Short(key) != key {
			t.Errorf("a key of %d bytes is kept as %q, want it unchanged", n, limit.Short(key))
		}
	}
	long := strings.Repeat("k", 65)
	if short := limit.Short(long); len(short) > 80 || short == limit.Short(long+"k") || limit.Short(short) == short {
		t.Errorf("a key of 65 bytes is kept as %q", short)
	}
}

func BenchmarkLocal(b *testing.B) {
	rate := limit.Rate{Tokens: limit.MaxTokens, Per: time.Minute} // as in a load test: few requests are refused, and no bucket is full
	names := make([]string, limit.DefaultKeys/2)
	for i := range names {
		names[i] = "192.0.2." + strconv.Itoa(i)
	}
	take := func(local *limit.Local, key string) { // t.Helper, in allow, would cost more than Allow
		if _, err := local.Allow(context.Background(), key, rate); err != nil {
			b.Error(err)
		}
	}
	b.Run("one key", func(b *testing.B) {
		local := limit.NewLocal(limit.DefaultKeys)
		b.ReportAllocs()
		for b.Loop() {
			take(local, "192.0.2.1")
		}
	})
	b.Run("one key, parallel", func(b *testing.B) {
		local := limit.NewLocal(limit.DefaultKeys)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				take(local, "192.0.2.1")
			}
		})
	})
	b.Run("many keys, parallel", func(b *testing.B) {
		local := limit.NewLocal(limit.DefaultKeys)
		var next atomic.Int64
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := int(next.Add(1)) * 7919; pb.Next(); i += 31 {
				take(local, names[i%len(names)])
			}
		})
	})
	b.Run("new keys", func(b *testing.B) {
		local := limit.NewLocal(1000)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			take(local, names[i%len(names)])
		}
	})
}
