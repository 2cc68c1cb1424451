package redis

import (
	"math/rand/v2"
	"time"
)

// backoff is a pause that doubles with each failure, with a jitter of 25 %, so that processes do not retry in step.
type backoff struct {
	first, longest time.Duration
	last           time.Duration // without its jitter; 0 before the first failure
}

// next returns the pause after another failure.
func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, b.first), b.longest)
	return b.last*3/4 + rand.N(b.last/2)
}

// reset starts again with the first pause.
func (b *backoff) reset() { b.last = 0 }
