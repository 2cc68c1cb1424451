package redis_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"orderflow/internal/bus"
	"orderflow/internal/lock"
	"orderflow/internal/redis"
	"orderflow/test/env"
)

// suiteRedis starts a Redis for the suite of a port, or uses the server that the environment names. It returns an address and prefixes for
// the tests, with the user of docs/operations/configure.md, so that the suite proves that its permissions suffice.
func suiteRedis(t *testing.T) (address string, prefix func() string) {
	t.Helper()
	if os.Getenv(env.EnvRedis) != "" {
		address, first := env.Redis(t)
		return address, func() string { return first + rand.Text() + ":" }
	}
	_, address, first := env.RestrictedRedis(t)
	return address, func() string { return first + rand.Text() + ":" }
}

// TestDocumentedRights uses every adapter as that user, and checks that Redis refused nothing.
func TestDocumentedRights(t *testing.T) {
	t.Parallel()
	server, address, prefix := env.RestrictedRedis(t)
	useEverything(t, connected(t, address, prefix))
	denied, _ := env.Command(t, server.Addr(), "ACL", "LOG").([]any)
	for _, entry := range denied {
		if text := fmt.Sprint(entry); !strings.Contains(text, "cluster|slots") { // the client detects with it that this is not a Cluster
			t.Errorf("Redis refused %s", text)
		}
	}
}

// TestEachRightIsNeeded revokes each documented permission in turn. The health then reports it, and the process works without Redis or that
// part of it.
func TestEachRightIsNeeded(t *testing.T) {
	t.Parallel()
	// A process works without these: a refused PING still shows a live server, and a subscription that cannot be ended is ignored.
	spared := []string{"+ping", "+sunsubscribe"}
	server, address, prefix := env.RestrictedRedis(t)
	for _, right := range env.RedisRights(t)[6:] {
		if slices.Contains(spared, right) {
			continue
		}
		revoke := map[byte]string{'+': "-" + right[1:], '~': "resetkeys", '&': "resetchannels"}[right[0]]
		env.Command(t, server.Addr(), "ACL", "SETUSER", "orderflow", revoke)
		p := startProcess(t, address, prefix)
		if !p.comes(func() bool { return strings.Contains(p.client.Reason(), "NOPERM") }) {
			t.Errorf("without %s: healthy %t, %q", right, p.client.Healthy(), p.client.Reason())
		}
		env.Command(t, server.Addr(), "ACL", "SETUSER", "orderflow", right)
	}
}

// TestRightIsGranted: a process without permissions uses Redis as soon as they are granted, without a restart.
func TestRightIsGranted(t *testing.T) {
	t.Parallel()
	for _, right := range []string{"+incr", "+evalsha", "+xreadgroup", "+ssubscribe", "&shop:*"} {
		t.Run(right, func(t *testing.T) {
			t.Parallel()
			server, address, prefix := env.RestrictedRedis(t)
			revoke := map[byte]string{'+': "-" + right[1:], '&': "resetchannels"}[right[0]]
			env.Command(t, server.Addr(), "ACL", "SETUSER", "orderflow", revoke)
			p := startProcess(t, address, prefix)
			if !p.comes(func() bool { return strings.Contains(p.client.Reason(), "NOPERM") }) {
				t.Fatalf("healthy %t, %q", p.client.Healthy(), p.client.Reason())
			}
			env.Command(t, server.Addr(), "ACL", "SETUSER", "orderflow", right)
			if !p.comes(p.client.Healthy) {
				t.Errorf("reason %q after the permissions were granted", p.client.Reason())
			}
		})
	}
}

// process uses Redis like a process of the product: it takes locks, fetches, subscribes and publishes.
type process struct {
	client  *redis.Client
	locker  *redis.Locker
	bus     *redis.Bus
	changes *changes
}

func startProcess(t *testing.T, address, prefix string) *process {
	t.Helper()
	p := &process{changes: &changes{}}
	var err error
	p.client, err = redis.New(address, redis.Options{Prefix: prefix, Logger: p.changes.logger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.client.Close)
	running(t, p.client.Run)
	p.locker = redis.NewLocker(p.client, lock.TTL, redis.NewProducts(p.client))
	running(t, p.locker.Run)
	p.bus = redis.NewBus(p.client, bus.Options{})
	t.Cleanup(func() { _ = p.bus.Close() }) // Redis may have failed by then
	running(t, p.consume)
	running(t, func(ctx context.Context) error {
		bus.Follow(ctx, p.bus, "t", bus.Follower{Subscribed: func() {}, Lagged: func() {}, Disconnected: func(error) {}, Deliver: func([]bus.Message) {}})
		return nil
	})
	return p
}

// consume fetches messages like a worker.
func (p *process) consume(ctx context.Context) error {
	for ctx.Err() == nil {
		g, err := p.bus.Group(ctx, "t", "g")
		for err == nil {
			var some []bus.Delivery
			if some, err = g.Fetch(ctx, 10); err == nil {
				err = g.Ack(ctx, some)
			}
		}
		if g != nil {
			_ = g.Close()
		}
		pause(ctx, 20*time.Millisecond)
	}
	return nil
}

// comes waits for a condition while the process works.
func (p *process) comes(holds func() bool) bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for i := 0; !holds(); i++ {
		if ctx.Err() != nil {
			return false
		}
		p.work(ctx, i)
		pause(ctx, 10*time.Millisecond)
	}
	return true
}

// work simulates an order: locks, and one message.
func (p *process) work(ctx context.Context, n int) {
	if grant, err := p.locker.TryLock(ctx, []int64{1, 2}); err == nil {
		_ = p.locker.Unlock(ctx, grant.Token, grant.Locked, true) // the test checks the health
	}
	_ = p.bus.Publish(ctx, numbered(n, n))
}
