package redis_test

import (
	"testing"
	"time"

	"orderflow/internal/limit"
	"orderflow/internal/limit/limittest"
	"orderflow/internal/redis"
	"orderflow/test/env"
	"orderflow/test/servers"
)

func TestLimiter(t *testing.T) {
	address, prefixes := suiteRedis(t)
	limittest.Run(t, func(t *testing.T) (a, b limittest.Adapter) {
		prefix := prefixes()
		return redis.PatientLimiter(connected(t, address, prefix)), redis.PatientLimiter(connected(t, address, prefix))
	})
}

func TestLimiterOnCluster(t *testing.T) {
	limittest.Run(t, func(t *testing.T) (a, b limittest.Adapter) {
		address, prefix := env.RedisCluster(t)
		return redis.PatientLimiter(connected(t, address, prefix)), redis.PatientLimiter(connected(t, address, prefix))
	})
}

// TestLimiterWithoutRedis: until Redis is back, the process counts requests by itself and none waits.
func TestLimiterWithoutRedis(t *testing.T) {
	t.Parallel()
	server, err := servers.Redis(t.Context(), env.Folder(t))
	env.Started(t, server, err)
	c := connected(t, servers.RedisURL(server.Addr()), "")
	running(t, c.Run)
	limiter := redis.NewLimiter(c, 100)
	rate := limit.Rate{Tokens: 3, Per: time.Hour}
	take := func() limit.Decision {
		t.Helper()
		d, err := limiter.Allow(t.Context(), "somebody", rate)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if d := take(); !d.Allowed || d.Remaining != 2 {
		t.Errorf("first: %+v", d)
	}
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if d := take(); !d.Allowed || d.Remaining != 2-i {
			t.Errorf("request %d, counted by the process: %+v", i, d)
		}
	}
	if d := take(); d.Allowed {
		t.Errorf("counted by the process, beyond the limit: %+v", d)
	}
	if err := server.Thaw(); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, "Redis is up", c.Up)
	if d := take(); !d.Allowed {
		t.Errorf("after Redis is back: %+v", d)
	}
}
