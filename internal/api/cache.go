package api

import (
	"context"
	"errors"
	"sync"
	"time"
)

// cache keeps one value for many readers, for at most age and until it is invalidated. Readers that miss it wait for one fetch
// together, so at most one fetch runs at a time.
//
// A reader never gets a value that was fetched before an invalidation that preceded its own call. invalidate raises a generation. A
// fetch remembers the generation in which it began; readers that arrived in a later one fetch again, and the value is kept only if
// the generation is still the same.
type cache[T any] struct {
	age   time.Duration // 0: keep nothing, only share fetches
	fetch func(context.Context) (T, error)

	mu         sync.Mutex
	generation uint64
	kept       bool
	value      T // valid while kept
	expires    time.Time
	current    *fetching[T] // nil while no fetch runs
}

// fetching is a fetch that runs; value and err may be read once done is closed.
type fetching[T any] struct {
	generation uint64 // when it began
	done       chan struct{}
	value      T
	err        error
}

var errFetchPanicked = errors.New("api: a fetch that other requests waited for panicked")

// invalidate drops the value. A get that is called after invalidate has returned gets a value that is fetched after this call.
func (c *cache[T]) invalidate() {
	var none T
	c.mu.Lock()
	c.generation++
	c.kept, c.value = false, none
	c.mu.Unlock()
}

// get returns the value, kept or fetched. The error is that of ctx or of the fetch.
func (c *cache[T]) get(ctx context.Context) (T, error) {
	c.mu.Lock()
	arrived := c.generation
	for {
		if c.kept && time.Now().Before(c.expires) {
			value := c.value
			c.mu.Unlock()
			return value, nil
		}
		current := c.current
		if current == nil {
			return c.fill(ctx) // unlocks
		}
		c.mu.Unlock()
		select {
		case <-current.done:
		case <-ctx.Done():
			var none T
			return none, ctx.Err()
		}
		if current.generation >= arrived {
			return current.value, current.err
		}
		c.mu.Lock()
	}
}

// fill fetches the value for all waiting readers. It is called with mu locked, and unlocks it. The fetch continues when its caller
// leaves, since others wait for it.
func (c *cache[T]) fill(ctx context.Context) (T, error) {
	began := time.Now()
	f := &fetching[T]{generation: c.generation, done: make(chan struct{}), err: errFetchPanicked}
	c.current = f
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.current = nil
		if f.err == nil && c.age > 0 && c.generation == f.generation {
			c.kept, c.value, c.expires = true, f.value, began.Add(c.age)
		}
		c.mu.Unlock()
		close(f.done)
	}()
	f.value, f.err = c.fetch(context.WithoutCancel(ctx))
	return f.value, f.err
}
