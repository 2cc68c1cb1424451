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
)

// counted is a bus that counts the tails of its topic of work that are open.
type counted struct {
	bus.Bus
	open atomic.Int32
}

func (c *counted) Subscribe(ctx context.Context, topic string) (bus.Subscription, error) {
	tail, err := c.Bus.Subscribe(ctx, topic)
	if err != nil || topic != bus.TopicJobs {
		return tail, err
	}
	c.open.Add(1)
	return &countedTail{tail, sync.OnceFunc(func() { c.open.Add(-1) })}, nil
}

type countedTail struct {
	bus.Subscription
	gone func()
}

func (t *countedTail) Close() error {
	t.gone()
	return t.Subscription.Close()
}

// created is an order's OrderCreated.
func created(id, user int64) order.Event {
	e := paid(id, user)
	e.Seq, e.Type, e.Actor = 1, order.OrderCreated, "user:7"
	return e
}

// work publishes new orders as the outbox does.
func (n *node) work(events ...order.Event) {
	n.Helper()
	messages := make([]bus.Message, len(events))
	for i, e := range events {
		messages[i] = bus.Message{ID: e.ID(), Topic: bus.TopicJobs, Body: e.Append(nil)}
	}
	if err := n.bus.Publish(n.Context(), messages); err != nil {
		n.Fatal(err)
	}
}

// news is what the feed says.
type news struct {
	OrderID int64  `json:"order_id"`
	Status  string `json:"status"`
	LeftOut int    `json:"left_out"`
}

// feed hears the next event of the feed.
func (c *client) feed() (said news) {
	c.Helper()
	e := c.hear()
	text, _ := e.Data.(string)
	if err := json.Unmarshal([]byte(text), &said); err != nil || e.Event != feedEvent || e.Channel != pusher.FeedChannel {
		c.Fatalf("heard %+v, %v", e, err)
	}
	return said
}

// The feed tells of every change of an order, and reads new orders only while somebody listens.
func TestFeed(t *testing.T) {
	b := &counted{Bus: newBus(t)}
	n := newNode(t, b, nil)
	n.settled()
	if n.feed.active.Load() || b.open.Load() != 0 {
		t.Fatal("it reads the bus for nobody")
	}
	first, second := n.connect(), n.connect()
	first.subscribe(pusher.FeedChannel)
	n.waitFor(func() bool { return n.feed.active.Load() && b.open.Load() == 1 })
	n.work(created(100, 7))
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
	first.say(`{"event":"pusher:unsubscribe","data":{"channel":"` + pusher.FeedChannel + `"}}`)
	first.say(`{"event":"pusher:ping","data":{}}`)
	first.want(eventPong, "", "{}")
	n.work(created(101, 7))
	second.want(feedEvent, pusher.FeedChannel, `"order_id":101`)
	_ = second.ws.Close() // who goes without a word is gone too
	n.waitFor(func() bool { return !n.feed.active.Load() && b.open.Load() == 0 })
	n.work(created(102, 7))
	first.subscribe(pusher.FeedChannel)
	n.waitFor(func() bool { return b.open.Load() == 1 })
	n.work(created(103, 7))
	if heard := first.feed(); heard.OrderID != 103 {
		t.Errorf("who came later heard of order %d", heard.OrderID)
	}
}

// Of many changes the newest are told, and how many were left out.
func TestFeedOfMany(t *testing.T) {
	b := &counted{Bus: newBus(t)}
	n := newNode(t, b, nil)
	n.settled()
	c := n.connect()
	c.subscribe(pusher.FeedChannel)
	n.waitFor(func() bool { return b.open.Load() == 1 })
	const orders = 5000
	for i := range orders / 50 {
		var events []order.Event
		for j := range 50 {
			events = append(events, created(int64(i*50+j+1), 1))
		}
		n.work(events...)
	}
	told, left := 0, 0
	for {
		heard := c.feed()
		told, left = told+1, left+heard.LeftOut
		if heard.OrderID == orders {
			break
		}
	}
	if told+left != orders || left == 0 || told < feedWaiting {
		t.Errorf("of %d, %d were told and %d left out", orders, told, left)
	}
}

// However many come, no second has more than twenty; and the first few need not wait.
func TestFeedPace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := pace{burst: feedBurst, interval: feedInterval}
		began := time.Now()
		var at []time.Time
		for range 100 {
			at = append(at, time.Now())
			time.Sleep(turns.take(time.Now()))
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
		if wait := turns.take(time.Now()); wait != 0 {
			t.Errorf("after a rest the next waits for %s", wait)
		}
	})
}

// What is no event is passed over, and what waits does not outlive those who wait.
func TestFeedOfGarbage(t *testing.T) {
	b := &counted{Bus: newBus(t)}
	n := newNode(t, b, nil)
	c := n.connect()
	c.subscribe(pusher.FeedChannel)
	n.waitFor(func() bool { return b.open.Load() == 1 })
	if err := b.Publish(t.Context(), []bus.Message{{ID: "x", Topic: bus.TopicJobs, Body: []byte("{")}}); err != nil {
		t.Fatal(err)
	}
	updated := created(6, 7)
	updated.Type = "OrderUpdated" // leaves the status as it is
	n.publish(updated)
	n.work(created(7, 7))
	if heard := c.feed(); heard.OrderID != 7 {
		t.Errorf("%+v", heard)
	}
	c.say(`{"event":"pusher:subscribe","data":{"channel":"` + pusher.FeedChannel + `x"}}`) // not signed
	if e := c.hear(); e.Event != eventSubscriptionError || !strings.Contains(fmt.Sprint(e.Data), newRefusals().notAuthorized.kind) {
		t.Errorf("heard %+v", e)
	}
}
