package worker

import "context"

// slots are the places for charges in flight: a token in the channel for each that is free. Those who wait for one get
// it in the order in which they came.
type slots chan struct{}

func newSlots(n int) slots {
	s := make(slots, n)
	s.give(n)
	return s
}

// free is how many could be taken now.
func (s slots) free() int { return len(s) }

// take waits for one and takes up to want; 0 when ctx ends first.
func (s slots) take(ctx context.Context, want int) (got int) {
	select {
	case <-s:
		got = 1
	case <-ctx.Done():
		return 0
	}
	for got < want {
		select {
		case <-s:
			got++
		default:
			return got
		}
	}
	return got
}

// give puts n back.
func (s slots) give(n int) {
	for range n {
		s <- struct{}{}
	}
}
