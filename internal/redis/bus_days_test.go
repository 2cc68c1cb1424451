package redis_test

import (
	"context"
	"errors"
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

// post is two processes' buses over a Redis that a test has to itself, or over a cluster.
type post struct {
	server *servers.Server
	buses  [2]*redis.Bus
}

func newPostAt(t *testing.T, address string, options bus.Options) (p post) {
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

func newPost(t *testing.T, options bus.Options, flags ...string) post {
	t.Helper()
	server, err := servers.Redis(t.Context(), env.Folder(t), flags...)
	env.Started(t, server, err)
	p := newPostAt(t, servers.RedisURL(server.Addr()), options)
	p.server = server
	return p
}

// traffic is publishers and consumers who go on, whatever happens, as the product's do: a slice that the bus did not take
// is published again, a call that failed is made again after a pause.
type traffic struct {
	next  atomic.Int64
	stop  chan struct{}
	tasks sync.WaitGroup

	mu        sync.Mutex
	published map[string]bool
	got       map[string]bool
	failures  int // calls that failed
}

func (p post) traffic(ctx context.Context, t *testing.T) *traffic {
	t.Helper()
	f := &traffic{stop: make(chan struct{}), published: map[string]bool{}, got: map[string]bool{}}
	for _, b := range p.buses { // first of all, since what is published before there is a group is for nobody
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

// more waits until n messages have come that were published after this call.
func (f *traffic) more(ctx context.Context, t *testing.T, n int) {
	t.Helper()
	mark := int(f.next.Load())
	f.until(ctx, t, func() bool {
		count := 0
		for id := range f.got {
			if i, err := strconv.Atoi(id); err == nil && i > mark {
				count++
			}
		}
		return count >= n
	})
}

func (f *traffic) until(ctx context.Context, t *testing.T, holds func() bool) {
	t.Helper()
	for {
		f.mu.Lock()
		ok := holds()
		published, got, failures := len(f.published), len(f.got), f.failures
		f.mu.Unlock()
		if ok {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%d messages published, %d came, %d calls failed, and it gets no better", published, got, failures)
		}
		pause(ctx, 25*time.Millisecond)
	}
}

// all ends the publishing, and waits until all that was published has come.
func (f *traffic) all(ctx context.Context, t *testing.T) {
	t.Helper()
	close(f.stop)
	f.until(ctx, t, func() bool {
		for id := range f.published {
			if !f.got[id] {
				return false
			}
		}
		return true
	})
}

// bear has traffic over a bus while something happens to its Redis; then the traffic must go on, and nothing be lost, save
// what the outbox and the sweeper know of when Redis loses its data.
func bear(t *testing.T, p post, loses bool, happens func(t *testing.T, p post)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	f := p.traffic(ctx, t)
	defer f.tasks.Wait()
	defer cancel()
	f.more(ctx, t, 2000)
	happens(t, p)
	f.more(ctx, t, 500)
	if loses {
		f.mu.Lock()
		clear(f.published)
		f.mu.Unlock()
	}
	f.all(ctx, t)
	for {
		depth, err := p.buses[0].Depth(ctx, "t", "g")
		if err == nil && depth == (bus.Depth{}) {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("the depth stays %+v (%v)", depth, err)
		}
		pause(ctx, 20*time.Millisecond)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	t.Logf("%d messages, %d calls failed", len(f.got), f.failures)
}

// hard are bounds that make things happen soon.
func hard() bus.Options { return bus.Options{AckWithin: 2 * time.Second, Buffer: 4096} }

func restart(t *testing.T, p post) {
	t.Helper()
	if err := errors.Join(p.server.Kill(), p.server.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
}

func TestBusSurvives(t *testing.T) {
	t.Parallel()
	t.Run("kill -9 with the append-only file", func(t *testing.T) { bear(t, newPost(t, hard()), false, restart) })
	t.Run("kill -9 without data", func(t *testing.T) { bear(t, newPost(t, hard(), "--appendonly", "no"), true, restart) })
	t.Run("emptied", func(t *testing.T) {
		bear(t, newPost(t, hard()), true, func(t *testing.T, p post) { env.Command(t, p.server.Addr(), "FLUSHALL") })
	})
	t.Run("scripts forgotten, connections cut", func(t *testing.T) {
		bear(t, newPost(t, hard()), false, func(t *testing.T, p post) {
			env.Command(t, p.server.Addr(), "SCRIPT", "FLUSH")
			env.Command(t, p.server.Addr(), "CLIENT", "KILL", "TYPE", "normal")
			env.Command(t, p.server.Addr(), "CLIENT", "KILL", "TYPE", "pubsub")
		})
	})
	t.Run("two seconds of silence", func(t *testing.T) {
		bear(t, newPost(t, hard()), false, func(t *testing.T, p post) {
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

// A cluster's master of the topic's slot is killed, and a replica takes its place.
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
		t.Fatal("no slot")
	}
	owner := nodes[min(slot/5461, 2)] // redis-cli deals the slots out to the masters in their order
	bear(t, newPostAt(t, servers.RedisClusterURL(nodes), hard()), true, func(t *testing.T, p post) {
		tail, err := p.buses[0].Subscribe(t.Context(), "t")
		if err != nil {
			t.Fatal(err)
		}
		if err := owner.Kill(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for {
			if _, err := tail.Next(ctx); errors.Is(err, bus.ErrLagged) {
				break
			} else if err != nil {
				t.Fatalf("the tail of a master that is gone: %v, want ErrLagged", err)
			}
		}
	})
}

// A tail that lost its connection says so, once it hears again, and then hears all that follows.
func TestBusTailSurvives(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p := newPost(t, bus.Options{})
	tail, err := p.buses[1].Subscribe(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	publishAll(ctx, t, p.buses[0], numbered(1, 3))
	for got := 0; got < 3; {
		some, err := tail.Next(ctx)
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
	// Whoever reads the table when told must not miss what is published between that and the next word of the tail.
	told := false
	for n := 4; ; n++ {
		if err := p.buses[0].Publish(ctx, numbered(n, n)); err != nil {
			pause(ctx, 20*time.Millisecond)
			continue
		}
		short, done := context.WithTimeout(ctx, 200*time.Millisecond)
		some, err := tail.Next(short)
		done()
		if errors.Is(err, bus.ErrLagged) {
			told = true
			continue
		}
		if ctx.Err() != nil {
			t.Fatal("the tail does not come back")
		}
		if err == nil && len(some) > 0 {
			break
		}
	}
	if !told {
		t.Error("the tail lost its connection and did not say so")
	}
}

// Poison alone is set aside, its neighbours in the entry are not, and it is told of and counted.
func TestBusSetsAside(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var mu sync.Mutex
	var aside []string
	address, prefix := env.Redis(t)
	b := station(t, address, prefix, bus.Options{AckWithin: 250 * time.Millisecond, Deliveries: 3, DeadLettered: func(group string, m bus.Message) {
		mu.Lock()
		defer mu.Unlock()
		aside = append(aside, group+" "+m.Topic+" "+m.ID)
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
	go func() { // somebody has to look
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
	for { // counted in Redis before it is told of here
		mu.Lock()
		told := len(aside)
		mu.Unlock()
		if told > 0 || ctx.Err() != nil {
			break
		}
		pause(ctx, 10*time.Millisecond)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(aside) != 1 || aside[0] != "g t 7" {
		t.Errorf("told of %v, want g t 7", aside)
	}
}

// An entry of a release that nobody here knows is handed to nobody, and in the end set aside and told of as it is.
func TestBusCannotRead(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	aside := make(chan bus.Message, 1)
	p := newPost(t, bus.Options{AckWithin: 100 * time.Millisecond, Deliveries: 2, DeadLettered: func(_ string, m bus.Message) { aside <- m }})
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
		publishWhenAside(ctx, t, p.buses[1], aside)
	}
	if depth, err := p.buses[1].Depth(ctx, "t", "g"); err != nil || depth != (bus.Depth{DeadLettered: 3}) {
		t.Errorf("the depth is %+v (%v), want 3 set aside", depth, err)
	}
}

// publishWhenAside publishes message 2, in the background, once the unreadable one was told of.
func publishWhenAside(ctx context.Context, t *testing.T, b bus.Bus, aside <-chan bus.Message) {
	t.Helper()
	var waiting sync.WaitGroup
	waiting.Go(func() {
		select {
		case m := <-aside:
			if string(m.Body) != "\xffsomething else" || m.ID == "" || m.Topic != "t" {
				t.Errorf("told of %+v", m)
			}
		case <-ctx.Done():
		}
		if err := b.Publish(ctx, numbered(2, 2)); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(waiting.Wait)
}

// Everything that a bus runs has ended when Close returns, also what nobody closed before it.
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
	fetchSome(t.Context(), t, g, 10) // and leaves a rest
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	c.Close()
	goleak.VerifyNone(t, before)
}
