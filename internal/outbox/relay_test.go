package outbox

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"orderflow/internal/bus"
	"orderflow/internal/order"
	"orderflow/internal/store"
)

// Refused events stay unpublished and delay no other topic. The relay publishes them once the bus accepts them again.
func TestRefusedEventsStayUnpublishedUntilTheRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		p, r := env.publisher(PublisherOptions{}), env.relay()
		defer start(t, p.Run)()
		env.bus.set(bus.TopicJobs, bus.ErrFull)
		created := env.create(2)
		other := env.create(1)
		cancelled := env.cancel(other)
		p.Publish(created)
		p.Publish(other)
		p.Publish(cancelled)
		synctest.Wait()
		if got := env.received(env.changes); !slices.Equal(got, ids(cancelled)) {
			t.Errorf("changes %v, want %v", got, ids(cancelled))
		}
		if n := env.unpublished(); n != 2 {
			t.Fatalf("%d batches are unpublished, want the 2 refused ones", n)
		}
		time.Sleep(relayAge)
		done, err := r.runOnce(t.Context())
		if !errors.Is(err, bus.ErrFull) || done.found != 2 || done.delivered != 0 {
			t.Fatalf("result %+v, error %v; want 2 found and refused", done, err)
		}
		if got := env.busFull(); got != 1 {
			t.Errorf("the audit counts %d refusals of a full bus, want 1", got)
		}
		env.bus.set(bus.TopicJobs, nil)
		if done, err = r.runOnce(t.Context()); err != nil || done.found != 0 {
			t.Fatalf("result %+v, error %v; want none during the lease", done, err)
		}
		time.Sleep(relayLease)
		if done, err = r.runOnce(t.Context()); err != nil || done.delivered != 2 {
			t.Fatalf("result %+v, error %v; want 2 delivered", done, err)
		}
		got := env.received(env.jobs)
		slices.Sort(got) // both rows have the same time
		if !slices.Equal(got, ids(created, other)) {
			t.Errorf("jobs %v, want %v", got, ids(created, other))
		}
		if n := env.unpublished(); n != 0 {
			t.Errorf("%d batches are still unpublished", n)
		}
	})
}

// A process that dies after its commit leaves a row. The relay of another process publishes it.
func TestRelayPublishesForADeadProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		missed := env.create(3) // its batch was lost with the process
		younger := relayAge - time.Second
		time.Sleep(younger)
		r := env.relay()
		if done, err := r.runOnce(t.Context()); err != nil || done.found != 0 {
			t.Fatalf("result %+v, error %v; want the row left to its publisher for %s", done, err, relayAge)
		}
		defer start(t, r.Run)()
		defer start(t, env.relay().Run)()
		time.Sleep(relayAge)
		synctest.Wait()
		if got := env.received(env.jobs); !slices.Equal(got, ids(missed)) {
			t.Errorf("jobs %v, want %v once: the lease separates two relays", got, ids(missed))
		}
		if n := env.unpublished(); n != 0 {
			t.Errorf("%d batches are still unpublished", n)
		}
	})
}

// More rows than one batch are published without a pause, and published rows are purged after a minute.
func TestRelayCatchesUpAndPurges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		const rows = 3*relayBatchSize + 1
		for range rows {
			env.create(1)
		}
		time.Sleep(relayAge)
		counting := &countingStore{Store: env.store}
		defer start(t, NewRelay(RelayOptions{Bus: env.bus, Store: counting}).Run)()
		synctest.Wait() // the clock stands still: four batches without a pause
		if got := env.received(env.jobs); len(got) != rows {
			t.Errorf("%d of %d events were published without a pause", len(got), rows)
		}
		if n := env.unpublished(); n != 0 {
			t.Errorf("%d batches are still unpublished", n)
		}
		time.Sleep(purgeAge - 2*time.Second)
		synctest.Wait()
		if n := counting.purged.Load(); n != 0 {
			t.Errorf("%d rows were purged within the minute", n)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := counting.purged.Load(); n != rows {
			t.Errorf("%d rows were purged after the minute, want all %d", n, rows)
		}
	})
}

// While the bus refuses events, the relay pauses even after a full batch.
func TestRelayPausesAfterARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		for range 3 * relayBatchSize {
			env.create(1)
		}
		env.bus.set(bus.TopicJobs, bus.ErrFull)
		time.Sleep(relayAge)
		defer start(t, env.relay().Run)()
		synctest.Wait()
		const refusals = 2*relayBatchSize - 1 // of one batch of rows, halved down to single rows
		if n := env.bus.refusals(); n != refusals {
			t.Errorf("%d refusals without a pause, want %d", n, refusals)
		}
		time.Sleep(10 * relayPause)
		synctest.Wait()
		// Three batches lease all rows; then there is nothing to publish until the leases end.
		if n := env.bus.refusals(); n != 3*refusals {
			t.Errorf("%d refusals, want the %d of three batches", n, 3*refusals)
		}
	})
}

// countingStore is a store that counts purged rows.
type countingStore struct {
	*store.Store
	purged atomic.Int64
}

func (s *countingStore) PurgeOutbox(ctx context.Context, age time.Duration, limit int) (int, error) {
	n, err := s.Store.PurgeOutbox(ctx, age, limit)
	s.purged.Add(int64(n))
	return n, err
}

// An unreadable row blocks neither the readable ones nor the purge.
func TestUnreadableRowDoesNotBlockOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		good := env.create(2)
		unreadable := &unreadableStore{Store: env.store, batches: []order.EventBatch{good}, err: errors.New("unreadable row")}
		r := NewRelay(RelayOptions{Bus: env.bus, Store: unreadable})
		done, err := r.runOnce(t.Context())
		if !errors.Is(err, unreadable.err) || done.delivered != 1 || !unreadable.purged {
			t.Errorf("result %+v, error %v, purged %t; want the readable row published, the error returned and the purge done", done, err, unreadable.purged)
		}
		if got := env.received(env.jobs); !slices.Equal(got, ids(good)) {
			t.Errorf("jobs %v, want %v", got, ids(good))
		}
	})
}

// unreadableStore is a store with an unreadable row.
type unreadableStore struct {
	*store.Store
	batches []order.EventBatch
	err     error
	purged  bool
}

func (f *unreadableStore) LeaseOutbox(context.Context, time.Duration, time.Duration, int) ([]order.EventBatch, error) {
	return f.batches, f.err
}

func (f *unreadableStore) PurgeOutbox(ctx context.Context, age time.Duration, limit int) (int, error) {
	f.purged = true
	return f.Store.PurgeOutbox(ctx, age, limit)
}
