package app_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"orderflow/internal/app"
	"orderflow/internal/config"
	"orderflow/test/env"
	"orderflow/test/servers"
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
	var late []string
	for i := range 20 {
		before := one.stock(2)
		created := one.buy(1, fmt.Sprint("key-", i), 2, 1)
		one.is(created, http.StatusCreated, "")
		if after := one.stock(2); after != before-1 {
			late = append(late, fmt.Sprintf("who ordered sees a stock of %d, before it was %d", after, before))
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
	for deadline := time.Now().Add(patience); ; {
		health := two.get("/api/v1/health")
		if health.status == http.StatusOK && strings.Contains(health.body, `"redis":"connected"`) {
			break
		}
		if !two.wentOn() || time.Now().After(deadline) {
			t.Fatalf("%+v", health)
		}
	}
	one.stop() // all of its log is there
	if len(late) > 0 && !one.wentOn() {
		t.Error(late)
	}
}

// TestSharedLimit: two processes count one client's requests together. A request that Redis does not count within a twentieth
// of a second is counted by its process, so on a machine with too much to do it takes more than one client to see it.
func TestSharedLimit(t *testing.T) {
	t.Parallel()
	ground := config.Defaults()
	shared(t, &ground)
	var sites []*site
	for range 2 {
		sites = append(sites, serve(t, func(set *config.Settings) {
			set.Database, set.Redis, set.RedisPrefix = ground.Database, ground.Redis, ground.RedisPrefix
			set.RateLimit = config.Rate{Tokens: 6, Per: time.Minute}
			set.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		}))
	}
	for client := range 10 {
		var left []string
		for i := range 8 {
			got := sites[i%2].do(http.MethodGet, "/api/v1/products", "", fmt.Sprint("X-Forwarded-For: 192.0.2.", client+1))
			left = append(left, got.header.Get("X-RateLimit-Remaining"))
			if got.status == http.StatusTooManyRequests {
				left = append(left, "none")
			}
		}
		want := []string{"5", "4", "3", "2", "1", "0", "0", "none", "0", "none"}
		if slices.Equal(left, want) {
			return
		}
		if !sites[0].wentOn() && !sites[1].wentOn() {
			t.Fatalf("left after each request: %q, want %q", left, want)
		}
	}
	t.Error("no client's requests were counted together")
}

// TestStartsWithoutRedis: a server starts and takes orders while Redis is away, says so, and uses it once it is there.
func TestStartsWithoutRedis(t *testing.T) {
	t.Parallel()
	redis, err := servers.Redis(t.Context(), env.Folder(t))
	env.Started(t, redis, err)
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
