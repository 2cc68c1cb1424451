package api_test

import (
	"context"
	"sync/atomic"

	"orderflow/internal/bus"
)

// testBus is the in-process bus. Tests can make it lose messages, and see each subscription.
type testBus struct {
	*bus.Local
	loses      atomic.Bool // published messages are lost
	subscribed chan bus.Subscription
	fault      atomic.Pointer[error] // of the next Subscribe
}

func newTestBus() *testBus {
	return &testBus{Local: bus.NewLocal(bus.Options{SubscriptionBuffer: 4}), subscribed: make(chan bus.Subscription, 100)}
}

func (b *testBus) Publish(ctx context.Context, messages []bus.Message) error {
	if b.loses.Load() {
		return nil
	}
	return b.Local.Publish(ctx, messages)
}

func (b *testBus) Subscribe(ctx context.Context, topic string) (bus.Subscription, error) {
	if fault := b.fault.Swap(nil); fault != nil {
		return nil, *fault
	}
	subscription, err := b.Local.Subscribe(ctx, topic)
	if err == nil {
		b.subscribed <- subscription
	}
	return subscription, err
}
