package app_test

import (
	"fmt"
	"strings"
	"testing"
)

// Who may not listen is told so on the channel that was asked for, and the connection goes on.
func TestClientsThatAreRefused(t *testing.T) {
	t.Parallel()
	bothClients(t, func(t *testing.T, program string) {
		s := serve(t, nil)
		c := s.customer(program, nil)
		for _, channel := range []string{"private-shop", "private-orders.0", "private-orders.1x"} { // nobody's: the API does not sign
			c.do("subscribe", "channel", channel)
			c.sees(`"channel":"`+channel+`"`, `"pusher:subscription_error"`, `"status":403`)
		}
		c.do("subscribe", "channel", "presence-room")
		if program == "pusher.mjs" { // Echo takes it for a public channel, and would wait for what never comes
			c.sees(`"channel":"presence-room"`, `"pusher:subscription_error"`)
		}
		for _, channel := range []string{"with space", strings.Repeat("x", 165)} { // the WebSocket server refuses these
			c.do("subscribe", "channel", channel)
			c.sees(`"channel":"`+channel+`"`, `"pusher:subscription_error"`, `"type":"InvalidChannel"`, `"status":400`)
		}
		c.subscribe("private-orders.1")
		s.buy(1, "after", 1, 1)
		c.hears("private-orders.1", "OrderPaid")
		if c.count(`"saw":"connected"`) != 1 || c.count(`"saw":"attempt"`) != 1 {
			t.Errorf("it saw:\n%s", strings.Join(c.seen, "\n"))
		}
	})
}

// A page that subscribes to more channels than a connection may have is told so on each of the others.
func TestClientsWithTooManyChannels(t *testing.T) {
	t.Parallel()
	bothClients(t, func(t *testing.T, program string) {
		const most = 200
		c := serve(t, nil).customer(program, nil)
		for i := range most {
			c.subscribe(fmt.Sprintf("news-%d", i))
		}
		c.do("subscribe", "channel", "one-more")
		c.sees(`"channel":"one-more"`, `"pusher:subscription_error"`, `"type":"LimitReached"`, `"status":429`)
		c.do("unsubscribe", "channel", "news-0")
		c.subscribe("another")
	})
}

// A signature that is none is refused by the WebSocket server itself, for this channel only.
func TestClientsWithForgedSignatures(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	c := s.customer("pusher.mjs", func(o *customerOptions) { o.Authorize = "forged" })
	c.do("subscribe", "channel", "private-orders.1")
	data := c.hears("private-orders.1", "pusher:subscription_error").Data
	if data["type"] != "AuthError" || data["status"] != 401.0 || data["error"] == "" {
		t.Errorf("heard %v", data)
	}
	c.subscribe("public")
	s.buy(1, "secret", 1, 1)
	s.await(1, "PAID")
	if err := s.publisher().Trigger("public", "Announced", "later than the payment"); err != nil {
		t.Fatal(err)
	}
	c.sees("later than the payment")
	if c.count("OrderPaid") != 0 {
		t.Error("a forged signature opened the channel")
	}
}

// A page may ask for signatures by requests of its own, in JSON.
func TestClientsThatAuthorizeInJSON(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	c := s.customer("pusher.mjs", func(o *customerOptions) { o.Authorize = "json" })
	c.subscribe("private-orders.1")
	c.do("subscribe", "channel", "private-shop")
	c.sees(`"channel":"private-shop"`, `"pusher:subscription_error"`, "403")
	s.buy(1, "json", 1, 1)
	c.hears("private-orders.1", "OrderPaid")
}

// A client with a wrong key hears why, and gives up: it would be refused for ever.
func TestClientsWithAWrongKey(t *testing.T) {
	t.Parallel()
	bothClients(t, func(t *testing.T, program string) {
		s := serve(t, nil)
		c := s.customer(program, func(o *customerOptions) { o.Key = "of-another-shop" })
		c.sees(`"saw":"error"`, `"code":4001`, "Unknown application key")
		c.sees(`"saw":"disconnected"`)
		if c.count(`"saw":"attempt"`) != 1 {
			t.Errorf("it saw:\n%s", strings.Join(c.seen, "\n"))
		}
	})
}

// Events of clients are refused with a word, and nobody hears them; the connection goes on.
func TestClientsThatTalk(t *testing.T) {
	t.Parallel()
	bothClients(t, func(t *testing.T, program string) {
		s := serve(t, nil)
		talker, listener := s.customer(program, nil), s.customer(program, nil)
		talker.subscribe("private-orders.1")
		listener.subscribe("private-orders.1")
		talker.do("trigger", "channel", "private-orders.1", "event", "client-OrderPaid", "data", map[string]int{"order_id": 1})
		talker.sees(`"saw":"error"`, `"code":4301`, "Unsupported event")
		talker.sees(`"saw":"event"`, `"channel":"private-orders.1"`, `"event":"pusher:error"`, `"code":4301`)
		s.buy(1, "real", 1, 1)
		talker.hears("private-orders.1", "OrderPaid")
		listener.hears("private-orders.1", "OrderPaid")
		if listener.count("client-OrderPaid") != 0 || talker.count(`"saw":"connected"`) != 1 {
			t.Errorf("it saw:\n%s", strings.Join(append(talker.seen, listener.seen...), "\n"))
		}
	})
}

// A silent client pings after the time-out that it has set, and the pong keeps the connection: without it, it would
// connect again after the second that it waits.
func TestClientsThatPing(t *testing.T) {
	t.Parallel()
	bothClients(t, func(t *testing.T, program string) {
		s := serve(t, nil)
		c := s.customer(program, func(o *customerOptions) { o.Options["activityTimeout"], o.Options["pongTimeout"] = 1000, 1000 })
		c.subscribe("private-orders.1")
		for range 3 {
			c.sees(`"saw":"message"`, `"pusher:pong"`)
		}
		s.buy(1, "awake", 1, 1)
		c.hears("private-orders.1", "OrderPaid")
		if c.count(`"saw":"attempt"`) != 1 {
			t.Errorf("it saw:\n%s", strings.Join(c.seen, "\n"))
		}
	})
}
