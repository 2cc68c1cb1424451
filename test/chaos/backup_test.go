package chaos

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"orderflow/internal/app"
	"orderflow/internal/order"
	"orderflow/internal/payment/paymenttest"
	"orderflow/test/env"
	"orderflow/test/servers"
)

// switchableProvider returns the script of a flaky provider that can be made unavailable.
func switchableProvider() (script func(paymenttest.Call) paymenttest.Behaviour, away *atomic.Bool) {
	away = &atomic.Bool{}
	return func(c paymenttest.Call) paymenttest.Behaviour {
		if away.Load() {
			return paymenttest.Fail
		}
		return flakyProvider(c)
	}, away
}

// TestBackupOfSQLite backs a file up while orders arrive, loses the original and all later orders, and continues with the copy, by the
// commands of docs/operations/upgrade.md.
func TestBackupOfSQLite(t *testing.T) {
	t.Parallel()
	block := blocks(t, "upgrade.md", "### SQLite", 2)
	script, away := switchableProvider()
	provider := paymenttest.NewProvider(t, paymenttest.Options{Script: script})
	dir := t.TempDir()
	run := launch{database: newDatabase(t, dir, 1_000_000), errorsLogged: true, args: []string{
		"--gateway", provider.URL(), "--lease", "7100ms", "--charge-timeout", "2s", "--backoff", "50ms", "--payment-attempts", "100",
	}}
	admin := newOperator(t, dir, "DATABASE_URL="+addressOf(run.database))
	first := start(t, run)
	o := &backupTest{t: t, provider: provider, away: away, acks: newAcknowledged(t), list: newServerList()}
	o.list.set(first.ready())
	o.lose(func() { admin.run(block[0]) }, func() {
		first.kill()
		if err := os.WriteFile(run.database+"-wal", []byte("what a crash has left"), 0o600); err != nil {
			t.Fatal(err)
		}
	})

	admin.run(block[1])
	db := openDatabase(t, run.database)
	o.check(db)
	second := start(t, run)
	o.goOn(second.ready(), second)
	o.close(db)
	if left, err := filepath.Glob(filepath.Join(dir, "backup.db*")); err != nil || len(left) != 1 {
		t.Errorf("beside the backup there are %v, %v", left, err)
	}
}

// TestBackupOfMySQL is TestBackupOfSQLite with a database server. What Redis still holds of lost orders is ignored.
func TestBackupOfMySQL(t *testing.T) {
	t.Parallel()
	block := blocks(t, "upgrade.md", "### MySQL and MariaDB", 2)
	server, _ := ownDatabase(t)
	redis, prefix := env.Redis(t)
	root := admin(t, server)
	execute(t, root, "CREATE DATABASE orderflow", "CREATE USER backup IDENTIFIED BY 'secret'", "GRANT SELECT ON orderflow.* TO backup")
	script, away := switchableProvider()
	m := startInstallation(t, infrastructure{
		databases: []string{servers.MySQLURL(server.Addr(), "orderflow")}, redis: redis, prefix: prefix, direct: true, stock: 1_000_000, script: script,
	})
	dir, restored := t.TempDir(), servers.MySQLURL(server.Addr(), "restored")
	o := &backupTest{t: t, provider: m.provider, away: away, acks: newAcknowledged(t), list: m.servers}
	o.lose(func() {
		signIn(t, dir, server, "backup", "secret")
		newOperator(t, dir).run(block[0])
	}, func() {
		for _, n := range m.instances {
			n.kill()
		}
	}, m.instances[2].server, m.instances[3].server)
	if keys, ok := env.Command(t, hostOf(redis), "KEYS", prefix+"*").([]any); !ok || len(keys) == 0 {
		t.Errorf("Redis has forgotten everything: %v", keys)
	}

	signIn(t, dir, server, "root", "")
	newOperator(t, dir, "DATABASE_URL="+restored).run(block[1])
	db := openDatabase(t, restored)
	o.check(db)
	m.databases[0] = restored
	for _, n := range slices.Backward(m.instances) { // the workers first, as the page says
		if n.run.database = restored; n.role == "api" {
			m.until("orders that are open in the backup", func() (string, bool) {
				return "", !slices.ContainsFunc(slices.Collect(maps.Values(ordersIn(t, db))), func(o order.Order) bool { return !o.Status.Terminal() })
			})
		}
		m.restart(n)
	}
	m.awaitHealth(healthy)
	o.goOn(m.instances[0].addr, m.instances[0].server, m.instances[1].server, m.instances[2].server, m.instances[3].server)
	o.close(db)
}

// signIn writes the address of a server and a user into the .my.cnf of a folder.
func signIn(t *testing.T, dir string, server *servers.Server, user, password string) {
	t.Helper()
	host, port, err := net.SplitHostPort(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("[client]\nprotocol=tcp\nhost=%s\nport=%s\nuser=%s\npassword=%s\n", host, port, user, password)
	if err := os.WriteFile(filepath.Join(dir, ".my.cnf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// backupTest is an installation that loses the orders placed after its backup.
type backupTest struct {
	t        *testing.T
	provider *paymenttest.Provider
	away     *atomic.Bool
	list     *serverList
	acks     *acknowledged // of those who ordered before
	newer    *acknowledged // and after the restore

	before   map[order.OrderKey]int64 // confirmed when the backup began
	restored map[int64]order.Order
}

// awaitOrders waits until n more orders are acknowledged.
func awaitOrders(t *testing.T, acks *acknowledged, n int, when string) {
	t.Helper()
	m := &installation{t: t, acknowledged: acks}
	m.awaitOrders(n, when)
}

// lose runs the backup and then the disaster while clients order. The provider is unavailable from before the backup until it is done,
// so that the backup has open orders whose customers pay. The workers end first, so that the database is lost with unprocessed orders.
func (o *backupTest) lose(backup, disaster func(), workers ...*server) {
	o.t.Helper()
	stopClients := startClients(o.t, 8, o.list, o.acks, false)
	defer stopClients()
	awaitOrders(o.t, o.acks, 30, "before the backup")
	o.away.Store(true)
	awaitOrders(o.t, o.acks, 30, "that nobody charges")
	o.before = o.acks.keys()
	backup()
	o.away.Store(false)
	paid := len(o.provider.Charged())
	(&installation{t: o.t}).until("charges that will be forgotten", func() (string, bool) { return "", len(o.provider.Charged()) > paid+20 })
	for _, w := range workers {
		w.kill()
	}
	awaitOrders(o.t, o.acks, 30, "that will be lost")
	stopClients()
	o.list.set()
	disaster()
}

// check checks a restored database before it is served: it has all orders confirmed before the backup began, and none that was not
// confirmed.
func (o *backupTest) check(db *app.Database) {
	o.t.Helper()
	audit(o.t, db)
	o.restored = ordersIn(o.t, db)
	told, open := o.acks.keys(), 0
	for ref, id := range o.before {
		if is, found := o.restored[id]; !found || is.Key != ref.Key || is.UserID != ref.UserID {
			o.t.Errorf("order %d, key %s of user %d, was confirmed before the backup began, and is not in it", id, ref.Key, ref.UserID)
		}
	}
	for id, is := range o.restored {
		if told[order.OrderKey{UserID: is.UserID, Key: is.Key}] != id {
			o.t.Errorf("order %d, key %s of user %d, was never confirmed", id, is.Key, is.UserID)
		}
		if !is.Status.Terminal() {
			open++
		}
	}
	if lost := len(told) - len(o.restored); open == 0 || lost == 0 {
		o.t.Errorf("%d orders are open in the backup and %d are lost: that is no test", open, lost)
	}
	o.t.Logf("%d orders when the backup began, %d in it, of which %d are open, %d when it was lost", len(o.before), len(o.restored), open, len(told))
}

// goOn has clients order from the restored database until all orders have ended, and then stops the servers.
func (o *backupTest) goOn(addr string, servers ...*server) {
	o.t.Helper()
	o.t.Run("restored", func(t *testing.T) { // for other keys
		o.newer = newAcknowledged(t)
		o.list.set(addr)
		stopClients := startClients(t, 8, o.list, o.newer, false)
		defer stopClients()
		awaitOrders(t, o.newer, 30, "after the restore")
		stopClients()
		awaitAllEnded(t, addr)
	})
	for _, s := range servers {
		s.stop()
	}
}

// close compares the records. Lost orders were paid, and their ids were not given to other orders.
func (o *backupTest) close(db *app.Database) {
	o.t.Helper()
	audit(o.t, db)
	lost := o.acks.keys()
	maps.DeleteFunc(lost, func(_ order.OrderKey, id int64) bool { _, kept := o.restored[id]; return kept })
	ids, charged, after := slices.Collect(maps.Values(lost)), o.provider.Charged(), ordersIn(o.t, db)
	for _, id := range ids {
		if is, found := after[id]; found {
			o.t.Errorf("order %d was lost, and is now that of %s", id, is.Key)
		}
		delete(charged, id)
	}
	for id := range o.restored {
		if is, found := after[id]; !found || !is.Status.Terminal() {
			o.t.Errorf("order %d was restored, and is now %s", id, is.Status)
		}
	}
	if want := len(o.restored) + len(o.newer.keys()); len(after) != want {
		o.t.Errorf("%d orders, want %d", len(after), want)
	}
	for id, is := range after {
		if want := is.Status == order.Paid; charged[id] > 1 || (charged[id] == 1) != want {
			o.t.Errorf("order %d is %s, and its customer was charged %d times", id, is.Status, charged[id])
		}
	}
	for _, problem := range o.provider.Problems() {
		o.t.Errorf("the provider: %s", problem)
	}
}
