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

// infrastructure is what an installation runs on.
type infrastructure struct {
	databases []string // addresses of one database; the machines use them in turn
	redis     string
	prefix    string // of the keys in Redis
	direct    bool   // without networks of its own between
	stock     int64  // of every product
	clients   int
	script    func(paymenttest.Call) paymenttest.Behaviour // the provider's
}

// onEachServer runs a test on a new database of each kind of server.
func onEachServer(t *testing.T, test func(t *testing.T, database string)) {
	t.Helper()
	t.Parallel()
	for kind, newDatabase := range map[string]func(t testing.TB) string{"MySQL": env.MySQL, "PostgreSQL": env.Postgres} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(t, newDatabase(t))
		})
	}
}

// serverAndRedis is the infrastructure of one database server and one Redis.
func serverAndRedis(database, redis, prefix string) infrastructure {
	return infrastructure{databases: []string{database}, redis: redis, prefix: prefix, stock: 1_000_000, clients: 8, script: flakyProvider}
}

// installation is the product on many machines: two processes of each role over one database on a server and one Redis, each with its own
// network to both; clients; and the payment provider.
type installation struct {
	infrastructure

	t            *testing.T
	provider     *paymenttest.Provider
	servers      *serverList
	acknowledged *acknowledged
	stopClients  func()
	instances    []*instance
	deliveries   int // number of its last order
}

// instance is one process on a machine of its own.
type instance struct {
	*server

	addr       string
	role       string
	toDatabase *servers.Proxy
	toRedis    *servers.Proxy
	run        launch
}

// startInstallation starts an installation, two processes of each role, on an empty database, and its clients.
func startInstallation(t *testing.T, g infrastructure) *installation {
	t.Helper()
	m := &installation{
		infrastructure: g, t: t, provider: paymenttest.NewProvider(t, paymenttest.Options{Script: g.script}), servers: newServerList(), acknowledged: newAcknowledged(t),
	}
	m.servers.pause = 50 * time.Millisecond
	fill(t, g.databases[0], g.stock)
	for _, role := range []string{"api", "api", "worker", "worker"} {
		m.instances = append(m.instances, m.start(role))
	}
	for _, n := range m.instances {
		n.addr = n.ready()
	}
	m.updateServers()
	m.stopClients = startClients(t, g.clients, m.servers, m.acknowledged, false)
	t.Cleanup(m.stopClients)
	m.awaitHealth(healthy)
	return m
}

// start starts one more process.
func (m *installation) start(role string, args ...string) *instance {
	m.t.Helper()
	n := &instance{role: role}
	database, redis := m.databases[len(m.instances)%len(m.databases)], m.redis
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

// updateServers gives clients the current addresses of the API.
func (m *installation) updateServers() {
	var addrs []string
	for _, n := range m.instances {
		if n.role == "api" && n.addr != "" {
			addrs = append(addrs, n.addr)
		}
	}
	m.servers.set(addrs...)
}

// restart starts a process that has ended.
func (m *installation) restart(n *instance) {
	m.t.Helper()
	n.server = start(m.t, n.run)
	n.addr = n.ready()
	m.updateServers()
}

// awaitOrders waits until n more orders are acknowledged.
func (m *installation) awaitOrders(n int, when string) {
	m.t.Helper()
	begin := m.acknowledged.orders()
	m.until(fmt.Sprintf("%d orders %s", n, when), func() (string, bool) {
		sold := m.acknowledged.orders() - begin
		return fmt.Sprintf("%d are sold", sold), sold >= n
	})
}

// until waits for a condition, which also reports the state so far.
func (m *installation) until(what string, holds func() (string, bool)) {
	m.t.Helper()
	env.EventuallyNil(m.t, what, func() error {
		state, ok := holds()
		if ok {
			return nil
		}
		return errors.New(state)
	})
}

// condition is what the probes of a process report.
type condition struct {
	health          int
	overall         string
	database, redis string
	ready           int
}

var (
	healthy     = condition{http.StatusOK, "ok", "connected", "connected", http.StatusOK}
	noRedis     = condition{http.StatusServiceUnavailable, "degraded", "connected", "disconnected", http.StatusOK}
	noDatabase  = condition{http.StatusServiceUnavailable, "degraded", "disconnected", "connected", http.StatusServiceUnavailable}
	unreachable = condition{}
)

// probe reads the probes of a process. A process that does not answer is unreachable.
func (n *instance) probe() condition {
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

// awaitHealth waits until these processes, or all of them, report a condition.
func (m *installation) awaitHealth(want condition, nodes ...*instance) {
	m.t.Helper()
	if len(nodes) == 0 {
		nodes = m.instances
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

// close stops the clients, waits until all orders end, stops the processes, and compares the records of clients, database and
// provider.
func (m *installation) close() {
	m.t.Helper()
	m.awaitHealth(healthy)
	if missing := enoughOrders - m.acknowledged.orders(); m.clients > 0 && missing > 0 {
		m.awaitOrders(missing, "before the end")
	}
	m.stopClients()
	awaitAllEnded(m.t, m.instances[0].addr)
	for _, n := range m.instances {
		n.stop()
	}
	db := openDatabase(m.t, m.databases[0])
	audit(m.t, db)
	checkPayments(m.t, m.acknowledged.compare(db), m.provider)
}

// repeat repeats a fault until the time of ORDERFLOW_SOAK has passed; once without it.
func (m *installation) repeat(fault func()) {
	m.t.Helper()
	for end := time.Now().Add(span(m.t, 0)); ; {
		fault()
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

// hostOf returns the HOST:PORT of an address.
func hostOf(address string) string {
	_, rest, _ := strings.Cut(address, "://")
	_, host, found := strings.Cut(rest, "@")
	if !found {
		host = rest
	}
	host, _, _ = strings.Cut(host, "/")
	return host
}
