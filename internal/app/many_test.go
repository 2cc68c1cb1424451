package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"orderflow/internal/app"
	"orderflow/internal/config"
	"orderflow/internal/servers"
	"orderflow/internal/servers/serverstest"
)

// TestManyServers: an order taken in by one process is charged by another, watched at a third, and seen in the list of
// products at once by who ordered it, and within a second by everybody.
func TestManyServers(t *testing.T) {
	t.Parallel()
	ground := config.Defaults()
	shared(t, &ground)
	on := func(roles config.Roles) *site {
		return serve(t, func(set *config.Settings) {
			set.Database, set.Redis, set.RedisPrefix, set.Roles = ground.Database, ground.Redis, ground.RedisPrefix, roles
		})
	}
	one, two := on(config.Roles{API: true}), on(config.Roles{API: true})
	worker := on(config.Roles{Worker: true})
	for i := range 20 {
		before := one.stock(2)
		created := one.buy(1, fmt.Sprint("key-", i), 2, 1)
		one.is(created, http.StatusCreated, "")
		if after := one.stock(2); after != before-1 {
			t.Errorf("who ordered sees a stock of %d, before it was %d", after, before)
		}
		two.await(created.order().ID, "PAID")
	}
	want := one.stock(2)
	for deadline := time.Now().Add(patience); two.stock(2) != want; {
		if time.Now().After(deadline) {
			t.Fatal("the other process never saw the new stock")
		}
	}
	replay := two.buy(1, "key-0", 2, 1)
	two.is(replay, http.StatusOK, "")
	if got := worker.get("/api/v1/products").status; got != http.StatusNotFound {
		t.Errorf("a process without the role api answers %d", got)
	}
	if health := two.get("/api/v1/health"); health.status != http.StatusOK || !strings.Contains(health.body, `"redis":"connected"`) {
		t.Errorf("%+v", health)
	}
}

// TestSharedLimit: two processes count one client's requests together.
func TestSharedLimit(t *testing.T) {
	t.Parallel()
	ground := config.Defaults()
	shared(t, &ground)
	var sites []*site
	for range 2 {
		sites = append(sites, serve(t, func(set *config.Settings) {
			set.Database, set.Redis, set.RedisPrefix = ground.Database, ground.Redis, ground.RedisPrefix
			set.RateLimit = config.Rate{Tokens: 6, Per: time.Minute}
		}))
	}
	for i := range 6 {
		if got := sites[i%2].get("/api/v1/products").status; got != http.StatusOK {
			t.Errorf("request %d: %d", i, got)
		}
	}
	for _, s := range sites {
		if got := s.get("/api/v1/products"); got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") == "" {
			t.Errorf("one too many: %+v", got)
		}
	}
}

// TestStartsWithoutRedis: a server starts and takes orders while Redis is away, says so, and uses it once it is there.
func TestStartsWithoutRedis(t *testing.T) {
	t.Parallel()
	redis, err := servers.Redis(t.Context(), serverstest.Folder(t))
	serverstest.Started(t, redis, err)
	if err := redis.Stop(); err != nil {
		t.Fatal(err)
	}
	s := serve(t, func(set *config.Settings) {
		shared(t, set)
		set.Redis, set.RedisPrefix = config.NewURL(servers.RedisURL(redis.Addr())), ""
	})
	health := s.get("/api/v1/health")
	if health.status != http.StatusServiceUnavailable || !strings.Contains(health.body, `"redis":"disconnected"`) || !strings.Contains(health.body, "degraded") {
		t.Errorf("health without Redis: %+v", health)
	}
	if got := s.get("/readyz").status; got != http.StatusOK {
		t.Errorf("not ready (%d), though orders go on without Redis", got)
	}
	s.is(s.buy(1, "without", 1, 1), http.StatusCreated, "")
	if err := redis.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); s.get("/api/v1/health").status != http.StatusOK; {
		if time.Now().After(deadline) {
			t.Fatal("Redis is back, and health does not say so")
		}
	}
	with := s.buy(1, "with", 1, 1)
	s.is(with, http.StatusCreated, "")
	s.await(with.order().ID, "PAID")
	if !app.RedisAnswers(t.Context(), s.settings) {
		t.Error("Redis does not answer the tools")
	}
}
