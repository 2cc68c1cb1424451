package realtime

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	sdk "github.com/pusher/pusher-http-go/v5"

	"orderflow/internal/pusher"
)

// backEnd returns a client of Pusher's library.
func (n *node) backEnd() *sdk.Client {
	n.Helper()
	app, transport := documented(), &http.Transport{}
	n.Cleanup(transport.CloseIdleConnections)
	return &sdk.Client{
		AppID: app.ID, Key: app.Key, Secret: app.Secret, Host: n.addr, HTTPClient: &http.Client{Transport: transport, Timeout: wait},
	}
}

// Subscribers receive the events that Pusher's library publishes: to one channel, to several, in batches, and not on the connection
// that caused the event.
func TestPublishWithPushersLibrary(t *testing.T) {
	n := newNode(t, newBus(t), nil)
	n.waitUntilSubscribed()
	first, second, backEnd := n.connect(), n.connect(), n.backEnd()
	for _, c := range []*client{first, second} {
		c.subscribe("news")
		c.subscribe("private-orders.7")
	}
	ok := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	want := func(channel, event, data string, clients ...*client) {
		t.Helper()
		for _, c := range clients {
			c.want(event, channel, data)
		}
	}
	ok(nil, backEnd.Trigger("news", "one", map[string]any{"text": "Größer & “neu” + ? = %"}))
	want("news", "one", `{"text":"Größer \u0026 “neu” + ? = %"}`, first, second)
	ok(nil, backEnd.TriggerMulti([]string{"private-orders.7", "nobody-listens", "news"}, "many", "plain text"))
	want("private-orders.7", "many", "plain text", first, second)
	want("news", "many", "plain text", first, second)
	ok(backEnd.TriggerBatch([]sdk.Event{
		{Channel: "news", Name: "batch 1", Data: []int{1}}, {Channel: "private-orders.7", Name: "batch 2", Data: nil},
	}))
	want("news", "batch 1", "[1]", first, second)
	want("private-orders.7", "batch 2", "null", first, second)
	ok(backEnd.TriggerWithParams("news", "to others", 1, sdk.TriggerParams{SocketID: &first.id}))
	want("news", "to others", "1", second)
	gone := "1.1"
	ok(backEnd.TriggerWithParams("news", "to all", 2, sdk.TriggerParams{SocketID: &gone}))
	want("news", "to all", "2", first, second)
	n.waitUntilDelivered()
}

// A back end can sign channels with Pusher's library.
func TestSignAsPushersLibrary(t *testing.T) {
	n := newNode(t, newBus(t), nil)
	c := n.connect()
	answer, err := n.backEnd().AuthorizePrivateChannel([]byte("socket_id=" + c.id + "&channel_name=private-orders.7"))
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"auth":"` + documented().SignChannel(c.id, "private-orders.7") + `"}`; string(answer) != want {
		t.Errorf("%s, want %s", answer, want)
	}
	c.write(`{"event":"pusher:subscribe","data":{"channel":"private-orders.7",` + string(answer[1:]) + `}`)
	c.want(eventSubscribed, "private-orders.7", "{}")
}

// signedBy returns the path of a POST with a signature of app for this query and body.
func signedBy(app pusher.App, path string, query url.Values, body string) string {
	return signedFor(http.MethodPost, app, path, query, body)
}

// signedFor is signedBy for any method. It signs by itself, to be independent of the product.
func signedFor(method string, app pusher.App, path string, query url.Values, body string) string {
	query.Set("auth_key", app.Key)
	query.Set("auth_version", "1.0")
	if !query.Has("auth_timestamp") {
		query.Set("auth_timestamp", strconv.FormatInt(time.Now().Unix(), 10))
	}
	if !query.Has("body_md5") && method == http.MethodPost {
		sum := md5.Sum([]byte(body))
		query.Set("body_md5", hex.EncodeToString(sum[:]))
	}
	text, _ := url.QueryUnescape(query.Encode()) // sorted by name
	mac := hmac.New(sha256.New, []byte(app.Secret))
	mac.Write([]byte(method + "\n" + path + "\n" + text))
	query.Set("auth_signature", hex.EncodeToString(mac.Sum(nil)))
	return path + "?" + query.Encode()
}

// Requests with an invalid signature are refused, and their events are not sent.
func TestForgedPublications(t *testing.T) {
	n := newNode(t, newBus(t), nil)
	n.waitUntilSubscribed()
	c := n.connect()
	c.subscribe("news")
	const path, body = "/apps/3/events", `{"name":"n","channels":["news"],"data":"forged"}`
	app := documented()
	seconds := func(after time.Duration) url.Values {
		return url.Values{"auth_timestamp": {strconv.FormatInt(time.Now().Add(after).Unix(), 10)}}
	}
	for name, request := range map[string]struct {
		app   pusher.App
		query url.Values
	}{
		"a wrong secret":          {pusher.App{ID: app.ID, Key: app.Key, Secret: app.Secret + "x"}, url.Values{}},
		"no secret":               {pusher.App{ID: app.ID, Key: app.Key}, url.Values{}},
		"a wrong key":             {pusher.App{ID: app.ID, Key: app.Key + "x", Secret: app.Secret}, url.Values{}},
		"too old":                 {app, seconds(-pusher.ClockSkew - 2*time.Second)},
		"from the future":         {app, seconds(pusher.ClockSkew + 2*time.Second)},
		"a time in words":         {app, url.Values{"auth_timestamp": {"now"}}},
		"the MD5 of another body": {app, url.Values{"body_md5": {strings.Repeat("0", 32)}}},
		"no MD5":                  {app, url.Values{"body_md5": {""}}},
	} {
		status, text := n.send(http.MethodPost, signedBy(request.app, path, request.query, body), body)
		if status != http.StatusUnauthorized || !strings.Contains(text, `"error":"unauthenticated"`) {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	backEnd := n.backEnd()
	backEnd.Secret += "x"
	if err := backEnd.Trigger("news", "n", "forged"); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("Pusher's library with a wrong secret: %v", err)
	}
	for _, skew := range []time.Duration{-pusher.ClockSkew + 5*time.Second, pusher.ClockSkew - 5*time.Second} {
		body := strings.Replace(body, "forged", "in time", 1)
		if status, text := n.send(http.MethodPost, signedBy(app, path, seconds(skew), body), body); status != http.StatusOK {
			t.Errorf("%s off: %d %s", skew, status, text)
		}
		c.want("n", "news", "in time")
	}
}

// recorder keeps the last request that it forwards.
type recorder struct {
	through http.RoundTripper
	path    string
	query   url.Values
	body    string
}

// RoundTrip implements http.RoundTripper.
func (r *recorder) RoundTrip(request *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	_ = request.Body.Close() // of memory
	request.Body = io.NopCloser(bytes.NewReader(body))
	r.path, r.query, r.body = request.URL.Path, request.URL.Query(), string(body)
	return r.through.RoundTrip(request)
}

// A recorded request of Pusher's library cannot be changed into another one.
func TestReplayedPublications(t *testing.T) {
	n := newNode(t, newBus(t), nil)
	n.waitUntilSubscribed()
	c := n.connect()
	c.subscribe("news")
	backEnd := n.backEnd()
	seen := &recorder{through: backEnd.HTTPClient.Transport}
	backEnd.HTTPClient = &http.Client{Transport: seen}
	if err := backEnd.Trigger("news", "price", "999.99"); err != nil {
		t.Fatal(err)
	}
	c.want("price", "news", "999.99")
	with := func(name, value string) url.Values {
		query := maps.Clone(seen.query)
		query.Set(name, value)
		return query
	}
	cheap := strings.Replace(seen.body, "999.99", "000.01", 1)
	sum := md5.Sum([]byte(cheap))
	for name, replay := range map[string]struct {
		path  string
		query url.Values
		body  string
	}{
		"another body":             {seen.path, seen.query, cheap},
		"another body and its MD5": {seen.path, with("body_md5", hex.EncodeToString(sum[:])), cheap},
		"no body":                  {seen.path, seen.query, ""},
		"a later time":             {seen.path, with("auth_timestamp", strconv.FormatInt(time.Now().Unix()+60, 10)), seen.body},
		"another path":             {"/apps/3/batch_events", seen.query, seen.body},
		"an added parameter":       {seen.path, with("info", "x"), seen.body},
		"another key":              {seen.path, with("auth_key", "x"), seen.body},
	} {
		if status, text := n.send(http.MethodPost, replay.path+"?"+replay.query.Encode(), replay.body); status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	// The unchanged request stays valid until its timestamp expires: the protocol has no nonce.
	if status, text := n.send(http.MethodPost, seen.path+"?"+seen.query.Encode(), seen.body); status != http.StatusOK {
		t.Errorf("repeated: %d %s", status, text)
	}
	c.want("price", "news", "999.99")
}

// Data that is too large is refused, also when the library accepts it.
func TestPublishTooMuchWithPushersLibrary(t *testing.T) {
	n := newNode(t, newBus(t), nil)
	backEnd := n.backEnd()
	backEnd.OverrideMaxMessagePayloadKB = 20
	if err := backEnd.Trigger("news", "n", strings.Repeat("x", maxData)); err != nil {
		t.Errorf("10 KiB: %v", err)
	}
	for _, size := range []int{maxData + 1, 19 << 10} {
		if err := backEnd.Trigger("news", "n", strings.Repeat("x", size)); err == nil || !strings.Contains(err.Error(), "413") {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// While the bus is unavailable, publishing returns an error that can be retried.
func TestPublishWithoutABus(t *testing.T) {
	b := newBus(t)
	n := newNode(t, b, nil)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	status, text := n.post("/apps/3/events", `{"name":"n","channel":"news","data":""}`)
	if status != http.StatusServiceUnavailable || !strings.Contains(text, `"error":"unavailable"`) {
		t.Errorf("%d %s", status, text)
	}
	if err := n.backEnd().Trigger("news", "n", ""); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("Pusher's library: %v", err)
	}
	n.waitUntilDelivered()
}

// waitUntilDelivered waits until the gate has no outstanding deliveries.
func (n *node) waitUntilDelivered() {
	n.Helper()
	ctx, cancel := context.WithTimeout(n.Context(), wait)
	defer cancel()
	if !n.gate.enter(ctx, gateLimit) {
		n.Error("what is done with still counts as taken in")
	}
}
