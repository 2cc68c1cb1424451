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

func TestShutdownCommitsWhatWasLetIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{}
		type key struct{}
		b := New(func(ctx context.Context, batch []int) ([]Answer[int], error) {
			if ctx.Err() != nil || ctx.Value(key{}) != "kept" {
				t.Errorf("the commit's context is %v with %v; it must outlive Run's, with its values", ctx.Err(), ctx.Value(key{}))
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
			t.Errorf("what waited ahead was answered %+v", a)
		}
		for request, err := range c.got {
			if err != nil {
				t.Errorf("%d was let in and answered %v", request, err)
			}
		}
		if _, err := b.Do(t.Context(), 7); !errors.Is(err, ErrStopped) {
			t.Errorf("after Run: %v, want ErrStopped", err)
		}
	})
}

func TestLetInBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{}
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

// TestStressShutdown races callers of both doors against the end of Run: whoever was let in was committed and got its
// answer, whoever was not was told so, and nobody is left waiting.
func TestStressShutdown(t *testing.T) {
	for round := range 60 {
		var committed, answered, refused atomic.Int64
		b := New(func(_ context.Context, batch []int) ([]Answer[int], error) {
			committed.Add(int64(len(batch)))
			runtime.Gosched()
			return tenfold(batch), nil
		}, Options[int]{Queue: 16, Max: 5, Weight: 9, Weigh: func(request int) int { return 1 + request%4 }, Loops: 1 + round%3})
		judge := func(request, value int, err error) (over bool) {
			switch {
			case err == nil && value == 10*request:
				answered.Add(1)
			case errors.Is(err, ErrOverloaded):
				runtime.Gosched()
			case errors.Is(err, ErrStopped):
				refused.Add(1)
				return true
			default:
				t.Errorf("%d was answered %d, %v", request, value, err)
			}
			return false
		}
		ctx, cancel := context.WithCancel(t.Context())
		var callers, run sync.WaitGroup
		run.Go(func() { _ = b.Run(ctx) })
		const doors = 24
		for i := range doors {
			callers.Go(func() {
				for request := i; ; request += doors {
					if i%3 == 0 {
						if a := <-b.Ahead(request)[0]; judge(request, a.Value, a.Err) {
							return
						}
					} else if value, err := b.Do(t.Context(), request); judge(request, value, err) {
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
		if committed.Load() != answered.Load() || refused.Load() != doors || b.Queued() != 0 {
			t.Fatalf("%d committed, %d answered, %d of %d told that it is over, %d still queued",
				committed.Load(), answered.Load(), refused.Load(), doors, b.Queued())
		}
	}
}

// TestStressLastRequest races a single request against the end of Run, when the loops are idle or just about to be.
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
					t.Fatalf("round %d: %d was answered %+v", round, i+1, a)
				}
			default:
				t.Fatalf("round %d: Run has ended, %d was let in and has no answer", round, i+1)
			}
		}
	}
}

// TestEachGetsItsOneAnswer is the whole promise, over random bounds, commits that fail in every way, and callers that
// come whenever they like: the answer that a caller gets is right, its request was committed exactly once, or not at
// all when the error says so, and nobody suffers for another's fault.
func TestEachGetsItsOneAnswer(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		plan := plan{
			callers: rapid.IntRange(1, 40).Draw(rt, "callers"),
			seed:    rapid.Uint64().Draw(rt, "seed"),
			faulty:  rapid.IntRange(0, 4).Draw(rt, "one in so many is faulty"),
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
			rt.Fatal(err) // out here: it must not unwind through the bubble
		}
	})
}

type plan struct {
	callers, faulty int
	seed            uint64
	options         Options[int]
}

// fault is what request does to its batch: "", "error", "panic" or "answer" (an error of its own).
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
			if err := p.judge(request, a, committed[request]); err != nil {
				problems = append(problems, err)
			}
		})
	}
	callers.Wait()
	stop()
	if b.Queued() != 0 {
		problems = append(problems, fmt.Errorf("%d are still queued", b.Queued()))
	}
	return errors.Join(problems...)
}

func (p plan) judge(request int, a Answer[int], commits int) error {
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
		return fmt.Errorf("%d (fault %q) was committed %d times and answered %d, %w", request, p.fault(request), commits, a.Value, a.Err)
	}
	return nil
}

// TestAnsweredRequestsAreLetGo: an idle batcher keeps nothing of what it has answered alive, however large the batch was.
func TestAnsweredRequestsAreLetGo(t *testing.T) {
	type large [1 << 16]byte
	gate := make(chan struct{})
	b := New(func(_ context.Context, batch []*large) ([]Answer[int], error) {
		<-gate
		return make([]Answer[int], len(batch)), nil
	}, Options[*large]{Queue: 64, Max: 64})
	stop := start(t, b)

	var watch []weak.Pointer[large]
	var answers []<-chan Answer[int]
	hand := func(n int) {
		for range n {
			request := new(large)
			watch = append(watch, weak.Make(request))
			answers = append(answers, b.Ahead(request)...)
		}
	}
	hand(40)
	close(gate)
	for _, answer := range answers {
		<-answer
	}
	// One more, so that the loop is surely past the large batch, and its own request is the one that may still be held.
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

// BenchmarkDo is what the batcher itself costs a request: 256 callers, a commit that does nothing.
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
