package chaos

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"orderflow/internal/bus"
	orderlock "orderflow/internal/lock"
	"orderflow/internal/order"
	"orderflow/test/env"
	"orderflow/test/servers"
)

// empty restarts a Redis without its data.
func empty(t *testing.T, server *servers.Server) {
	t.Helper()
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(server.Dir(), "appendonlydir")); err != nil {
		t.Fatal(err)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestChaosManyRedis makes Redis unavailable: killed, started again empty, frozen, full. Orders continue under the protection of the
// database alone, the probes report it, and locks and messages return with Redis.
func TestChaosManyRedis(t *testing.T) {
	t.Parallel()
	server, redis := ownRedis(t)
	m := startInstallation(t, serverAndRedis(env.MySQL(t), redis, ""))
	back := func(after string) {
		t.Helper()
		m.awaitHealth(healthy)
		m.awaitOrders(10, after)
		m.awaitDelivery(after)
	}
	m.repeat(func() {
		back("before the fault")
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		m.awaitHealth(noRedis)
		m.awaitOrders(20, "without Redis")
		empty(t, server)
		back("after Redis had forgotten everything")

		empty(t, server) // so quickly that it may not be missed
		back("after Redis had forgotten everything at once")

		if err := server.Freeze(); err != nil {
			t.Fatal(err)
		}
		m.awaitHealth(noRedis)
		m.awaitOrders(20, "while Redis stands still")
		if err := server.Thaw(); err != nil {
			t.Fatal(err)
		}
		back("after Redis stood still")

		env.Command(t, server.Addr(), "CONFIG", "SET", "maxmemory", "1")
		m.awaitOrders(20, "while Redis is full")
		env.Command(t, server.Addr(), "CONFIG", "SET", "maxmemory", "0")
		back("after Redis was full")
	})
	m.close()
}

// awaitDelivery waits until an order is processed sooner than the sweeper would find it, that is by a message.
func (m *installation) awaitDelivery(after string) {
	m.t.Helper()
	var w wire
	defer w.close()
	m.until("an order that is dealt with at once "+after, func() (string, bool) {
		m.deliveries++
		ref := order.OrderKey{UserID: 1, Key: fmt.Sprintf("courier-%d", m.deliveries)}
		a, err := w.ask(m.instances[0].addr, http.MethodPost, "/api/v1/orders", create(ref.Key))
		o, shownErr := a.order()
		if err != nil || shownErr != nil || a.status != http.StatusCreated {
			m.deliveries-- // to be asked again, until it is known what became of it
			if a.status == http.StatusOK && shownErr == nil {
				m.acknowledged.place(ref, o.ID, true)
				m.deliveries++
			}
			return fmt.Sprintf("%v, %v", a, err), false
		}
		m.acknowledged.place(ref, o.ID, false)
		for end := time.Now().Add(order.DefaultRules().Grace / 2); time.Now().Before(end); {
			a, err := w.ask(m.instances[0].addr, http.MethodGet, fmt.Sprintf("/api/v1/orders/%d", o.ID), "")
			if is, shownErr := a.order(); err == nil && shownErr == nil && is.Status != string(order.Pending) {
				return "", true
			}
			wait(m.t.Context(), 20*time.Millisecond)
		}
		return fmt.Sprintf("order %d is not", o.ID), false
	})
}

// TestChaosManyLocks deletes locks that processes hold, and replaces some by locks of another owner.
func TestChaosManyLocks(t *testing.T) {
	t.Parallel()
	redis, prefix := env.Redis(t)
	m := startInstallation(t, serverAndRedis(env.MySQL(t), redis, prefix))
	lock := func(product int) string { return fmt.Sprintf("%sinventory:product:%d", prefix, product) }
	m.repeat(func() {
		taken := int64(0)
		m.until("20 locks that vanish", func() (string, bool) {
			for range 200 {
				for product := range 5 {
					if n, ok := env.Command(t, hostOf(redis), "DEL", lock(product+1)).(int64); ok {
						taken += n
					}
				}
			}
			return fmt.Sprintf("%d vanished", taken), taken >= 20
		})
		m.awaitOrders(10, "after locks had vanished")
		env.Command(t, hostOf(redis), "SET", lock(1), "a stranger's", "PX", "1500")
		m.awaitOrders(10, "after a stranger had held a lock")
		for product := range 5 { // as by a process that died in the middle of a batch
			env.Command(t, hostOf(redis), "SET", lock(product+1), orderlock.NewToken(), "PX", "600000")
		}
		m.awaitOrders(20, "with all locks held by a process that is dead")
		for product := range 5 {
			env.Command(t, hostOf(redis), "DEL", lock(product+1))
		}
		m.awaitOrders(10, "after that")
	})
	m.close()
}

// streams returns the names of the job streams in Redis.
func (m *installation) streams() (names []string) {
	m.t.Helper()
	for cursor := "0"; ; {
		page, ok := env.Command(m.t, hostOf(m.redis), "SCAN", cursor, "MATCH", "*"+m.prefix+"*"+bus.TopicJobs+"*", "COUNT", "1000", "TYPE", "stream").([]any)
		if !ok || len(page) != 2 {
			m.t.Fatalf("SCAN answers %v", page)
		}
		for _, name := range page[1].([]any) {
			names = append(names, name.(string))
		}
		if cursor = page[0].(string); cursor == "0" {
			return names
		}
	}
}

// TestChaosManyMessages delivers messages again, in another order, and some that no process has sent.
func TestChaosManyMessages(t *testing.T) {
	t.Parallel()
	redis, prefix := env.Redis(t)
	m := startInstallation(t, serverAndRedis(env.MySQL(t), redis, prefix))
	m.repeat(func() {
		type entry struct {
			stream string
			fields []string
		}
		seen := map[string]entry{}
		m.until("50 messages", func() (string, bool) {
			for _, stream := range m.streams() {
				entries, _ := env.Command(t, hostOf(redis), "XRANGE", stream, "-", "+").([]any)
				for _, e := range entries {
					pair := e.([]any)
					var fields []string
					for _, field := range pair[1].([]any) {
						fields = append(fields, field.(string))
					}
					seen[stream+" "+pair[0].(string)] = entry{stream, fields}
				}
			}
			return fmt.Sprintf("%d were seen", len(seen)), len(seen) >= 50
		})
		for range 2 {
			for _, e := range seen { // in any order
				env.Command(t, hostOf(redis), slices.Concat([]string{"XADD", e.stream, "*"}, e.fields)...)
			}
		}
		for _, stream := range m.streams() {
			env.Command(t, hostOf(redis), "XADD", stream, "*", "nobody", "sent this")
		}
		m.awaitOrders(20, "after messages came twice")
		m.awaitDelivery("after messages that nobody had sent")
	})
	m.close()
}
