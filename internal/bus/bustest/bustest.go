// Package bustest holds the tests that every bus.Bus must pass. An adapter's own test is one call of Run.
package bustest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"orderflow/internal/bus"
)

// Adapter is a Bus that can be closed, measured and asked what it promises.
type Adapter interface {
	bus.Bus
	Features() bus.Features
	Depth(ctx context.Context, topic, group string) (bus.Depth, error)
	Close() error
}

// Open returns two views of one empty bus with the given options: for a bus that processes share two clients of one
// server, else the same value twice. It registers its own clean-up; tests may have closed a view before.
type Open func(t *testing.T, options bus.Options) (a, b Adapter)

// patience is how long anything may take. No test waits for it unless it fails.
const timeout = time.Minute

// soon is the time to acknowledge in of the tests that let it pass: long enough for a busy machine to acknowledge in.
const shortAckWithin = time.Second

// room is what a test works with: two views of one bus, a topic of its own, and a context that ends with patience.
type suite struct {
	a, b  Adapter
	topic string
	ctx   context.Context //nolint:containedctx // a test's, handed to each of its steps
}

// test is one of the suite.
type test struct {
	name    string
	options bus.Options
	run     func(*testing.T, suite)
}

func tests() []test {
	return []test{
		{"delivers what was published", bus.Options{}, delivers},
		{"bodies arrive as they left", bus.Options{}, bodies},
		{"does not keep the slice", bus.Options{}, slice},
		{"fetches up to the limit", bus.Options{}, limits},
		{"a limit below one", bus.Options{}, limitBelowOne},
		{"keeps each publisher's order", bus.Options{}, order},
		{"each group gets all, each consumer a share", bus.Options{}, groups},
		{"a group gathers without consumers", bus.Options{}, gathers},
		{"topics are apart", bus.Options{}, topics},
		{"acknowledged is gone", bus.Options{}, acknowledged},
		{"acknowledged twice", bus.Options{AckWithin: shortAckWithin}, acknowledgedTwice},
		{"a closed consumer's come again", bus.Options{}, closedConsumer},
		{"a vanished consumer's come again", bus.Options{AckWithin: shortAckWithin}, vanishedConsumer},
		{"poison is set aside", bus.Options{AckWithin: shortAckWithin, Deliveries: 3}, deadLetters},
		{"a full group refuses", bus.Options{Buffer: 8}, full},
		{"refused as a whole", bus.Options{Buffer: 8}, refusedWhole},
		{"what is unacknowledged takes room", bus.Options{Buffer: 4}, unackedTakesRoom},
		{"every tail sees all that follows", bus.Options{}, subscriptionsSeeAll},
		{"a tail that lags is told and holds nobody up", bus.Options{SubscriptionBuffer: 8}, subscriptionLags},
		{"a closed tail", bus.Options{}, closedSubscription},
		{"wakes who waits", bus.Options{}, wakes},
		{"wakes as many as there are messages", bus.Options{}, wakesAll},
		{"many publishers, many consumers", bus.Options{}, many},
		{"a cancelled fetch loses nothing", bus.Options{}, cancelled},
		{"ended contexts", bus.Options{}, endedContexts},
		{"close ends all calls", bus.Options{}, closes},
		{"a closed consumer ends its calls", bus.Options{}, closesConsumer},
	}
}

// Run runs the suite, each test on a bus of its own; then several times, all at once.
func Run(t *testing.T, open Open) {
	each := func(t *testing.T, round int) {
		for i, test := range tests() {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), timeout)
				defer cancel()
				a, b := open(t, test.options)
				test.run(t, suite{a, b, fmt.Sprintf("topic-%d-%d", round, i), ctx})
			})
		}
	}
	each(t, 0)
	t.Run("stress", func(t *testing.T) {
		t.Parallel()
		for round := range 4 {
			each(t, 1+round)
		}
	})
}

// consumer returns a new consumer that is closed with the test.
func (r suite) consumer(t *testing.T, view Adapter, group string) bus.Group {
	t.Helper()
	consumer, err := view.Group(r.ctx, r.topic, group)
	if err != nil {
		t.Fatalf("Group(%q): %v", group, err)
	}
	t.Cleanup(func() {
		if err := consumer.Close(); err != nil {
			t.Errorf("close the consumer: %v", err)
		}
	})
	return consumer
}

// tail returns a new tail that is closed with the test.
func (r suite) subscribe(t *testing.T, view Adapter) bus.Subscription {
	t.Helper()
	tail, err := view.Subscribe(r.ctx, r.topic)
	if err != nil {
		t.Fatalf("Tail: %v", err)
	}
	t.Cleanup(func() {
		if err := tail.Close(); err != nil {
			t.Errorf("close the tail: %v", err)
		}
	})
	return tail
}

// messages returns messages numbered from first to last.
func (r suite) messages(first, last int) []bus.Message {
	var all []bus.Message
	for n := first; n <= last; n++ {
		all = append(all, r.message(fmt.Sprint(n)))
	}
	return all
}

func (r suite) message(id string) bus.Message {
	return bus.Message{ID: id, Key: "key-" + id, Topic: r.topic, Body: []byte("body " + id), Traceparent: "trace-" + id}
}

// publish publishes and must find room.
func (r suite) publish(t *testing.T, view Adapter, messages []bus.Message) {
	t.Helper()
	if err := view.Publish(r.ctx, messages); err != nil {
		t.Fatalf("Publish %d messages: %v", len(messages), err)
	}
}

// fetch fetches until it has n deliveries, and does not acknowledge them.
func (r suite) fetch(t *testing.T, consumer bus.Group, n int) []bus.Delivery {
	t.Helper()
	var all []bus.Delivery
	for len(all) < n {
		some, err := consumer.Fetch(r.ctx, n-len(all))
		if err != nil {
			t.Fatalf("Fetch, %d of %d messages there: %v", len(all), n, err)
		}
		if len(some) == 0 || len(some) > n-len(all) {
			t.Fatalf("Fetch of at most %d messages returned %d", n-len(all), len(some))
		}
		all = append(all, some...)
	}
	return all
}

// work fetches n messages and acknowledges them as they come.
func (r suite) fetchAndAck(t *testing.T, consumer bus.Group, n int) []bus.Delivery {
	t.Helper()
	var all []bus.Delivery
	for len(all) < n {
		some := r.fetch(t, consumer, 1)
		r.ack(t, consumer, some)
		all = append(all, some...)
	}
	return all
}

func (r suite) ack(t *testing.T, consumer bus.Group, deliveries []bus.Delivery) {
	t.Helper()
	if err := consumer.Ack(r.ctx, deliveries); err != nil {
		t.Fatalf("Ack: %v", err)
	}
}

// next reads n messages from a tail that must not lag.
func (r suite) next(t *testing.T, tail bus.Subscription, n int) []bus.Message {
	t.Helper()
	var all []bus.Message
	for len(all) < n {
		some, err := tail.Next(r.ctx)
		if err != nil {
			t.Fatalf("Next, %d of %d messages there: %v", len(all), n, err)
		}
		all = append(all, some...)
	}
	return all
}

// wantIDs checks that the messages are those numbered first to last, each once, in any order.
func wantIDs(t *testing.T, ids []string, first, last int) {
	t.Helper()
	count := make(map[string]int)
	for _, id := range ids {
		count[id]++
	}
	for n := first; n <= last; n++ {
		if id := fmt.Sprint(n); count[id] != 1 {
			t.Errorf("message %s came %d times, want once", id, count[id])
		}
		delete(count, fmt.Sprint(n))
	}
	if len(count) > 0 {
		t.Errorf("messages came that were not wanted: %v", count)
	}
}

func ids(deliveries []bus.Delivery) []string {
	all := make([]string, len(deliveries))
	for i, d := range deliveries {
		all[i] = d.ID
	}
	return all
}

func messageIDs(messages []bus.Message) []string {
	all := make([]string, len(messages))
	for i, m := range messages {
		all[i] = m.ID
	}
	return all
}

// depth waits until the group's depth is as wanted.
func (r suite) depth(t *testing.T, view Adapter, group string, want bus.Depth) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		got, err := view.Depth(r.ctx, r.topic, group)
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Depth: %v", err)
		}
		if err == nil && got == want {
			return
		}
		select {
		case <-tick.C:
		case <-r.ctx.Done():
			t.Fatalf("the depth of %s is %+v and does not become %+v", group, got, want)
		}
	}
}
