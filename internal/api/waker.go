package api

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"

	"orderflow/internal/bus"
)

// waker wakes open event streams when the bus reports changes of their orders.
type waker struct {
	connected atomic.Bool // the waker reads the bus

	max   int
	ended chan struct{} // closed when streams have to end

	mu      sync.Mutex
	closed  bool // ended is closed
	count   int
	streams map[int64]map[*stream]struct{} // by order
}

// stream is the registration of an event stream.
type stream struct {
	orderID int64
	wake    chan struct{} // capacity 1: a signal to read the table
}

func newWaker(limit int) *waker {
	return &waker{max: limit, ended: make(chan struct{}), streams: map[int64]map[*stream]struct{}{}}
}

// register registers a stream; nil means that there are too many.
func (w *waker) register(orderID int64) *stream {
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

// unregister removes a stream.
func (w *waker) unregister(s *stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count--
	delete(w.streams[s.orderID], s)
	if len(w.streams[s.orderID]) == 0 {
		delete(w.streams, s.orderID)
	}
}

// open returns the number of registered streams.
func (w *waker) open() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}

// end ends all streams, also those that register later.
func (w *waker) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.closed = true
		close(w.ended)
	}
}

// run wakes streams by the changes on the bus until ctx ends. While the bus is disconnected, streams read the table by themselves.
func (w *waker) run(ctx context.Context, from bus.Bus, logger *slog.Logger) {
	defer w.connected.Store(false)
	bus.Follow(ctx, from, bus.TopicChanges, bus.Follower{
		Subscribed: func() {
			w.connected.Store(true)
			w.wakeAll() // changes before the subscription are unknown
		},
		Lagged: w.wakeAll, // any stream may have missed a change
		Disconnected: func(err error) {
			w.connected.Store(false)
			logger.WarnContext(ctx, "Event streams are not woken, because the bus is disconnected. They read the table at intervals.",
				"event", "streams.disconnected", "error", err)
		},
		Deliver: w.wake,
	})
}

// wake wakes the streams of the orders of these messages. The key of a message is the id of its order.
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
			s.signal()
		}
	}
}

func (w *waker) wakeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, streams := range w.streams {
		for s := range streams {
			s.signal()
		}
	}
}

// signal sends the wake-up signal, unless one is in the channel: one read of the table serves both.
func (s *stream) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
