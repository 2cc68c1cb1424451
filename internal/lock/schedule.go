package lock

import (
	"math/bits"
	"math/rand/v2"
	"time"
)

// Tries is how often a busy product is tried, wake-ups apart.
const Tries = 6

// The schedule's figures.
const (
	firstDelay = 100 * time.Millisecond  // doubled for each further one, ±25 %
	shortest   = 2500 * time.Millisecond // of all delays together; the longest follows from theirs: 3.875 s
)

// Schedule returns how long to wait before each try: nothing before the first, then 100 ms, 200 ms, 400 ms, 800 ms and
// 1.6 s, each ±25 % with a jitter drawn from source, and between 2.5 s and 3.9 s in all. A wake-up (Busy.Released) is
// an extra try that uses up none of these.
//
// Each delay keeps its own bounds. Five short ones would add up to 2.325 s; the last then makes up what is missing,
// which takes it to 1.375 s at most and so never out of its bounds.
func Schedule(source rand.Source) [Tries]time.Duration {
	var delays [Tries]time.Duration
	var total time.Duration
	for n := range Tries - 1 {
		middle := firstDelay << n
		// The high half of a 64-bit draw times the span is a number from 0 to middle/2.
		jitter, _ := bits.Mul64(source.Uint64(), uint64(middle/2)+1)
		delays[n+1] = middle*3/4 + time.Duration(jitter)
		total += delays[n+1]
	}
	delays[Tries-1] += max(0, shortest-total)
	return delays
}

// Random is a source for Schedule that any number of goroutines may share: the runtime's own generator.
type Random struct{}

// Uint64 returns 64 random bits.
func (Random) Uint64() uint64 { return rand.Uint64() }
