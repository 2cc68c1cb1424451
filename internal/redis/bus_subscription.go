package redis

import (
	"context"
	"slices"
	"sync"

	"orderflow/internal/bus"
)

// subscription receives all messages of a topic.
type subscription struct {
	bus    *Bus
	topic  *topic
	wakeup chan struct{} // a signal: messages may have arrived
	closed chan struct{} // closed under mu

	mu       sync.Mutex
	messages []bus.Message // since the last Next, at most Options.SubscriptionBuffer
	lagged   bool          // messages were lost since the last Next
}

func newSubscription(b *Bus, t *topic) *subscription {
	return &subscription{bus: b, topic: t, wakeup: make(chan struct{}, 1), closed: make(chan struct{})}
}

// add appends messages, and drops the oldest ones beyond the bound.
func (s *subscription) add(messages []bus.Message) {
	s.mu.Lock()
	s.messages = append(s.messages, messages...)
	if surplus := len(s.messages) - s.bus.options.SubscriptionBuffer; surplus > 0 {
		s.messages = append([]bus.Message(nil), s.messages[surplus:]...)
		s.lagged = true
	}
	s.mu.Unlock()
	notify(s.wakeup)
}

// markLagged records that messages may have been lost.
func (s *subscription) markLagged() {
	s.mu.Lock()
	s.lagged = true
	s.mu.Unlock()
	notify(s.wakeup)
}

// Next implements bus.Subscription.
func (s *subscription) Next(ctx context.Context) ([]bus.Message, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for {
		messages, err := s.take()
		if err != nil || len(messages) > 0 {
			return messages, err
		}
		select {
		case <-s.wakeup:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.closed:
		case <-s.bus.closed:
		}
	}
}

// take returns all messages that arrived, or none. If messages were lost, it first returns ErrLagged, once.
func (s *subscription) take() ([]bus.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if isClosed(s.closed) || isClosed(s.bus.closed) {
		return nil, bus.ErrClosed
	}
	if s.lagged {
		s.lagged = false
		notify(s.wakeup) // the next call returns the messages that are left
		return nil, bus.ErrLagged
	}
	messages := s.messages
	s.messages = nil
	return messages, nil
}

// Close implements bus.Subscription.
func (s *subscription) Close() error {
	s.mu.Lock()
	if isClosed(s.closed) {
		s.mu.Unlock()
		return nil
	}
	close(s.closed)
	s.messages = nil
	s.mu.Unlock()
	defer s.bus.release(s.topic.messages)
	s.topic.mu.Lock()
	defer s.topic.mu.Unlock()
	s.topic.subscriptions = slices.DeleteFunc(s.topic.subscriptions, func(other *subscription) bool { return other == s })
	return nil
}
