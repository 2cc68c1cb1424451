package outbox

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"orderflow/internal/bus"
	"orderflow/internal/order"
)

func TestMessagesCarryEvents(t *testing.T) {
	at := time.Date(2030, 1, 2, 3, 4, 5, 6000, time.UTC)
	created := order.Event{
		OrderID: 42, Seq: 1, Type: order.OrderCreated, UserID: 7, Total: 1999, Currency: "USD", Actor: "user:7",
		Trace: order.Trace{ID: "abc", Parent: "00-0af7-b7ad-01"}, At: at,
	}
	failed := order.Event{OrderID: 41, Seq: 3, Type: order.OrderFailed, UserID: 7, Currency: "USD", Reason: "déclinée", Actor: "worker:a", At: at}
	jobs, changes := messagesByTopic([]order.EventBatch{{ID: "r", Events: []order.Event{created, failed}}}, 2)
	if len(jobs.messages) != 1 || len(changes.messages) != 1 {
		t.Fatalf("%d messages of jobs and %d of changes, want one of each", len(jobs.messages), len(changes.messages))
	}
	for i, got := range []bus.Message{jobs.messages[0], changes.messages[0]} {
		want := []order.Event{created, failed}[i]
		if got.ID != want.ID() || got.Key != fmt.Sprint(want.OrderID) || got.Topic != topicOf(want.Type) || got.Traceparent != want.Trace.Parent {
			t.Errorf("message %+v does not match event %s", got, want.ID())
		}
		if cap(got.Body) != len(got.Body) {
			t.Errorf("the body of %s has spare capacity, which belongs to the next body", got.ID)
		}
		event, err := order.ParseEvent(got.Body)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, event); diff != "" {
			t.Errorf("event %s (-want +got):\n%s", want.ID(), diff)
		}
	}
	for _, kind := range []order.EventType{order.OrderProcessing, order.OrderPaid, order.OrderFailed, order.OrderCancelled} {
		if topicOf(kind) != bus.TopicChanges {
			t.Errorf("topic of %s is %s, want changes", kind, topicOf(kind))
		}
	}
}

// A large queue is published in slices, in order, and no batch is split.
func TestDeliverySplitsALargeQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		p := env.publisher(PublisherOptions{})
		var batches []order.EventBatch
		for range 8 {
			batches = append(batches, env.create(300))
		}
		for _, r := range batches {
			p.Publish(r)
		}
		stop := start(t, p.Run)
		synctest.Wait()
		stop()
		if diff := cmp.Diff(ids(batches...), env.received(env.jobs)); diff != "" {
			t.Errorf("jobs (-want +got):\n%s", diff)
		}
		if env.bus.largest != 900 {
			t.Errorf("the largest Publish had %d events, want 900: 3 batches of 300", env.bus.largest)
		}
		if n := env.unpublished(); n != 0 {
			t.Errorf("%d batches are still unpublished", n)
		}
	})
}

// A bus with a little room accepts whole batches, each once.
func TestFullBusHalvesTheSlice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		small := bus.NewLocal(bus.Options{Buffer: 100})
		group, err := small.Group(t.Context(), bus.TopicJobs, bus.GroupWorkers)
		if err != nil {
			t.Fatal(err)
		}
		p := NewPublisher(PublisherOptions{Bus: small, Marker: env.store})
		var batches []order.EventBatch
		for _, size := range []int{30, 40, 50, 20, 101} { // 30 + 40 + 20 fit
			batches = append(batches, env.create(size))
		}
		batches = append(batches, env.cancel(batches[2])) // changes without a reader
		for _, r := range batches {
			p.Publish(r)
		}
		stop := start(t, p.Run)
		synctest.Wait()
		stop()
		deliveries, err := group.Fetch(t.Context(), 1000)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]string, len(deliveries))
		for i, delivery := range deliveries {
			got[i] = delivery.ID
		}
		if diff := cmp.Diff(ids(batches[0], batches[1], batches[3]), got); diff != "" {
			t.Errorf("jobs (-want +got):\n%s", diff)
		}
		if n := env.unpublished(); n != 2 {
			t.Errorf("%d batches are unpublished, want the 2 that did not fit", n)
		}
		if err := errors.Join(group.Close(), small.Close()); err != nil {
			t.Error(err)
		}
	})
}
