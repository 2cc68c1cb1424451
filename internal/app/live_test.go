package app_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"orderflow/internal/config"
)

// wsClient is a WebSocket client of the product's protocol.
type wsClient struct {
	t  *testing.T
	ws *websocket.Conn
	id string
}

// connect connects to a server with the role realtime.
func (s *testServer) connect() *wsClient {
	s.t.Helper()
	ws, answer, err := websocket.DefaultDialer.DialContext(s.t.Context(), s.realtimeURL+"/app/"+s.settings.RealtimeKey+"?protocol=7", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = answer.Body.Close()
	s.t.Cleanup(func() { _ = ws.Close() })
	l := &wsClient{t: s.t, ws: ws}
	var hello struct {
		ID string `json:"socket_id"`
	}
	if _, _, data := l.next(); json.Unmarshal([]byte(data), &hello) != nil || hello.ID == "" {
		s.t.Fatalf("no socket id in %q", data)
	}
	l.id = hello.ID
	return l
}

// next returns the next event.
func (l *wsClient) next() (event, channel, data string) {
	l.t.Helper()
	_ = l.ws.SetReadDeadline(time.Now().Add(patience))
	var received struct{ Event, Channel, Data string }
	if err := l.ws.ReadJSON(&received); err != nil {
		l.t.Fatal(err)
	}
	return received.Event, received.Channel, received.Data
}

// expect reads an event with this name, channel and text.
func (l *wsClient) expect(name, on, says string) {
	l.t.Helper()
	if event, channel, data := l.next(); event != name || channel != on || !strings.Contains(data, says) {
		l.t.Fatalf("received %s on %s: %s; want %s on %s with %s", event, channel, data, name, on, says)
	}
}

// subscribe has the API sign a channel and subscribes to it.
func (l *wsClient) subscribe(api *testServer, channel string) {
	l.t.Helper()
	signed := api.post("/broadcasting/auth", fmt.Sprintf(`{"socket_id":%q,"channel_name":%q}`, l.id, channel))
	var auth struct{ Auth string }
	if signed.status != http.StatusOK || json.Unmarshal([]byte(signed.body), &auth) != nil {
		l.t.Fatalf("%+v", signed)
	}
	if err := l.ws.WriteJSON(map[string]any{"event": "pusher:subscribe", "data": map[string]string{"channel": channel, "auth": auth.Auth}}); err != nil {
		l.t.Fatal(err)
	}
	l.expect("pusher_internal:subscription_succeeded", channel, "{}")
}

// TestLiveAcrossNodes: the event of an order that one process created and another one charged reaches the clients of every realtime node. New
// nodes still have it in the cache channel.
func TestLiveAcrossNodes(t *testing.T) {
	t.Parallel()
	ground := config.Defaults()
	onMySQLAndRedis(t, &ground)
	on := func(roles config.Roles) *testServer {
		return serve(t, func(set *config.Settings) {
			set.Database, set.Redis, set.RedisPrefix, set.Roles = ground.Database, ground.Redis, ground.RedisPrefix, roles
		})
	}
	api, worker := on(config.Roles{API: true}), on(config.Roles{Worker: true})
	one, two := on(config.Roles{Realtime: true}), on(config.Roles{Realtime: true})
	mine, theirs, other := one.connect(), two.connect(), two.connect()
	mine.subscribe(api, "private-orders.1")
	theirs.subscribe(api, "private-orders.1")
	other.subscribe(api, "private-orders.2")
	says := func(id int64) string { return fmt.Sprintf(`"order_id":%d,`, id) }
	first := api.buy(1, "first", 1, 1).order()
	mine.expect("OrderPaid", "private-orders.1", says(first.ID))
	theirs.expect("OrderPaid", "private-orders.1", says(first.ID))
	others := api.buy(2, "others", 1, 1).order()
	other.expect("OrderPaid", "private-orders.2", says(others.ID))
	worker.stop()
	second := api.buy(1, "second", 1, 1).order()
	api.cancel(second.ID)
	mine.expect("OrderCancelled", "private-orders.1", says(second.ID))
	theirs.expect("OrderCancelled", "private-orders.1", says(second.ID))
	one.stop()
	two.stop()
	late := on(config.Roles{Realtime: true}).connect()
	late.subscribe(api, "private-cache-orders.1")
	late.expect("OrderCancelled", "private-cache-orders.1", says(second.ID))
	late.subscribe(api, "private-cache-orders.3")
	late.expect("pusher:cache_miss", "private-cache-orders.3", "")
}

// TestChannelsAreSigned: the channels that the API signs, and those that it refuses.
func TestChannelsAreSigned(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	form := func(text string) response {
		return s.post("/broadcasting/auth", text, "Content-Type: application/x-www-form-urlencoded")
	}
	if got := form("socket_id=1.2&channel_name=private-orders.1"); got.status != http.StatusOK || !strings.Contains(got.body, `{"auth":"orderflow-key:`) {
		t.Errorf("a form: %+v", got)
	}
	for _, c := range []struct {
		body, kind, code string
		status           int
	}{
		{"socket_id=1.2&channel_name=private-orders.x", "application/x-www-form-urlencoded", "forbidden", 403},
		{"socket_id=1.2&channel_name=private-orders.01", "application/x-www-form-urlencoded", "forbidden", 403},
		{"socket_id=1.2&channel_name=private-else", "application/x-www-form-urlencoded", "forbidden", 403},
		{"socket_id=1.2&channel_name=presence-orders.1", "application/x-www-form-urlencoded", "forbidden", 403},
		{"socket_id=1.2:private-orders.1&channel_name=private-orders.1", "application/x-www-form-urlencoded", "validation_error", 422},
		{"socket_id=1.2&channel_name=private-orders.1&channel_name=private-orders.2", "application/x-www-form-urlencoded", "validation_error", 422},
		{"socket_id=&channel_name=", "application/x-www-form-urlencoded", "validation_error", 422},
		{"%zz", "application/x-www-form-urlencoded", "validation_error", 422},
		{"channel_name=" + strings.Repeat("x", 64<<10), "application/x-www-form-urlencoded", "payload_too_large", 413},
		{"{", "application/json", "malformed_json", 400},
		{`{"socket_id":1}`, "application/json", "validation_error", 422},
		{"x", "text/plain", "unsupported_media_type", 415},
	} {
		s.expect(s.post("/broadcasting/auth", c.body, "Content-Type: "+c.kind), c.status, c.code)
	}
	s.expect(s.get("/broadcasting/auth"), http.StatusMethodNotAllowed, "method_not_allowed")
	s.expect(s.post("/broadcasting/auth", `{"socket_id":"1.2","channel_name":"private-orders.1"}`, "Origin: https://evil.example"), http.StatusForbidden, "forbidden")
	apart := serve(t, func(set *config.Settings) {
		set.Roles, set.RealtimeSecret = config.Roles{API: true}, config.Secret{}
	})
	apart.expect(apart.post("/broadcasting/auth", `{"socket_id":"1.2","channel_name":"private-orders.1"}`), http.StatusNotFound, "not_found")
}

// TestStreamAcrossNodes: a stream that continues at another process has no gap and no duplicate.
func TestStreamAcrossNodes(t *testing.T) {
	t.Parallel()
	ground := config.Defaults()
	onMySQLAndRedis(t, &ground)
	on := func(roles config.Roles) *testServer {
		return serve(t, func(set *config.Settings) {
			set.Database, set.Redis, set.RedisPrefix, set.Roles = ground.Database, ground.Redis, ground.RedisPrefix, roles
		})
	}
	one, two := on(config.Roles{API: true}), on(config.Roles{API: true})
	id := one.buy(1, "k", 1, 1).order().ID
	ids := one.stream(id, "", 1)
	on(config.Roles{Worker: true})
	ids = append(ids, two.stream(id, ids[0], 1)...)
	ids = append(ids, one.stream(id, ids[1], 9)...)
	want := fmt.Sprintf("[%d-1 %d-2 %d-3]", id, id, id)
	if got := fmt.Sprint(ids); got != want {
		t.Errorf("events %s, want %s", got, want)
	}
	if again := two.do(http.MethodGet, fmt.Sprintf("/api/v1/orders/%d/events", id), "", "Accept: text/event-stream", "Last-Event-ID: "+ids[2]); again.status != http.StatusNoContent {
		t.Errorf("after the last event: %+v", again)
	}
}

// stream reads the events of an order until there are most of them, or until the stream ends, and returns their ids.
func (s *testServer) stream(order int64, last string, most int) (ids []string) {
	s.t.Helper()
	ctx, leave := context.WithTimeout(s.t.Context(), patience)
	defer leave()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/api/v1/orders/%d/events", s.url, order), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Accept", "text/event-stream")
	if last != "" {
		request.Header.Set("Last-Event-ID", last)
	}
	response, err := s.client.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	for lines := bufio.NewScanner(response.Body); len(ids) < most && lines.Scan(); {
		if id, found := strings.CutPrefix(lines.Text(), "id: "); found {
			ids = append(ids, id)
		}
	}
	return ids
}
