package realtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"orderflow/internal/bus"
	"orderflow/internal/order"
	"orderflow/internal/pusher"
	"orderflow/internal/web"
	"orderflow/test/env"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wait limits every wait of a test.
const wait = time.Minute

// documented is the application in the examples of Pusher's documentation.
func documented() pusher.App {
	return pusher.App{ID: "3", Key: "278d425bdf160c739803", Secret: "7ad3773142a6692b25b8"}
}

// node is a running Server.
type node struct {
	*testing.T
	*Server
	bus  bus.Bus
	addr string
	stop func() error
}

// newNode starts a Server; set changes its options.
func newNode(t *testing.T, b bus.Bus, set func(*Options)) *node {
	t.Helper()
	options := Options{
		App: documented(), Bus: b, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	}
	if set != nil {
		set(&options)
	}
	server, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, listener) }()
	stop := sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	return &node{t, server, b, listener.Addr().String(), stop}
}

func newBus(t *testing.T) *bus.Local {
	t.Helper()
	b := bus.NewLocal(bus.Options{})
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// client is a WebSocket connection to a node.
type client struct {
	*testing.T
	ws *websocket.Conn
	id string
}

// event is a message from the server.
type event struct {
	Event, Channel string
	Data           any
}

// dial connects; query is what follows the path.
func (n *node) dial(query string, header http.Header) *client {
	n.Helper()
	ws, answer, err := websocket.DefaultDialer.DialContext(n.Context(), "ws://"+n.addr+"/app/"+query, header)
	if err != nil {
		n.Fatal(err)
	}
	_ = answer.Body.Close()
	n.Cleanup(func() { _ = ws.Close() })
	return &client{T: n.T, ws: ws}
}

// connect connects and receives pusher:connection_established.
func (n *node) connect() *client {
	n.Helper()
	c := n.dial(documented().Key+"?protocol=7&client=js&version=8.4.0&flash=false", nil)
	e := c.receive()
	var data struct {
		SocketID string `json:"socket_id"`
		Timeout  int    `json:"activity_timeout"`
	}
	text, _ := e.Data.(string)
	if err := json.Unmarshal([]byte(text), &data); err != nil || e.Event != eventEstablished || data.Timeout < 1 {
		n.Fatalf("received %+v, %v", e, err)
	}
	c.id = data.SocketID
	return c
}

func (c *client) write(text string) {
	c.Helper()
	if err := c.ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		c.Fatal(err)
	}
}

// receive returns the next event.
func (c *client) receive() event {
	c.Helper()
	_ = c.ws.SetReadDeadline(time.Now().Add(wait))
	_, text, err := c.ws.ReadMessage()
	if err != nil {
		c.Fatalf("received nothing: %v", err)
	}
	var e event
	if err := json.Unmarshal(text, &e, json.MatchCaseInsensitiveNames(true)); err != nil {
		c.Fatalf("received %s: %v", text, err)
	}
	return e
}

// want receives one event and compares it.
func (c *client) want(name, channel, data string) {
	c.Helper()
	e := c.receive()
	if e.Event != name || e.Channel != channel || !strings.Contains(fmt.Sprint(e.Data), data) {
		c.Fatalf("received %+v, want %s on %q with %q", e, name, channel, data)
	}
}

// wantCacheMiss receives pusher:cache_miss, which has no data.
func (c *client) wantCacheMiss(channel string) {
	c.Helper()
	if diff := cmp.Diff(event{Event: eventCacheMiss, Channel: channel}, c.receive()); diff != "" {
		c.Fatalf("want (-), received (+):\n%s", diff)
	}
}

// wantClose receives the close frame.
func (c *client) wantClose(code int) {
	c.Helper()
	_ = c.ws.SetReadDeadline(time.Now().Add(wait))
	_, text, err := c.ws.ReadMessage()
	if closed := new(websocket.CloseError); !errors.As(err, &closed) || closed.Code != code {
		c.Fatalf("received %s, %v; want close %d", text, err, code)
	}
}

// subscribe subscribes, with a signature where one is needed.
func (c *client) subscribe(channel string) {
	c.Helper()
	auth := ""
	if pusher.IsPrivate(channel) {
		auth = documented().SignChannel(c.id, channel)
	}
	c.write(`{"event":"pusher:subscribe","data":{"auth":"` + auth + `","channel":"` + channel + `"}}`)
	c.want(eventSubscribed, channel, "{}")
}

// publish publishes an order's event as the outbox does.
func (n *node) publish(events ...order.Event) {
	n.Helper()
	messages := make([]bus.Message, len(events))
	for i, e := range events {
		messages[i] = bus.Message{ID: e.ID(), Key: fmt.Sprint(e.OrderID), Topic: bus.TopicChanges, Body: e.Append(nil)}
	}
	if err := n.bus.Publish(n.Context(), messages); err != nil {
		n.Fatal(err)
	}
}

// paid is an order's OrderPaid.
func paid(id, user int64) order.Event {
	return order.Event{
		OrderID: id, Seq: 3, Type: order.OrderPaid, UserID: user, Total: 202_997, Currency: "USD", Actor: "worker:test",
		Trace: order.Trace{ID: "trace-1"}, At: time.Date(2026, 11, 27, 10, 0, 0, 123_456_000, time.UTC),
	}
}

// waitUntilSubscribed waits until the node is subscribed to the bus.
func (n *node) waitUntilSubscribed() {
	n.Helper()
	c := n.connect()
	c.subscribe("test-subscribed")
	ready := make(chan struct{})
	go func() {
		defer close(ready)
		c.receive()
	}()
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	for {
		body, err := json.Marshal(channelEvent{Channels: []string{"test-subscribed"}, Event: "ready"})
		if err != nil {
			n.Fatal(err)
		}
		if err := n.bus.Publish(n.Context(), []bus.Message{{ID: "x", Topic: bus.TopicChannelEvents, Body: body}}); err != nil {
			n.Fatal(err)
		}
		n.publish(paid(1<<40, 1<<40))
		pause := time.NewTimer(time.Millisecond)
		select {
		case <-ready:
			pause.Stop()
			env.Eventually(n, "the hub caches the event", func() bool { return n.hub.lastEvents.get(pusher.CacheOrdersChannel(1<<40)) != nil })
			return
		case <-pause.C:
		case <-deadline.C:
			n.Fatal("the node does not subscribe to the bus")
		}
	}
}

func TestOrderEvents(t *testing.T) {
	n := newNode(t, newBus(t), nil)
	n.waitUntilSubscribed()
	own, other := n.connect(), n.connect()
	own.subscribe("private-orders.7")
	own.subscribe("private-cache-orders.7")
	own.wantCacheMiss("private-cache-orders.7")
	other.subscribe("private-orders.8")
	failed, cancelled, processing := paid(101, 7), paid(102, 7), paid(103, 7)
	failed.Type, failed.Reason = order.OrderFailed, `"no" funds`
	cancelled.Type, processing.Type = order.OrderCancelled, order.OrderProcessing
	n.publish(processing, paid(100, 7), failed, cancelled, paid(104, 8))

	const at = `"2026-11-27T10:00:00.123456Z"`
	for _, want := range []struct{ name, data string }{
		{"OrderPaid", `{"event_id":"100-3","order_id":100,"status":"PAID","total_amount":"2029.97","timestamp":` + at + `,"trace_id":"trace-1"}`},
		{"OrderFailed", `{"event_id":"101-3","order_id":101,"status":"FAILED","total_amount":"2029.97","reason":"\"no\" funds","timestamp":` + at + `,"trace_id":"trace-1"}`},
		{"OrderCancelled", `{"event_id":"102-3","order_id":102,"status":"CANCELLED","cancelled_at":` + at + `,"timestamp":` + at + `,"trace_id":"trace-1"}`},
	} {
		own.want(want.name, "private-orders.7", want.data)
		own.want(want.name, "private-cache-orders.7", want.data)
	}
	other.want("OrderPaid", "private-orders.8", `"order_id":104`)

	late := n.connect()
	late.subscribe("private-cache-orders.7")
	late.want("OrderCancelled", "private-cache-orders.7", `"order_id":102`)
	own.write(`{"event":"pusher:unsubscribe","data":{"channel":"private-cache-orders.7"}}`)
	own.write(`{"event":"pusher:ping","data":{}}`)
	own.want(eventPong, "", "{}")
	n.publish(paid(105, 7))
	own.want("OrderPaid", "private-orders.7", `"order_id":105`)
	own.write(`{"event":"pusher:ping","data":{}}`)
	own.want(eventPong, "", "{}")
	late.want("OrderPaid", "private-cache-orders.7", `"order_id":105`)
}

func TestRefusals(t *testing.T) {
	n := newNode(t, newBus(t), func(o *Options) {
		o.MaxChannels = 3
		o.Origins = web.NewOrigins([]string{"https://shop.example"})
	})
	key := documented().Key
	for _, refused := range []struct {
		query, origin string
		code          int
	}{
		{"wrong?protocol=7", "", 4001},
		{key, "", 4008},
		{key + "?protocol=x", "", 4006},
		{key + "?protocol=4", "", 4007},
		{key + "?protocol=8", "", 4007},
		{key + "?protocol=7", "https://evil.example", 4009},
		{key + "?protocol=7", "null", 4009},
	} {
		header := http.Header{}
		if refused.origin != "" {
			header.Set("Origin", refused.origin)
		}
		c := n.dial(refused.query, header)
		c.want(eventError, "", fmt.Sprint(refused.code))
		c.wantClose(refused.code)
	}
	n.dial(key+"?protocol=5", http.Header{"Origin": {"https://shop.example"}}).receive()

	c := n.connect()
	for _, test := range []struct{ say, event, channel, data string }{
		{`{"event":"pusher:subscribe","data":{"channel":"private-orders.7"}}`, eventSubscriptionError, "private-orders.7", `"status":401`},
		{
			`{"event":"pusher:subscribe","data":{"channel":"private-orders.7","auth":"` + documented().SignChannel("1.1", "private-orders.7") + `"}}`,
			eventSubscriptionError, "private-orders.7", `"type":"AuthError"`,
		},
		{`{"event":"pusher:subscribe","data":{"channel":"presence-x","auth":"a:b","channel_data":"{}"}}`, eventSubscriptionError, "presence-x", "not supported"},
		{`{"event":"pusher:subscribe","data":{"channel":"with space"}}`, eventSubscriptionError, "with space", `{"type":"InvalidChannel","error":"Invalid channel name`},
		{`{"event":"pusher:subscribe","data":{"channel":"` + strings.Repeat("x", 165) + `"}}`, eventSubscriptionError, strings.Repeat("x", 165), `"status":400`},
		{`{"event":"pusher:subscribe","data":{"channel":""}}`, eventError, "", "4301"},
		{`{"event":"pusher:subscribe","data":7}`, eventError, "", "4301"},
		{`{"event":"pusher:subscribe"}`, eventError, "", "4301"},
		{`{"event":"client-typing","channel":"private-orders.7","data":{}}`, eventError, "private-orders.7", "Unsupported event"},
		{`{"event":"pusher:signin","data":{}}`, eventError, "", "Unsupported event"},
		{`not json`, eventError, "", "4301"},
		{`[]`, eventError, "", "4301"},
		{`{}`, eventError, "", "4301"},
		{`{"event":"pusher:subscribe","data":"{\"channel\":\"as-text\"}"}`, eventSubscribed, "as-text", "{}"},
		{`{"event":"pusher:subscribe","data":{"channel":"as-text"}}`, eventSubscribed, "as-text", "{}"},
		{`{"event":"pusher:subscribe","data":{"channel":"two"}}`, eventSubscribed, "two", "{}"},
		{`{"event":"pusher:subscribe","data":{"channel":"three"}}`, eventSubscribed, "three", "{}"},
		{
			`{"event":"pusher:subscribe","data":{"channel":"four"}}`, eventSubscriptionError, "four",
			`{"type":"LimitReached","error":"The connection has reached its limit of channels.","status":429}`,
		},
		{`{"event":"pusher:unsubscribe","data":{"channel":"never"}}{`, eventError, "", "4301"},
	} {
		c.write(test.say)
		c.want(test.event, test.channel, test.data)
	}
	if err := c.ws.WriteMessage(websocket.BinaryMessage, []byte(`{"event":"pusher:ping"}`)); err != nil {
		t.Fatal(err)
	}
	c.want(eventError, "", "4301")
	c.write(`{"event":"pusher:ping","data":"` + strings.Repeat("x", maxMessage) + `"}`)
	c.wantClose(websocket.CloseMessageTooBig)
}

func TestFloods(t *testing.T) {
	n := newNode(t, newBus(t), func(o *Options) { o.MaxConnections = 2 })
	flooder, other := n.connect(), n.connect()
	c := n.dial(documented().Key+"?protocol=7", nil)
	c.want(eventError, "", "4100")
	c.wantClose(4100)
	for range int(messageBurst) + 50 {
		flooder.write(`{"event":"pusher:ping","data":{}}`)
	}
	flooder.wantCloseAfterPongs(4100)
	env.Eventually(n, "one client is connected", func() bool { return n.hub.count() == 1 })
	n.connect()
	other.write(`{"event":"pusher:ping","data":{}}`)
	other.want(eventPong, "", "{}")
}

// wantCloseAfterPongs receives pongs, then the close frame.
func (c *client) wantCloseAfterPongs(code int) {
	c.Helper()
	_ = c.ws.SetReadDeadline(time.Now().Add(wait))
	for {
		_, _, err := c.ws.ReadMessage()
		if err == nil {
			continue
		}
		if closed := new(websocket.CloseError); !errors.As(err, &closed) || closed.Code != code {
			c.Fatalf("received %v; want close %d", err, code)
		}
		return
	}
}

func TestDrain(t *testing.T) {
	n := newNode(t, newBus(t), nil)
	polite, rude := n.connect(), n.connect()
	polite.subscribe("x")
	done := make(chan error, 1)
	go func() { done <- n.stop() }()
	polite.wantClose(4100)
	if err := <-done; err != nil {
		t.Error(err)
	}
	rude.wantClose(4100)
}

func TestSilence(t *testing.T) {
	n := newNode(t, newBus(t), func(o *Options) { o.ActivityTimeout, o.PongTimeout = time.Second, 3*time.Second })
	c := n.connect()
	c.want(eventPing, "", "{}")
	c.write(`{"event":"pusher:pong","data":{}}`)
	c.want(eventPing, "", "{}")
	c.wantClose(4201)
}
