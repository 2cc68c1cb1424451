//go:build cluster

package chaos

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/payment/paymenttest"
	"orderflow/test/env"
	"orderflow/test/servers"
)

// TestCluster runs the product over clusters: a Galera of three nodes, which the processes use in turn, a Redis Cluster
// and a Sentinel set. It is not part of ./... without the tag; see make test-cluster.
func TestCluster(t *testing.T) {
	galera, err := servers.Galera(t.Context(), env.Folder(t), 3)
	for _, node := range galera {
		env.Started(t, node, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	redis, err := servers.RedisCluster(t.Context(), env.Folder(t), 1)
	for _, node := range redis {
		env.Started(t, node, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	// fresh is a new database on all nodes, and keys of its own.
	prefixes := 0
	fresh := func(t *testing.T) infrastructure {
		t.Helper()
		prefixes++
		name := nameOf(env.NewDatabase(t, servers.MySQLURL(galera[0].Addr(), "")))
		g := serverAndRedis("", servers.RedisClusterURL(redis), fmt.Sprintf("%d:", prefixes))
		g.databases, g.direct = nil, true
		for _, node := range galera {
			g.databases = append(g.databases, servers.MySQLURL(node.Addr(), name))
		}
		return g
	}
	t.Run("Migrate", func(t *testing.T) { migrateAtOnce(t, fresh(t)) })
	t.Run("Races", func(t *testing.T) { concurrentOrders(t, fresh(t)) })
	t.Run("Conflicts", func(t *testing.T) { conflicts(t, fresh(t), galera) })
	t.Run("OneMind", func(t *testing.T) { readOtherNode(t, fresh(t)) })
	t.Run("GaleraNodeLost", func(t *testing.T) { galeraNodeLost(t, fresh(t), galera[0]) })
	t.Run("GaleraQuorumLost", func(t *testing.T) { galeraQuorumLost(t, fresh(t), galera[1:]) })
	t.Run("RedisMasterLost", func(t *testing.T) { redisMasterLost(t, fresh(t), redis[0]) })
	t.Run("SentinelFailover", func(t *testing.T) { sentinelFailover(t, fresh(t)) })
}

// nameOf returns the database's name in a mysql:// address.
func nameOf(address string) string { return address[strings.LastIndex(address, "/")+1:] }

// migrateAtOnce migrates from ten processes at once, on an empty database and again on a migrated one.
func migrateAtOnce(t *testing.T, g infrastructure) {
	for range 2 {
		var group sync.WaitGroup
		for i := range 10 {
			group.Go(func() {
				v := runToEnd(t, nil, "migrate", "up", "--database", g.databases[i%len(g.databases)])
				if v.code != 0 {
					t.Errorf("ended with %d: %s%s", v.code, v.stdout, v.stderr)
				}
			})
		}
		group.Wait()
	}
	fill(t, g.databases[1], 10)
	audit(t, openDatabase(t, g.databases[2]))
}

// concurrentOrders has 50 clients order the last unit of a product at once, and sends one key 50 times, over both API processes.
func concurrentOrders(t *testing.T, g infrastructure) {
	g.stock, g.clients, g.script = 1, 0, func(paymenttest.Call) paymenttest.Behaviour { return paymenttest.Succeed }
	m := startInstallation(t, g)
	for product := 1; product <= 3; product++ {
		sold := m.send50(func(i int) (key, body string) {
			key = fmt.Sprintf("last-%d-%d", product, i)
			return key, fmt.Sprintf(`{"user_id":1,"idempotency_key":%q,"items":[{"product_id":%d,"quantity":1}]}`, key, product)
		})
		if sold["201"] != 1 || sold["409 insufficient_stock"] != 49 {
			t.Errorf("50 buyers of one piece of product %d: %v", product, sold)
		}
	}
	for product := 4; product <= 5; product++ {
		key := fmt.Sprintf("again-%d", product)
		sold := m.send50(func(int) (string, string) {
			return key, fmt.Sprintf(`{"user_id":1,"idempotency_key":%q,"items":[{"product_id":%d,"quantity":1}]}`, key, product)
		})
		if sold["201"] != 1 || sold["200"] != 49 {
			t.Errorf("one key 50 times: %v", sold)
		}
	}
	m.close()
}

// send50 sends 50 orders at once, and counts the answers by status and code.
func (m *installation) send50(request func(i int) (key, body string)) map[string]int {
	m.t.Helper()
	var (
		group sync.WaitGroup
		mu    sync.Mutex
	)
	answers := map[string]int{}
	for i := range 50 {
		group.Go(func() {
			var w wire
			defer w.close()
			key, body := request(i)
			a, err := w.ask(m.instances[i%2].addr, http.MethodPost, "/api/v1/orders", body)
			if err != nil {
				m.t.Error(err)
				return
			}
			if o, err := a.order(); err == nil {
				m.acknowledged.place(order.OrderKey{UserID: 1, Key: key}, o.ID, a.status == http.StatusOK)
			}
			mu.Lock()
			defer mu.Unlock()
			answers[strings.TrimSpace(fmt.Sprint(a.status, " ", a.code()))]++
		})
	}
	group.Wait()
	return answers
}

// conflicts has processes on different nodes write the same rows until some transactions have failed at COMMIT.
func conflicts(t *testing.T, g infrastructure, galera []*servers.Server) {
	m := startInstallation(t, g)
	count := func() (sum int) {
		for _, node := range galera {
			for _, name := range []string{"wsrep_local_cert_failures", "wsrep_local_bf_aborts"} {
				var n int
				if err := admin(t, node).QueryRowContext(t.Context(), "SHOW GLOBAL STATUS LIKE '"+name+"'").Scan(&name, &n); err != nil {
					t.Fatal(err)
				}
				sum += n
			}
		}
		return sum
	}
	before := count()
	m.until("10 conflicts between nodes", func() (string, bool) {
		conflicts := count() - before
		return fmt.Sprintf("%d conflicts", conflicts), conflicts >= 10
	})
	wait(t.Context(), span(t, 10*time.Second))
	t.Logf("%d conflicts", count()-before)
	m.close()
}

// galeraNodeLost kills a node, whose processes then report that they have no database while the others continue, and starts it again.
func galeraNodeLost(t *testing.T, g infrastructure, lost *servers.Server) {
	m := startInstallation(t, g)
	m.awaitOrders(20, "before the fault")
	if err := lost.Kill(); err != nil {
		t.Fatal(err)
	}
	m.awaitHealth(noDatabase, m.instances[0], m.instances[3])
	m.awaitOrders(50, "with a node of Galera lost")
	m.awaitHealth(healthy, m.instances[1], m.instances[2])
	if err := lost.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.awaitHealth(healthy)
	m.awaitOrders(20, "with the node back")
	m.close()
}

// readOtherNode reads each order through another node right after it was written; it must be there.
func readOtherNode(t *testing.T, g infrastructure) {
	m := startInstallation(t, g)
	var wires [2]wire
	defer wires[0].close()
	defer wires[1].close()
	ask := func(node int, method, path, body string, want int) shown {
		t.Helper()
		var (
			a   answer
			err error
		)
		for range 20 { // 503 is no definite answer
			a, err = wires[node].ask(m.instances[node].addr, method, path, body)
			if err != nil || a.status != http.StatusServiceUnavailable {
				break
			}
		}
		o, shownErr := a.order()
		if err != nil || shownErr != nil || a.status != want {
			t.Fatalf("%s %s: %v, %v", method, path, a, err)
		}
		return o
	}
	for i := range 50 {
		here, there := i%2, 1-i%2
		key := fmt.Sprintf("mind-%d", i)
		o := ask(here, http.MethodPost, "/api/v1/orders", create(key), http.StatusCreated)
		m.acknowledged.place(order.OrderKey{UserID: 1, Key: key}, o.ID, false)
		path := fmt.Sprintf("/api/v1/orders/%d", o.ID)
		ask(there, http.MethodGet, path, "", http.StatusOK)
		if again := ask(there, http.MethodPost, "/api/v1/orders", create(key), http.StatusOK); again.ID != o.ID {
			t.Errorf("key %s is order %d here and order %d there", key, o.ID, again.ID)
		}
	}
	m.close()
}

// galeraQuorumLost kills two nodes of three. The third one refuses everything, and all continue when the others are back.
func galeraQuorumLost(t *testing.T, g infrastructure, lost []*servers.Server) {
	m := startInstallation(t, g)
	m.awaitOrders(20, "before the fault")
	for _, node := range lost {
		if err := node.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	m.awaitHealth(noDatabase)
	var starts sync.WaitGroup
	for _, node := range lost {
		starts.Go(func() {
			if err := node.Start(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	starts.Wait()
	m.awaitHealth(healthy)
	m.awaitOrders(20, "with all nodes back")
	m.close()
}

// redisMasterLost kills a master of the Redis Cluster. Orders continue while a replica takes over, and afterwards.
func redisMasterLost(t *testing.T, g infrastructure, lost *servers.Server) {
	m := startInstallation(t, g)
	m.awaitDelivery("before the fault")
	if err := lost.Kill(); err != nil {
		t.Fatal(err)
	}
	m.awaitOrders(100, "with a master of Redis lost")
	m.awaitHealth(healthy)
	m.awaitDelivery("with a new master of Redis")
	if err := lost.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.awaitOrders(20, "with the old master back")
	m.close()
}

// sentinelFailover kills the master that sentinels monitor, which then promote a replica.
func sentinelFailover(t *testing.T, g infrastructure) {
	set, err := servers.Sentinel(t.Context(), env.Folder(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = set.Kill() })
	g.redis = set.URL()
	m := startInstallation(t, g)
	m.awaitDelivery("before the fault")
	master, err := set.Master()
	if err == nil {
		err = master.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
	m.awaitOrders(100, "without a master of Redis")
	m.until("a new master", func() (string, bool) {
		now, err := set.Master()
		return fmt.Sprint(err), err == nil && now != master
	})
	m.awaitHealth(healthy)
	m.awaitDelivery("with a new master of Redis")
	if err := master.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.awaitOrders(20, "with the old master back")
	m.awaitHealth(healthy)
	m.close()
}
