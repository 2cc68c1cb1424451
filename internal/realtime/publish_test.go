package realtime

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"orderflow/test/env"
)

// post sends a signed request, as Pusher's SDKs do, and returns the status and the body.
func (n *node) post(path, body string) (int, string) {
	n.Helper()
	return n.send(http.MethodPost, signed(path, body), body)
}

// signed is the path and the query of a signed request with this body.
func signed(path, body string) string {
	query := documented().SignRequest(http.MethodPost, path, []byte(body), time.Now())
	return path + "?" + query.Encode()
}

func (n *node) send(method, path, body string) (int, string) {
	n.Helper()
	request, err := http.NewRequestWithContext(n.Context(), method, "http://"+n.addr+path, strings.NewReader(body))
	if err != nil {
		n.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: wait}
	response, err := client.Do(request)
	if err != nil {
		n.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		n.Fatal(err)
	}
	return response.StatusCode, string(answer)
}

func TestPublish(t *testing.T) {
	n := newNode(t, newBus(t), nil)
	n.waitUntilSubscribed()
	one, two := n.connect(), n.connect()
	one.subscribe("a")
	one.subscribe("private-b")
	two.subscribe("a")
	two.subscribe("cache-c")
	two.wantCacheMiss("cache-c")

	status, body := n.post("/apps/3/events", `{"name":"hello","channels":["a","private-b","nobody","a"],"data":"{\"x\":\"ü\"}"}`)
	if status != http.StatusOK || body != "{}\n" {
		t.Fatalf("%d %s", status, body)
	}
	one.want("hello", "a", `{"x":"ü"}`)
	one.want("hello", "private-b", `{"x":"ü"}`)
	two.want("hello", "a", `{"x":"ü"}`)

	n.post("/apps/3/events", `{"name":"to others","channel":"a","data":"1","socket_id":"`+one.id+`"}`)
	n.post("/apps/3/batch_events", `{"batch":[{"name":"b1","channel":"a","data":"2"},{"name":"b2","channel":"cache-c","data":"3"}]}`)
	two.want("to others", "a", "1")
	two.want("b1", "a", "2")
	two.want("b2", "cache-c", "3")
	one.want("b1", "a", "2")
	one.subscribe("cache-c")
	one.want("b2", "cache-c", "3")
}

// manyChannels returns a hundred channels as JSON, each after a comma.
func manyChannels() string {
	var list strings.Builder
	for i := range 100 {
		fmt.Fprintf(&list, `,"x%d"`, i)
	}
	return list.String()
}

func TestPublishRefused(t *testing.T) {
	n := newNode(t, newBus(t), nil)
	event := func(fields string) string { return `{"name":"n","channel":"c","data":"d"` + fields + `}` }
	for _, test := range []struct {
		path, body string
		status     int
		want       string
	}{
		{"/apps/4/events", event(""), 404, "Unknown application id"},
		{"/apps/3/events", `{"name":"","channel":"c","data":""}`, 400, "name"},
		{"/apps/3/events", `{"name":"` + strings.Repeat("n", 201) + `","channel":"c","data":""}`, 400, "name"},
		{"/apps/3/events", `{"name":"n","data":"d"}`, 400, "channels"},
		{"/apps/3/events", `{"name":"pusher:error","channel":"c","data":"d"}`, 400, "must not begin with pusher:"},
		{"/apps/3/events", `{"name":"pusher_internal:x","channel":"c","data":"d"}`, 400, "must not begin with pusher:"},
		{"/apps/3/events", event(`,"socket_id":"1:private"`), 400, "socket_id"},
		{"/apps/3/events", `{"name":"n","channels":["a","b c"],"data":"d"}`, 400, "channels"},
		{"/apps/3/events", `{"name":"n","channel":"presence-x","data":"d"}`, 400, "presence"},
		{"/apps/3/events", `{"name":"n","channels":["x"` + manyChannels() + `],"data":"d"}`, 400, "channels"},
		{"/apps/3/events", `{"name":"n","channel":"c","data":"` + strings.Repeat("d", maxData+1) + `"}`, 413, "10240 bytes"},
		{"/apps/3/events", event(`,"padding":"` + strings.Repeat("x", maxBody) + `"`), 413, "262144"},
		{"/apps/3/events", `{"name":"n","channel":"c"}`, 400, "data"},
		{"/apps/3/events", `{"name":"n","channel":"c","data":null}`, 400, "data"},
		{"/apps/3/events", `{"name":"n","channel":"c","data":{}}`, 400, "not JSON in the form"},
		{"/apps/3/events", event(`,"info":["subscription_count"]`), 400, "not JSON in the form"},
		{"/apps/3/events", event(`,"info":7`), 400, "not JSON in the form"},
		{"/apps/3/events", event(`,"info":"members"`), 400, "info"},
		{"/apps/3/batch_events", `{"batch":[` + event("") + `,{"name":"n","channel":"c"}]}`, 400, "data"},
		{"/apps/3/events", `{"name":7}`, 400, "not JSON in the form"},
		{"/apps/3/events", `{`, 400, "malformed_json"},
		{"/apps/3/events", `{"name":"n","name":"m","channel":"c","data":"d"}`, 400, "malformed_json"},
		{"/apps/3/batch_events", `{"batch":[]}`, 400, "batch"},
		{"/apps/3/batch_events", `{"batch":[` + strings.Repeat(event("")+",", 10) + event("") + `]}`, 400, "batch"},
	} {
		if status, body := n.post(test.path, test.body); status != test.status || !strings.Contains(body, test.want) || !strings.Contains(body, `"trace_id":"`) {
			t.Errorf("%s %.80s: %d %s, want %d with %q", test.path, test.body, status, body, test.status, test.want)
		}
	}
	for _, test := range []struct {
		method, path string
		status       int
	}{
		{"POST", "/apps/3/events", 401},
		{"GET", "/apps/3/events", 405},
		{"PUT", "/apps/3/batch_events", 405},
		{"POST", "/app/k", 405},
		{"GET", "/", 404},
		{"GET", "/apps/3/channels", 401},
		{"GET", "/apps/3/channels/c", 401},
		{"GET", "/apps/3/channels/presence-c/users", 401},
		{"POST", "/apps/3/channels", 405},
		{"POST", "/up", 405},
		{"GET", "/app/" + documented().Key, 400},
	} {
		if status, body := n.send(test.method, test.path, ""); status != test.status || !strings.HasPrefix(body, `{"error":"`) {
			t.Errorf("%s %s: %d %s, want %d", test.method, test.path, status, body, test.status)
		}
	}
}

// A publisher waits while the node is behind, and is refused when that takes too long.
func TestGate(t *testing.T) {
	n := newNode(t, newBus(t), nil)
	n.waitUntilSubscribed()
	if !n.gate.enter(t.Context(), gateLimit) {
		t.Fatal("not admitted without outstanding deliveries")
	}
	refused := make(chan int, 1)
	go func() {
		status, _ := n.post("/apps/3/events", `{"name":"n","channel":"c","data":"d"}`)
		refused <- status
	}()
	if status := <-refused; status != http.StatusServiceUnavailable {
		t.Errorf("behind: %d, want 503", status)
	}
	n.gate.done(gateLimit)
	for range 2 * gateLimit / minWeight / maxBatch { // a publisher that waits for each response is never refused
		event := `{"name":"n","channel":"c","data":"d"}`
		if status, body := n.post("/apps/3/batch_events", `{"batch":[`+strings.Repeat(event+",", maxBatch-1)+event+`]}`); status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
	}
	env.Eventually(t, "no delivery is outstanding", func() bool {
		n.gate.mu.Lock()
		defer n.gate.mu.Unlock()
		return n.gate.outstanding == 0
	})
}

// A client that does not read is disconnected, and does not delay others meanwhile.
func TestSlowReader(t *testing.T) {
	n := newNode(t, newBus(t), func(o *Options) { o.MaxQueue = 256 << 10 })
	slow, quick := n.connect(), n.connect()
	slow.subscribe("c")
	quick.subscribe("c")
	ch := n.hub.find("c")
	frame := message("e", "c", strings.Repeat("x", 8<<10))
	const rounds = 3000 // 24 MB: more than the buffers of the system
	received := make(chan error, 1)
	go func() {
		for range rounds {
			_ = quick.ws.SetReadDeadline(time.Now().Add(wait))
			if _, text, err := quick.ws.ReadMessage(); err != nil || len(text) < 8<<10 {
				received <- fmt.Errorf("%.50s, %w", text, err)
				return
			}
		}
		received <- nil
	}()
	for i := range rounds {
		n.hub.broadcast(ch, frame, "")
		if i%8 == 0 { // no faster than the other client reads
			quick.waitUntilRead(n)
		}
	}
	if err := <-received; err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, "one client is connected", func() bool { return n.hub.count() == 1 })
}

// waitUntilRead waits until the client's queue is empty.
func (c *client) waitUntilRead(n *node) {
	c.Helper()
	env.Eventually(c, "the client has read its queue", func() bool {
		for _, own := range n.hub.all() {
			if own.id != c.id {
				continue
			}
			own.mu.Lock()
			defer own.mu.Unlock()
			return own.state == idle
		}
		return false
	})
}

// Each node on a bus sends events to its own clients, and a last event in the channel cache outlives the nodes.
func TestNodes(t *testing.T) {
	b, cache := newBus(t), &memoryCache{frames: map[string][]byte{}}
	with := func(o *Options) { o.Cache = cache }
	first, second := newNode(t, b, with), newNode(t, b, with)
	first.waitUntilSubscribed()
	second.waitUntilSubscribed()
	one, two := first.connect(), second.connect()
	one.subscribe("private-orders.7")
	two.subscribe("private-orders.7")
	first.publish(paid(100, 7))
	one.want("OrderPaid", "private-orders.7", `"order_id":100`)
	two.want("OrderPaid", "private-orders.7", `"order_id":100`)
	first.post("/apps/3/events", `{"name":"hello","channel":"cache-x","data":"1"}`)
	env.Eventually(t, "the event is cached", func() bool { return cache.has("cache-x") })
	if err := errors.Join(first.stop(), second.stop()); err != nil {
		t.Fatal(err)
	}
	third := newNode(t, b, with).connect()
	third.subscribe("cache-x")
	third.want("hello", "cache-x", "1")
	third.subscribe("private-cache-orders.7")
	third.want("OrderPaid", "private-cache-orders.7", `"order_id":100`)
}

// A request without a valid signature is refused before its body is read.
func TestUnsignedBodiesAreNotRead(t *testing.T) {
	n := newNode(t, newBus(t), nil)
	for _, path := range []string{"/apps/3/events", "/apps/3/batch_events", "/apps/4/events", "/app/" + documented().Key, "/nothing"} {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", n.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if err := c.SetDeadline(time.Now().Add(wait)); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n{", path, 1000); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Errorf("%s: no answer to the headers alone: %v", path, err)
			continue
		}
		_ = response.Body.Close()
		if response.StatusCode < http.StatusBadRequest {
			t.Errorf("%s: status %d, want a refusal", path, response.StatusCode)
		}
	}
}
