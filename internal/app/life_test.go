package app_test

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"orderflow/internal/app"
	"orderflow/internal/config"
	"orderflow/internal/order"
	"orderflow/test/env"
)

// TestStartThatFails: a start that fails releases what it opened.
func TestStartThatFails(t *testing.T) {
	t.Parallel()
	used, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = used.Close() }()
	path := filepath.Join(t.TempDir(), "orderflow.db")
	set := settings(path)
	set.Addr = config.Addr(used.Addr().String())
	for range 2 {
		if _, err := app.Start(t.Context(), set, app.Options{Log: &env.Output{}}); order.CodeOf(err) != order.CodeUnavailable || !strings.Contains(err.Error(), used.Addr().String()) {
			t.Errorf("on an address in use: %v", err)
		}
	}
	set = settings(path)
	set.Gateway = "http://user:secret@shop.example"
	if _, err := app.Start(t.Context(), set, app.Options{Log: &env.Output{}}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("with an invalid gateway: %v", err)
	}
	s := serveOn(t, path, nil)
	if _, err := app.Start(t.Context(), settings(path), app.Options{Log: &env.Output{}}); order.CodeOf(err) != order.CodeUnavailable || !strings.Contains(err.Error(), "Another orderflow server") {
		t.Errorf("a second server: %v", err)
	}
	if r := s.get("/readyz"); r.status != http.StatusOK {
		t.Errorf("%+v", r)
	}
}

// TestServersOneAfterTheOther: a server continues with the orders of the server before it. The first one has no role worker, the second one
// only this role.
func TestServersOneAfterTheOther(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "orderflow.db")
	first := serveOn(t, path, apiOnly)
	id := first.buy(1, "first", 1, 1).order().ID
	first.stop()

	set := settings(path)
	set.Addr, set.Roles = config.AddrOff, config.Roles{Worker: true}
	server, err := app.Start(t.Context(), set, app.Options{Log: &env.Output{}})
	if err != nil {
		t.Fatal(err)
	}
	if server.URL() != "" {
		t.Errorf("it listens on %s", server.URL())
	}
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	db := first.open()
	defer func() { _ = db.Close() }()
	env.EventuallyNil(t, "the order is paid", func() error {
		o, err := db.Order(t.Context(), id)
		if err == nil && o.Status != order.Paid {
			err = fmt.Errorf("it is %+v", o)
		}
		return err
	})
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	third := serveOn(t, path, nil)
	if r := third.buy(1, "first", 1, 1); r.status != http.StatusOK || r.order().ID != id || r.order().Status != "PAID" {
		t.Errorf("%+v", r)
	}
}

// TestMaxTime: a worker ends after --max-time, in order.
func TestMaxTime(t *testing.T) {
	t.Parallel()
	set := settings(filepath.Join(t.TempDir(), "orderflow.db"))
	set.Roles, set.MaxTime = config.Roles{Worker: true}, time.Millisecond
	log := &env.Output{}
	server, err := app.Start(t.Context(), set, app.Options{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Run(t.Context()); err != nil {
		t.Error(err)
	}
	if want := `"event":"server.draining","reason":"--max-time"`; !strings.Contains(log.String(), want) {
		t.Errorf("the log lacks %s:\n%s", want, log)
	}
}

// TestDrain: a server that is stopped reports not ready, keeps serving for the drain delay, ends streams, and finishes its charges.
func TestDrain(t *testing.T) {
	t.Parallel()
	s := serve(t, func(set *config.Settings) {
		set.DrainDelay = 4 * time.Second
		set.SimulatedLatency = config.Span{Min: 6 * time.Second, Max: 6 * time.Second}
	})
	id := s.buy(1, "slow", 1, 1).order().ID
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+fmt.Sprintf("/api/v1/orders/%d/events", id), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "text/event-stream")
	stream, err := s.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Body.Close() }()
	lines := bufio.NewScanner(stream.Body)
	for lines.Scan() && !strings.Contains(lines.Text(), "OrderProcessing") { // waits until the charge has begun
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.stop()
	}()
	for lines.Scan() { // until the server ends the stream, which shows that it drains
	}
	if r := s.get("/readyz"); r.status != http.StatusServiceUnavailable {
		t.Errorf("/readyz while it drains: %+v", r)
	}
	if r := s.buy(2, "late", 1, 1); r.status != http.StatusCreated {
		t.Errorf("an order while it drains: %+v", r)
	}
	<-stopped
	db := s.open()
	defer func() { _ = db.Close() }()
	if o, err := db.Order(t.Context(), id); err != nil || o.Status != order.Paid {
		t.Errorf("the charge was not finished: %+v, %v", o, err)
	}
	for _, want := range []string{
		`"event":"server.draining","reason":"signal","connections":[1-9][0-9]*,"queued":0,"charges":1`,
		`"event":"server.stopped",.*"orders":1,"cancels":0,"calls":[12],"handed_back":[01],"published":[1-9]`,
	} {
		if !regexp.MustCompile(want).MatchString(s.log.String()) {
			t.Errorf("the log lacks %s:\n%s", want, s.log)
		}
	}
}

// TestIdleTimeout: both servers close a connection after the idle time-out of the settings.
func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	s := serve(t, func(set *config.Settings) { set.IdleTimeout = 10 * time.Millisecond })
	const event = `{"name":"n","data":"x","channel":"news"}`
	for name, c := range map[string]struct{ addr, request string }{
		"HTTP": {strings.TrimPrefix(s.url, "http://"), "GET /livez HTTP/1.1\r\nHost: test\r\n\r\n"},
		"WebSockets": {
			strings.TrimPrefix(s.realtimeURL, "ws://"), fmt.Sprintf("POST %s HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"+
				"Content-Length: %d\r\n\r\n%s", signed(s.settings, "/events", event), len(event), event),
		},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.DialTimeout("tcp", c.addr, patience)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, c.request); err != nil {
				t.Fatal(err)
			}
			reader := bufio.NewReader(conn)
			answer, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = answer.Body.Close() }() // read to its end
			body, err := io.ReadAll(answer.Body)
			if err != nil {
				t.Fatal(err)
			}
			if answer.StatusCode != http.StatusOK {
				t.Errorf("status %d: %s", answer.StatusCode, body)
			}
			if answer.Close {
				t.Error("the answer closes its connection")
			}
			if _, err := reader.ReadByte(); !errors.Is(err, io.EOF) {
				t.Errorf("the idle connection ended with %v, want EOF", err)
			}
		})
	}
}

// signed returns the target of a request to the signed Pusher API.
func signed(set config.Settings, path, body string) string {
	path = "/apps/" + set.RealtimeAppID + path
	query := fmt.Sprintf("auth_key=%s&auth_timestamp=%d&auth_version=1.0&body_md5=%x", set.RealtimeKey, time.Now().Unix(), md5.Sum([]byte(body)))
	mac := hmac.New(sha256.New, []byte(set.RealtimeSecret.Reveal()))
	_, _ = io.WriteString(mac, "POST\n"+path+"\n"+query) // never fails
	return fmt.Sprintf("%s?%s&auth_signature=%x", path, query, mac.Sum(nil))
}
