package app_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pusher/pusher-http-go/v5"

	"orderflow/internal/config"
	"orderflow/test/env"
)

// clientsFolder has the programs that run real clients, and the clients in its node_modules.
const clientsFolder = "testdata/clients"

// observer reads the lines that a client prints, one per observation.
type observer struct {
	t     *testing.T
	lines chan string
	seen  []string // lines that were read
}

// awaitLine reads lines until one has all the parts, and returns it.
func (w *observer) awaitLine(parts ...string) string {
	w.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		select {
		case line, open := <-w.lines:
			if !open {
				w.t.Fatalf("the client ended without %q. It printed:\n%s", parts, strings.Join(w.seen, "\n"))
			}
			w.seen = append(w.seen, line)
			if hasAll(line, parts) {
				return line
			}
		case <-deadline.C:
			w.t.Fatalf("the client does not print %q. It printed:\n%s", parts, strings.Join(w.seen, "\n"))
		}
	}
}

// countLines counts the lines with all the parts among those that were read.
func (w *observer) countLines(parts ...string) (n int) {
	for _, line := range w.seen {
		if hasAll(line, parts) {
			n++
		}
	}
	return n
}

func hasAll(line string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(line, part) {
			return false
		}
	}
	return true
}

// nodeClient is a client program in Node that reads commands.
type nodeClient struct {
	*observer
	in io.Writer
}

// nodeOptions are the options of a client program.
type nodeOptions struct {
	Key       string            `json:"key"`
	Options   map[string]any    `json:"options"`   // of the client library
	Authorize string            `json:"authorize"` // see pusher.mjs
	Endpoint  string            `json:"endpoint"`
	Headers   map[string]string `json:"headers"` // with the request for a signature
}

// startClient starts a client of the server; change changes its options unless it is nil.
func (s *testServer) startClient(program string, change func(*nodeOptions)) *nodeClient {
	s.t.Helper()
	options := nodeOptions{
		Key: s.settings.RealtimeKey, Options: clientOptions(s.t, s.realtimeURL), Authorize: "form", Endpoint: s.url + "/broadcasting/auth",
		Headers: map[string]string{},
	}
	if change != nil {
		change(&options)
	}
	text, err := json.Marshal(options)
	if err != nil {
		s.t.Fatal(err)
	}
	c := runNode(s.t, nil, program, string(text))
	c.awaitLine(`"ready"`)
	return c
}

// clientOptions are the options that every client of a server on this machine needs.
func clientOptions(t *testing.T, sockets string) map[string]any {
	t.Helper()
	address, err := url.Parse(sockets)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(address.Port())
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{
		"cluster": "", "wsHost": address.Hostname(), "wsPort": port, "forceTLS": false, "enabledTransports": []string{"ws"},
	}
}

// runNode runs Node in the folder of the clients until the test ends. With a nil stdin the test writes commands.
func runNode(t *testing.T, stdin io.Reader, args ...string) *nodeClient {
	t.Helper()
	command := exec.CommandContext(t.Context(), "node", args...)
	command.Dir, command.Stdin = filepath.FromSlash(clientsFolder), stdin
	c := &nodeClient{observer: &observer{t: t, lines: make(chan string, 1000)}}
	said := &env.Output{}
	command.Stderr = said
	if stdin == nil {
		in, err := command.StdinPipe() // the program ends when it is closed, also when the test is killed
		if err != nil {
			t.Fatal(err)
		}
		c.in = in
	}
	out, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		t.Fatalf("%v: the tests with real clients need Node.js; scripts/test-deps.sh installs it", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(c.lines)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			c.lines <- lines.Text()
		}
	}()
	t.Cleanup(func() { // after the context of the test, which kills the program
		for range c.lines { // unblocks its output
		}
		<-ended
		_ = command.Wait()
		if text := said.String(); text != "" {
			t.Errorf("node %s complains: %s", args, text)
		}
	})
	return c
}

// do sends a command; more are names and values.
func (c *nodeClient) do(what string, more ...any) {
	c.t.Helper()
	command := map[string]any{"do": what}
	for i := 0; i < len(more); i += 2 {
		command[more[i].(string)] = more[i+1]
	}
	text, err := json.Marshal(command)
	if err == nil {
		_, err = c.in.Write(append(text, '\n'))
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// subscribe subscribes and waits for the confirmation.
func (c *nodeClient) subscribe(channel string) {
	c.t.Helper()
	c.do("subscribe", "channel", channel)
	c.awaitLine(`"channel":"`+channel+`"`, `"pusher:subscription_succeeded"`)
}

// clientEvent is an event that a client received.
type clientEvent struct {
	Channel, Event string
	Data           map[string]any
}

// awaitEvent waits for an event on a channel.
func (c *nodeClient) awaitEvent(channel, event string) clientEvent {
	c.t.Helper()
	var received clientEvent
	line := c.awaitLine(`"saw":"event"`, `"channel":"`+channel+`"`, `"event":"`+event+`"`)
	if err := json.Unmarshal([]byte(line), &received); err != nil {
		c.t.Fatal(err)
	}
	return received
}

// publisher returns a back end with Pusher's own library.
func (s *testServer) publisher() *pusher.Client {
	return &pusher.Client{
		AppID: s.settings.RealtimeAppID, Key: s.settings.RealtimeKey, Secret: s.settings.RealtimeSecret.Reveal(),
		Host: strings.TrimPrefix(s.realtimeURL, "ws://"), HTTPClient: s.client,
	}
}

// bothClients runs a test with each client program.
func bothClients(t *testing.T, test func(t *testing.T, program string)) {
	t.Helper()
	for _, program := range []string{"pusher.mjs", "echo.mjs"} {
		t.Run(strings.TrimSuffix(program, ".mjs"), func(t *testing.T) {
			t.Parallel()
			test(t, program)
		})
	}
}

// A client receives the event of a paid order on both channels of its user, with the payload of the API. A later subscriber of the cache
// channel receives it, too.
func TestClientsHearOfAPaidOrder(t *testing.T) {
	t.Parallel()
	bothClients(t, func(t *testing.T, program string) {
		s := serve(t, nil)
		c, other := s.startClient(program, nil), s.startClient(program, nil)
		c.subscribe("private-orders.1")
		c.subscribe("private-cache-orders.1")
		c.awaitEvent("private-cache-orders.1", "pusher:cache_miss")
		other.subscribe("private-orders.2")

		bought := s.do("POST", "/api/v1/orders", `{"user_id":1,"idempotency_key":"live","items":[{"product_id":1,"quantity":2}]}`, "X-Trace-Id: of-the-test")
		o := bought.order()
		for _, channel := range []string{"private-orders.1", "private-cache-orders.1"} {
			data := c.awaitEvent(channel, "OrderPaid").Data
			at, _ := data["timestamp"].(string)
			if _, err := time.Parse("2006-01-02T15:04:05.000000Z", at); err != nil {
				t.Error(err)
			}
			want := map[string]any{
				"event_id": fmt.Sprintf("%d-3", o.ID), "order_id": float64(o.ID), "status": "PAID", "total_amount": o.Total, "timestamp": at,
				"trace_id": "of-the-test",
			}
			if fmt.Sprint(data) != fmt.Sprint(want) {
				t.Errorf("received %v, want %v", data, want)
			}
		}
		late := s.startClient(program, nil)
		late.subscribe("private-cache-orders.1")
		if data := late.awaitEvent("private-cache-orders.1", "OrderPaid").Data; data["order_id"] != float64(o.ID) {
			t.Errorf("received %v of order %d", data, o.ID)
		}
		s.buy(2, "other", 1, 1)
		if data := other.awaitEvent("private-orders.2", "OrderPaid").Data; data["order_id"] == float64(o.ID) {
			t.Error("user 2 receives an event of user 1")
		}
	})
}

// Clients receive the events of failed and of cancelled orders.
func TestClientsHearOfOtherEnds(t *testing.T) {
	t.Parallel()
	bothClients(t, func(t *testing.T, program string) {
		declining := serve(t, func(set *config.Settings) { set.SimulatedSuccess = 0 })
		c := declining.startClient(program, nil)
		c.subscribe("private-orders.1")
		failed := declining.buy(1, "declined", 1, 1).order()
		data := c.awaitEvent("private-orders.1", "OrderFailed").Data
		if reason, _ := data["reason"].(string); data["order_id"] != float64(failed.ID) || data["status"] != "FAILED" || reason == "" || data["total_amount"] != failed.Total {
			t.Errorf("received %v of %+v", data, failed)
		}

		idle := serve(t, func(set *config.Settings) { set.Roles = config.Roles{API: true, Realtime: true} })
		c = idle.startClient(program, nil)
		c.subscribe("private-orders.1")
		cancelled := idle.cancel(idle.buy(1, "regretted", 1, 1).order().ID).order()
		data = c.awaitEvent("private-orders.1", "OrderCancelled").Data
		if cancelled.CancelledAt == nil || data["order_id"] != float64(cancelled.ID) || data["status"] != "CANCELLED" || data["cancelled_at"] != *cancelled.CancelledAt {
			t.Errorf("received %v of %+v", data, cancelled)
		}
	})
}

// Events that another back end publishes with Pusher's library reach public, private and several channels. A public cache channel keeps the
// last one.
func TestClientsHearOfOtherBackEnds(t *testing.T) {
	t.Parallel()
	bothClients(t, func(t *testing.T, program string) {
		s := serve(t, nil)
		c := s.startClient(program, nil)
		c.subscribe("news")
		c.subscribe("private-orders.1")
		c.subscribe("cache-news")
		c.awaitEvent("cache-news", "pusher:cache_miss")
		if err := s.publisher().TriggerMulti([]string{"news", "private-orders.1", "cache-news"}, "Announced", map[string]string{"text": "Größer & “neu”"}); err != nil {
			t.Fatal(err)
		}
		late := s.startClient(program, nil)
		for channel, hearer := range map[string]*nodeClient{"news": c, "cache-news": late} {
			if hearer == late {
				late.subscribe(channel)
			}
			if data := hearer.awaitEvent(channel, "Announced").Data; data["text"] != "Größer & “neu”" {
				t.Errorf("%s: received %v", channel, data)
			}
		}
		c.do("unsubscribe", "channel", "news")
		if err := s.publisher().TriggerMulti([]string{"news", "private-orders.1"}, "Announced", map[string]string{"text": "second"}); err != nil {
			t.Fatal(err)
		}
		for received := c.awaitEvent("private-orders.1", "Announced"); received.Data["text"] != "second"; {
			received = c.awaitEvent("private-orders.1", "Announced")
		}
		if c.countLines(`"channel":"news"`, "second") > 0 { // it would have arrived before
			t.Error("an unsubscribed client still receives events")
		}
	})
}

// Pusher's library for Node reads channels and their subscriptions, with the default application id, which is a number.
func TestBackEndInNodeReadsChannels(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	address, err := url.Parse(s.realtimeURL)
	if err != nil {
		t.Fatal(err)
	}
	options, err := json.Marshal(map[string]any{
		"appId": "1", "key": s.settings.RealtimeKey, "secret": s.settings.RealtimeSecret.Reveal(), "host": address.Hostname(),
		"port": address.Port(), "useTLS": false,
	})
	if err != nil {
		t.Fatal(err)
	}
	page := s.startClient("pusher.mjs", nil)
	page.subscribe("news")
	page.subscribe("private-orders.1")
	backEnd := runNode(t, nil, "--no-deprecation", "backend.mjs", string(options)) // caused by one of its packages
	backEnd.awaitLine(`"ready"`)
	for _, test := range []struct {
		path, prefix, info string
		want               []string
	}{
		{"/channels", "", "", []string{`"status":200`, `"body":{"channels":{"news":{},"private-orders.1":{}}}`}},
		{"/channels", "ne", "subscription_count", []string{`"status":200`, `"body":{"channels":{"news":{"subscription_count":1}}}`}},
		{"/channels/private-orders.1", "", "subscription_count", []string{`"status":200`, `"body":{"occupied":true,"subscription_count":1}`}},
		{"/channels/nobody", "", "", []string{`"status":200`, `"body":{"occupied":false}`}},
		{"/channels/news/users", "", "", []string{`"status":400`, `validation_error`}},
	} {
		params := map[string]string{}
		if test.prefix != "" {
			params["filter_by_prefix"] = test.prefix
		}
		if test.info != "" {
			params["info"] = test.info
		}
		backEnd.do("get", "path", test.path, "params", params)
		backEnd.awaitLine(append(test.want, `"saw":"answer"`)...)
	}
	backEnd.do("trigger", "channel", "news", "event", "Announced", "data", map[string]string{"text": "today"}, "params", map[string]string{"info": "subscription_count"})
	backEnd.awaitLine(`"saw":"answer"`, `"status":200`, `"body":{"channels":{"news":{"subscription_count":1}}}`)
	page.awaitEvent("news", "Announced")
}
