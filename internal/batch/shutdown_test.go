package batch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"pgregory.net/rapid"
)

func TestShutdownCommitsAcceptedRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &recorder{}
		type key struct{}
		b := New(func(ctx context.Context, batch []int) ([]Answer[int], error) {
			if ctx.Err() != nil || ctx.Value(key{}) != "kept" {
				t.Errorf("the context of Commit has error %v and value %v; want no error after the end of Run's, and its values", ctx.Err(), ctx.Value(key{}))
			}
			return l.commit(ctx, batch)
		}, Options[int]{Queue: 8, Max: 2, Weight: 3, Weigh: func(int) int { return 2 }})
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "kept"))
		var run sync.WaitGroup
		run.Go(func() {
			if err := b.Run(ctx); err != nil {
				t.Errorf("Run: %v", err)
			}
		})
		c := &callers{b: b}
		c.call(t.Context(), t, 1, 2, 3)
		ahead := b.Ahead(4)
		cancel()
		synctest.Wait()
		if _, err := b.Do(t.Context(), 5); !errors.Is(err, ErrStopped) {
			t.Errorf("after the end: %v, want ErrStopped", err)
		}
		if a := <-b.Ahead(6)[0]; !errors.Is(a.Err, ErrStopped) {
			t.Errorf("after the end: %v, want ErrStopped", a.Err)
		}
		run.Wait()
		l.want(t, []int{1}, []int{4}, []int{2}, []int{3})
		c.wait.Wait()
		if a := <-ahead[0]; a.Value != 40 || a.Err != nil {
			t.Errorf("the answer to the request of Ahead is %+v", a)
		}
		for request, err := range c.got {
			if err != nil {
				t.Errorf("the answer to the accepted request %d is %v", request, err)
			}
		}
		if _, err := b.Do(t.Context(), 7); !errors.Is(err, ErrStopped) {
			t.Errorf("after Run: %v, want ErrStopped", err)
		}
	})
}

func TestRequestsBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &recorder{}
		b := New(l.commit, Options[int]{Queue: 8, Max: 8})
		c := &callers{b: b}
		c.call(t.Context(), t, 1, 2)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.Run(ended); err != nil {
			t.Error(err)
		}
		c.wait.Wait()
		l.want(t, []int{1, 2})
	})
}

// TestStressShutdown races callers of Do and Ahead with the end of Run: accepted requests are committed and answered, others get
// ErrStopped, and no caller keeps waiting.
func TestStressShutdown(t *testing.T) {
	for round := range 60 {
		var committed, answered, refused atomic.Int64
		b := New(func(_ context.Context, batch []int) ([]Answer[int], error) {
			committed.Add(int64(len(batch)))
			runtime.Gosched()
			return tenfold(batch), nil
		}, Options[int]{Queue: 16, Max: 5, Weight: 9, Weigh: func(request int) int { return 1 + request%4 }, Loops: 1 + round%3})
		check := func(request, value int, err error) (over bool) {
			switch {
			case err == nil && value == 10*request:
				answered.Add(1)
			case errors.Is(err, ErrOverloaded):
				runtime.Gosched()
			case errors.Is(err, ErrStopped):
				refused.Add(1)
				return true
			default:
				t.Errorf("the answer to %d is %d, %v", request, value, err)
			}
			return false
		}
		ctx, cancel := context.WithCancel(t.Context())
		var callers, run sync.WaitGroup
		run.Go(func() { _ = b.Run(ctx) })
		const goroutines = 24
		for i := range goroutines {
			callers.Go(func() {
				for request := i; ; request += goroutines {
					if i%3 == 0 {
						if a := <-b.Ahead(request)[0]; check(request, a.Value, a.Err) {
							return
						}
					} else if value, err := b.Do(t.Context(), request); check(request, value, err) {
						return
					}
				}
			})
		}
		for answered.Load() < int64(round*3) {
			runtime.Gosched()
		}
		cancel()
		run.Wait()
		callers.Wait()
		if committed.Load() != answered.Load() || refused.Load() != goroutines || b.Queued() != 0 {
			t.Fatalf("%d committed, %d answered, %d of %d stopped, %d still queued",
				committed.Load(), answered.Load(), refused.Load(), goroutines, b.Queued())
		}
	}
}

// TestStressLastRequest races two requests with the end of Run, while the loops are idle or become so.
func TestStressLastRequest(t *testing.T) {
	for round := range 3000 {
		b := New(func(_ context.Context, batch []int) ([]Answer[int], error) { return tenfold(batch), nil },
			Options[int]{Queue: 4, Max: 1, Loops: 1 + round%2})
		ctx, cancel := context.WithCancel(t.Context())
		var both sync.WaitGroup
		var answers []<-chan Answer[int]
		both.Go(func() { answers = b.Ahead(1, 2) })
		both.Go(func() { _ = b.Run(ctx) })
		if round%3 > 0 {
			runtime.Gosched()
		}
		cancel()
		both.Wait()
		for i, answer := range answers {
			select {
			case a := <-answer:
				if !errors.Is(a.Err, ErrStopped) && a.Value != 10*(i+1) {
					t.Fatalf("round %d: the answer to %d is %+v", round, i+1, a)
				}
			default:
				t.Fatalf("round %d: Run has ended, and the accepted request %d has no answer", round, i+1)
			}
		}
	}
}

// TestEachRequestGetsItsAnswer checks all guarantees with random bounds, failures and arrivals: each caller gets the answer to its
// own request, a request is committed once, or not at all if its error means that, and one failure affects no other request.
func TestEachRequestGetsItsAnswer(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		plan := plan{
			callers: rapid.IntRange(1, 40).Draw(rt, "callers"),
			seed:    rapid.Uint64().Draw(rt, "seed"),
			faulty:  rapid.IntRange(0, 4).Draw(rt, "one in so many fails"),
			options: Options[int]{
				Queue: rapid.IntRange(1, 30).Draw(rt, "queue"), Max: rapid.IntRange(1, 12).Draw(rt, "max"),
				Loops: rapid.IntRange(0, 3).Draw(rt, "loops"), Weight: rapid.IntRange(0, 12).Draw(rt, "weight"),
				Weigh: func(request int) int { return 1 + request%5 },
				Halve: func(err error) bool { return errors.Is(err, errBad) },
			},
		}
		var err error
		synctest.Test(t, func(t *testing.T) { err = plan.run(t) })
		if err != nil {
			rt.Fatal(err) // not in the bubble: the panic of rapid must not leave it
		}
	})
}

type plan struct {
	callers, faulty int
	seed            uint64
	options         Options[int]
}

// fault is how a request fails: "" for not at all, "error", "panic" or "answer" (an error of its own).
func (p plan) fault(request int) string {
	if p.faulty == 0 || request%(p.faulty+3) != 0 {
		return ""
	}
	return []string{"error", "panic", "answer"}[request%3]
}

func (p plan) run(t *testing.T) error {
	t.Helper()
	var mu sync.Mutex
	committed := map[int]int{}
	var problems []error
	b := New(func(_ context.Context, batch []int) ([]Answer[int], error) {
		time.Sleep(time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		weight := 0
		for _, request := range batch {
			weight += p.options.Weigh(request)
		}
		if len(batch) > p.options.Max || (p.options.Weight > 0 && weight > p.options.Weight && len(batch) > 1) {
			problems = append(problems, fmt.Errorf("batch %v of weight %d is too large", batch, weight))
		}
		answers := tenfold(batch)
		for i, request := range batch {
			switch p.fault(request) {
			case "error":
				return nil, errBad
			case "panic":
				panic(request)
			case "answer":
				answers[i] = Answer[int]{Err: errBad}
			}
		}
		for _, request := range batch {
			committed[request]++
		}
		return answers, nil
	}, p.options)
	stop := start(t, b)

	var callers sync.WaitGroup
	random := rand.New(rand.NewPCG(p.seed, 1))
	for request := range p.callers {
		pause := time.Duration(random.IntN(5)) * 500 * time.Microsecond
		ahead := random.IntN(4) == 0
		callers.Go(func() {
			time.Sleep(pause)
			var a Answer[int]
			if ahead {
				a = <-b.Ahead(request)[0]
			} else {
				a.Value, a.Err = b.Do(t.Context(), request)
			}
			mu.Lock()
			defer mu.Unlock()
			if err := p.check(request, a, committed[request]); err != nil {
				problems = append(problems, err)
			}
		})
	}
	callers.Wait()
	stop()
	if b.Queued() != 0 {
		problems = append(problems, fmt.Errorf("%d requests are still queued", b.Queued()))
	}
	return errors.Join(problems...)
}

func (p plan) check(request int, a Answer[int], commits int) error {
	var panicked *PanicError
	var ok bool
	switch {
	case errors.Is(a.Err, ErrOverloaded):
		ok = commits == 0
	case p.fault(request) == "":
		ok = a.Err == nil && a.Value == 10*request && commits == 1
	case p.fault(request) == "panic":
		ok = errors.As(a.Err, &panicked) && panicked.Value == request
	case p.fault(request) == "error":
		ok = errors.Is(a.Err, errBad) && commits == 0
	default:
		ok = errors.Is(a.Err, errBad)
	}
	if !ok {
		return fmt.Errorf("request %d (fault %q) was committed %d times, its answer is %d, %w", request, p.fault(request), commits, a.Value, a.Err)
	}
	return nil
}

// TestAnsweredRequestsAreReleased: an idle batcher keeps no reference to answered requests, however large the batch was.
func TestAnsweredRequestsAreReleased(t *testing.T) {
	type large [1 << 16]byte
	gate := make(chan struct{})
	b := New(func(_ context.Context, batch []*large) ([]Answer[int], error) {
		<-gate
		return make([]Answer[int], len(batch)), nil
	}, Options[*large]{Queue: 64, Max: 64})
	stop := start(t, b)

	var watch []weak.Pointer[large]
	var answers []<-chan Answer[int]
	enqueue := func(n int) {
		for range n {
			request := new(large)
			watch = append(watch, weak.Make(request))
			answers = append(answers, b.Ahead(request)...)
		}
	}
	enqueue(40)
	close(gate)
	for _, answer := range answers {
		<-answer
	}
	// After another request the loop has finished the large batch.
	if _, err := b.Do(t.Context(), new(large)); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	kept := slices.DeleteFunc(watch, func(p weak.Pointer[large]) bool { return p.Value() == nil })
	if len(kept) > 0 {
		t.Errorf("%d of 40 answered requests are still in memory", len(kept))
	}
	stop()
}

// BenchmarkDo measures the cost of the batcher for a request: 256 callers, a Commit that does nothing.
func BenchmarkDo(b *testing.B) {
	batcher := New(func(_ context.Context, batch []int) ([]Answer[int], error) {
		return make([]Answer[int], len(batch)), nil
	}, Options[int]{Queue: 1024, Max: 256})
	ctx, cancel := context.WithCancel(b.Context())
	var run, callers sync.WaitGroup
	run.Go(func() { _ = batcher.Run(ctx) })
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	for range 256 {
		callers.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := batcher.Do(ctx, 1); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	callers.Wait()
	b.StopTimer()
	cancel()
	run.Wait()
}
