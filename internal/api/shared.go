package api

import (
	"context"
	"errors"
	"sync"
	"time"
)

// shared keeps one value that many readers want: for at most age, and only until it is dropped. Readers who miss it
// wait for one load together. See the package comment for why nobody gets a value older than a drop before they asked.
type shared[T any] struct {
	age  time.Duration // 0: keep nothing, only share loads
	load func(context.Context) (T, error)

	mu         sync.Mutex
	generation uint64 // raised by drop
	kept       bool
	value      T // valid while kept
	expires    time.Time
	loading    *load[T] // nil while nobody loads
}

// load is one load under way; value and err may be read once done is closed.
type load[T any] struct {
	generation uint64 // when it began
	done       chan struct{}
	value      T
	err        error
}

var errLoadPanicked = errors.New("api: a load that others waited for panicked")

// drop forgets the value. Who calls get after drop has returned gets a value loaded after drop was called.
func (s *shared[T]) drop() {
	var none T
	s.mu.Lock()
	s.generation++
	s.kept, s.value = false, none
	s.mu.Unlock()
}

// get returns the value, kept or loaded. It returns the error of ctx, or of the load.
func (s *shared[T]) get(ctx context.Context) (T, error) {
	s.mu.Lock()
	arrived := s.generation
	for {
		if s.kept && time.Now().Before(s.expires) {
			value := s.value
			s.mu.Unlock()
			return value, nil
		}
		current := s.loading
		if current == nil {
			return s.fill(ctx) // unlocks
		}
		s.mu.Unlock()
		select {
		case <-current.done:
		case <-ctx.Done():
			var none T
			return none, ctx.Err()
		}
		if current.generation >= arrived {
			return current.value, current.err
		}
		s.mu.Lock()
	}
}

// fill loads the value for all who wait. It is called with mu held and gives it back. A caller that leaves does not
// stop the load: others wait for it.
func (s *shared[T]) fill(ctx context.Context) (T, error) {
	began := time.Now()
	l := &load[T]{generation: s.generation, done: make(chan struct{}), err: errLoadPanicked}
	s.loading = l
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.loading = nil
		if l.err == nil && s.age > 0 && s.generation == l.generation {
			s.kept, s.value, s.expires = true, l.value, began.Add(s.age)
		}
		s.mu.Unlock()
		close(l.done)
	}()
	l.value, l.err = s.load(context.WithoutCancel(ctx))
	return l.value, l.err
}
