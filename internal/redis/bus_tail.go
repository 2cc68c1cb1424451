package redis

import (
	"context"
	"slices"
	"sync"

	"orderflow/internal/bus"
)

// tail is one reader of all that is published to a topic.
type tail struct {
	bus    *Bus
	topic  *topic
	bell   chan struct{} // has an element when something may have come
	closed chan struct{}

	mu       sync.Mutex
	messages []bus.Message // since the last Next, at most Options.Tail
	lagged   bool          // some were lost since the last Next
	over     bool          // closed is closed
}

func newTail(b *Bus, t *topic) *tail {
	return &tail{bus: b, topic: t, bell: make(chan struct{}, 1), closed: make(chan struct{})}
}

// add takes messages in; the oldest make room for them where there is none.
func (l *tail) add(messages []bus.Message) {
	l.mu.Lock()
	l.messages = append(l.messages, messages...)
	if surplus := len(l.messages) - l.bus.options.Tail; surplus > 0 {
		l.messages = append([]bus.Message(nil), l.messages[surplus:]...)
		l.lagged = true
	}
	l.mu.Unlock()
	l.ring()
}

// miss notes that messages may have been lost.
func (l *tail) miss() {
	l.mu.Lock()
	l.lagged = true
	l.mu.Unlock()
	l.ring()
}

func (l *tail) ring() {
	select {
	case l.bell <- struct{}{}:
	default:
	}
}

// Next implements bus.Subscription.
func (l *tail) Next(ctx context.Context) ([]bus.Message, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for {
		messages, err := l.take()
		if err != nil || len(messages) > 0 {
			return messages, err
		}
		select {
		case <-l.bell:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-l.closed:
		case <-l.bus.closed:
		}
	}
}

// take returns all that has come, if anything has; ErrLagged, once, before it when some was lost.
func (l *tail) take() ([]bus.Message, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over || l.bus.isClosed() {
		return nil, bus.ErrClosed
	}
	if l.lagged {
		l.lagged = false
		l.ring() // what is left is for whoever asks next
		return nil, bus.ErrLagged
	}
	messages := l.messages
	l.messages = nil
	return messages, nil
}

// Close implements bus.Subscription.
func (l *tail) Close() error {
	l.mu.Lock()
	again := l.over
	if !again {
		l.over = true
		close(l.closed)
		l.messages = nil
	}
	l.mu.Unlock()
	if again {
		return nil
	}
	defer l.bus.leave(l.topic.news)
	l.topic.mu.Lock()
	defer l.topic.mu.Unlock()
	l.topic.tails = slices.DeleteFunc(l.topic.tails, func(other *tail) bool { return other == l })
	return nil
}
