package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"orderflow/internal/config"
	"orderflow/test/env"
	"orderflow/test/servers"
)

// restricted is a server whose user of Redis has the documented rights, and no others.
func restricted(t *testing.T) (*servers.Server, *site) {
	t.Helper()
	redis, address, prefix := env.RestrictedRedis(t)
	return redis, serve(t, func(set *config.Settings) {
		shared(t, set)
		set.Redis, set.RedisPrefix = config.NewURL(address), prefix
	})
}

// health waits for a state of the health and returns the answer.
func (s *site) health(status int) reply {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		health := s.get("/api/v1/health")
		if health.status == status {
			return health
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the health is %+v, want %d", health, status)
		}
	}
}

// TestServerWithDocumentedRights: the whole product works for a user of Redis that has what docs/operations/configure.md grants, and is
// refused nothing.
func TestServerWithDocumentedRights(t *testing.T) {
	t.Parallel()
	redis, s := restricted(t)
	s.health(http.StatusOK)
	for i := range 5 {
		created := s.buy(1, fmt.Sprint("key-", i), 1, 1)
		s.is(created, http.StatusCreated, "")
		s.await(created.order().ID, "PAID")
		s.get("/api/v1/products")
	}
	s.stop()
	denied, _ := env.Command(t, redis.Addr(), "ACL", "LOG").([]any)
	for _, entry := range denied {
		if text := fmt.Sprint(entry); !strings.Contains(text, "cluster|slots") { // how the client finds out that this is no Cluster
			t.Errorf("Redis refused %s", text)
		}
	}
}

// TestRedisRefuses: whatever Redis refuses, the health says so and why, orders go on, and the server ends in order.
func TestRedisRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil  func(t *testing.T, redis *servers.Server)
		reason string
	}{
		"scripts":  {func(t *testing.T, r *servers.Server) { revoke(t, r, "-eval", "-evalsha") }, "NOPERM"},
		"channels": {func(t *testing.T, r *servers.Server) { revoke(t, r, "resetchannels") }, "NOPERM"},
		"one key":  {func(t *testing.T, r *servers.Server) { revoke(t, r, "resetkeys", "~shop:orderflow:*", "~shop:{*") }, "NOPERM"},
		"all":      {func(t *testing.T, r *servers.Server) { revoke(t, r, "-@all") }, "NOPERM"},
		"the type of a stream": {func(t *testing.T, r *servers.Server) {
			env.Command(t, r.Addr(), "SET", "shop:{shop:orderflow:bus:jobs}:stream:workers", "x")
		}, "WRONGTYPE"},
		"any answer": {func(t *testing.T, r *servers.Server) {
			if err := r.Freeze(); err != nil {
				t.Fatal(err)
			}
		}, "does not answer"},
		"a connection": {func(t *testing.T, r *servers.Server) {
			if err := r.Kill(); err != nil {
				t.Fatal(err)
			}
		}, "is unreachable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis, s := restricted(t)
			s.health(http.StatusOK)
			c.spoil(t, redis)
			created := s.buy(1, "without", 1, 1)
			s.is(created, http.StatusCreated, "")
			health := s.health(http.StatusServiceUnavailable)
			if !strings.Contains(health.body, `"redis":"disconnected"`) || !strings.Contains(health.body, c.reason) {
				t.Errorf("health: %s", health.body)
			}
			if metrics := s.get("/metrics").body; !strings.Contains(metrics, "\norderflow_redis_up 0\n") {
				t.Error("orderflow_redis_up is not 0")
			}
			s.await(created.order().ID, "PAID")
			s.stop() // which also looks for errors, in the log and of Run
			lines := strings.Count(s.log.String(), `"event":"redis.`)
			if lines > 20 {
				t.Errorf("%d log lines about Redis", lines)
			}
		})
	}
}

// revoke changes the rights of the server's user of Redis.
func revoke(t *testing.T, redis *servers.Server, rules ...string) {
	t.Helper()
	env.Command(t, redis.Addr(), append([]string{"ACL", "SETUSER", "orderflow"}, rules...)...)
}
