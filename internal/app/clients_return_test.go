package app_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"orderflow/internal/config"
	"orderflow/test/env"
)

// at returns the time of a client's line, in milliseconds since 1970.
func at(t *testing.T, line string) int64 {
	t.Helper()
	var o struct{ At int64 }
	if err := json.Unmarshal([]byte(line), &o); err != nil {
		t.Fatal(err)
	}
	return o.At
}

// A server that stops closes its clients with 4100: they reconnect after a second. They subscribe to their channels again at the next server
// on the same address. Without Redis the last event of a cache channel is lost with the process.
func TestClientsComeBackAfterARestart(t *testing.T) {
	t.Parallel()
	bothClients(t, func(t *testing.T, program string) {
		path := filepath.Join(t.TempDir(), "orderflow.db")
		first := serveOn(t, path, nil)
		// The restart keeps both addresses, which are in the client's options.
		again := func(set *config.Settings) {
			set.Addr, set.RealtimeAddr = config.Addr(strings.TrimPrefix(first.url, "http://")), config.Addr(strings.TrimPrefix(first.realtimeURL, "ws://"))
		}
		c := first.startClient(program, nil)
		c.subscribe("private-orders.1")
		c.subscribe("private-cache-orders.1")
		first.buy(1, "before", 1, 1)
		c.awaitEvent("private-cache-orders.1", "OrderPaid")

		first.stop()
		waits := at(t, c.awaitLine(`"saw":"waits"`, `"seconds":1`))
		second := serveOn(t, path, again)
		if back := at(t, c.awaitLine(`"saw":"attempt"`)); back-waits < 990 {
			t.Errorf("the client reconnected after %d ms", back-waits)
		}
		c.awaitLine(`"saw":"connected"`)
		for range 2 {
			c.awaitLine("pusher:subscription_succeeded")
		}
		id := second.buy(1, "after", 1, 1).order().ID
		if data := c.awaitEvent("private-orders.1", "OrderPaid").Data; data["order_id"] != float64(id) {
			t.Errorf("received %v of order %d", data, id)
		}
		// The first connection, the one after a second, and one more if the new server did not listen yet.
		if attempts := c.countLines(`"saw":"attempt"`); attempts > 3 {
			t.Errorf("%d attempts. It saw:\n%s", attempts, strings.Join(c.seen, "\n"))
		}
		if c.countLines(`"saw":"event"`, "pusher:cache_miss") != 2 { // of the first server at the beginning, and of the second one
			t.Errorf("it saw:\n%s", strings.Join(c.seen, "\n"))
		}
	})
}

// With Redis the cache channel has the event that a client missed while there was no server.
func TestClientsHearTheLastAfterARestart(t *testing.T) {
	t.Parallel()
	first := serve(t, func(set *config.Settings) { onMySQLAndRedis(t, set) })
	c := first.startClient("pusher.mjs", nil)
	c.subscribe("private-cache-orders.1")
	elsewhere := serve(t, func(set *config.Settings) { *set = onDatabaseOf(*set, first.settings) })
	first.stop()
	c.awaitLine(`"saw":"waits"`)

	// Meanwhile an order is paid at the other node, to which this client is not connected.
	watcher := elsewhere.startClient("pusher.mjs", nil) // receives the event after that node has stored it
	watcher.subscribe("private-cache-orders.1")
	id := elsewhere.buy(1, "missed", 1, 1).order().ID
	watcher.awaitEvent("private-cache-orders.1", "OrderPaid")
	elsewhere.stop()
	serve(t, func(set *config.Settings) {
		*set = onDatabaseOf(*set, first.settings)
		set.Addr, set.RealtimeAddr = config.Addr(strings.TrimPrefix(first.url, "http://")), config.Addr(strings.TrimPrefix(first.realtimeURL, "ws://"))
	})
	if data := c.awaitEvent("private-cache-orders.1", "OrderPaid").Data; data["order_id"] != float64(id) {
		t.Errorf("received %v of order %d", data, id)
	}
}

// onDatabaseOf sets the database and the Redis of another server.
func onDatabaseOf(set, other config.Settings) config.Settings {
	set.Database, set.Redis, set.RedisPrefix = other.Database, other.Redis, other.RedisPrefix
	return set
}

// A client also reconnects a second after its connection was cut, and receives no event twice.
func TestClientsComeBackAfterACut(t *testing.T) {
	t.Parallel()
	bothClients(t, func(t *testing.T, program string) {
		s := serve(t, nil)
		network, proxied := env.Proxy(t, s.realtimeURL)
		c := s.startClient(program, func(o *nodeOptions) { o.Options = clientOptions(t, proxied) })
		c.subscribe("private-orders.1")
		c.subscribe("private-cache-orders.1")
		network.Cut()
		waits := at(t, c.awaitLine(`"saw":"waits"`))
		missed := s.buy(1, "missed", 1, 1).order().ID
		s.await(missed, "PAID")
		network.Restore()
		if back := at(t, c.awaitLine(`"saw":"attempt"`)); back-waits < 990 {
			t.Errorf("the client reconnected after %d ms", back-waits)
		}
		if data := c.awaitEvent("private-cache-orders.1", "OrderPaid").Data; data["order_id"] != float64(missed) {
			t.Errorf("received %v of order %d", data, missed)
		}
		next := s.buy(1, "next", 1, 1).order().ID
		if data := c.awaitEvent("private-orders.1", "OrderPaid").Data; data["order_id"] != float64(next) {
			t.Errorf("received %v of order %d", data, next)
		}
		if attempts := c.countLines(`"saw":"attempt"`); attempts > 3 {
			t.Errorf("%d attempts. It saw:\n%s", attempts, strings.Join(c.seen, "\n"))
		}
	})
}
