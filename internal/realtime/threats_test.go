package realtime

import (
	"bufio"
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"orderflow/internal/web"
	"orderflow/test/env"
)

// tcp opens a TCP connection to the node.
func (n *node) tcp() net.Conn {
	n.Helper()
	connection, err := (&net.Dialer{}).DialContext(n.Context(), "tcp", n.addr)
	if err != nil {
		n.Fatal(err)
	}
	n.Cleanup(func() { _ = connection.Close() })
	_ = connection.SetDeadline(time.Now().Add(wait))
	return connection
}

// handshake sends a handshake with additional headers, and returns the connection and the head of the response.
func (n *node) handshake(headers string) (net.Conn, *bufio.Reader, string) {
	n.Helper()
	return n.handshakeWithKey(documented().Key, headers)
}

// handshakeWithKey is handshake with the key of an application.
func (n *node) handshakeWithKey(key, headers string) (net.Conn, *bufio.Reader, string) {
	n.Helper()
	connection := n.tcp()
	_, err := fmt.Fprintf(connection, "GET /app/%s?protocol=7 HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", key, n.addr, headers)
	if err != nil {
		n.Fatal(err)
	}
	reader := bufio.NewReader(connection)
	var head strings.Builder
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			n.Fatalf("the handshake: %q, %v", head.String(), err)
		}
		if line == "\r\n" {
			return connection, reader, head.String()
		}
		head.WriteString(line)
	}
}

// masked returns a frame with a mask of zeros.
func masked(first byte, payload []byte) []byte {
	frame := []byte{first, 0x80 | 126, byte(len(payload) >> 8), byte(len(payload)), 0, 0, 0, 0}
	return append(frame, payload...)
}

// readToEnd reads until the connection ends.
func (n *node) readToEnd(reader io.Reader) string {
	n.Helper()
	text, err := io.ReadAll(reader)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		n.Fatalf("the connection stays open: %v", err)
	}
	return string(text)
}

// A compressed frame closes the connection, so that it cannot expand.
func TestCompressionIsRefused(t *testing.T) {
	n := newNode(t, newBus(t), nil)
	connection, reader, head := n.handshake("Sec-WebSocket-Extensions: permessage-deflate\r\n")
	if !strings.HasPrefix(head, "HTTP/1.1 101") || strings.Contains(head, "Extensions") {
		t.Fatalf("the answer to a client that compresses: %s", head)
	}
	var bomb bytes.Buffer
	squeeze, err := flate.NewWriter(&bomb, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = squeeze.Write(bytes.Repeat([]byte{'x'}, 4<<20))
	_ = squeeze.Close()
	if _, err := connection.Write(masked(0xC1, bomb.Bytes()[:4000])); err != nil { // final, RSV1, text
		t.Fatal(err)
	}
	if got := n.readToEnd(reader); !strings.Contains(got, "\x03\xea") { // close 1002: protocol error
		t.Errorf("the connection ends with %q", got)
	}
}

// Each invalid frame closes its connection, and no other.
func TestInvalidFrames(t *testing.T) {
	n := newNode(t, newBus(t), nil)
	bystander := n.connect()
	for name, frame := range map[string][]byte{
		"unmasked":                   {0x81, 2, '{', '}'},
		"reserved opcode":            masked(0x83, []byte("x")),
		"control of 200":             masked(0x89, make([]byte, 200)),
		"split control":              masked(0x09, []byte("x")),
		"lone continuation":          masked(0x80, []byte("x")),
		"a length of 2^63":           {0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4},
		"a message that is too long": masked(0x81, make([]byte, maxMessage+1)),
		"fragments without end":      bytes.Repeat(append(masked(0x01, make([]byte, 8000)), masked(0x00, make([]byte, 8000))...), 1),
		"close of one byte":          masked(0x88, []byte{3}),
		"close without name":         masked(0x88, []byte{3, 0xE8, 0xFF}),
	} {
		connection, reader, _ := n.handshake("")
		if _, err := connection.Write(frame); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		n.readToEnd(reader)
	}
	bystander.write(`{"event":"pusher:ping"}`)
	bystander.want(eventPong, "", "{}")
	env.Eventually(t, "one client is connected", func() bool { return n.hub.count() == 1 })
}

// A client that does not finish its request is disconnected.
func TestSlowLoris(t *testing.T) {
	n := newNode(t, newBus(t), func(o *Options) {
		o.Limits = web.Limits{Header: time.Second}
	})
	var slow []net.Conn
	for range 50 {
		connection, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", n.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = connection.Close() }()
		_ = connection.SetDeadline(time.Now().Add(wait))
		if _, err := connection.Write([]byte("GET /app/x HTTP/1.1\r\nHost: x\r\nX-Slow: ")); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, connection)
	}
	n.connect()
	for _, connection := range slow {
		n.readToEnd(connection)
	}
}

// One client has at most half of the connections. Loopback addresses, which proxies have, are not limited.
func TestOneAddressCannotTakeAll(t *testing.T) {
	n := newNode(t, newBus(t), func(o *Options) {
		o.MaxConnections = 8
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	connect := func(from string, refused bool) {
		t.Helper()
		c := n.dial(documented().Key+"?protocol=7", http.Header{"X-Forwarded-For": {from}})
		if e := c.receive(); (e.Event == eventError) != refused {
			t.Fatalf("%s, with %d connections: %+v", from, n.hub.count(), e)
		}
	}
	for range 2 {
		connect("192.0.2.7", false)
	}
	for i := range 4 {
		connect(fmt.Sprintf("2001:db8:1:2::%d", i), false) // a /64 is one client
	}
	connect("2001:db8:1:2::3", true)
	for range 2 {
		connect("192.0.2.7", false)
	}
	connect("192.0.2.7", true) // all connections are taken
}

// The channels of a connection are limited, and none is left after it has ended.
func TestSubscriptionFlood(t *testing.T) {
	n := newNode(t, newBus(t), func(o *Options) { o.MaxChannels = 100 })
	c := n.connect()
	for i := range 150 {
		c.write(fmt.Sprintf(`{"event":"pusher:subscribe","data":{"channel":"flood-%d"}}`, i))
		if e := c.receive(); (e.Event == eventSubscribed) != (i < 100) {
			t.Fatalf("channel %d: %+v", i, e)
		}
	}
	_ = c.ws.Close()
	env.Eventually(t, "the hub is empty", func() bool {
		n.hub.mu.RLock()
		defer n.hub.mu.RUnlock()
		return len(n.hub.conns) == 0 && len(n.hub.channels) == 0 && len(n.hub.clients) == 0
	})
}

// A request that is not a handshake gets a short error.
func TestRequestsAreBounded(t *testing.T) {
	n := newNode(t, newBus(t), nil)
	for _, path := range []string{
		"/app/../apps/3/events", "/app/%2e%2e/x", "//app/x", "//", "/app/./x", "/app/x/.", "/app//x", "/apps/3/channels/..", "/app/" + strings.Repeat("x", 2000), "/app/x%0d%0aSet-Cookie:%20a=b",
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{
			Transport: &http.Transport{DisableKeepAlives: true}, Timeout: wait,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if response.StatusCode < 400 || response.StatusCode >= 500 || len(body) > 1000 || response.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %d %s", path, response.StatusCode, body)
		}
	}
}

// Pings, pongs and empty frames count against the rate.
func TestControlFlood(t *testing.T) {
	n := newNode(t, newBus(t), nil)
	for name, frame := range map[string][]byte{
		"pings": {0x89, 0x80, 0, 0, 0, 0}, "pongs": {0x8A, 0x80, 0, 0, 0, 0}, "empty fragments": {0x00, 0x80, 0, 0, 0, 0},
	} {
		connection, reader, _ := n.handshake("")
		if name == "empty fragments" {
			if _, err := connection.Write([]byte{0x01, 0x80, 0, 0, 0, 0}); err != nil {
				t.Fatal(err)
			}
		}
		go func() { // the server may stop reading
			for range 200 {
				if _, err := connection.Write(bytes.Repeat(frame, 10_000)); err != nil {
					return
				}
			}
		}()
		if got := n.readToEnd(reader); !strings.Contains(got, "\x10\x04") { // 4100
			t.Errorf("%s: the connection ends with %.100q", name, got)
		}
	}
}
