package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"orderflow/internal/config"
	"orderflow/test/env"
	"orderflow/test/servers"
)

// serveWithRestrictedRedis starts a server whose Redis user has only the documented rights.
func serveWithRestrictedRedis(t *testing.T) (*servers.Server, *testServer) {
	t.Helper()
	redis, address, prefix := env.RestrictedRedis(t)
	return redis, serve(t, func(set *config.Settings) {
		onMySQLAndRedis(t, set)
		set.Redis, set.RedisPrefix = config.NewURL(address), prefix
	})
}

// awaitHealth waits for a status of the health and returns the answer.
func (s *testServer) awaitHealth(status int) response {
	s.t.Helper()
	var health response
	env.EventuallyNil(s.t, fmt.Sprintf("the health is %d", status), func() error {
		if health = s.get("/api/v1/health"); health.status != status {
			return fmt.Errorf("it is %+v", health)
		}
		return nil
	})
	return health
}

// TestServerWithDocumentedRights: the product works with a Redis user that has the rights of docs/operations/configure.md, and Redis refuses
// no command.
func TestServerWithDocumentedRights(t *testing.T) {
	t.Parallel()
	redis, s := serveWithRestrictedRedis(t)
	s.awaitHealth(http.StatusOK)
	for i := range 5 {
		created := s.buy(1, fmt.Sprint("key-", i), 1, 1)
		s.expect(created, http.StatusCreated, "")
		s.await(created.order().ID, "PAID")
		s.get("/api/v1/products")
	}
	s.stop()
	denied, _ := env.Command(t, redis.Addr(), "ACL", "LOG").([]any)
	for _, entry := range denied {
		if text := fmt.Sprint(entry); !strings.Contains(text, "cluster|slots") { // by which the client detects that this is not a cluster
			t.Errorf("Redis refused %s", text)
		}
	}
}

// TestRedisRefuses: when Redis refuses commands, the health reports the reason, orders continue, and the server stops in order.
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
		}, "does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis, s := serveWithRestrictedRedis(t)
			s.awaitHealth(http.StatusOK)
			c.spoil(t, redis)
			created := s.buy(1, "without", 1, 1)
			s.expect(created, http.StatusCreated, "")
			health := s.awaitHealth(http.StatusServiceUnavailable)
			if !strings.Contains(health.body, `"redis":"disconnected"`) || !strings.Contains(health.body, c.reason) {
				t.Errorf("health: %s", health.body)
			}
			if metrics := s.get("/metrics").body; !strings.Contains(metrics, "\norderflow_redis_up 0\n") {
				t.Error("orderflow_redis_up is not 0")
			}
			s.await(created.order().ID, "PAID")
			s.stop() // also checks the log and Run for errors
			lines := strings.Count(s.log.String(), `"event":"redis.`)
			if lines > 20 {
				t.Errorf("%d log lines about Redis", lines)
			}
		})
	}
}

// revoke changes the rights of the server's Redis user.
func revoke(t *testing.T, redis *servers.Server, rules ...string) {
	t.Helper()
	env.Command(t, redis.Addr(), append([]string{"ACL", "SETUSER", "orderflow"}, rules...)...)
}
