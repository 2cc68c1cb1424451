package app_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"orderflow/internal/config"
	"orderflow/test/env"
)

// at is when a client saw something, in milliseconds since 1970.
func at(t *testing.T, line string) int64 {
	t.Helper()
	var o struct{ At int64 }
	if err := json.Unmarshal([]byte(line), &o); err != nil {
		t.Fatal(err)
	}
	return o.At
}

// A server that shuts down sends its clients away with 4100: they come back after a second and no earlier, and in no
// storm. With the next server on the same address they find their channels again by themselves. What a cache channel said
// last is forgotten with the process that kept it.
func TestClientsComeBackAfterARestart(t *testing.T) {
	t.Parallel()
	bothClients(t, func(t *testing.T, program string) {
		path := filepath.Join(t.TempDir(), "orderflow.db")
		first := serveOn(t, path, nil)
		// The restart keeps both addresses: the client's options name them.
		again := func(set *config.Settings) {
			set.Addr, set.RealtimeAddr = config.Addr(strings.TrimPrefix(first.url, "http://")), config.Addr(strings.TrimPrefix(first.live, "ws://"))
		}
		c := first.customer(program, nil)
		c.subscribe("private-orders.1")
		c.subscribe("private-cache-orders.1")
		first.buy(1, "before", 1, 1)
		c.hears("private-cache-orders.1", "OrderPaid")

		first.stop()
		waits := at(t, c.sees(`"saw":"waits"`, `"seconds":1`))
		second := serveOn(t, path, again)
		if back := at(t, c.sees(`"saw":"attempt"`)); back-waits < 990 {
			t.Errorf("it came back after %d ms", back-waits)
		}
		c.sees(`"saw":"connected"`)
		for range 2 {
			c.sees("pusher:subscription_succeeded")
		}
		id := second.buy(1, "after", 1, 1).order().ID
		if data := c.hears("private-orders.1", "OrderPaid").Data; data["order_id"] != float64(id) {
			t.Errorf("heard %v of order %d", data, id)
		}
		// One to begin with, one after the second's wait, and one more if the new server was not there yet.
		if attempts := c.count(`"saw":"attempt"`); attempts > 3 {
			t.Errorf("%d attempts. It saw:\n%s", attempts, strings.Join(c.seen, "\n"))
		}
		if c.count(`"saw":"event"`, "pusher:cache_miss") != 2 { // of the first server at the beginning, and of the second
			t.Errorf("it saw:\n%s", strings.Join(c.seen, "\n"))
		}
	})
}

// With Redis the cache channel says what a client missed while no server was there.
func TestClientsHearTheLastAfterARestart(t *testing.T) {
	t.Parallel()
	first := serve(t, func(set *config.Settings) { shared(t, set) })
	c := first.customer("pusher.mjs", nil)
	c.subscribe("private-cache-orders.1")
	elsewhere := serve(t, func(set *config.Settings) { *set = sameGround(*set, first.settings) })
	first.stop()
	c.sees(`"saw":"waits"`)

	// Meanwhile an order is paid on the other node, whose WebSockets this client does not know.
	watcher := elsewhere.customer("pusher.mjs", nil) // hears the event after that node has kept it
	watcher.subscribe("private-cache-orders.1")
	id := elsewhere.buy(1, "missed", 1, 1).order().ID
	watcher.hears("private-cache-orders.1", "OrderPaid")
	elsewhere.stop()
	serve(t, func(set *config.Settings) {
		*set = sameGround(*set, first.settings)
		set.Addr, set.RealtimeAddr = config.Addr(strings.TrimPrefix(first.url, "http://")), config.Addr(strings.TrimPrefix(first.live, "ws://"))
	})
	if data := c.hears("private-cache-orders.1", "OrderPaid").Data; data["order_id"] != float64(id) {
		t.Errorf("heard %v of order %d", data, id)
	}
}

// sameGround puts a server on another one's database and Redis.
func sameGround(set, other config.Settings) config.Settings {
	set.Database, set.Redis, set.RedisPrefix = other.Database, other.Redis, other.RedisPrefix
	return set
}

// A connection that breaks without a word is made again after a second, too, and nothing is heard twice.
func TestClientsComeBackAfterACut(t *testing.T) {
	t.Parallel()
	bothClients(t, func(t *testing.T, program string) {
		s := serve(t, nil)
		network, proxied := env.Proxy(t, s.live)
		c := s.customer(program, func(o *customerOptions) { o.Options = clientOptions(t, proxied) })
		c.subscribe("private-orders.1")
		c.subscribe("private-cache-orders.1")
		network.Cut()
		waits := at(t, c.sees(`"saw":"waits"`))
		missed := s.buy(1, "missed", 1, 1).order().ID
		s.await(missed, "PAID")
		network.Restore()
		if back := at(t, c.sees(`"saw":"attempt"`)); back-waits < 990 {
			t.Errorf("it came back after %d ms", back-waits)
		}
		if data := c.hears("private-cache-orders.1", "OrderPaid").Data; data["order_id"] != float64(missed) {
			t.Errorf("heard %v of order %d", data, missed)
		}
		next := s.buy(1, "next", 1, 1).order().ID
		if data := c.hears("private-orders.1", "OrderPaid").Data; data["order_id"] != float64(next) {
			t.Errorf("heard %v of order %d", data, next)
		}
		if attempts := c.count(`"saw":"attempt"`); attempts > 3 {
			t.Errorf("%d attempts. It saw:\n%s", attempts, strings.Join(c.seen, "\n"))
		}
	})
}
