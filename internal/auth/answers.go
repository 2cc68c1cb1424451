package auth

import (
	"crypto/sha256"
	"time"
)

// digest is what a token is kept and remembered under.
type digest = [sha256.Size]byte

// answers are what is remembered about tokens: at most room of them, the oldest going first. All are good for equally long, so
// the oldest is also the first to be over. It is not safe for concurrent use.
type answers[T any] struct {
	room  int
	known map[digest]answer[T]
	queue []digest // in order of their end; those that were forgotten in between included
	first int      // in queue
}

type answer[T any] struct {
	value T
	until time.Time
}

func newAnswers[T any](room int) *answers[T] {
	return &answers[T]{room: room, known: map[digest]answer[T]{}}
}

// get returns what is remembered, unless that is too old.
func (a *answers[T]) get(key digest, now time.Time) (value T, ok bool) {
	found, ok := a.known[key]
	if !ok || !now.Before(found.until) {
		return value, false
	}
	return found.value, true
}

// put remembers something until then, and forgets what is over or has no room.
func (a *answers[T]) put(key digest, value T, now, until time.Time) {
	for a.first < len(a.queue) {
		oldest := a.queue[a.first]
		if found, ok := a.known[oldest]; ok && now.Before(found.until) && len(a.queue)-a.first < a.room {
			break
		}
		delete(a.known, oldest)
		a.first++
	}
	if a.first > len(a.queue)/2 { // half of it is dead
		a.queue = append(a.queue[:0], a.queue[a.first:]...)
		a.first = 0
	}
	a.known[key] = answer[T]{value, until}
	a.queue = append(a.queue, key)
}

// forget forgets one.
func (a *answers[T]) forget(key digest) { delete(a.known, key) }
