package lock

import (
	"math/bits"
	"math/rand/v2"
	"time"
)

// Tries is the number of tries for a busy product, without those after a wake-up.
const Tries = 6

const (
	firstDelay = 100 * time.Millisecond  // doubles with each further delay, ±25 %
	shortest   = 2500 * time.Millisecond // lower bound of the sum of all delays
)

// Schedule returns the delay before each try: none before the first, then 100 ms, 200 ms, 400 ms, 800 ms and 1.6 s, each with a
// jitter of ±25 % from source, and 2.5 s to 3.9 s in all. A wake-up (Busy.Released) adds a try and uses up none of these.
//
// The sum of five short delays can be 2.325 s. The last delay then makes up the difference to 2.5 s, which leaves it within its own
// bounds: 1.375 s at most.
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

// Random is a source for Schedule that is safe for concurrent use: the runtime's generator.
type Random struct{}

// Uint64 returns 64 random bits.
func (Random) Uint64() uint64 { return rand.Uint64() }
