package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"orderflow/internal/payment/paymenttest"
	"orderflow/test/env"
	"orderflow/test/servers"
)

// ground is what an installation stands on.
type ground struct {
	databases []string // addresses of one database; the machines use them in turn
	redis     string
	prefix    string // of the keys in Redis
	direct    bool   // without networks of its own between
	stock     int64  // of every product
	shoppers  int
	script    func(paymenttest.Call) paymenttest.Behaviour // the provider's
}

// on is the ground of one MySQL server and one Redis.
func on(database, redis, prefix string) ground {
	return ground{databases: []string{database}, redis: redis, prefix: prefix, stock: 1_000_000, shoppers: 8, script: moody}
}

// many is the product as it runs on many machines: processes of each role over one MySQL database and one Redis, each
// with a network of its own to both; a crowd of shoppers; and the provider that the customers pay at.
type many struct {
	ground

	t        *testing.T
	provider *paymenttest.Provider
	shop     *shop
	books    *ledger
	rest     func()
	nodes    []*node
	courier  int // number of its last order
}

// node is a machine with one process.
type node struct {
	*server

	addr       string
	role       string
	toDatabase *servers.Proxy
	toRedis    *servers.Proxy
	run        launch
}

// open starts an installation, two processes of each role, on an empty database, and lets the shoppers in.
func open(t *testing.T, g ground) *many {
	t.Helper()
	m := &many{
		ground: g, t: t, provider: paymenttest.NewProvider(t, paymenttest.Options{Script: g.script}), shop: newShop(), books: newLedger(t),
	}
	m.shop.pause = 50 * time.Millisecond
	fill(t, g.databases[0], g.stock)
	for _, role := range []string{"api", "api", "worker", "worker"} {
		m.nodes = append(m.nodes, m.start(role))
	}
	for _, n := range m.nodes {
		n.addr = n.ready()
	}
	m.publish()
	m.rest = crowd(t, g.shoppers, m.shop, m.books, false)
	t.Cleanup(m.rest)
	m.feel(well)
	return m
}

// start starts one more process.
func (m *many) start(role string, args ...string) *node {
	m.t.Helper()
	n := &node{role: role}
	database, redis := m.databases[len(m.nodes)%len(m.databases)], m.redis
	if !m.direct {
		n.toDatabase, database = env.Proxy(m.t, database)
		n.toRedis, redis = env.Proxy(m.t, redis)
	}
	n.run = launch{database: database, errorsLogged: true, args: append([]string{
		"--roles", role, "--redis", redis, "--redis-prefix", m.prefix, "--database-pool", "8",
		"--gateway", m.provider.URL(), "--lease", "7100ms", "--charge-timeout", "2s", "--backoff", "50ms", "--payment-attempts", "100",
	}, args...)}
	n.server = start(m.t, n.run)
	return n
}

// publish tells the shoppers where the API is served now.
func (m *many) publish() {
	var addrs []string
	for _, n := range m.nodes {
		if n.role == "api" && n.addr != "" {
			addrs = append(addrs, n.addr)
		}
	}
	m.shop.move(addrs...)
}

// again starts a process that has ended.
func (m *many) again(n *node) {
	m.t.Helper()
	n.server = start(m.t, n.run)
	n.addr = n.ready()
	m.publish()
}

// sells waits until so many more orders are acknowledged.
func (m *many) sells(n int, when string) {
	m.t.Helper()
	begin := m.books.orders()
	m.until(fmt.Sprintf("%d orders %s", n, when), func() (string, bool) {
		sold := m.books.orders() - begin
		return fmt.Sprintf("%d are sold", sold), sold >= n
	})
}

// until waits for a condition, which also reports the state so far.
func (m *many) until(what string, holds func() (string, bool)) {
	m.t.Helper()
	env.EventuallyNil(m.t, what, func() error {
		state, ok := holds()
		if ok {
			return nil
		}
		return errors.New(state)
	})
}

// condition is what the probes of a process say.
type condition struct {
	health          int
	overall         string
	database, redis string
	ready           int
}

var (
	well        = condition{http.StatusOK, "ok", "connected", "connected", http.StatusOK}
	noRedis     = condition{http.StatusServiceUnavailable, "degraded", "connected", "disconnected", http.StatusOK}
	noDatabase  = condition{http.StatusServiceUnavailable, "degraded", "disconnected", "connected", http.StatusServiceUnavailable}
	unreachable = condition{}
)

// probe asks a process how it is. One that does not answer is unreachable.
func (n *node) probe() condition {
	var w wire
	defer w.close()
	health, err := w.ask(n.addr, http.MethodGet, "/api/health", "")
	if err != nil {
		return unreachable
	}
	ready, err := w.ask(n.addr, http.MethodGet, "/readyz", "")
	if err != nil {
		return unreachable
	}
	var body struct {
		Status   string `json:"status"`
		Services struct {
			Database string `json:"database"`
			Redis    string `json:"redis"`
		} `json:"services"`
	}
	if err := json.Unmarshal(health.body, &body); err != nil {
		return unreachable
	}
	return condition{health.status, body.Status, body.Services.Database, body.Services.Redis, ready.status}
}

// feel waits until these processes, or all of them, say that they are so.
func (m *many) feel(want condition, nodes ...*node) {
	m.t.Helper()
	if len(nodes) == 0 {
		nodes = m.nodes
	}
	m.until(fmt.Sprintf("%+v", want), func() (string, bool) {
		got := make([]condition, len(nodes))
		var probes sync.WaitGroup
		for i, n := range nodes {
			probes.Go(func() { got[i] = n.probe() })
		}
		probes.Wait()
		for _, is := range got {
			if is != want {
				return fmt.Sprintf("%+v", got), false
			}
		}
		return "", true
	})
}

// enoughOrders is the number of acknowledged orders that a test over several processes compares at least.
const enoughOrders = 50

// close lets the shoppers finish and the orders end, stops the processes in order, and compares all books.
func (m *many) close() {
	m.t.Helper()
	m.feel(well)
	if missing := enoughOrders - m.books.orders(); m.shoppers > 0 && missing > 0 {
		m.sells(missing, "before the end")
	}
	m.rest()
	ended(m.t, m.nodes[0].addr)
	for _, n := range m.nodes {
		n.stop()
	}
	db := openDatabase(m.t, m.databases[0])
	prove(m.t, db)
	settled(m.t, m.books.compare(db), m.provider)
}

// repeat goes through a bad day, and through it again for as long as the tests are to soak.
func (m *many) repeat(day func()) {
	m.t.Helper()
	for end := time.Now().Add(span(m.t, 0)); ; {
		day()
		if m.t.Failed() || !time.Now().Before(end) {
			return
		}
	}
}

// ownDatabase starts a database server for one test.
func ownDatabase(t *testing.T) (server *servers.Server, address string) {
	t.Helper()
	server, err := servers.Database(t.Context(), env.Folder(t))
	env.Started(t, server, err)
	return server, env.NewDatabase(t, servers.MySQLURL(server.Addr(), ""))
}

// ownRedis starts a Redis for one test.
func ownRedis(t *testing.T) (server *servers.Server, address string) {
	t.Helper()
	server, err := servers.Redis(t.Context(), env.Folder(t))
	env.Started(t, server, err)
	return server, servers.RedisURL(server.Addr())
}

// hostOf is the HOST:PORT of an address.
func hostOf(address string) string {
	_, rest, _ := strings.Cut(address, "://")
	_, host, found := strings.Cut(rest, "@")
	if !found {
		host = rest
	}
	host, _, _ = strings.Cut(host, "/")
	return host
}
