package lock_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"orderflow/internal/lock"
)

const ms = time.Millisecond

// constant is a source that always returns the same number.
type constant uint64

func (s constant) Uint64() uint64 { return uint64(s) }

// bounds are those of the contract; Schedule computes them.
func bounds() [lock.Tries][2]time.Duration {
	return [lock.Tries][2]time.Duration{
		{0, 0},
		{75 * ms, 125 * ms},
		{150 * ms, 250 * ms},
		{300 * ms, 500 * ms},
		{600 * ms, 1000 * ms},
		{1200 * ms, 2000 * ms},
	}
}

type fataler interface {
	Fatalf(format string, args ...any)
}

func checkSchedule(t fataler, delays [lock.Tries]time.Duration) {
	var total time.Duration
	for i, delay := range delays {
		if delay < bounds()[i][0] || delay > bounds()[i][1] {
			t.Fatalf("try %d waits %v, outside %v", i, delay, bounds()[i])
		}
		total += delay
	}
	if total < 2500*ms || total > 3900*ms {
		t.Fatalf("the sum of %v is %v, outside 2.5 s to 3.9 s", delays, total)
	}
}

func TestScheduleKeepsItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		checkSchedule(t, lock.Schedule(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)))
	})
	checkSchedule(t, lock.Schedule(lock.Random{}))
}

func TestScheduleExtremes(t *testing.T) {
	shortest := lock.Schedule(constant(0))
	checkSchedule(t, shortest)
	if want := [lock.Tries]time.Duration{0, 75 * ms, 150 * ms, 300 * ms, 600 * ms, 1375 * ms}; shortest != want {
		t.Errorf("the shortest schedule is %v, want %v", shortest, want)
	}
	longest := lock.Schedule(constant(math.MaxUint64))
	checkSchedule(t, longest)
	for i, delay := range longest {
		if delay != bounds()[i][1] {
			t.Errorf("the longest wait of try %d is %v, want %v", i, delay, bounds()[i][1])
		}
	}
}

func TestScheduleIsJitteredAndRepeatable(t *testing.T) {
	first, again, other := lock.Schedule(rand.NewPCG(1, 1)), lock.Schedule(rand.NewPCG(1, 1)), lock.Schedule(rand.NewPCG(2, 1))
	if first != again {
		t.Errorf("the same source gave %v and %v", first, again)
	}
	for i := 1; i < lock.Tries; i++ {
		if first[i] == other[i] {
			t.Errorf("try %d waits %v with either source", i, first[i])
		}
	}
}
