package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"orderflow/internal/app"
	"orderflow/internal/config"
)

const feed = "private-orders-feed"

// awaitAllStatuses waits until the feed has shown every status of one order. The feed begins a moment after the subscription, so orders are
// placed until then.
func (l *wsClient) awaitAllStatuses(api *testServer) {
	l.t.Helper()
	done, buyer := make(chan struct{}), sync.WaitGroup{}
	buyer.Go(func() {
		ticker := time.NewTicker(200 * time.Millisecond)
		defer ticker.Stop()
		for i := 0; ; i++ {
			api.expect(api.buy(1, fmt.Sprint("feed", i), 2, 1), http.StatusCreated, "")
			select {
			case <-ticker.C:
			case <-done:
				return
			}
		}
	})
	defer buyer.Wait()
	defer close(done)
	for seen := map[string]int{}; ; {
		event, channel, data := l.next()
		var change struct {
			OrderID int64 `json:"order_id"`
			UserID  int64 `json:"user_id"`
			Status  string
			Trace   string `json:"trace_id"`
		}
		if err := json.Unmarshal([]byte(data), &change); err != nil || event != "order" || channel != feed || change.UserID != 1 || change.Trace == "" {
			l.t.Errorf("received %s on %s: %s", event, channel, data)
			return
		}
		all := 0
		seen[fmt.Sprint(change.OrderID, change.Status)]++
		for _, status := range []string{"PENDING", "PROCESSING", "PAID"} {
			all += min(1, seen[fmt.Sprint(change.OrderID, status)])
		}
		if all == 3 {
			return
		}
	}
}

// TestFeedAcrossNodes: the feed has every change of an order, from all processes.
func TestFeedAcrossNodes(t *testing.T) {
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		s := serve(t, nil)
		l := s.connect()
		l.subscribe(s, feed)
		l.awaitAllStatuses(s)
	})
	t.Run("MySQL and Redis", func(t *testing.T) {
		t.Parallel()
		ground := config.Defaults()
		onMySQLAndRedis(t, &ground)
		on := func(roles config.Roles) *testServer {
			return serve(t, func(set *config.Settings) {
				set.Database, set.Redis, set.RedisPrefix, set.Roles = ground.Database, ground.Redis, ground.RedisPrefix, roles
			})
		}
		api := on(config.Roles{API: true})
		on(config.Roles{Worker: true})
		l := on(config.Roles{Realtime: true}).connect()
		l.subscribe(api, feed)
		l.awaitAllStatuses(api)
	})
}

// TestFeedIsForOperators: only admins may subscribe to the feed.
func TestFeedIsForOperators(t *testing.T) {
	t.Parallel()
	const ask = `{"socket_id":"1.2","channel_name":"` + feed + `"}`
	local := serve(t, nil)
	local.expect(local.post("/broadcasting/auth", ask), http.StatusOK, "")
	for _, header := range []string{"Host: shop.example:8000", "X-Forwarded-For: 10.0.0.1", "Forwarded: for=10.0.0.1", "Via: 1.1 proxy"} {
		local.expect(local.post("/broadcasting/auth", ask, header), http.StatusForbidden, "forbidden")
	}
	shut := serve(t, func(set *config.Settings) { set.Auth = config.AuthRequired })
	db := shut.open()
	defer func() { _ = db.Close() }()
	token := func(about app.Token) string {
		text, _, err := db.NewToken(t.Context(), about, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return "Authorization: Bearer " + text
	}
	shut.expect(shut.post("/broadcasting/auth", ask), http.StatusUnauthorized, "unauthenticated")
	shut.expect(shut.post("/broadcasting/auth", ask, token(app.Token{UserID: 1})), http.StatusForbidden, "forbidden")
	shut.expect(shut.post("/broadcasting/auth", ask, token(app.Token{Admin: true})), http.StatusOK, "")
}
