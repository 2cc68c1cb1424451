package redis_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"orderflow/internal/limit"
	"orderflow/internal/redis"
	"orderflow/test/env"
	"orderflow/test/servers"
)

// changes records the events of log lines.
type changes struct {
	mu  sync.Mutex
	all []string
}

func (c *changes) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(c, nil)) }

// Write records one line.
func (c *changes) Write(line []byte) (int, error) {
	var fields struct{ Event, Remedy string }
	if err := json.NewDecoder(bytes.NewReader(line)).Decode(&fields); err != nil {
		return 0, err
	}
	if fields.Event == "redis.down" || fields.Event == "redis.operation_failed" {
		if fields.Remedy == "" {
			fields.Event += " without a remedy"
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, fields.Event)
	return len(line), nil
}

func (c *changes) events() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.all)
}

// TestKeysOutsideTheRights: the probe may write its keys, but locks are refused. The health shows it with one log line, however many
// orders are affected, and the process keeps using the rest of Redis.
func TestKeysOutsideTheRights(t *testing.T) {
	t.Parallel()
	server, address, prefix := env.RestrictedRedis(t)
	p := startProcess(t, address, prefix)
	env.Eventually(t, "Redis is healthy", p.client.Healthy)
	env.Command(t, server.Addr(), "ACL", "SETUSER", "orderflow", "resetkeys", "~shop:orderflow:*", "~shop:{shop:orderflow:*")
	if !p.comes(func() bool { return !p.client.Healthy() }) {
		t.Fatal("healthy without the permission for locks")
	}
	for i := range 1000 {
		if _, err := p.locker.TryLock(t.Context(), []int64{int64(i)}); err == nil {
			t.Fatal("a lock was taken")
		}
	}
	if !p.comes(func() bool {
		return strings.HasPrefix(p.client.Reason(), "Redis refuses to take product locks. The user in --redis lacks a permission (NOPERM)")
	}) {
		t.Errorf("reason %q", p.client.Reason())
	}
	env.Eventually(t, "the bus publishes", func() bool { return p.bus.Publish(t.Context(), numbered(1, 1)) == nil })
	if lines := p.changes.events(); len(lines) > 50 { // usually two; more when a busy machine makes Redis appear down
		t.Errorf("%d log lines about 1,000 failures: %q", len(lines), lines)
	}
	env.Command(t, server.Addr(), "ACL", "SETUSER", "orderflow", "~shop:*")
	if !p.comes(p.client.Healthy) {
		t.Errorf("reason %q after the permission was granted again", p.client.Reason())
	}
}

// TestKeysOfAnotherType: the health reports any key of another type until the key is deleted, and locks of other products keep working.
func TestKeysOfAnotherType(t *testing.T) {
	t.Parallel()
	const topic = "{orderflow:bus:t}:"
	for _, key := range []string{
		"inventory:product:1", "{inventory:product:1}:waiting", "{orderflow:products}:version",
		topic + "groups", topic + "stream:g", topic + "count:g", topic + "done:g",
		"orderflow:cache:cache-a", "orderflow:limit:",
	} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			server, err := servers.Redis(t.Context(), env.Folder(t))
			env.Started(t, server, err)
			p := startProcess(t, servers.RedisURL(server.Addr()), "")
			env.Eventually(t, "Redis is healthy", p.client.Healthy)
			limiter, lasts := redis.NewLimiter(p.client, 10), redis.NewChannelCache(p.client)
			rate := limit.Rate{Tokens: 1000, Per: limit.MaxPer}
			use := func() { // operations that the process itself does not use: a contested product, a limit, a cache channel
				if first, err := p.locker.TryLock(t.Context(), []int64{1}); err == nil {
					_, _ = p.locker.TryLock(t.Context(), []int64{1})
					_ = p.locker.Unlock(t.Context(), first.Token, first.Locked, true)
				}
				_, _ = limiter.Allow(t.Context(), "client", rate)
				_, _ = lasts.Get(t.Context(), "cache-a")
			}
			use()
			if strings.HasSuffix(key, "limit:") {
				found, _ := env.Command(t, server.Addr(), "KEYS", key+"*").([]any)
				if len(found) != 1 {
					t.Fatalf("keys of limits: %v", found)
				}
				key, _ = found[0].(string)
			}
			spoil := func() { // the process may write the key meanwhile
				env.Command(t, server.Addr(), "RPUSH", key+"~", "x")
				env.Command(t, server.Addr(), "RENAME", key+"~", key)
			}
			spoil()
			failing := func() bool {
				use()
				return strings.Contains(p.client.Reason(), "WRONGTYPE")
			}
			if !p.comes(failing) {
				t.Fatalf("healthy %t, %q", p.client.Healthy(), p.client.Reason())
			}
			takes(t, p.locker, 7)
			env.Command(t, server.Addr(), "DEL", key)
			if !p.comes(func() bool { use(); return p.client.Healthy() }) {
				t.Errorf("reason %q after the key was deleted", p.client.Reason())
			}
		})
	}
}

// TestServerThatCannotWrite: a server that cannot write is down, with a reason for each cause, until it can write again.
func TestServerThatCannotWrite(t *testing.T) {
	t.Parallel()
	server, err := servers.Redis(t.Context(), env.Folder(t), "--appendonly", "no", "--save", "3600 1", "--enable-protected-configs", "yes")
	env.Started(t, server, err)
	p := startProcess(t, servers.RedisURL(server.Addr()), "")
	do := func(words ...string) { env.Command(t, server.Addr(), words...) }
	disk := t.TempDir()
	do("CONFIG", "SET", "dir", disk)
	for _, c := range []struct {
		code        string
		spoil, mend func()
	}{
		{"OOM", func() { do("CONFIG", "SET", "maxmemory", "1") }, func() { do("CONFIG", "SET", "maxmemory", "0") }},
		{"READONLY", func() { do("REPLICAOF", "127.0.0.1", "1") }, func() { do("REPLICAOF", "NO", "ONE") }},
		{"master or a replica", func() { do("CONFIG", "SET", "min-replicas-to-write", "1") }, func() { do("CONFIG", "SET", "min-replicas-to-write", "0") }},
		{"MISCONF", func() {
			if err := os.RemoveAll(disk); err != nil {
				t.Fatal(err)
			}
			do("BGSAVE")
		}, func() {
			if err := os.Mkdir(disk, 0o700); err != nil {
				t.Fatal(err)
			}
			do("CONFIG", "SET", "dir", disk)
			do("BGSAVE")
		}},
	} {
		env.Eventually(t, "Redis is healthy", p.client.Healthy)
		c.spoil()
		if !p.comes(func() bool { return !p.client.Up() && strings.Contains(p.client.Reason(), c.code) }) {
			t.Fatalf("%s: up %t, %q", c.code, p.client.Up(), p.client.Reason())
		}
		c.mend()
		if !p.comes(p.client.Healthy) {
			t.Errorf("%s: reason %q after the repair", c.code, p.client.Reason())
		}
	}
}
