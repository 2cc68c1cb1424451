package bus

import (
	"context"
	"slices"
)

// subscription receives all messages of a topic. The bus's mutex guards its state.
type subscription struct {
	bus    *Local
	topic  *topic
	wake   signal
	closed chan struct{} // closed under the bus's mutex

	messages []Message // since the last Next, at most Options.SubscriptionBuffer
	lagged   bool      // messages were lost since the last Next
}

// add appends a message, and drops the oldest one when the subscription is full. (Cutting off the front leaves memory unused
// until append moves the slice: never more than the slice itself.)
func (t *subscription) add(message Message) {
	if len(t.messages) == t.bus.options.SubscriptionBuffer {
		t.messages[0] = Message{}
		t.messages = t.messages[1:]
		t.lagged = true
	}
	t.messages = append(t.messages, message)
	t.wake.notify()
}

// Next implements Subscription.
func (t *subscription) Next(ctx context.Context) ([]Message, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for {
		messages, err := t.take()
		if err != nil || len(messages) > 0 {
			return messages, err
		}
		select {
		case <-t.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-t.closed:
		case <-t.bus.closed:
		}
	}
}

// take returns all messages that arrived, or none. If messages were lost, it first returns ErrLagged, once.
func (t *subscription) take() ([]Message, error) {
	t.bus.mu.Lock()
	defer t.bus.mu.Unlock()
	if isClosed(t.closed) || isClosed(t.bus.closed) {
		return nil, ErrClosed
	}
	if t.lagged {
		t.lagged = false
		t.wake.notify() // the next call returns the messages that are left
		return nil, ErrLagged
	}
	messages := t.messages
	t.messages = nil
	return messages, nil
}

// Close implements Subscription.
func (t *subscription) Close() error {
	t.bus.mu.Lock()
	defer t.bus.mu.Unlock()
	if isClosed(t.closed) {
		return nil
	}
	close(t.closed)
	t.messages = nil
	t.topic.subscriptions = slices.DeleteFunc(t.topic.subscriptions, func(other *subscription) bool { return other == t })
	return nil
}
