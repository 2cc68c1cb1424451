package worker

import "context"

// slots limit the orders in flight. The channel has one element per free slot, and serves waiters in the order of their requests.
type slots chan struct{}

func newSlots(n int) slots {
	s := make(slots, n)
	s.give(n)
	return s
}

// free returns the number of free slots.
func (s slots) free() int { return len(s) }

// take waits for a free slot and takes up to want; 0 when ctx ends first.
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

// give returns n slots.
func (s slots) give(n int) {
	for range n {
		s <- struct{}{}
	}
}
