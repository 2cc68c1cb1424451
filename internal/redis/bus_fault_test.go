package redis_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"orderflow/internal/bus"
	"orderflow/internal/redis"
	"orderflow/internal/servers"
	"orderflow/internal/servers/serverstest"
)

// ownBus starts a Redis for one test, with the buses of two processes on it.
func ownBus(t *testing.T, options bus.Options) (*servers.Server, *redis.Client, *redis.Bus, *redis.Bus) {
	t.Helper()
	server, err := servers.Redis(t.Context(), serverstest.Folder(t), "--appendfsync", "always")
	serverstest.Started(t, server, err)
	var clients []*redis.Client
	var buses []*redis.Bus
	for range 2 {
		c := connected(t, servers.RedisURL(server.Addr()), "")
		running(t, c.Run)
		b := redis.NewBus(c, options)
		t.Cleanup(func() {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
		clients, buses = append(clients, c), append(buses, b)
	}
	return server, clients[0], buses[0], buses[1]
}

// TestBusOverRestarts kills Redis under publishers and consumers: what was published without an error arrives, and both go
// on by themselves.
func TestBusOverRestarts(t *testing.T) {
	t.Parallel()
	server, _, from, to := ownBus(t, bus.Options{AckWithin: 500 * time.Millisecond, Deliveries: 1000})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var mu sync.Mutex
	seen, published := map[string]bool{}, map[string]bool{}
	consumer, err := to.Group(ctx, "work", "workers")
	if err != nil {
		t.Fatal(err)
	}
	var all, publishing sync.WaitGroup
	enough, end := context.WithCancel(ctx)
	defer end()
	all.Go(func() {
		for ctx.Err() == nil {
			some, err := consumer.Fetch(ctx, 100)
			if err != nil {
				pause(ctx, 20*time.Millisecond)
				continue
			}
			mu.Lock()
			for _, d := range some {
				seen[d.ID] = true
			}
			mu.Unlock()
			_ = consumer.Ack(ctx, some) // else they come again
		}
	})
	publishing.Go(func() {
		for n := 0; enough.Err() == nil; n++ {
			id := fmt.Sprint(n)
			if err := from.Publish(ctx, []bus.Message{{ID: id, Topic: "work"}}); err != nil {
				pause(ctx, 20*time.Millisecond)
				continue
			}
			mu.Lock()
			published[id] = true
			mu.Unlock()
		}
	})
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(seen)
	}
	for range 3 {
		before := count()
		eventually(t, func() bool { return count() > before+50 })
		if err := errors.Join(server.Kill(), server.Start(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	end()
	publishing.Wait()
	eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		for id := range published {
			if !seen[id] {
				return false
			}
		}
		return true
	})
	stop()
	all.Wait()
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// TestBusRestartedEmpty: a Redis that has lost everything knows the groups again as soon as somebody publishes, also those
// that have no consumer at the moment; the tail is told that it may have missed something.
func TestBusRestartedEmpty(t *testing.T) {
	t.Parallel()
	server, client, from, to := ownBus(t, bus.Options{})
	ctx := t.Context()
	consumer, err := to.Group(ctx, "work", "workers")
	if err != nil {
		t.Fatal(err)
	}
	news, err := to.Tail(ctx, "work")
	if err != nil {
		t.Fatal(err)
	}
	if err := from.Publish(ctx, []bus.Message{{ID: "1", Topic: "work"}}); err != nil { // and learns of the group
		t.Fatal(err)
	}
	some, err := consumer.Fetch(ctx, 1)
	if err := errors.Join(err, consumer.Ack(ctx, some), consumer.Close(), server.Kill()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.RemoveAll(filepath.Join(server.Dir(), "appendonlydir")), server.Start(ctx)); err != nil {
		t.Fatal(err)
	}
	eventually(t, client.Up)
	eventually(t, func() bool { return from.Publish(ctx, []bus.Message{{ID: "2", Topic: "work"}}) == nil })
	lagged := false
	for !lagged {
		_, err := news.Next(ctx)
		if lagged = errors.Is(err, bus.ErrLagged); err != nil && !lagged {
			t.Fatal(err)
		}
	}
	var again bus.Group
	eventually(t, func() bool { again, err = to.Group(ctx, "work", "workers"); return err == nil })
	eventually(t, func() bool { // the other process finds out by an error that its connection is gone
		some, err := again.Fetch(ctx, 1)
		return err == nil && some[0].ID == "2"
	})
}

// TestBusWhileRedisIsFrozen: calls come back with an error within their bound, and all goes on afterwards.
func TestBusWhileRedisIsFrozen(t *testing.T) {
	t.Parallel()
	server, client, from, to := ownBus(t, bus.Options{})
	ctx := t.Context()
	consumer, err := to.Group(ctx, "work", "workers")
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := from.Publish(ctx, []bus.Message{{ID: "1", Topic: "work"}}); err == nil || time.Since(began) > 5*time.Second {
		t.Errorf("published to a frozen server: %v after %s", err, time.Since(began))
	}
	if err := server.Thaw(); err != nil {
		t.Fatal(err)
	}
	eventually(t, client.Up)
	eventually(t, func() bool { return from.Publish(ctx, []bus.Message{{ID: "2", Topic: "work"}}) == nil })
	seen := map[string]bool{}
	eventually(t, func() bool {
		limited, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		some, err := consumer.Fetch(limited, 10)
		for _, d := range some {
			seen[d.ID] = true
		}
		return err == nil && seen["2"]
	})
}

func BenchmarkBus(b *testing.B) {
	address, prefix := serverstest.Redis(b)
	from, to := station(b, address, prefix, bus.Options{}), station(b, address, prefix, bus.Options{})
	consumer, err := to.Group(b.Context(), "work", "workers")
	if err != nil {
		b.Fatal(err)
	}
	messages := make([]bus.Message, 1024)
	for i := range messages {
		messages[i] = bus.Message{ID: fmt.Sprint(i, "-1"), Key: fmt.Sprint(i), Topic: "work", Body: make([]byte, 200)}
	}
	b.ResetTimer()
	for b.Loop() {
		if err := from.Publish(b.Context(), messages); err != nil {
			b.Fatal(err)
		}
		for left := len(messages); left > 0; {
			some, err := consumer.Fetch(b.Context(), 256)
			if err == nil {
				err = consumer.Ack(b.Context(), some)
			}
			if err != nil {
				b.Fatal(err)
			}
			left -= len(some)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(messages)), "ns/message")
}
