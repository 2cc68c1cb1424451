package app_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// dial opens a bare connection to the server.
func (s *testServer) dial() net.Conn {
	s.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(patience))
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return conn
}

// rawCreate returns the bytes of a request that creates an order.
func rawCreate(key string) string {
	body := fmt.Sprintf(`{"user_id":1,"idempotency_key":%q,"items":[{"product_id":2,"quantity":1}]}`, key)
	return fmt.Sprintf("POST /api/v1/orders HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// TestCallersWhoHangUp: clients that disconnect during a request, after it or during the answer do not affect others. A retry with the same key
// gets the same order.
func TestCallersWhoHangUp(t *testing.T) {
	t.Parallel()
	s := serve(t, apiOnly)
	const callers = 40
	concurrently(callers, func(i int) {
		request := rawCreate(fmt.Sprint(i))
		conn := s.dial()
		sent := request
		switch i % 4 {
		case 0:
			sent = request[:len(request)/3] // within the headers
		case 1:
			sent = request[:len(request)-10] // within the body
		}
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Error(err)
		}
		if i%4 == 3 {
			if _, err := conn.Read(make([]byte, 5)); err != nil {
				t.Error(err)
			}
		}
		if err := conn.(*net.TCPConn).SetLinger(i % 2); err != nil { // 0: with a reset
			t.Error(err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		if r := s.buy(2, fmt.Sprint(i), 1, 1); r.status != http.StatusCreated { // other clients are served
			t.Errorf("%+v", r)
		}
	})
	ids := map[int64]bool{}
	for i := range callers {
		r := s.buy(1, fmt.Sprint(i), 2, 1)
		if want := i%4 == 3; r.status != http.StatusCreated && r.status != http.StatusOK || want && r.status != http.StatusOK || i%4 < 2 && r.status != http.StatusCreated {
			t.Errorf("caller %d: %+v", i, r)
		}
		ids[r.order().ID] = true
	}
	if len(ids) != callers || s.stock(2) != 200-callers {
		t.Errorf("%d orders for %d callers, stock %d", len(ids), callers, s.stock(2))
	}
}

// TestSlowCallers: the time limits of the server end requests that arrive slowly, and other clients are served meanwhile.
func TestSlowCallers(t *testing.T) {
	t.Parallel()
	s := serve(t, apiOnly)
	request := rawCreate("slow")
	headers, _, _ := strings.Cut(request, "\r\n\r\n")
	var all sync.WaitGroup
	for name, c := range map[string]struct{ at, drip, want string }{
		"in the headers": {headers + "\r\nX-Slow: ", "x", ""},
		"between lines":  {headers, "\r\nX-Slow: x", ""},
		"in the body":    {headers + "\r\n\r\n", " ", "HTTP/1.1 400 "},
		"at the start":   {"", "P", ""},
	} {
		for range 10 {
			all.Go(func() {
				conn := s.dial()
				defer func() { _ = conn.Close() }()
				if _, err := io.WriteString(conn, c.at); err != nil {
					t.Error(err)
				}
				ended := make(chan struct{})
				go func() { // reads until the server closes the connection
					defer close(ended)
					answer, err := io.ReadAll(conn)
					if errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("%s: the server waits for ever", name)
					}
					if strings.HasPrefix(string(answer), "HTTP/1.1 2") || !strings.HasPrefix(string(answer), c.want) {
						t.Errorf("%s: answered %q, %v", name, answer, err)
					}
				}()
				ticker := time.NewTicker(250 * time.Millisecond)
				defer ticker.Stop()
				for {
					select {
					case <-ended:
						return
					case <-ticker.C:
						_, _ = io.WriteString(conn, c.drip) // fails when the server has closed the connection
					}
				}
			})
		}
	}
	for i := range 20 {
		if r := s.buy(1, fmt.Sprint(i), 1, 1); r.status != http.StatusCreated {
			t.Errorf("%+v", r)
		}
	}
	all.Wait()
	if r := s.buy(1, "slow", 2, 1); r.status != http.StatusCreated {
		t.Errorf("the key of a request that never arrived: %+v", r)
	}
}

// TestHalfClosed: a client that closes its sending side within a request gets no order.
func TestHalfClosed(t *testing.T) {
	t.Parallel()
	s := serve(t, apiOnly)
	request := rawCreate("half")
	conn := s.dial()
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, request[:len(request)-5]); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 4") {
		t.Errorf("answered %q, %v", answer, err)
	}
	if r := s.buy(1, "half", 2, 1); r.status != http.StatusCreated {
		t.Errorf("%+v", r)
	}
}

// raw sends bytes over a new connection, closes the sending side, and returns the answer.
func (s *testServer) raw(request string) string {
	s.t.Helper()
	conn := s.dial()
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, request); err != nil {
		s.t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		s.t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		s.t.Error(err)
	}
	return string(answer)
}

// A client that closes its sending side after the whole request, as nc -N does, gets the usual answer. An event stream sends the existing
// events and ends.
func TestHalfClosedAfterTheRequest(t *testing.T) {
	t.Parallel()
	s := serve(t, apiOnly)
	for i := range 20 {
		answer := s.raw(rawCreate(fmt.Sprint("half", i)))
		if !strings.HasPrefix(answer, "HTTP/1.1 201 ") || !strings.Contains(answer, `"status":"PENDING"`) {
			t.Errorf("order %d is answered %q", i, answer)
		}
	}
	for target, want := range map[string]string{
		"/api/v1/orders":           `"status":"PENDING"`,
		"/api/v1/orders/1":         `"id":1`,
		"/api/v1/orders/1/events":  "OrderCreated",
		"/console/orders":          "<h1>Orders</h1>",
		"/openapi.json":            `"openapi"`,
		"/api/v1/orders/1?nothing": "422 Unprocessable",
	} {
		if answer := s.raw("GET " + target + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"); !strings.Contains(answer, want) {
			t.Errorf("%s is answered %.300q, want %q", target, answer, want)
		}
	}
	const stream = "GET /api/v1/orders/1/events HTTP/1.1\r\nHost: shop\r\nAccept: text/event-stream\r\n\r\n"
	if answer := s.raw(stream); !strings.Contains(answer, "event: OrderCreated") {
		t.Errorf("a stream is answered %q", answer)
	}
}

// Requests that net/http refuses get an error in the usual format.
func TestUnreadableRequests(t *testing.T) {
	t.Parallel()
	s := serve(t, apiOnly)
	for name, c := range map[string]struct{ request, status, code string }{
		"bad percent-encoding":   {"GET /api/v1/orders/%zz HTTP/1.1\r\nHost: x\r\n\r\n", "400 Bad Request", "malformed_request"},
		"no Host":                {"GET /livez HTTP/1.1\r\n\r\n", "400 Bad Request", "malformed_request"},
		"a malformed Host":       {"GET /livez HTTP/1.1\r\nHost: a b\r\n\r\n", "400 Bad Request", "malformed_request"},
		"a header without a :":   {"GET /livez HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n", "400 Bad Request", "malformed_request"},
		"no request line":        {"nonsense\r\n\r\n", "400 Bad Request", "malformed_request"},
		"too large headers":      {"GET /livez HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("x", 50_000) + "\r\n\r\n", "431 Request Header Fields Too Large", "headers_too_large"},
		"too many header fields": {"GET /livez HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-A: x\r\n", 101) + "\r\n", "431 Request Header Fields Too Large", "headers_too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			response, err := http.ReadResponse(bufio.NewReader(strings.NewReader(s.raw(c.request))), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }()
			var body struct {
				Error   string
				Message string
				Trace   string `json:"trace_id"`
			}
			if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
				t.Fatal(err)
			}
			if response.Status != c.status {
				t.Errorf("status %q, want %q", response.Status, c.status)
			}
			if body.Error != c.code {
				t.Errorf("error %q, want %q", body.Error, c.code)
			}
			if body.Message == "" {
				t.Error("there is no message")
			}
			if body.Trace == "" || body.Trace != response.Header.Get("X-Trace-Id") {
				t.Errorf("trace id %q, and %q in the header", body.Trace, response.Header.Get("X-Trace-Id"))
			}
		})
	}
}

// TestTooLargeHeaders: too large headers are refused.
func TestTooLargeHeaders(t *testing.T) {
	t.Parallel()
	s := serve(t, apiOnly)
	if r := s.do(http.MethodGet, "/api/v1/products", "", "X-Large: "+strings.Repeat("x", 100_000)); r.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%+v", r)
	}
}
