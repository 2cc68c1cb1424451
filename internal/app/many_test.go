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

// TestManyServers: one process creates an order, another one charges it, a third one streams its events. The list of products shows the new
// stock at once to the client that ordered, and within a second to others.
func TestManyServers(t *testing.T) {
	t.Parallel()
	ground := config.Defaults()
	onMySQLAndRedis(t, &ground)
	on := func(roles config.Roles) *testServer {
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
		one.expect(created, http.StatusCreated, "")
		if after := one.stock(2); after != before-1 {
			late = append(late, fmt.Sprintf("the client that ordered sees a stock of %d after %d", after, before))
		}
		two.await(created.order().ID, "PAID")
	}
	want := one.stock(2)
	env.Eventually(t, "the other process shows the new stock", func() bool { return two.stock(2) == want })
	replay := two.buy(1, "key-0", 2, 1)
	two.expect(replay, http.StatusOK, "")
	if got := worker.get("/api/v1/products").status; got != http.StatusNotFound {
		t.Errorf("a process without the role api answers %d", got)
	}
	for deadline := time.Now().Add(patience); ; {
		health := two.get("/api/v1/health")
		if health.status == http.StatusOK && strings.Contains(health.body, `"redis":"connected"`) {
			break
		}
		if !two.lostRedis() || time.Now().After(deadline) {
			t.Fatalf("%+v", health)
		}
	}
	one.stop() // completes its log
	if len(late) > 0 && !one.lostRedis() {
		t.Error(late)
	}
}

// TestSharedLimit: two processes share the rate limit of a client. A request that Redis does not count within 50 ms is counted by its process,
// so that a busy machine may need more than one client to show it.
func TestSharedLimit(t *testing.T) {
	t.Parallel()
	ground := config.Defaults()
	onMySQLAndRedis(t, &ground)
	var sites []*testServer
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
		if !sites[0].lostRedis() && !sites[1].lostRedis() {
			t.Fatalf("left after each request: %q, want %q", left, want)
		}
	}
	t.Error("no client's requests were counted together")
}

// TestStartsWithoutRedis: a server starts and takes orders without Redis, reports it, and connects later.
func TestStartsWithoutRedis(t *testing.T) {
	t.Parallel()
	redis, err := servers.Redis(t.Context(), env.Folder(t))
	env.Started(t, redis, err)
	if err := redis.Stop(); err != nil {
		t.Fatal(err)
	}
	s := serve(t, func(set *config.Settings) {
		onMySQLAndRedis(t, set)
		set.Redis, set.RedisPrefix = config.NewURL(servers.RedisURL(redis.Addr())), ""
	})
	health := s.get("/api/v1/health")
	if health.status != http.StatusServiceUnavailable || !strings.Contains(health.body, `"redis":"disconnected"`) || !strings.Contains(health.body, "degraded") {
		t.Errorf("health without Redis: %+v", health)
	}
	if got := s.get("/readyz").status; got != http.StatusOK {
		t.Errorf("not ready (%d), although orders work without Redis", got)
	}
	s.expect(s.buy(1, "without", 1, 1), http.StatusCreated, "")
	if err := redis.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.awaitHealth(http.StatusOK)
	with := s.buy(1, "with", 1, 1)
	s.expect(with, http.StatusCreated, "")
	s.await(with.order().ID, "PAID")
	if !app.RedisAnswers(t.Context(), s.settings) {
		t.Error("RedisAnswers reports that Redis does not answer")
	}
}
