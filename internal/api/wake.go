package api

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"

	"orderflow/internal/bus"
)

// waker tells open event streams that there may be something new about their order.
type waker struct {
	hears atomic.Bool // the bus is read

	max   int
	ended chan struct{} // closed when streams are to end

	mu      sync.Mutex
	over    bool // ended is closed
	count   int
	streams map[int64]map[*stream]struct{} // by order
}

// stream is an event stream's place with the waker.
type stream struct {
	orderID int64
	wake    chan struct{} // capacity 1: a token says "look"
}

func newWaker(limit int) *waker {
	return &waker{max: limit, ended: make(chan struct{}), streams: map[int64]map[*stream]struct{}{}}
}

// enter registers a stream; nil means that there are too many.
func (w *waker) enter(orderID int64) *stream {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count >= w.max {
		return nil
	}
	w.count++
	s := &stream{orderID: orderID, wake: make(chan struct{}, 1)}
	if w.streams[orderID] == nil {
		w.streams[orderID] = map[*stream]struct{}{}
	}
	w.streams[orderID][s] = struct{}{}
	return s
}

// leave forgets a stream.
func (w *waker) leave(s *stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count--
	delete(w.streams[s.orderID], s)
	if len(w.streams[s.orderID]) == 0 {
		delete(w.streams, s.orderID)
	}
}

// open is the number of registered streams.
func (w *waker) open() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}

// end asks all streams to end, those that are still to come too.
func (w *waker) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.over = true
		close(w.ended)
	}
}

// run wakes streams by the bus's news until ctx ends. While the bus is away, streams look by themselves.
func (w *waker) run(ctx context.Context, from bus.Bus, logger *slog.Logger) {
	defer w.hears.Store(false)
	bus.Follow(ctx, from, bus.TopicChanges, bus.Follower{
		Subscribed: func() {
			w.hears.Store(true)
			w.wakeAll() // who knows what was said before
		},
		Lagged: w.wakeAll, // any of them may have missed something
		Disconnected: func(err error) {
			w.hears.Store(false)
			logger.WarnContext(ctx, "event streams are not woken: the bus gives no news", "event", "streams.deaf", "error", err)
		},
		Deliver: w.wake,
	})
}

// wake wakes the streams of the orders that the messages are about: a message's key is the order's id.
func (w *waker) wake(messages []bus.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count == 0 {
		return
	}
	for i := range messages {
		id, err := strconv.ParseInt(messages[i].Key, 10, 64)
		if err != nil {
			continue // not about an order
		}
		for s := range w.streams[id] {
			s.token()
		}
	}
}

func (w *waker) wakeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, streams := range w.streams {
		for s := range streams {
			s.token()
		}
	}
}

// token leaves a token. One that is there already does for both.
func (s *stream) token() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
