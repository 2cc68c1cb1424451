package redis_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"orderflow/internal/bus"
	"orderflow/internal/redis"
	"orderflow/test/env"
	"orderflow/test/servers"
)

// buses are the buses of two processes over a Redis of the test's own, or over a cluster.
type buses struct {
	server *servers.Server
	buses  [2]*redis.Bus
}

func newBusesAt(t *testing.T, address string, options bus.Options) (p buses) {
	t.Helper()
	for i := range p.buses {
		c := connected(t, address, "")
		running(t, c.Run)
		b := redis.NewBus(c, options)
		p.buses[i] = b
		t.Cleanup(func() {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return p
}

func newBuses(t *testing.T, options bus.Options, flags ...string) buses {
	t.Helper()
	server, err := servers.Redis(t.Context(), env.Folder(t), flags...)
	env.Started(t, server, err)
	p := newBusesAt(t, servers.RedisURL(server.Addr()), options)
	p.server = server
	return p
}

// traffic has publishers and consumers that continue after every error, like those of the product: they publish a refused slice again
// and repeat a failed call after a pause.
type traffic struct {
	next  atomic.Int64
	stop  chan struct{}
	tasks sync.WaitGroup

	mu        sync.Mutex
	published map[string]bool
	got       map[string]bool
	failures  int // failed calls
}

func (p buses) traffic(ctx context.Context, t *testing.T) *traffic {
	t.Helper()
	f := &traffic{stop: make(chan struct{}), published: map[string]bool{}, got: map[string]bool{}}
	for _, b := range p.buses { // first, since messages without a group are dropped
		g := consumerOf(ctx, t, b)
		f.tasks.Go(func() { f.consume(ctx, g) })
	}
	for _, b := range p.buses {
		f.tasks.Go(func() { f.publish(ctx, b) })
	}
	return f
}

func (f *traffic) publish(ctx context.Context, b *redis.Bus) {
	for ctx.Err() == nil {
		select {
		case <-f.stop:
			return
		default:
		}
		last := int(f.next.Add(100))
		messages := numbered(last-99, last)
		for ctx.Err() == nil {
			err := b.Publish(ctx, messages)
			if err == nil {
				break
			}
			if errors.Is(err, bus.ErrFull) {
				pause(ctx, 5*time.Millisecond)
				continue
			}
			f.failed(ctx)
		}
		f.mu.Lock()
		for _, m := range messages {
			f.published[m.ID] = true
		}
		f.mu.Unlock()
		pause(ctx, 5*time.Millisecond)
	}
}

func (f *traffic) consume(ctx context.Context, g bus.Group) {
	for {
		some, err := g.Fetch(ctx, 48)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			f.mu.Lock()
			for _, d := range some {
				f.got[d.ID] = true
			}
			f.mu.Unlock()
			err = g.Ack(ctx, some)
		}
		if err != nil {
			f.failed(ctx)
		}
	}
}

func (f *traffic) failed(ctx context.Context) {
	f.mu.Lock()
	f.failures++
	f.mu.Unlock()
	pause(ctx, 20*time.Millisecond)
}

// more waits for n messages that were published after this call.
func (f *traffic) more(t *testing.T, n int) {
	t.Helper()
	mark := int(f.next.Load())
	f.until(t, fmt.Sprintf("%d more messages arrive", n), func() bool {
		count := 0
		for id := range f.got {
			if i, err := strconv.Atoi(id); err == nil && i > mark {
				count++
			}
		}
		return count >= n
	})
}

// until waits for a condition on the messages that were published and received.
func (f *traffic) until(t *testing.T, condition string, holds func() bool) {
	t.Helper()
	env.EventuallyNil(t, condition, func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if holds() {
			return nil
		}
		return fmt.Errorf("%d messages published, %d received, %d failed calls", len(f.published), len(f.got), f.failures)
	})
}

// all stops publishing, and waits until all published messages have arrived.
func (f *traffic) all(t *testing.T) {
	t.Helper()
	close(f.stop)
	f.until(t, "all messages arrive", func() bool {
		for id := range f.published {
			if !f.got[id] {
				return false
			}
		}
		return true
	})
}

// survive runs traffic over a bus during a failure of its Redis. Afterwards the traffic must continue and no message be lost, except
// those that outbox and sweeper replace when Redis loses its data.
func survive(t *testing.T, p buses, loses bool, happens func(t *testing.T, p buses)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	f := p.traffic(ctx, t)
	defer f.tasks.Wait()
	defer cancel()
	f.more(t, 2000)
	happens(t, p)
	f.more(t, 500)
	if loses {
		f.mu.Lock()
		clear(f.published)
		f.mu.Unlock()
	}
	f.all(t)
	for {
		depth, err := p.buses[0].Depth(ctx, "t", "g")
		if err == nil && depth == (bus.Depth{}) {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("the depth remains %+v (%v), want 0", depth, err)
		}
		pause(ctx, 20*time.Millisecond)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	t.Logf("%d messages, %d calls failed", len(f.got), f.failures)
}

// tightBounds are bounds that are reached soon.
func tightBounds() bus.Options { return bus.Options{AckWithin: 2 * time.Second, Buffer: 4096} }

func restart(t *testing.T, p buses) {
	t.Helper()
	if err := errors.Join(p.server.Kill(), p.server.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
}

func TestBusSurvives(t *testing.T) {
	t.Parallel()
	t.Run("kill -9 with the append-only file", func(t *testing.T) { survive(t, newBuses(t, tightBounds()), false, restart) })
	t.Run("kill -9 without data", func(t *testing.T) { survive(t, newBuses(t, tightBounds(), "--appendonly", "no"), true, restart) })
	t.Run("emptied", func(t *testing.T) {
		survive(t, newBuses(t, tightBounds()), true, func(t *testing.T, p buses) { env.Command(t, p.server.Addr(), "FLUSHALL") })
	})
	t.Run("scripts flushed, connections cut", func(t *testing.T) {
		survive(t, newBuses(t, tightBounds()), false, func(t *testing.T, p buses) {
			env.Command(t, p.server.Addr(), "SCRIPT", "FLUSH")
			env.Command(t, p.server.Addr(), "CLIENT", "KILL", "TYPE", "normal")
			env.Command(t, p.server.Addr(), "CLIENT", "KILL", "TYPE", "pubsub")
		})
	})
	t.Run("two seconds of silence", func(t *testing.T) {
		survive(t, newBuses(t, tightBounds()), false, func(t *testing.T, p buses) {
			if err := p.server.Freeze(); err != nil {
				t.Fatal(err)
			}
			pause(t.Context(), 2*time.Second)
			if err := p.server.Thaw(); err != nil {
				t.Fatal(err)
			}
		})
	})
}

// A replica replaces the killed master of the topic's slot.
func TestBusSurvivesFailover(t *testing.T) {
	t.Parallel()
	nodes, err := servers.RedisCluster(t.Context(), env.Folder(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range nodes {
		env.Started(t, node, nil)
	}
	slot, ok := env.Command(t, nodes[0].Addr(), "CLUSTER", "KEYSLOT", "{orderflow:bus:t}:groups").(int64)
	if !ok {
		t.Fatal("the cluster returned no slot")
	}
	owner := nodes[min(slot/5461, 2)] // redis-cli assigns the slots to the masters in order
	survive(t, newBusesAt(t, servers.RedisClusterURL(nodes), tightBounds()), true, func(t *testing.T, p buses) {
		subscription, err := p.buses[0].Subscribe(t.Context(), "t")
		if err != nil {
			t.Fatal(err)
		}
		if err := owner.Kill(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for {
			if _, err := subscription.Next(ctx); errors.Is(err, bus.ErrLagged) {
				break
			} else if err != nil {
				t.Fatalf("Next after the loss of the master: %v, want ErrLagged", err)
			}
		}
	})
}

// A subscription that lost its connection returns ErrLagged, also once it is connected again, and then all later messages.
func TestBusSubscriptionSurvives(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p := newBuses(t, bus.Options{})
	subscription, err := p.buses[1].Subscribe(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	publishAll(ctx, t, p.buses[0], numbered(1, 3))
	for got := 0; got < 3; {
		some, err := subscription.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got += len(some)
	}
	if err := p.server.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := p.server.Start(ctx); err != nil {
		t.Fatal(err)
	}
	// A reader that reads the table after ErrLagged must not miss messages published before the next one.
	lagged := false
	for n := 4; ; n++ {
		if err := p.buses[0].Publish(ctx, numbered(n, n)); err != nil {
			pause(ctx, 20*time.Millisecond)
			continue
		}
		short, done := context.WithTimeout(ctx, 200*time.Millisecond)
		some, err := subscription.Next(short)
		done()
		if errors.Is(err, bus.ErrLagged) {
			lagged = true
			continue
		}
		if ctx.Err() != nil {
			t.Fatal("the subscription was not restored")
		}
		if err == nil && len(some) > 0 {
			break
		}
	}
	if !lagged {
		t.Error("no ErrLagged after the lost connection")
	}
}

// Only the unacknowledged message of an entry is dead-lettered, reported and counted, not the other messages of the entry.
func TestBusDeadLetters(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var mu sync.Mutex
	var deadLettered []string
	address, prefix := env.Redis(t)
	b := newBus(t, address, prefix, bus.Options{AckWithin: 250 * time.Millisecond, Deliveries: 3, DeadLettered: func(group string, m bus.Message) {
		mu.Lock()
		defer mu.Unlock()
		deadLettered = append(deadLettered, group+" "+m.Topic+" "+m.ID)
	}})
	g := consumerOf(ctx, t, b)
	publishAll(ctx, t, b, numbered(1, 10))
	attempts := 0
	for seen := map[string]bool{}; len(seen) < 10 || attempts < 3; {
		for _, d := range fetchSome(ctx, t, g, 64) {
			seen[d.ID] = true
			if d.ID == "7" {
				attempts = max(attempts, d.Attempt)
				continue
			}
			if err := g.Ack(ctx, []bus.Delivery{d}); err != nil {
				t.Fatal(err)
			}
		}
	}
	go func() { // a consumer must fetch
		for ctx.Err() == nil {
			_, _ = g.Fetch(ctx, 1)
		}
	}()
	for {
		depth, err := b.Depth(ctx, "t", "g")
		if err != nil {
			t.Fatal(err)
		}
		if depth == (bus.Depth{DeadLettered: 1}) {
			break
		}
		pause(ctx, 10*time.Millisecond)
	}
	for { // Redis counts it before the hook is called
		mu.Lock()
		reported := len(deadLettered)
		mu.Unlock()
		if reported > 0 || ctx.Err() != nil {
			break
		}
		pause(ctx, 10*time.Millisecond)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(deadLettered) != 1 || deadLettered[0] != "g t 7" {
		t.Errorf("dead-lettered %v, want g t 7", deadLettered)
	}
}

// An entry of an unknown release is not delivered, and is dead-lettered and reported as it is.
func TestBusCannotRead(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	deadLettered := make(chan bus.Message, 1)
	p := newBuses(t, bus.Options{AckWithin: 100 * time.Millisecond, Deliveries: 2, DeadLettered: func(_ string, m bus.Message) { deadLettered <- m }})
	g := consumerOf(ctx, t, p.buses[0])
	publishAll(ctx, t, p.buses[1], numbered(1, 1))
	env.Command(t, p.server.Addr(), "XADD", "{orderflow:bus:t}:stream:g", "*", "n", "3", "m", "\xffsomething else")
	env.Command(t, p.server.Addr(), "INCRBY", "{orderflow:bus:t}:count:g", "3")
	for range 2 {
		some := fetchSome(ctx, t, g, 10)
		if len(some) != 1 || (some[0].ID != "1" && some[0].ID != "2") {
			t.Fatalf("fetched %+v", some)
		}
		if err := g.Ack(ctx, some); err != nil {
			t.Fatal(err)
		}
		if some[0].ID == "2" {
			break
		}
		publishAfterDeadLetter(ctx, t, p.buses[1], deadLettered)
	}
	if depth, err := p.buses[1].Depth(ctx, "t", "g"); err != nil || depth != (bus.Depth{DeadLettered: 3}) {
		t.Errorf("the depth is %+v (%v), want 3 dead-lettered", depth, err)
	}
}

// publishAfterDeadLetter publishes message 2 in the background once the unreadable entry was reported.
func publishAfterDeadLetter(ctx context.Context, t *testing.T, b bus.Bus, deadLettered <-chan bus.Message) {
	t.Helper()
	var waiting sync.WaitGroup
	waiting.Go(func() {
		select {
		case m := <-deadLettered:
			if string(m.Body) != "\xffsomething else" || m.ID == "" || m.Topic != "t" {
				t.Errorf("reported %+v", m)
			}
		case <-ctx.Done():
		}
		if err := b.Publish(ctx, numbered(2, 2)); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(waiting.Wait)
}

// Close ends all goroutines of a bus, also those of consumers and subscriptions that were not closed.
func TestBusLeavesNothingRunning(t *testing.T) {
	address, prefix := env.Redis(t)
	before := goleak.IgnoreCurrent()
	c, err := redis.New(address, redis.Options{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := redis.NewBus(c, bus.Options{})
	g, err := b.Group(t.Context(), "t", "g")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Subscribe(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	publishAll(t.Context(), t, b, numbered(1, 100))
	fetchSome(t.Context(), t, g, 10) // leaves prefetched messages
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	c.Close()
	goleak.VerifyNone(t, before)
}
