package outbox

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"orderflow/internal/bus"
	"orderflow/internal/order"
)

func TestPublisherPublishesEachEventToItsTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		p := env.publisher(PublisherOptions{})
		stop := start(t, p.Run)
		defer stop()
		created := env.create(3)
		p.Publish(created)
		cancelled := env.cancel(created)
		p.Publish(cancelled)
		synctest.Wait()
		if diff := cmp.Diff(ids(created), env.received(env.jobs)); diff != "" {
			t.Errorf("jobs (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(ids(cancelled), env.received(env.changes)); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
		if n := env.unpublished(); n != 0 {
			t.Errorf("%d batches are still unpublished", n)
		}
	})
}

// A batch without an outbox row is published and not marked.
func TestBatchWithoutRowIsNotMarked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		marked := &markedIDs{}
		p := NewPublisher(PublisherOptions{Bus: env.bus, Marker: marked})
		stop := start(t, p.Run)
		defer stop()
		event := order.Event{OrderID: 1, Seq: 2, Type: order.OrderProcessing, Currency: "USD"}
		p.Publish(order.EventBatch{Events: []order.Event{event}})
		p.Publish(order.EventBatch{})
		synctest.Wait()
		if got := env.received(env.changes); !slices.Equal(got, []string{"1-2"}) {
			t.Errorf("changes %v, want 1-2", got)
		}
		if len(marked.ids) != 0 {
			t.Errorf("marked %q, want none", marked.ids)
		}
	})
}

// markedIDs records the marked ids.
type markedIDs struct{ ids []string }

func (m *markedIDs) MarkPublished(ids []string) { m.ids = append(m.ids, ids...) }

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		p := env.publisher(PublisherOptions{Queue: 5})
		first, second, third := env.create(3), env.create(3), env.create(2)
		p.Publish(first)
		p.Publish(second) // does not fit
		p.Publish(third)
		if n := p.Waiting(); n != 5 {
			t.Errorf("%d events wait, want 5", n)
		}
		stop := start(t, p.Run)
		synctest.Wait()
		stop()
		if got, want := env.received(env.jobs), ids(first, third); !slices.Equal(got, want) {
			t.Errorf("jobs %v, want %v", got, want)
		}
		if n := env.unpublished(); n != 1 {
			t.Errorf("%d batches are unpublished, want the one that did not fit", n)
		}
	})
}

func TestShutdownPublishesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		p := env.publisher(PublisherOptions{})
		waiting := env.create(2)
		p.Publish(waiting)
		<-p.wake // so that only the shutdown triggers a flush
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if got := env.received(env.jobs); !slices.Equal(got, ids(waiting)) {
			t.Errorf("jobs %v, want %v", got, ids(waiting))
		}
		p.Publish(env.create(1))
		if n := p.Waiting(); n != 0 {
			t.Errorf("%d events wait for a stopped publisher", n)
		}
		if n := env.unpublished(); n != 1 {
			t.Errorf("%d batches are unpublished, want the late one", n)
		}
	})
}

// An unresponsive bus blocks no Publish, and delays a shutdown by a bounded time.
func TestUnresponsiveBusDelaysNoShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		p := NewPublisher(PublisherOptions{Bus: hanging{}, Marker: env.store})
		stop := start(t, p.Run)
		for range 3 {
			p.Publish(env.create(1))
		}
		synctest.Wait()
		began := time.Now()
		stop()
		if took := time.Since(began); took > 2*deliverTimeout {
			t.Errorf("stopped after %s, want at most %s", took, 2*deliverTimeout)
		}
		if n := env.unpublished(); n != 3 {
			t.Errorf("%d batches are unpublished, want 3", n)
		}
	})
}

// hanging is a bus whose Publish waits for its context.
type hanging struct{ bus.Bus }

func (hanging) Publish(ctx context.Context, _ []bus.Message) error {
	<-ctx.Done()
	return ctx.Err()
}
