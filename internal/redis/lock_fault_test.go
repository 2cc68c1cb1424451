package redis_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/rueidis"

	"orderflow/internal/lock"
	"orderflow/internal/redis"
	"orderflow/test/env"
	"orderflow/test/servers"
)

// startLocker starts a Redis for one test, with a locker of one process and a raw connection.
func startLocker(t *testing.T) (*servers.Server, *redis.Client, *redis.Locker, rueidis.Client) {
	t.Helper()
	server, err := servers.Redis(t.Context(), env.Folder(t))
	env.Started(t, server, err)
	c := connected(t, servers.RedisURL(server.Addr()), "")
	running(t, c.Run)
	l := redis.NewLocker(c, lock.TTL, nil)
	running(t, l.Run)
	return server, c, l, rawClient(t, server)
}

// rawClient returns a connection of the test.
func rawClient(t *testing.T, server *servers.Server) rueidis.Client {
	t.Helper()
	return rawClientAt(t, servers.RedisURL(server.Addr()))
}

// rawClientAt is rawClient for an address, which may be that of a cluster.
func rawClientAt(t *testing.T, address string) rueidis.Client {
	t.Helper()
	hosts := strings.Split(strings.TrimPrefix(address, "redis://"), ",")
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: hosts, DisableCache: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// takes calls TryLock, which must get all locks.
func takes(t *testing.T, l *redis.Locker, products ...int64) lock.Grant {
	t.Helper()
	grant, err := l.TryLock(t.Context(), products)
	if err != nil || len(grant.Locked) != len(products) {
		t.Fatalf("%v: %+v, %v", products, grant, err)
	}
	return grant
}

// TestLockInRedis: other programs can use the lock as documented.
func TestLockInRedis(t *testing.T) {
	t.Parallel()
	_, _, l, raw := startLocker(t)
	grant := takes(t, l, 7)
	ctx := t.Context()
	value, err := raw.Do(ctx, raw.B().Get().Key("inventory:product:7").Build()).ToString()
	left, err2 := raw.Do(ctx, raw.B().Pttl().Key("inventory:product:7").Build()).AsInt64()
	if err := errors.Join(err, err2); err != nil || value != grant.Token || !lock.Ours(value) || left < 9000 || left > 10_000 {
		t.Errorf("the lock is %q for %d ms (%v)", value, left, err)
	}
	if err := l.Unlock(ctx, grant.Token, grant.Locked, true); err != nil {
		t.Fatal(err)
	}
	if n, err := raw.Do(ctx, raw.B().Dbsize().Build()).AsInt64(); err != nil || n != 1 { // of the probe
		t.Errorf("%d keys are left (%v)", n, err)
	}
	// The lock of another program is respected and reported as foreign.
	if err := raw.Do(ctx, raw.B().Set().Key("inventory:product:8").Value("by hand").Nx().ExSeconds(10).Build()).Error(); err != nil {
		t.Fatal(err)
	}
	busy, err := l.TryLock(ctx, []int64{7, 8})
	if err != nil || len(busy.Busy) != 1 || busy.Busy[0].Token != "by hand" || len(busy.Locked) != 1 {
		t.Errorf("while another program holds the lock: %+v, %v", busy, err)
	}
	if err := l.Unlock(ctx, "by", []int64{8}, true); err != nil {
		t.Error(err)
	}
	if value, err := raw.Do(ctx, raw.B().Get().Key("inventory:product:8").Build()).ToString(); err != nil || value != "by hand" {
		t.Errorf("the lock of the other program is %q (%v)", value, err)
	}
}

// TestLockVanishes: the release of a lock that has expired deletes no lock of another holder.
func TestLockVanishes(t *testing.T) {
	t.Parallel()
	_, _, l, raw := startLocker(t)
	first := takes(t, l, 1, 2)
	if err := raw.Do(t.Context(), raw.B().Del().Key("inventory:product:1", "inventory:product:2").Build()).Error(); err != nil {
		t.Fatal(err)
	}
	second := takes(t, l, 1)
	if err := l.Unlock(t.Context(), first.Token, first.Locked, true); err != nil {
		t.Fatal(err)
	}
	if grant, err := l.TryLock(t.Context(), []int64{1}); err != nil || len(grant.Busy) != 1 || grant.Busy[0].Token != second.Token {
		t.Errorf("%+v, %v", grant, err)
	}
}

// TestFrozenRedis: one try waits 100 ms, later ones do not wait. Afterwards everything works as before, also the locks that were requested
// meanwhile.
func TestFrozenRedis(t *testing.T) {
	t.Parallel()
	server, c, l, _ := startLocker(t)
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	if grant, err := l.TryLock(t.Context(), []int64{1}); err == nil {
		t.Errorf("frozen: %+v", grant)
	}
	for range 1000 {
		if _, err := l.TryLock(t.Context(), []int64{1}); !errors.Is(err, redis.ErrDown) {
			t.Fatalf("while Redis is known to be down: %v", err)
		}
	}
	if err := server.Thaw(); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, "Redis is up", c.Up)
	env.Eventually(t, "product 1 can be locked", func() bool { // the frozen server granted the lock later, and the process released it
		grant, err := l.TryLock(t.Context(), []int64{1})
		return err == nil && len(grant.Locked) == 1
	})
}

// TestRestartedRedis: after a restart, with or without data, locks work again and waiters wake up.
func TestRestartedRedis(t *testing.T) {
	t.Parallel()
	server, c, l, _ := startLocker(t)
	for _, empty := range []bool{false, true} {
		holder := takes(t, l, 5)
		waiter, err := l.TryLock(t.Context(), []int64{5})
		if err != nil || len(waiter.Busy) != 1 {
			t.Fatal(waiter, err)
		}
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		if grant, err := l.TryLock(t.Context(), []int64{6}); err == nil {
			t.Errorf("killed: %+v", grant)
		}
		env.Eventually(t, "the waiter is notified of the release", func() bool { // waiters may have missed a release
			select {
			case <-waiter.Busy[0].Released:
				return true
			default:
				return false
			}
		})
		if empty {
			if err := os.RemoveAll(filepath.Join(server.Dir(), "appendonlydir")); err != nil {
				t.Fatal(err)
			}
		}
		if err := server.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		env.Eventually(t, "Redis is up", c.Up)
		if err := l.Unlock(t.Context(), holder.Token, holder.Locked, true); err != nil {
			t.Error(err)
		}
		next := takes(t, l, 5)
		if err := l.Unlock(t.Context(), next.Token, next.Locked, true); err != nil {
			t.Error(err)
		}
	}
}

// TestFullRedis: a server without free memory is down, and up again when it has some.
func TestFullRedis(t *testing.T) {
	t.Parallel()
	_, c, l, raw := startLocker(t)
	memory := func(limit string) {
		t.Helper()
		if err := raw.Do(t.Context(), raw.B().ConfigSet().ParameterValue().ParameterValue("maxmemory", limit).Build()).Error(); err != nil {
			t.Fatal(err)
		}
	}
	memory("1")
	if _, err := l.TryLock(t.Context(), []int64{1}); err == nil || c.Up() {
		t.Errorf("without memory: %v, up %t", err, c.Up())
	}
	memory("0")
	env.Eventually(t, "Redis is up", c.Up)
	takes(t, l, 1)
}

// TestStartsWithoutRedis: the process connects once Redis starts.
func TestStartsWithoutRedis(t *testing.T) {
	t.Parallel()
	server, err := servers.Redis(t.Context(), env.Folder(t))
	env.Started(t, server, err)
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	c, err := redis.New(servers.RedisURL(server.Addr()), redis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.Connect(t.Context()); err == nil {
		t.Error("connected although no server runs")
	}
	running(t, c.Run)
	l := redis.NewLocker(c, lock.TTL, nil)
	running(t, l.Run)
	if _, err := l.TryLock(t.Context(), []int64{1}); !errors.Is(err, redis.ErrDown) {
		t.Errorf("before Redis runs: %v", err)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, "Redis is up", c.Up)
	takes(t, l, 1)
}

// TestLockOfAnotherType: a product with a key of another type is neither locked nor busy, and the key stays. The other products of the
// batch are locked and released.
func TestLockOfAnotherType(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(testing.TB) (string, string){"alone": env.Redis, "cluster": env.RedisCluster} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, prefix := open(t)
			c := connected(t, address, prefix)
			redis.Patient(c)
			running(t, c.Run)
			l := redis.PatientLocker(c, time.Hour, nil) // no lock expires, so that only its release wakes a waiter
			running(t, l.Run)
			raw := rawClientAt(t, address)
			lockOfAnotherType(t, c, l, raw, prefix)
		})
	}
}

func lockOfAnotherType(t *testing.T, c *redis.Client, l *redis.Locker, raw rueidis.Client, prefix string) {
	t.Helper()
	ctx := t.Context()
	key := func(product string) string { return prefix + "inventory:product:" + product }
	do := func(cmd rueidis.Completed) rueidis.RedisResult {
		t.Helper()
		result := raw.Do(ctx, cmd)
		if err := result.Error(); err != nil {
			t.Fatal(err)
		}
		return result
	}
	wantType := func(product, want string) {
		t.Helper()
		if got, err := do(raw.B().Type().Key(key(product)).Build()).ToString(); err != nil || got != want {
			t.Errorf("the lock of product %s has type %s, want %s (%v)", product, got, want, err)
		}
	}
	spoil := func() {
		t.Helper()
		do(raw.B().Del().Key(key("3")).Build())
		do(raw.B().Lpush().Key(key("3")).Element("x").Build())
	}
	spoil()
	for range 2 { // the second try is independent of the first
		grant, err := l.TryLock(ctx, []int64{2, 3, 4, 5})
		got := lock.Grant{Token: grant.Token, Locked: []int64{2, 4, 5}, Failed: []int64{3}}
		if diff := cmp.Diff(got, grant); err != nil || diff != "" {
			t.Fatalf("error %v, grant (-want +got):\n%s", err, diff)
		}
		if !strings.Contains(c.Reason(), "WRONGTYPE") {
			t.Errorf("the reason of the health is %q", c.Reason())
		}
		for _, product := range []string{"2", "4", "5"} {
			wantType(product, "string")
		}
		if err := l.Unlock(ctx, grant.Token, grant.Locked, true); err != nil {
			t.Error(err)
		}
		for _, product := range []string{"2", "4", "5"} {
			wantType(product, "none")
		}
		wantType("3", "list")
	}

	// A key that is replaced while its lock is held: the release leaves it, and wakes the waiters.
	do(raw.B().Del().Key(key("3")).Build())
	holder := takes(t, l, 2, 3)
	waiter, err := l.TryLock(ctx, []int64{3})
	if err != nil || len(waiter.Busy) != 1 {
		t.Fatalf("%+v, %v", waiter, err)
	}
	spoil()
	if err := l.Unlock(ctx, holder.Token, holder.Locked, true); err == nil {
		t.Error("a failed release returned no error")
	}
	env.Eventually(t, "the waiter is notified of the release", func() bool {
		select {
		case <-waiter.Busy[0].Released:
			return true
		default:
			return false
		}
	})
	wantType("2", "none")
	wantType("3", "list")
}

// TestLockForEver: waiters do not poll the lock of another program that never expires.
func TestLockForEver(t *testing.T) {
	t.Parallel()
	_, _, l, raw := startLocker(t)
	ctx := t.Context()
	if err := raw.Do(ctx, raw.B().Set().Key("inventory:product:1").Value("by hand").Build()).Error(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first may run before the subscription to releases, and then wakes up soon
		grant, err := l.TryLock(ctx, []int64{1})
		if err != nil || len(grant.Busy) != 1 {
			t.Fatalf("%+v, %v", grant, err)
		}
		look := time.NewTimer(200 * time.Millisecond)
		select {
		case <-grant.Busy[0].Released:
			look.Stop()
			continue
		case <-look.C:
			return
		}
	}
	t.Error("the waiter is woken repeatedly")
}
