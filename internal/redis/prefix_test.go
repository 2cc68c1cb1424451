package redis_test

import (
	"strings"
	"testing"
	"time"

	"orderflow/internal/bus"
	"orderflow/internal/limit"
	"orderflow/internal/lock"
	"orderflow/internal/redis"
	"orderflow/test/env"
	"orderflow/test/servers"
)

// TestPrefixBeginsEveryName uses every adapter and then lists all keys and channels of the server. An ACL for the prefix must cover all.
func TestPrefixBeginsEveryName(t *testing.T) {
	t.Parallel()
	server, err := servers.Redis(t.Context(), env.Folder(t))
	env.Started(t, server, err)
	const prefix = "shop:"
	c := connected(t, servers.RedisURL(server.Addr()), prefix)
	useEverything(t, c)

	for _, question := range [][]string{{"KEYS", "*"}, {"PUBSUB", "CHANNELS"}, {"PUBSUB", "SHARDCHANNELS"}} {
		var names []any
		env.Eventually(t, strings.Join(question, " ")+" lists names", func() bool {
			names, _ = env.Command(t, server.Addr(), question...).([]any)
			return len(names) > 0
		})
		for _, name := range names {
			if text, _ := name.(string); !strings.HasPrefix(text, prefix) {
				t.Errorf("%v: %q does not begin with the prefix", question, name)
			}
		}
	}
	if err := c.DeleteAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if keys, _ := env.Command(t, server.Addr(), "KEYS", "*").([]any); len(keys) > 0 {
		t.Errorf("DeleteAll left %q", keys)
	}
}

// A slow server delays the deletion but does not fail it.
func TestDeleteAllOnSlowServer(t *testing.T) {
	t.Parallel()
	server, err := servers.Redis(t.Context(), env.Folder(t))
	env.Started(t, server, err)
	env.Command(t, server.Addr(), "SET", "shop:key", "1")
	c, err := redis.New(servers.RedisURL(server.Addr()), redis.Options{Prefix: "shop:"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	env.Command(t, server.Addr(), "CLIENT", "PAUSE", "500", "WRITE") // longer than the time limit of a probe
	if err := c.DeleteAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if keys, _ := env.Command(t, server.Addr(), "KEYS", "*").([]any); len(keys) > 0 {
		t.Errorf("DeleteAll left %q", keys)
	}
}

// useEverything makes each adapter write every kind of key and subscribe to every channel.
func useEverything(t *testing.T, c *redis.Client) {
	t.Helper()
	ctx := t.Context()
	products := redis.NewProducts(c)
	locker := redis.NewLocker(c, lock.TTL, products)
	running(t, locker.Run)
	var holder lock.Grant
	env.Eventually(t, "products 1 and 2 can be locked", func() bool { // a busy machine may exceed the time limit of a try
		var err error
		holder, err = locker.TryLock(ctx, []int64{1, 2})
		return err == nil && len(holder.Locked) == 2
	})
	if waiter, err := locker.TryLock(ctx, []int64{1}); err != nil || len(waiter.Busy) != 1 {
		t.Fatalf("waiter: %+v, %v", waiter, err)
	}
	if err := locker.Unlock(ctx, holder.Token, []int64{2}, true); err != nil {
		t.Fatal(err)
	}
	_, version, err := products.Get(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := products.Put(ctx, version, []byte("list"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := redis.NewLimiter(c, 10).Allow(ctx, "client", limit.Rate{Tokens: 5, Per: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if err := redis.NewChannelCache(c).Put(ctx, []string{"cache-a"}, []int64{1}, [][]byte{[]byte("{}")}, time.Minute); err != nil {
		t.Fatal(err)
	}
	useBus(t, redis.NewBus(c, bus.Options{Deliveries: 1}))
}

// useBus dead-letters one message, acknowledges a part of an entry, and leaves a consumer and a subscription open.
func useBus(t *testing.T, b *redis.Bus) {
	t.Helper()
	ctx := t.Context()
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := b.Subscribe(ctx, "t"); err != nil {
		t.Fatal(err)
	}
	poisoned := consumerOf(ctx, t, b)
	if err := b.Publish(ctx, numbered(1, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := poisoned.Fetch(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if err := poisoned.Close(); err != nil {
		t.Fatal(err)
	}
	g := consumerOf(ctx, t, b)
	if err := b.Publish(ctx, numbered(2, 4)); err != nil {
		t.Fatal(err)
	}
	some, err := g.Fetch(ctx, 3)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Ack(ctx, some[:1]); err != nil {
		t.Fatal(err)
	}
}
