package bus

import (
	"context"
	"slices"
)

// tail is one reader of all. Its state is guarded by the bus's mutex.
type tail struct {
	bus    *Local
	topic  *topic
	bell   bell
	closed chan struct{} // closed under the bus's mutex

	messages []Message // since the last Next, at most Options.Subscription
	lagged   bool      // some were lost since the last Next
}

// add takes a message in; the oldest makes room for it where there is none. (The memory that cutting off the front
// leaves unused goes when append next moves the slice: never more than the slice itself.)
func (t *tail) add(message Message) {
	if len(t.messages) == t.bus.options.Tail {
		t.messages[0] = Message{}
		t.messages = t.messages[1:]
		t.lagged = true
	}
	t.messages = append(t.messages, message)
	t.bell.ring()
}

// Next implements Subscription.
func (t *tail) Next(ctx context.Context) ([]Message, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for {
		messages, err := t.take()
		if err != nil || len(messages) > 0 {
			return messages, err
		}
		select {
		case <-t.bell:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-t.closed:
		case <-t.bus.closed:
		}
	}
}

// take returns all that has come, if anything has; ErrLagged, once, before it when some was lost.
func (t *tail) take() ([]Message, error) {
	t.bus.mu.Lock()
	defer t.bus.mu.Unlock()
	if isClosed(t.closed) || isClosed(t.bus.closed) {
		return nil, ErrClosed
	}
	if t.lagged {
		t.lagged = false
		t.bell.ring() // what is left is for whoever asks next
		return nil, ErrLagged
	}
	messages := t.messages
	t.messages = nil
	return messages, nil
}

// Close implements Subscription.
func (t *tail) Close() error {
	t.bus.mu.Lock()
	defer t.bus.mu.Unlock()
	if isClosed(t.closed) {
		return nil
	}
	close(t.closed)
	t.messages = nil
	t.topic.tails = slices.DeleteFunc(t.topic.tails, func(other *tail) bool { return other == t })
	return nil
}
