package app_test

import (
	"fmt"
	"strings"
	"testing"
)

// A refused subscription gets an error on its channel, and the connection stays open.
func TestClientsThatAreRefused(t *testing.T) {
	t.Parallel()
	bothClients(t, func(t *testing.T, program string) {
		s := serve(t, nil)
		c := s.startClient(program, nil)
		for _, channel := range []string{"private-shop", "private-orders.0", "private-orders.1x"} { // not signed by the API
			c.do("subscribe", "channel", channel)
			c.awaitLine(`"channel":"`+channel+`"`, `"pusher:subscription_error"`, `"status":403`)
		}
		c.do("subscribe", "channel", "presence-room")
		if program == "pusher.mjs" { // Echo subscribes to it as a public channel, and would wait for ever
			c.awaitLine(`"channel":"presence-room"`, `"pusher:subscription_error"`)
		}
		for _, channel := range []string{"with space", strings.Repeat("x", 165)} { // the WebSocket server refuses these
			c.do("subscribe", "channel", channel)
			c.awaitLine(`"channel":"`+channel+`"`, `"pusher:subscription_error"`, `"type":"InvalidChannel"`, `"status":400`)
		}
		c.subscribe("private-orders.1")
		s.buy(1, "after", 1, 1)
		c.awaitEvent("private-orders.1", "OrderPaid")
		if c.countLines(`"saw":"connected"`) != 1 || c.countLines(`"saw":"attempt"`) != 1 {
			t.Errorf("it saw:\n%s", strings.Join(c.seen, "\n"))
		}
	})
}

// A page that subscribes to too many channels gets an error on each channel beyond the limit.
func TestClientsWithTooManyChannels(t *testing.T) {
	t.Parallel()
	bothClients(t, func(t *testing.T, program string) {
		const most = 200
		c := serve(t, nil).startClient(program, nil)
		for i := range most {
			c.subscribe(fmt.Sprintf("news-%d", i))
		}
		c.do("subscribe", "channel", "one-more")
		c.awaitLine(`"channel":"one-more"`, `"pusher:subscription_error"`, `"type":"LimitReached"`, `"status":429`)
		c.do("unsubscribe", "channel", "news-0")
		c.subscribe("another")
	})
}

// The WebSocket server refuses an invalid signature, for this channel only.
func TestClientsWithForgedSignatures(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	c := s.startClient("pusher.mjs", func(o *nodeOptions) { o.Authorize = "forged" })
	c.do("subscribe", "channel", "private-orders.1")
	data := c.awaitEvent("private-orders.1", "pusher:subscription_error").Data
	if data["type"] != "AuthError" || data["status"] != 401.0 || data["error"] == "" {
		t.Errorf("received %v", data)
	}
	c.subscribe("public")
	s.buy(1, "secret", 1, 1)
	s.await(1, "PAID")
	if err := s.publisher().Trigger("public", "Announced", "later than the payment"); err != nil {
		t.Fatal(err)
	}
	c.awaitLine("later than the payment")
	if c.countLines("OrderPaid") != 0 {
		t.Error("a forged signature opened the channel")
	}
}

// A page may request signatures in JSON.
func TestClientsThatAuthorizeInJSON(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	c := s.startClient("pusher.mjs", func(o *nodeOptions) { o.Authorize = "json" })
	c.subscribe("private-orders.1")
	c.do("subscribe", "channel", "private-shop")
	c.awaitLine(`"channel":"private-shop"`, `"pusher:subscription_error"`, "403")
	s.buy(1, "json", 1, 1)
	c.awaitEvent("private-orders.1", "OrderPaid")
}

// A client with a wrong key gets the reason and does not reconnect.
func TestClientsWithAWrongKey(t *testing.T) {
	t.Parallel()
	bothClients(t, func(t *testing.T, program string) {
		s := serve(t, nil)
		c := s.startClient(program, func(o *nodeOptions) { o.Key = "of-another-shop" })
		c.awaitLine(`"saw":"error"`, `"code":4001`, "Unknown application key")
		c.awaitLine(`"saw":"disconnected"`)
		if c.countLines(`"saw":"attempt"`) != 1 {
			t.Errorf("it saw:\n%s", strings.Join(c.seen, "\n"))
		}
	})
}

// Client events are refused with an error and not sent to others; the connection stays open.
func TestClientsThatTalk(t *testing.T) {
	t.Parallel()
	bothClients(t, func(t *testing.T, program string) {
		s := serve(t, nil)
		talker, listener := s.startClient(program, nil), s.startClient(program, nil)
		talker.subscribe("private-orders.1")
		listener.subscribe("private-orders.1")
		talker.do("trigger", "channel", "private-orders.1", "event", "client-OrderPaid", "data", map[string]int{"order_id": 1})
		talker.awaitLine(`"saw":"error"`, `"code":4301`, "Unsupported event")
		talker.awaitLine(`"saw":"event"`, `"channel":"private-orders.1"`, `"event":"pusher:error"`, `"code":4301`)
		s.buy(1, "real", 1, 1)
		talker.awaitEvent("private-orders.1", "OrderPaid")
		listener.awaitEvent("private-orders.1", "OrderPaid")
		if listener.countLines("client-OrderPaid") != 0 || talker.countLines(`"saw":"connected"`) != 1 {
			t.Errorf("it saw:\n%s", strings.Join(append(talker.seen, listener.seen...), "\n"))
		}
	})
}

// A silent client pings after its activity time-out, and the pong keeps the connection. Without a pong it would reconnect after a second.
func TestClientsThatPing(t *testing.T) {
	t.Parallel()
	bothClients(t, func(t *testing.T, program string) {
		s := serve(t, nil)
		c := s.startClient(program, func(o *nodeOptions) { o.Options["activityTimeout"], o.Options["pongTimeout"] = 1000, 1000 })
		c.subscribe("private-orders.1")
		for range 3 {
			c.awaitLine(`"saw":"message"`, `"pusher:pong"`)
		}
		s.buy(1, "awake", 1, 1)
		c.awaitEvent("private-orders.1", "OrderPaid")
		if c.countLines(`"saw":"attempt"`) != 1 {
			t.Errorf("it saw:\n%s", strings.Join(c.seen, "\n"))
		}
	})
}
