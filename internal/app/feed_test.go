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

// hearsAll hears on the feed of every state that an order goes through. The feed begins a moment after it is subscribed to, so
// orders are placed until it has told of all of one.
func (l *listener) hearsAll(api *site) {
	l.t.Helper()
	heard, buyer := make(chan struct{}), sync.WaitGroup{}
	buyer.Go(func() {
		ticker := time.NewTicker(200 * time.Millisecond)
		defer ticker.Stop()
		for i := 0; ; i++ {
			api.is(api.buy(1, fmt.Sprint("feed", i), 2, 1), http.StatusCreated, "")
			select {
			case <-ticker.C:
			case <-heard:
				return
			}
		}
	})
	defer buyer.Wait()
	defer close(heard)
	for seen := map[string]int{}; ; {
		event, channel, data := l.hear()
		var said struct {
			OrderID int64 `json:"order_id"`
			UserID  int64 `json:"user_id"`
			Status  string
			Trace   string `json:"trace_id"`
		}
		if err := json.Unmarshal([]byte(data), &said); err != nil || event != "order" || channel != feed || said.UserID != 1 || said.Trace == "" {
			l.t.Errorf("heard %s on %s: %s", event, channel, data)
			return
		}
		all := 0
		seen[fmt.Sprint(said.OrderID, said.Status)]++
		for _, status := range []string{"PENDING", "PROCESSING", "PAID"} {
			all += min(1, seen[fmt.Sprint(said.OrderID, status)])
		}
		if all == 3 {
			return
		}
	}
}

// TestFeedAcrossNodes: an operator hears of every change of an order, whichever processes made it.
func TestFeedAcrossNodes(t *testing.T) {
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		s := serve(t, nil)
		l := s.listen()
		l.subscribe(s, feed)
		l.hearsAll(s)
	})
	t.Run("MySQL and Redis", func(t *testing.T) {
		t.Parallel()
		ground := config.Defaults()
		shared(t, &ground)
		on := func(roles config.Roles) *site {
			return serve(t, func(set *config.Settings) {
				set.Database, set.Redis, set.RedisPrefix, set.Roles = ground.Database, ground.Redis, ground.RedisPrefix, roles
			})
		}
		api := on(config.Roles{API: true})
		on(config.Roles{Worker: true})
		l := on(config.Roles{Realtime: true}).listen()
		l.subscribe(api, feed)
		l.hearsAll(api)
	})
}

// TestFeedIsForOperators: who may listen to everybody's orders.
func TestFeedIsForOperators(t *testing.T) {
	t.Parallel()
	const ask = `{"socket_id":"1.2","channel_name":"` + feed + `"}`
	local := serve(t, nil)
	local.is(local.post("/broadcasting/auth", ask), http.StatusOK, "")
	for _, header := range []string{"Host: shop.example:8000", "X-Forwarded-For: 10.0.0.1", "Forwarded: for=10.0.0.1", "Via: 1.1 proxy"} {
		local.is(local.post("/broadcasting/auth", ask, header), http.StatusForbidden, "forbidden")
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
	shut.is(shut.post("/broadcasting/auth", ask), http.StatusUnauthorized, "unauthenticated")
	shut.is(shut.post("/broadcasting/auth", ask, token(app.Token{UserID: 1})), http.StatusForbidden, "forbidden")
	shut.is(shut.post("/broadcasting/auth", ask, token(app.Token{Admin: true})), http.StatusOK, "")
}
