package redis

import (
	"context"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// channel is a publish/subscribe channel of a topic. The bus subscribes to it as long as the channel has users.
type channel struct {
	name      string
	subscribe operation
	onMessage func(text string)
	onChange  func() // called when the subscription is confirmed and when it is lost

	// The bus's mutex guards these.
	users   int                // consumers or subscriptions
	running bool               // keepSubscribed runs
	cancel  context.CancelFunc // ends the current subscription

	mu        sync.Mutex
	connected bool
	changed   chan struct{} // closed and replaced when connected changes
}

func newChannel(name, topic string, onChange func(), onMessage func(string)) *channel {
	return &channel{
		name: name, subscribe: operation{"subscribe to topic", topic}, onMessage: onMessage, onChange: onChange, changed: make(chan struct{}),
	}
}

func (c *channel) setConnected(connected bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.connected == connected {
		return
	}
	c.connected = connected
	close(c.changed)
	c.changed = make(chan struct{})
	c.onChange() // before the change is visible: a reader that comes after it has missed nothing
}

func (c *channel) state() (connected bool, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.connected, c.changed
}

// acquire adds a user to a channel, until release; false when the bus is closed.
func (b *Bus) acquire(c *channel) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if isClosed(b.closed) {
		return false
	}
	c.users++
	if !c.running {
		c.running = true
		b.tasks.Go(func() { b.keepSubscribed(c) })
	}
	return true
}

// release removes a user from a channel. Without users the bus unsubscribes.
func (b *Bus) release(c *channel) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.users--; c.users == 0 && c.cancel != nil {
		c.cancel()
	}
}

// subscriptionContext returns a context that lasts as long as a channel has users; nil when it has none or the bus is closed:
// keepSubscribed then has to end.
func (b *Bus) subscriptionContext(c *channel) context.Context {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.cancel != nil {
		c.cancel()
	}
	if isClosed(b.closed) || c.users == 0 {
		c.running, c.cancel = false, nil
		return nil
	}
	ctx, cancel := context.WithCancel(b.running)
	c.cancel = cancel
	return ctx
}

// keepSubscribed subscribes to a channel, again after every failure, as long as the channel has users.
func (b *Bus) keepSubscribed(c *channel) {
	retry := resubscription{client: b.client, op: c.subscribe, pause: backoff{first: busResubscribePause, longest: resubscribeLongest}}
	for ctx := b.subscriptionContext(c); ctx != nil; ctx = b.subscriptionContext(c) {
		began := time.Now()
		err := b.receive(ctx, c)
		retry.wait(ctx, err, began)
	}
}

// receive receives the messages of a channel until ctx ends or the subscription fails. It returns nil while Redis is down.
func (b *Bus) receive(ctx context.Context, c *channel) error {
	conn, err := b.client.conn()
	if err != nil {
		return nil // the client knows that Redis is down, and reports it
	}
	hooked := rueidis.WithOnSubscriptionHook(ctx, func(s rueidis.PubSubSubscription) {
		if s.Kind == "ssubscribe" {
			c.setConnected(true)
			b.client.health.succeed(c.subscribe)
		}
	})
	err = conn.Receive(hooked, conn.B().Ssubscribe().Channel(c.name).Build(), func(m rueidis.PubSubMessage) { c.onMessage(m.Message) })
	c.setConnected(false)
	if ctx.Err() == nil || isClosed(b.closed) {
		return err
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), busTimeout)
	defer cancel()
	// Redis sends messages until the connection unsubscribes. If this fails, nothing here receives them.
	_ = conn.Do(limited, conn.B().Sunsubscribe().Channel(c.name).Build()).Error()
	return err
}
