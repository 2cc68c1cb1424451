package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// commitTime is the duration of a commit, in the time of synctest.
const commitTime = time.Second

// recorder records batches in the order of their commits. The answer to a request is ten times the request.
type recorder struct {
	mu      sync.Mutex
	batches [][]int
}

func (l *recorder) commit(_ context.Context, batch []int) ([]Answer[int], error) {
	l.mu.Lock()
	l.batches = append(l.batches, slices.Clone(batch))
	l.mu.Unlock()
	time.Sleep(commitTime)
	return tenfold(batch), nil
}

func (l *recorder) want(t *testing.T, want ...[]int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.EqualFunc(l.batches, want, slices.Equal[[]int]) {
		t.Errorf("batches %v, want %v", l.batches, want)
	}
}

func tenfold(batch []int) []Answer[int] {
	answers := make([]Answer[int], len(batch))
	for i, request := range batch {
		answers[i].Value = 10 * request
	}
	return answers
}

// start runs b until the end of the test, or until stop, which waits for the end of Run.
func start[Req, Res any](t *testing.T, b *Batcher[Req, Res]) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// callers call Do in goroutines; each is in the queue before the next one starts.
type callers struct {
	b    *Batcher[int, int]
	wait sync.WaitGroup
	mu   sync.Mutex
	got  map[int]error
}

func (c *callers) call(ctx context.Context, t *testing.T, requests ...int) {
	t.Helper()
	for _, request := range requests {
		c.wait.Go(func() {
			value, err := c.b.Do(ctx, request)
			if err == nil && value != 10*request {
				t.Errorf("the answer to %d is %d, that of another request", request, value)
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.got == nil {
				c.got = map[int]error{}
			}
			c.got[request] = err
		})
		synctest.Wait()
	}
}

func TestSingleCallerDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &recorder{}
		b := New(l.commit, Options[int]{Queue: 8, Max: 8})
		start(t, b)
		before := time.Now()
		for i := range 3 {
			if value, err := b.Do(t.Context(), i); err != nil || value != 10*i {
				t.Errorf("Do(%d) = %d, %v", i, value, err)
			}
		}
		if took := time.Since(before); took != 3*commitTime {
			t.Errorf("three calls took %v, want the time of their commits, %v", took, 3*commitTime)
		}
		l.want(t, []int{0}, []int{1}, []int{2})
	})
}

func TestWaitingRequestsAreTheNextBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &recorder{}
		b := New(l.commit, Options[int]{Queue: 8, Max: 8})
		start(t, b)
		c := &callers{b: b}
		c.call(t.Context(), t, 1, 2, 3, 4)
		if got := b.Queued(); got != 3 {
			t.Errorf("%d queued while the first commits, want 3", got)
		}
		time.Sleep(commitTime)
		synctest.Wait()
		c.call(t.Context(), t, 5, 6)
		c.wait.Wait()
		l.want(t, []int{1}, []int{2, 3, 4}, []int{5, 6})
		if got := b.Queued(); got != 0 {
			t.Errorf("%d queued at the end", got)
		}
	})
}

func TestBoundedByCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &recorder{}
		b := New(l.commit, Options[int]{Queue: 8, Max: 3})
		start(t, b)
		c := &callers{b: b}
		c.call(t.Context(), t, 1, 2, 3, 4, 5, 6, 7, 8)
		c.wait.Wait()
		l.want(t, []int{1}, []int{2, 3, 4}, []int{5, 6, 7}, []int{8})
	})
}

func TestBoundedByWeight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &recorder{}
		b := New(l.commit, Options[int]{Queue: 9, Max: 9, Weight: 10, Weigh: func(request int) int { return request }})
		start(t, b)
		c := &callers{b: b}
		c.call(t.Context(), t, 1, 4, 6, 2, 9, 50, 3, 7, 5)
		c.wait.Wait()
		// 4 and 6 fill a batch. 2 and 9 would exceed one, so 9 begins the next. 50 exceeds every batch, so it is alone.
		l.want(t, []int{1}, []int{4, 6}, []int{2}, []int{9}, []int{50}, []int{3, 7}, []int{5})
	})
}

func TestAheadGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &recorder{}
		b := New(l.commit, Options[int]{Queue: 8, Max: 3})
		start(t, b)
		c := &callers{b: b}
		c.call(t.Context(), t, 1, 2, 3)
		answers := b.Ahead(101, 102)
		for i, answer := range answers {
			if a := <-answer; a.Err != nil || a.Value != 1010+10*i {
				t.Errorf("the answer to %d is %+v", 101+i, a)
			}
		}
		c.wait.Wait()
		l.want(t, []int{1}, []int{101, 102, 2}, []int{3})
		if answers := b.Ahead(); len(answers) != 0 {
			t.Errorf("%d answers without a request", len(answers))
		}
		if a := <-b.Ahead(7)[0]; a.Value != 70 || a.Err != nil {
			t.Errorf("with an empty queue: %+v", a)
		}
	})
}

func TestFullQueueRefusesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &recorder{}
		b := New(l.commit, Options[int]{Queue: 2, Max: 8})
		start(t, b)
		c := &callers{b: b}
		c.call(t.Context(), t, 1, 2, 3)
		before := time.Now()
		if _, err := b.Do(t.Context(), 4); !errors.Is(err, ErrOverloaded) {
			t.Errorf("full queue: %v, want ErrOverloaded", err)
		}
		answers := b.Ahead(101, 102, 103)
		if a := <-answers[2]; !errors.Is(a.Err, ErrOverloaded) {
			t.Errorf("full queue of Ahead: %+v, want ErrOverloaded", a)
		}
		if took := time.Since(before); took != 0 {
			t.Errorf("refused after %v, want at once", took)
		}
		if got := b.Queued(); got != 4 {
			t.Errorf("%d queued, want 2 and 2", got)
		}
		c.wait.Wait()
		<-answers[0]
		<-answers[1]
		l.want(t, []int{1}, []int{101, 102, 2, 3})
	})
}

func TestCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &recorder{}
		b := New(l.commit, Options[int]{Queue: 8, Max: 8})
		stop := start(t, b)
		c := &callers{b: b}
		short, cancel := context.WithTimeout(t.Context(), commitTime/2)
		defer cancel()
		c.call(short, t, 1)
		c.call(t.Context(), t, 2)
		c.call(short, t, 3)
		c.call(t.Context(), t, 4)
		<-short.Done()
		synctest.Wait()
		c.mu.Lock()
		if len(c.got) != 2 || !errors.Is(c.got[1], context.DeadlineExceeded) || !errors.Is(c.got[3], context.DeadlineExceeded) {
			t.Errorf("after the deadline: %v, want 1 and 3 to have left", c.got)
		}
		c.mu.Unlock()
		c.wait.Wait()
		if c.got[2] != nil || c.got[4] != nil {
			t.Errorf("the others have errors: %v", c.got)
		}
		stop()
		l.want(t, []int{1}, []int{2, 3, 4})
	})
}

// TestAnswerHasPriorityOverDeadline: a caller gets an answer that arrived together with its deadline.
func TestAnswerHasPriorityOverDeadline(t *testing.T) {
	b := New((&recorder{}).commit, Options[int]{Queue: 1, Max: 1})
	left, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		answer := make(chan Answer[int], 1)
		answer <- Answer[int]{Value: 7}
		if value, err := b.wait(left, answer); value != 7 || err != nil {
			t.Fatalf("%d, %v; want the answer", value, err)
		}
	}
}

var errBad = errors.New("a member is bad")

// failingCommit fails when the batch contains a bad member.
func failingCommit(l *recorder, bad ...int) Commit[int, int] {
	return func(ctx context.Context, batch []int) ([]Answer[int], error) {
		answers, _ := l.commit(ctx, batch)
		if slices.ContainsFunc(batch, func(request int) bool { return slices.Contains(bad, request) }) {
			return nil, errBad
		}
		return answers, nil
	}
}

func TestHalving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &recorder{}
		halve := func(err error) bool { return errors.Is(err, errBad) }
		b := New(failingCommit(l, 6), Options[int]{Queue: 8, Max: 8, Halve: halve})
		start(t, b)
		c := &callers{b: b}
		c.call(t.Context(), t, 1, 2, 3, 4, 5, 6, 7)
		c.wait.Wait()
		l.want(t, []int{1}, []int{2, 3, 4, 5, 6, 7}, []int{2, 3, 4}, []int{5, 6, 7}, []int{5}, []int{6, 7}, []int{6}, []int{7})
		for request, err := range c.got {
			if want := request == 6; errors.Is(err, errBad) != want || (err != nil) != want {
				t.Errorf("the answer to %d is %v", request, err)
			}
		}
	})
}

func TestNoHalvingOfSharedErrors(t *testing.T) {
	for name, halve := range map[string]func(error) bool{"never": nil, "not this one": func(error) bool { return false }} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &recorder{}
				b := New(failingCommit(l, 3), Options[int]{Queue: 8, Max: 8, Halve: halve})
				start(t, b)
				c := &callers{b: b}
				c.call(t.Context(), t, 1, 2, 3, 4)
				c.wait.Wait()
				l.want(t, []int{1}, []int{2, 3, 4})
				for request, err := range c.got {
					if errors.Is(err, errBad) != (request > 1) {
						t.Errorf("the answer to %d is %v", request, err)
					}
				}
			})
		})
	}
}

func TestErrorOfOneMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(func(_ context.Context, batch []int) ([]Answer[int], error) {
			time.Sleep(commitTime)
			answers := tenfold(batch)
			for i, request := range batch {
				if request == 3 {
					answers[i] = Answer[int]{Err: errBad}
				}
			}
			return answers, nil
		}, Options[int]{Queue: 8, Max: 8, Halve: func(error) bool { return true }})
		start(t, b)
		c := &callers{b: b}
		c.call(t.Context(), t, 1, 2, 3, 4)
		c.wait.Wait()
		for request, err := range c.got {
			if errors.Is(err, errBad) != (request == 3) {
				t.Errorf("the answer to %d is %v", request, err)
			}
		}
	})
}

func TestPanicOfOneMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &recorder{}
		b := New(func(ctx context.Context, batch []int) ([]Answer[int], error) {
			answers, err := l.commit(ctx, batch)
			if slices.Contains(batch, 3) {
				panic("three")
			}
			return answers, err
		}, Options[int]{Queue: 8, Max: 8})
		start(t, b)
		c := &callers{b: b}
		c.call(t.Context(), t, 1, 2, 3, 4, 5)
		c.wait.Wait()
		l.want(t, []int{1}, []int{2, 3, 4, 5}, []int{2, 3}, []int{2}, []int{3}, []int{4, 5})
		for request, err := range c.got {
			var panicked *PanicError
			if errors.As(err, &panicked) != (request == 3) || (err != nil) != (request == 3) {
				t.Errorf("the answer to %d is %v", request, err)
			}
			if panicked != nil && (panicked.Value != "three" || !strings.Contains(string(panicked.Stack), "TestPanic")) {
				t.Errorf("the panic %v lacks its value or stack: %s", panicked, panicked.Stack)
			}
		}
		if value, err := b.Do(t.Context(), 6); value != 60 || err != nil {
			t.Errorf("after the panic: %d, %v", value, err)
		}
	})
}

func TestWrongNumberOfAnswers(t *testing.T) {
	for _, off := range []int{-1, 1} {
		t.Run(fmt.Sprintf("%+d", off), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := New(func(_ context.Context, batch []int) ([]Answer[int], error) {
					time.Sleep(commitTime)
					answers := tenfold(batch)
					if slices.Contains(batch, 3) {
						answers = make([]Answer[int], len(batch)+off)
					}
					return answers, nil
				}, Options[int]{Queue: 8, Max: 8})
				start(t, b)
				c := &callers{b: b}
				c.call(t.Context(), t, 1, 2, 3, 4)
				c.wait.Wait()
				for request, err := range c.got {
					var panicked *PanicError
					if errors.As(err, &panicked) != (request == 3) {
						t.Errorf("the answer to %d is %v: no request may get that of another", request, err)
					}
				}
			})
		})
	}
}

func TestObserve(t *testing.T) {
	type seen struct {
		size         int
		waited, took time.Duration
	}
	synctest.Test(t, func(t *testing.T) {
		var got []seen
		b := New((&recorder{}).commit, Options[int]{Queue: 8, Max: 8, Observe: func(size int, waited, took time.Duration) {
			got = append(got, seen{size, waited, took})
		}})
		stop := start(t, b)
		c := &callers{b: b}
		c.call(t.Context(), t, 1)
		time.Sleep(commitTime / 4)
		c.call(t.Context(), t, 2)
		time.Sleep(commitTime / 4)
		c.call(t.Context(), t, 3)
		c.wait.Wait()
		stop()
		if want := []seen{{1, 0, commitTime}, {2, commitTime * 3 / 4, commitTime}}; !slices.Equal(got, want) {
			t.Errorf("observed %v, want %v", got, want)
		}
	})
}

func TestLoops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &recorder{}
		b := New(l.commit, Options[int]{Queue: 9, Max: 1, Loops: 3})
		stop := start(t, b)
		c := &callers{b: b}
		before := time.Now()
		c.call(t.Context(), t, 1, 2, 3, 4, 5, 6)
		c.wait.Wait()
		if took := time.Since(before); took != 2*commitTime {
			t.Errorf("six commits by three loops took %v, want %v", took, 2*commitTime)
		}
		c.call(t.Context(), t, 7, 8, 9, 10)
		stop()
		c.wait.Wait()
		for request, err := range c.got {
			if err != nil {
				t.Errorf("the answer to %d is %v", request, err)
			}
		}
	})
}

func TestNewPanicsWithoutCapacity(t *testing.T) {
	for _, o := range []Options[int]{{Queue: 0, Max: 1}, {Queue: 1, Max: 0}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("New accepted %+v", o)
				}
			}()
			New((&recorder{}).commit, o)
		}()
	}
}
