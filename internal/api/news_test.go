package api_test

import (
	"context"
	"sync/atomic"

	"orderflow/internal/bus"
)

// news is the in-process bus, which tests can deafen and see being joined.
type news struct {
	*bus.Local
	deaf   atomic.Bool
	joined chan bus.Subscription
	fault  atomic.Pointer[error] // of the next Tail
}

func newNews() *news {
	return &news{Local: bus.NewLocal(bus.Options{SubscriptionBuffer: 4}), joined: make(chan bus.Subscription, 100)}
}

func (n *news) Publish(ctx context.Context, messages []bus.Message) error {
	if n.deaf.Load() {
		return nil
	}
	return n.Local.Publish(ctx, messages)
}

func (n *news) Subscribe(ctx context.Context, topic string) (bus.Subscription, error) {
	if fault := n.fault.Swap(nil); fault != nil {
		return nil, *fault
	}
	tail, err := n.Local.Subscribe(ctx, topic)
	if err == nil {
		n.joined <- tail
	}
	return tail, err
}
