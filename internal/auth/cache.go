package auth

import (
	"crypto/sha256"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// digest is the SHA-256 of a token, under which it is stored and cached.
type digest = [sha256.Size]byte

// cache keeps the results of look-ups until they expire. When it is full, the least recently used one is dropped. It may be used from
// any goroutine.
type cache[T any] struct{ entries *lru.Cache[digest, entry[T]] }

type entry[T any] struct {
	value T
	until time.Time
}

func newCache[T any](size int) *cache[T] {
	entries, err := lru.New[digest, entry[T]](size)
	if err != nil { // only for a size below 1
		panic(err)
	}
	return &cache[T]{entries}
}

// get returns the value for a hash, unless it has expired.
func (c *cache[T]) get(key digest, now time.Time) (value T, ok bool) {
	e, ok := c.entries.Get(key)
	if !ok || !now.Before(e.until) {
		return value, false
	}
	return e.value, true
}

func (c *cache[T]) put(key digest, value T, until time.Time) {
	c.entries.Add(key, entry[T]{value, until})
}

func (c *cache[T]) remove(key digest) { c.entries.Remove(key) }
