package realtime

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
	sdk "github.com/pusher/pusher-http-go/v5"
)

// get sends a signed GET and returns the status and the body.
func (n *node) get(path string, query url.Values) (int, string) {
	n.Helper()
	return n.send(http.MethodGet, signedFor(http.MethodGet, documented(), path, query, ""), "")
}

// Back ends read channels as in Pusher's HTTP API.
func TestChannels(t *testing.T) {
	n := newNode(t, newBus(t), nil)
	one, two := n.connect(), n.connect()
	for _, c := range []*client{one, two} {
		c.subscribe("news")
	}
	one.subscribe("private-orders.7")
	two.write(`{"event":"pusher:subscribe","data":{"channel":"presence-x"}}`)
	two.want(eventSubscriptionError, "presence-x", "not supported")

	for path, test := range map[string]struct {
		query  string
		status int
		body   string
	}{
		"/apps/3/channels":                          {"", 200, `{"channels":{"news":{},"private-orders.7":{}}}`},
		"/apps/orderflow/channels":                  {"", 200, `{"channels":{"news":{},"private-orders.7":{}}}`},
		"/apps/3/channels#prefix":                   {"filter_by_prefix=private-", 200, `{"channels":{"private-orders.7":{}}}`},
		"/apps/3/channels#nothing":                  {"filter_by_prefix=nothing", 200, `{"channels":{}}`},
		"/apps/3/channels#presence":                 {"filter_by_prefix=presence-&info=user_count", 200, `{"channels":{}}`},
		"/apps/3/channels#info":                     {"info=subscription_count", 200, `{"channels":{"news":{"subscription_count":2},"private-orders.7":{"subscription_count":1}}}`},
		"/apps/3/channels#user_count":               {"info=user_count", 400, ""},
		"/apps/3/channels#unknown":                  {"info=members", 400, ""},
		"/apps/4/channels":                          {"", 404, ""},
		"/apps/3/channels/news":                     {"", 200, `{"occupied":true}`},
		"/apps/3/channels/news#info":                {"info=subscription_count", 200, `{"occupied":true,"subscription_count":2}`},
		"/apps/3/channels/news#user_count":          {"info=user_count,subscription_count", 400, ""},
		"/apps/3/channels/nobody":                   {"info=subscription_count", 200, `{"occupied":false,"subscription_count":0}`},
		"/apps/3/channels/presence-x":               {"info=user_count", 200, `{"occupied":false,"user_count":0}`},
		"/apps/3/channels/bad!name":                 {"", 400, ""},
		"/apps/3/channels/news/users":               {"", 400, ""},
		"/apps/3/channels/presence-x/users":         {"", 200, `{"users":[]}`},
		"/apps/orderflow/channels/presence-x/users": {"", 200, `{"users":[]}`},
	} {
		address, err := url.Parse(path)
		if err != nil {
			t.Fatal(err)
		}
		query, err := url.ParseQuery(test.query)
		if err != nil {
			t.Fatal(err)
		}
		status, body := n.get(address.Path, query)
		if status != test.status {
			t.Errorf("%s: status %d, want %d: %s", path, status, test.status, body)
		}
		if test.body != "" && body != test.body+"\n" {
			t.Errorf("%s: %s, want %s", path, body, test.body)
		}
	}
	if status, body := n.send(http.MethodGet, "/up", ""); status != http.StatusOK || body != `{"health":"OK"}`+"\n" {
		t.Errorf("/up: %d %s", status, body)
	}
}

// The channels of one response are limited.
func TestTooManyChannels(t *testing.T) {
	n := newNode(t, newBus(t), nil)
	n.hub.mu.Lock()
	for i := range maxListed + 1 {
		name := fmt.Sprintf("many-%d", i)
		n.hub.channels[name] = &channel{name: name}
	}
	n.hub.mu.Unlock()
	if status, body := n.get("/apps/3/channels", url.Values{}); status != http.StatusBadRequest {
		t.Errorf("status %d, want 400: %.200s", status, body)
	}
	if status, body := n.get("/apps/3/channels", url.Values{"filter_by_prefix": {"many-11"}}); status != http.StatusOK {
		t.Errorf("status %d, want 200: %.200s", status, body)
	}
}

// Pusher's library can read channels.
func TestChannelsWithPushersLibrary(t *testing.T) {
	n := newNode(t, newBus(t), nil)
	n.waitUntilSubscribed()
	c, backEnd := n.connect(), n.backEnd()
	c.subscribe("news")
	count, prefix, one := "subscription_count", "ne", 1

	channels, err := backEnd.Channels(sdk.ChannelsParams{FilterByPrefix: &prefix, Info: &count})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&sdk.ChannelsList{Channels: map[string]sdk.ChannelListItem{"news": {}}}, channels); diff != "" {
		t.Errorf("channels: want (-), got (+):\n%s", diff)
	}
	channel, err := backEnd.Channel("news", sdk.ChannelParams{Info: &count})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&sdk.Channel{Name: "news", Occupied: true, SubscriptionCount: 1}, channel); diff != "" {
		t.Errorf("channel: want (-), got (+):\n%s", diff)
	}
	users, err := backEnd.GetChannelUsers("presence-x")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&sdk.Users{List: []sdk.User{}}, users); diff != "" {
		t.Errorf("users: want (-), got (+):\n%s", diff)
	}
	if _, err := backEnd.GetChannelUsers("news"); err == nil {
		t.Error("a public channel has users")
	}

	published, err := backEnd.TriggerMultiWithParams([]string{"news", "nobody"}, "n", "d", sdk.TriggerParams{Info: &count})
	if err != nil {
		t.Fatal(err)
	}
	none := 0
	want := &sdk.TriggerChannelsList{Channels: map[string]sdk.TriggerChannelListItem{
		"news": {SubscriptionCount: &one}, "nobody": {SubscriptionCount: &none},
	}}
	if diff := cmp.Diff(want, published); diff != "" {
		t.Errorf("published: want (-), got (+):\n%s", diff)
	}
	batch, err := backEnd.TriggerBatch([]sdk.Event{{Channel: "news", Name: "n", Data: "d", Info: &count}, {Channel: "news", Name: "n", Data: "d"}})
	if err != nil {
		t.Fatal(err)
	}
	wantBatch := &sdk.TriggerBatchChannelsList{Batch: []sdk.TriggerBatchChannelListItem{{SubscriptionCount: &one}, {}}}
	if diff := cmp.Diff(wantBatch, batch); diff != "" {
		t.Errorf("batch: want (-), got (+):\n%s", diff)
	}
}
