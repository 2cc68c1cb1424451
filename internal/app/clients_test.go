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
)

// clientsFolder has the programs that run real clients, and the clients in its node_modules.
const clientsFolder = "testdata/clients"

// witness tells what a client sees, a line an observation.
type witness struct {
	t     *testing.T
	lines chan string
	seen  []string // what was read of lines
}

// sees reads on until a line has all the parts, and returns it.
func (w *witness) sees(parts ...string) string {
	w.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		select {
		case line, open := <-w.lines:
			if !open {
				w.t.Fatalf("the client ended before it saw %q. It saw:\n%s", parts, strings.Join(w.seen, "\n"))
			}
			w.seen = append(w.seen, line)
			if hasAll(line, parts) {
				return line
			}
		case <-deadline.C:
			w.t.Fatalf("the client does not see %q. It saw:\n%s", parts, strings.Join(w.seen, "\n"))
		}
	}
}

// count is how many of the lines read so far have all the parts.
func (w *witness) count(parts ...string) (n int) {
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

// customer is a client that runs in Node and does what it is told.
type customer struct {
	*witness
	in io.Writer
}

// customerOptions are what a program in the folder of clients is started with.
type customerOptions struct {
	Key       string            `json:"key"`
	Options   map[string]any    `json:"options"`   // the client's
	Authorize string            `json:"authorize"` // see pusher.mjs
	Endpoint  string            `json:"endpoint"`
	Headers   map[string]string `json:"headers"` // with the request for a signature
}

// customer starts a client of the server; change, nil for none, changes its options.
func (s *site) customer(program string, change func(*customerOptions)) *customer {
	s.t.Helper()
	options := customerOptions{
		Key: s.settings.RealtimeKey, Options: clientOptions(s.t, s.live), Authorize: "form", Endpoint: s.url + "/broadcasting/auth",
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
	c.sees(`"ready"`)
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

// runNode runs Node in the folder of clients until the test ends; stdin nil is one that the test writes to.
func runNode(t *testing.T, stdin io.Reader, args ...string) *customer {
	t.Helper()
	command := exec.CommandContext(t.Context(), "node", args...)
	command.Dir, command.Stdin = filepath.FromSlash(clientsFolder), stdin
	c := &customer{witness: &witness{t: t, lines: make(chan string, 1000)}}
	said := &memory{}
	command.Stderr = said
	if stdin == nil {
		in, err := command.StdinPipe() // when it closes, as it does when the test dies, the program ends
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
	t.Cleanup(func() { // after the test's context, which kills the program
		for range c.lines { // it may wait to tell
		}
		<-ended
		_ = command.Wait()
		if text := said.String(); text != "" {
			t.Errorf("node %s complains: %s", args, text)
		}
	})
	return c
}

// do tells the client to do something; more are names and values.
func (c *customer) do(what string, more ...any) {
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

// subscribe subscribes and waits until that is done.
func (c *customer) subscribe(channel string) {
	c.t.Helper()
	c.do("subscribe", "channel", channel)
	c.sees(`"channel":"`+channel+`"`, `"pusher:subscription_succeeded"`)
}

// told is an event that a client saw.
type told struct {
	Channel, Event string
	Data           map[string]any
}

// hears waits for an event on a channel.
func (c *customer) hears(channel, event string) told {
	c.t.Helper()
	var heard told
	line := c.sees(`"saw":"event"`, `"channel":"`+channel+`"`, `"event":"`+event+`"`)
	if err := json.Unmarshal([]byte(line), &heard); err != nil {
		c.t.Fatal(err)
	}
	return heard
}

// publisher is another back end, with Pusher's own library.
func (s *site) publisher() *pusher.Client {
	return &pusher.Client{
		AppID: s.settings.RealtimeAppID, Key: s.settings.RealtimeKey, Secret: s.settings.RealtimeSecret.Reveal(),
		Host: strings.TrimPrefix(s.live, "ws://"), HTTPClient: s.client,
	}
}

// bothClients runs a test with each client.
func bothClients(t *testing.T, test func(t *testing.T, program string)) {
	t.Helper()
	for _, program := range []string{"pusher.mjs", "echo.mjs"} {
		t.Run(strings.TrimSuffix(program, ".mjs"), func(t *testing.T) {
			t.Parallel()
			test(t, program)
		})
	}
}

// A customer hears of a real order that is paid, on both of the own channels and in the words of the contract, and who
// subscribes to the cache channel later hears it then.
func TestClientsHearOfAPaidOrder(t *testing.T) {
	t.Parallel()
	bothClients(t, func(t *testing.T, program string) {
		s := serve(t, nil)
		c, other := s.customer(program, nil), s.customer(program, nil)
		c.subscribe("private-orders.1")
		c.subscribe("private-cache-orders.1")
		c.hears("private-cache-orders.1", "pusher:cache_miss")
		other.subscribe("private-orders.2")

		bought := s.do("POST", "/api/v1/orders", `{"user_id":1,"idempotency_key":"live","items":[{"product_id":1,"quantity":2}]}`, "X-Trace-Id: of-the-test")
		o := bought.order()
		for _, channel := range []string{"private-orders.1", "private-cache-orders.1"} {
			data := c.hears(channel, "OrderPaid").Data
			at, _ := data["timestamp"].(string)
			if _, err := time.Parse("2006-01-02T15:04:05.000000Z", at); err != nil {
				t.Error(err)
			}
			want := map[string]any{
				"event_id": fmt.Sprintf("%d-3", o.ID), "order_id": float64(o.ID), "status": "PAID", "total_amount": o.Total, "timestamp": at,
				"trace_id": "of-the-test",
			}
			if fmt.Sprint(data) != fmt.Sprint(want) {
				t.Errorf("heard %v, want %v", data, want)
			}
		}
		late := s.customer(program, nil)
		late.subscribe("private-cache-orders.1")
		if data := late.hears("private-cache-orders.1", "OrderPaid").Data; data["order_id"] != float64(o.ID) {
			t.Errorf("heard %v of order %d", data, o.ID)
		}
		s.buy(2, "other", 1, 1)
		if data := other.hears("private-orders.2", "OrderPaid").Data; data["order_id"] == float64(o.ID) {
			t.Error("user 2 hears of user 1's order")
		}
	})
}

// Customers hear of orders that failed and of those that were cancelled.
func TestClientsHearOfOtherEnds(t *testing.T) {
	t.Parallel()
	bothClients(t, func(t *testing.T, program string) {
		declining := serve(t, func(set *config.Settings) { set.SimulatedSuccess = 0 })
		c := declining.customer(program, nil)
		c.subscribe("private-orders.1")
		failed := declining.buy(1, "declined", 1, 1).order()
		data := c.hears("private-orders.1", "OrderFailed").Data
		if reason, _ := data["reason"].(string); data["order_id"] != float64(failed.ID) || data["status"] != "FAILED" || reason == "" || data["total_amount"] != failed.Total {
			t.Errorf("heard %v of %+v", data, failed)
		}

		idle := serve(t, func(set *config.Settings) { set.Roles = config.Roles{API: true, Realtime: true} })
		c = idle.customer(program, nil)
		c.subscribe("private-orders.1")
		cancelled := idle.cancel(idle.buy(1, "regretted", 1, 1).order().ID).order()
		data = c.hears("private-orders.1", "OrderCancelled").Data
		if cancelled.CancelledAt == nil || data["order_id"] != float64(cancelled.ID) || data["status"] != "CANCELLED" || data["cancelled_at"] != *cancelled.CancelledAt {
			t.Errorf("heard %v of %+v", data, cancelled)
		}
	})
}

// What another back end publishes with Pusher's library reaches public channels, private ones, and all of several; a
// public cache channel keeps the last of it.
func TestClientsHearOfOtherBackEnds(t *testing.T) {
	t.Parallel()
	bothClients(t, func(t *testing.T, program string) {
		s := serve(t, nil)
		c := s.customer(program, nil)
		c.subscribe("news")
		c.subscribe("private-orders.1")
		c.subscribe("cache-news")
		c.hears("cache-news", "pusher:cache_miss")
		if err := s.publisher().TriggerMulti([]string{"news", "private-orders.1", "cache-news"}, "Announced", map[string]string{"text": "Größer & “neu”"}); err != nil {
			t.Fatal(err)
		}
		late := s.customer(program, nil)
		for channel, hearer := range map[string]*customer{"news": c, "cache-news": late} {
			if hearer == late {
				late.subscribe(channel)
			}
			if data := hearer.hears(channel, "Announced").Data; data["text"] != "Größer & “neu”" {
				t.Errorf("%s: heard %v", channel, data)
			}
		}
		c.do("unsubscribe", "channel", "news")
		if err := s.publisher().TriggerMulti([]string{"news", "private-orders.1"}, "Announced", map[string]string{"text": "second"}); err != nil {
			t.Fatal(err)
		}
		for heard := c.hears("private-orders.1", "Announced"); heard.Data["text"] != "second"; {
			heard = c.hears("private-orders.1", "Announced")
		}
		if c.count(`"channel":"news"`, "second") > 0 { // it would have come before
			t.Error("who unsubscribed still hears")
		}
	})
}

// Pusher's library for Node, with a number for an application's id as it is by default, reads channels and their subscriptions.
func TestBackEndInNodeReadsChannels(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	address, err := url.Parse(s.live)
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
	page := s.customer("pusher.mjs", nil)
	page.subscribe("news")
	page.subscribe("private-orders.1")
	backEnd := runNode(t, nil, "--no-deprecation", "backend.mjs", string(options)) // of a package that it uses
	backEnd.sees(`"ready"`)
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
		backEnd.sees(append(test.want, `"saw":"answer"`)...)
	}
	backEnd.do("trigger", "channel", "news", "event", "Announced", "data", map[string]string{"text": "today"}, "params", map[string]string{"info": "subscription_count"})
	backEnd.sees(`"saw":"answer"`, `"status":200`, `"body":{"channels":{"news":{"subscription_count":1}}}`)
	page.hears("news", "Announced")
}
