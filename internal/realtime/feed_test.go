package realtime

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"

	"orderflow/internal/bus"
	"orderflow/internal/order"
	"orderflow/internal/pusher"
	"orderflow/test/env"
)

// countingBus counts the open subscriptions of its topic jobs.
type countingBus struct {
	bus.Bus
	open atomic.Int32
}

func (c *countingBus) Subscribe(ctx context.Context, topic string) (bus.Subscription, error) {
	subscription, err := c.Bus.Subscribe(ctx, topic)
	if err != nil || topic != bus.TopicJobs {
		return subscription, err
	}
	c.open.Add(1)
	return &countedSubscription{subscription, sync.OnceFunc(func() { c.open.Add(-1) })}, nil
}

type countedSubscription struct {
	bus.Subscription
	closed func()
}

func (t *countedSubscription) Close() error {
	t.closed()
	return t.Subscription.Close()
}

// created returns the OrderCreated event of an order.
func created(id, user int64) order.Event {
	e := paid(id, user)
	e.Seq, e.Type, e.Actor = 1, order.OrderCreated, "user:7"
	return e
}

// publishJobs publishes events on the topic jobs, as the outbox does.
func (n *node) publishJobs(events ...order.Event) {
	n.Helper()
	messages := make([]bus.Message, len(events))
	for i, e := range events {
		messages[i] = bus.Message{ID: e.ID(), Topic: bus.TopicJobs, Body: e.Append(nil)}
	}
	if err := n.bus.Publish(n.Context(), messages); err != nil {
		n.Fatal(err)
	}
}

// feedData is the data of the feed's event.
type feedData struct {
	OrderID int64  `json:"order_id"`
	Status  string `json:"status"`
	LeftOut int    `json:"left_out"`
}

// feed receives the next event of the feed.
func (c *client) feed() (data feedData) {
	c.Helper()
	e := c.receive()
	text, _ := e.Data.(string)
	if err := json.Unmarshal([]byte(text), &data); err != nil || e.Event != feedEvent || e.Channel != pusher.FeedChannel {
		c.Fatalf("received %+v, %v", e, err)
	}
	return data
}

// The feed sends every change of an order, and reads the topic jobs only while it has subscribers.
func TestFeed(t *testing.T) {
	b := &countingBus{Bus: newBus(t)}
	n := newNode(t, b, nil)
	n.waitUntilSubscribed()
	if n.feed.active.Load() || b.open.Load() != 0 {
		t.Fatal("the feed reads the bus without subscribers")
	}
	first, second := n.connect(), n.connect()
	first.subscribe(pusher.FeedChannel)
	env.Eventually(t, "the feed is active with one subscription", func() bool { return n.feed.active.Load() && b.open.Load() == 1 })
	n.publishJobs(created(100, 7))
	const at = `"2026-11-27T10:00:00.123456Z"`
	first.want(feedEvent, pusher.FeedChannel, `{"event_id":"100-1","order_id":100,"user_id":7,"status":"PENDING","total_amount":"2029.97","timestamp":`+
		at+`,"trace_id":"trace-1","left_out":0}`)
	second.subscribe(pusher.FeedChannel)
	for i, kind := range []order.EventType{order.OrderProcessing, order.OrderPaid, order.OrderFailed, order.OrderCancelled} {
		e := paid(int64(i+1), 7)
		e.Type = kind
		n.publish(e)
		for _, c := range []*client{first, second} {
			c.want(feedEvent, pusher.FeedChannel, `"status":"`+string(kind.Status())+`"`)
		}
	}
	first.write(`{"event":"pusher:unsubscribe","data":{"channel":"` + pusher.FeedChannel + `"}}`)
	first.write(`{"event":"pusher:ping","data":{}}`)
	first.want(eventPong, "", "{}")
	n.publishJobs(created(101, 7))
	second.want(feedEvent, pusher.FeedChannel, `"order_id":101`)
	_ = second.ws.Close() // without unsubscribing
	env.Eventually(t, "the feed is inactive without a subscription", func() bool { return !n.feed.active.Load() && b.open.Load() == 0 })
	n.publishJobs(created(102, 7))
	first.subscribe(pusher.FeedChannel)
	env.Eventually(t, "the feed is subscribed to the bus", func() bool { return b.open.Load() == 1 })
	n.publishJobs(created(103, 7))
	if received := first.feed(); received.OrderID != 103 {
		t.Errorf("a later subscriber received order %d", received.OrderID)
	}
}

// Under load the newest changes are sent, with the number of those left out.
func TestFeedOfMany(t *testing.T) {
	b := &countingBus{Bus: newBus(t)}
	n := newNode(t, b, nil)
	n.waitUntilSubscribed()
	c := n.connect()
	c.subscribe(pusher.FeedChannel)
	env.Eventually(t, "the feed is subscribed to the bus", func() bool { return b.open.Load() == 1 })
	const orders = 5000
	for i := range orders / 50 {
		var events []order.Event
		for j := range 50 {
			events = append(events, created(int64(i*50+j+1), 1))
		}
		n.publishJobs(events...)
	}
	count, skipped := 0, 0
	for {
		received := c.feed()
		count, skipped = count+1, skipped+received.LeftOut
		if received.OrderID == orders {
			break
		}
	}
	if count+skipped != orders || skipped == 0 || count < feedWaiting {
		t.Errorf("of %d changes %d were sent and %d left out", orders, count, skipped)
	}
}

// No second has more than twenty events, and the first few do not wait.
func TestFeedPace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := pace{burst: feedBurst, interval: feedInterval}
		began := time.Now()
		var at []time.Time
		for range 100 {
			at = append(at, time.Now())
			time.Sleep(p.take(time.Now()))
		}
		if at[feedBurst-1].After(began) {
			t.Errorf("the first %d took %s", feedBurst, at[feedBurst-1].Sub(began))
		}
		for i := range at[20:] {
			if within := at[20+i].Sub(at[i]); within < time.Second {
				t.Fatalf("from %d on, 21 in %s", i, within)
			}
		}
		if took := at[99].Sub(began); took > 100*feedInterval {
			t.Errorf("100 took %s", took)
		}
		time.Sleep(time.Second)
		if wait := p.take(time.Now()); wait != 0 {
			t.Errorf("after a pause the next event waits for %s", wait)
		}
	})
}

// Malformed messages are skipped.
func TestFeedOfMalformedMessages(t *testing.T) {
	b := &countingBus{Bus: newBus(t)}
	n := newNode(t, b, nil)
	c := n.connect()
	c.subscribe(pusher.FeedChannel)
	env.Eventually(t, "the feed is subscribed to the bus", func() bool { return b.open.Load() == 1 })
	if err := b.Publish(t.Context(), []bus.Message{{ID: "x", Topic: bus.TopicJobs, Body: []byte("{")}}); err != nil {
		t.Fatal(err)
	}
	updated := created(6, 7)
	updated.Type = "OrderUpdated" // leaves the status as it is
	n.publish(updated)
	n.publishJobs(created(7, 7))
	if received := c.feed(); received.OrderID != 7 {
		t.Errorf("%+v", received)
	}
	c.write(`{"event":"pusher:subscribe","data":{"channel":"` + pusher.FeedChannel + `x"}}`) // not signed
	if e := c.receive(); e.Event != eventSubscriptionError || !strings.Contains(fmt.Sprint(e.Data), newRefusals().notAuthorized.kind) {
		t.Errorf("received %+v", e)
	}
}
