package realtime

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"orderflow/internal/web"
)

const published = `{"name":"n","channel":"c","data":"d"}`

// publishPart sends the headers of a signed publication and some bytes of its body, and may close its sending side. It returns the
// response, and whether the server closes the connection.
func (n *node) publishPart(body string, closes bool) (status int, answer string, last bool) {
	n.Helper()
	connection := n.tcp()
	_, err := fmt.Fprintf(connection, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s",
		signed("/apps/3/events", published), len(published), body)
	if err != nil {
		n.Fatal(err)
	}
	if closes {
		closeSending(n.T, connection)
	}
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		n.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		n.Fatal(err)
	}
	return response.StatusCode, string(text), response.Close
}

func closeSending(t *testing.T, connection net.Conn) {
	t.Helper()
	half, ok := connection.(tcp)
	if !ok {
		t.Fatalf("%T has no sending side", connection)
	}
	if err := half.CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

// An incomplete body is malformed, not too large.
func TestPublicationEndsEarly(t *testing.T) {
	for name, test := range map[string]struct {
		closes bool
		limit  time.Duration // for the whole request
		want   string
	}{
		"incomplete": {true, 0, "at byte 9, the body ended early"},
		"slow":       {false, time.Nanosecond, "at byte 9, the rest of the body took too long"}, // the headers have a limit of their own
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, newBus(t), func(o *Options) {
				o.Limits = web.Limits{Header: wait, Read: test.limit}
			})
			status, body, last := n.publishPart(published[:9], test.closes)
			if status != http.StatusBadRequest {
				t.Errorf("status %d, want 400", status)
			}
			if !strings.Contains(body, `"error":"malformed_json"`) || !strings.Contains(body, test.want) {
				t.Errorf("the response is %s, want malformed_json with %q", body, test.want)
			}
			if !last {
				t.Error("the connection stays open")
			}
		})
	}
}

// A publisher that closes its sending side after the whole request still reads the response, and its event is published.
func TestPublisherClosesItsSendingSide(t *testing.T) {
	n := newNode(t, newBus(t), nil)
	n.waitUntilSubscribed()
	subscriber := n.connect()
	subscriber.subscribe("c")
	handler := n.handler(t.Context())
	late := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		<-r.Context().Done() // the server has seen that the publisher closed its side
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(late.Close)
	publisher := *n
	publisher.addr = late.Listener.Addr().String()
	if status, body, _ := publisher.publishPart(published, true); status != http.StatusOK || body != "{}\n" {
		t.Fatalf("%d %s, want 200 and an empty object", status, body)
	}
	subscriber.want("n", "c", "d")
}

// A client that closes its sending side still receives its queue, also when the flusher has not written it yet.
func TestHalfClosedClientReceivesItsQueue(t *testing.T) {
	n := newNode(t, newBus(t), nil)
	c := n.connect()
	for _, f := range n.hub.flushers { // each flusher waits for a locked conn
		locked := &conn{hub: n.hub, flusher: f, state: waiting}
		locked.mu.Lock()
		f.add(locked)
		t.Cleanup(func() {
			locked.state = closed
			locked.mu.Unlock()
		})
	}
	c.write(`{"event":"pusher:ping"}`)
	closeSending(t, c.ws.NetConn())
	c.want(eventPong, "", "{}")
}
