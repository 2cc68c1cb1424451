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

// Adapter is a Bus with the methods that all adapters have.
type Adapter interface {
	bus.Bus
	Features() bus.Features
	Depth(ctx context.Context, topic, group string) (bus.Depth, error)
	Close() error
}

// Open returns two views of one empty bus with the given options: two clients of one server for a bus that processes share, otherwise
// the same value twice. It registers its own clean-up; tests may close a view before.
type Open func(t *testing.T, options bus.Options) (a, b Adapter)

// timeout bounds each test. Only a failing test reaches it.
const timeout = time.Minute

// shortAckWithin is the acknowledgement time of tests that wait for its end: long enough for a busy machine to acknowledge.
const shortAckWithin = time.Second

// suite has what each test uses: two views of one bus, a topic of its own, and a context with a time limit.
type suite struct {
	a, b  Adapter
	topic string
	ctx   context.Context //nolint:containedctx // of one test
}

// test is one test of the suite.
type test struct {
	name    string
	options bus.Options
	run     func(*testing.T, suite)
}

func tests() []test {
	return []test{
		{"delivers published messages", bus.Options{}, delivers},
		{"keeps bodies unchanged", bus.Options{}, bodies},
		{"does not keep the slice", bus.Options{}, slice},
		{"fetches up to the limit", bus.Options{}, limits},
		{"refuses a fetch limit below one", bus.Options{}, limitBelowOne},
		{"keeps each publisher's order", bus.Options{}, order},
		{"delivers to each group, and to one consumer of it", bus.Options{}, groups},
		{"a group collects messages without consumers", bus.Options{}, gathers},
		{"separates topics", bus.Options{}, topics},
		{"does not redeliver acknowledged messages", bus.Options{}, acknowledged},
		{"ignores a second acknowledgement", bus.Options{AckWithin: shortAckWithin}, acknowledgedTwice},
		{"redelivers messages of a closed consumer", bus.Options{}, closedConsumer},
		{"redelivers messages of a dead consumer", bus.Options{AckWithin: shortAckWithin}, vanishedConsumer},
		{"dead-letters at the delivery limit", bus.Options{AckWithin: shortAckWithin, Deliveries: 3}, deadLetters},
		{"a full group refuses", bus.Options{Buffer: 8}, full},
		{"refuses a slice as a whole", bus.Options{Buffer: 8}, refusedWhole},
		{"unacknowledged messages count for the bound", bus.Options{Buffer: 4}, unackedTakesRoom},
		{"every subscription receives later messages", bus.Options{}, subscriptionsSeeAll},
		{"a lagging subscription gets ErrLagged and delays no publisher", bus.Options{SubscriptionBuffer: 8}, subscriptionLags},
		{"closes a subscription", bus.Options{}, closedSubscription},
		{"wakes waiting readers", bus.Options{}, wakes},
		{"wakes as many as there are messages", bus.Options{}, wakesAll},
		{"many publishers, many consumers", bus.Options{}, many},
		{"a cancelled fetch loses nothing", bus.Options{}, cancelled},
		{"respects ended contexts", bus.Options{}, endedContexts},
		{"Close ends all calls", bus.Options{}, closes},
		{"closing a consumer ends its calls", bus.Options{}, closesConsumer},
	}
}

// Run runs the suite, each test on its own bus, and then several times concurrently.
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

// consumer returns a new consumer, which is closed with the test.
func (s suite) consumer(t *testing.T, view Adapter, group string) bus.Group {
	t.Helper()
	consumer, err := view.Group(s.ctx, s.topic, group)
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

// subscribe returns a new subscription, which is closed with the test.
func (s suite) subscribe(t *testing.T, view Adapter) bus.Subscription {
	t.Helper()
	subscription, err := view.Subscribe(s.ctx, s.topic)
	if err != nil {
		t.Fatalf("Subscribe: %v", err)
	}
	t.Cleanup(func() {
		if err := subscription.Close(); err != nil {
			t.Errorf("close the subscription: %v", err)
		}
	})
	return subscription
}

// messages returns messages numbered from first to last.
func (s suite) messages(first, last int) []bus.Message {
	var all []bus.Message
	for n := first; n <= last; n++ {
		all = append(all, s.message(fmt.Sprint(n)))
	}
	return all
}

func (s suite) message(id string) bus.Message {
	return bus.Message{ID: id, Key: "key-" + id, Topic: s.topic, Body: []byte("body " + id), Traceparent: "trace-" + id}
}

// publish publishes messages that must fit.
func (s suite) publish(t *testing.T, view Adapter, messages []bus.Message) {
	t.Helper()
	if err := view.Publish(s.ctx, messages); err != nil {
		t.Fatalf("Publish %d messages: %v", len(messages), err)
	}
}

// fetch fetches n messages without acknowledging them.
func (s suite) fetch(t *testing.T, consumer bus.Group, n int) []bus.Delivery {
	t.Helper()
	var all []bus.Delivery
	for len(all) < n {
		some, err := consumer.Fetch(s.ctx, n-len(all))
		if err != nil {
			t.Fatalf("Fetch after %d of %d messages: %v", len(all), n, err)
		}
		if len(some) == 0 || len(some) > n-len(all) {
			t.Fatalf("Fetch of at most %d messages returned %d", n-len(all), len(some))
		}
		all = append(all, some...)
	}
	return all
}

// fetchAndAck fetches and acknowledges n messages.
func (s suite) fetchAndAck(t *testing.T, consumer bus.Group, n int) []bus.Delivery {
	t.Helper()
	var all []bus.Delivery
	for len(all) < n {
		some := s.fetch(t, consumer, 1)
		s.ack(t, consumer, some)
		all = append(all, some...)
	}
	return all
}

func (s suite) ack(t *testing.T, consumer bus.Group, deliveries []bus.Delivery) {
	t.Helper()
	if err := consumer.Ack(s.ctx, deliveries); err != nil {
		t.Fatalf("Ack: %v", err)
	}
}

// next reads n messages from a subscription that must not lag.
func (s suite) next(t *testing.T, subscription bus.Subscription, n int) []bus.Message {
	t.Helper()
	var all []bus.Message
	for len(all) < n {
		some, err := subscription.Next(s.ctx)
		if err != nil {
			t.Fatalf("Next after %d of %d messages: %v", len(all), n, err)
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
		t.Errorf("unexpected messages: %v", count)
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
func (s suite) depth(t *testing.T, view Adapter, group string, want bus.Depth) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		got, err := view.Depth(s.ctx, s.topic, group)
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Depth: %v", err)
		}
		if err == nil && got == want {
			return
		}
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			t.Fatalf("the depth of %s is %+v, want %+v", group, got, want)
		}
	}
}
