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

// fickle is the script of a moody provider that can be taken away.
func fickle() (script func(paymenttest.Call) paymenttest.Behaviour, away *atomic.Bool) {
	away = &atomic.Bool{}
	return func(c paymenttest.Call) paymenttest.Behaviour {
		if away.Load() {
			return paymenttest.Fail
		}
		return moody(c)
	}, away
}

// TestBackupOfSQLite backs a file up while orders come in, loses the original with what came in since, and goes on with
// the copy: all by the commands of docs/operations/upgrade.md.
func TestBackupOfSQLite(t *testing.T) {
	t.Parallel()
	block := blocks(t, "upgrade.md", "### SQLite", 2)
	script, away := fickle()
	provider := paymenttest.NewProvider(t, paymenttest.Options{Script: script})
	dir := t.TempDir()
	run := launch{database: newDatabase(t, dir, 1_000_000), errorsLogged: true, args: []string{
		"--gateway", provider.URL(), "--lease", "7100ms", "--charge-timeout", "2s", "--backoff", "50ms", "--payment-attempts", "100",
	}}
	admin := newOperator(t, dir, "DATABASE_URL="+addressOf(run.database))
	first := start(t, run)
	o := &outage{t: t, provider: provider, away: away, books: newLedger(t), shop: newShop()}
	o.shop.move(first.ready())
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

// TestBackupOfMySQL does the same with a database on a server. What Redis still has of what was lost does no harm.
func TestBackupOfMySQL(t *testing.T) {
	t.Parallel()
	block := blocks(t, "upgrade.md", "### MySQL and MariaDB", 2)
	server, _ := ownDatabase(t)
	redis, prefix := env.Redis(t)
	root := admin(t, server)
	execute(t, root, "CREATE DATABASE orderflow", "CREATE USER backup IDENTIFIED BY 'secret'", "GRANT SELECT ON orderflow.* TO backup")
	script, away := fickle()
	m := open(t, ground{
		databases: []string{servers.MySQLURL(server.Addr(), "orderflow")}, redis: redis, prefix: prefix, direct: true, stock: 1_000_000, script: script,
	})
	dir, restored := t.TempDir(), servers.MySQLURL(server.Addr(), "restored")
	o := &outage{t: t, provider: m.provider, away: away, books: newLedger(t), shop: m.shop}
	o.lose(func() {
		signIn(t, dir, server, "backup", "secret")
		newOperator(t, dir).run(block[0])
	}, func() {
		for _, n := range m.nodes {
			n.kill()
		}
	}, m.nodes[2].server, m.nodes[3].server)
	if keys, ok := env.Command(t, hostOf(redis), "KEYS", prefix+"*").([]any); !ok || len(keys) == 0 {
		t.Errorf("Redis has forgotten everything: %v", keys)
	}

	signIn(t, dir, server, "root", "")
	newOperator(t, dir, "DATABASE_URL="+restored).run(block[1])
	db := openDatabase(t, restored)
	o.check(db)
	m.databases[0] = restored
	for _, n := range slices.Backward(m.nodes) { // the workers first, as the page says
		if n.run.database = restored; n.role == "api" {
			m.until("orders that are open in the backup", func() (string, bool) {
				return "", !slices.ContainsFunc(slices.Collect(maps.Values(ordersIn(t, db))), func(o order.Order) bool { return !o.Status.Terminal() })
			})
		}
		m.again(n)
	}
	m.feel(well)
	o.goOn(m.nodes[0].addr, m.nodes[0].server, m.nodes[1].server, m.nodes[2].server, m.nodes[3].server)
	o.close(db)
}

// signIn says in a folder's .my.cnf where a server is and who asks.
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

// outage is an installation that loses what came in after its backup.
type outage struct {
	t        *testing.T
	provider *paymenttest.Provider
	away     *atomic.Bool
	shop     *shop
	books    *ledger // of those who ordered before
	newer    *ledger // and after the restore

	before   map[order.OrderKey]int64 // confirmed when the backup began
	restored map[int64]order.Order
}

// sells waits until so many more orders are acknowledged.
func sells(t *testing.T, books *ledger, n int, when string) {
	t.Helper()
	m := &many{t: t, books: books}
	m.sells(n, when)
}

// lose has the shoppers order before, while and after backup runs, and then disaster strike. The provider is away from
// some time before the backup until it is done, so that orders are open in it, whose customers pay all the same. These
// workers die first: there are orders that nobody has heard of when the database is lost.
func (o *outage) lose(backup, disaster func(), workers ...*server) {
	o.t.Helper()
	rest := crowd(o.t, 8, o.shop, o.books, false)
	defer rest()
	sells(o.t, o.books, 30, "before the backup")
	o.away.Store(true)
	sells(o.t, o.books, 30, "that nobody charges")
	o.before = o.books.told()
	backup()
	o.away.Store(false)
	paid := len(o.provider.Charged())
	(&many{t: o.t}).until("charges that will be forgotten", func() (string, bool) { return "", len(o.provider.Charged()) > paid+20 })
	for _, w := range workers {
		w.kill()
	}
	sells(o.t, o.books, 30, "that will be lost")
	rest()
	o.shop.move()
	disaster()
}

// check looks at what was restored, before it is served: all that was confirmed before the backup began, and nothing that
// was not confirmed at all.
func (o *outage) check(db *app.Database) {
	o.t.Helper()
	prove(o.t, db)
	o.restored = ordersIn(o.t, db)
	told, open := o.books.told(), 0
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

// goOn has others order at what was restored, at this address, until all orders have come to their end, and then ends the
// servers.
func (o *outage) goOn(addr string, servers ...*server) {
	o.t.Helper()
	o.t.Run("restored", func(t *testing.T) { // for other keys
		o.newer = newLedger(t)
		o.shop.move(addr)
		rest := crowd(t, 8, o.shop, o.newer, false)
		defer rest()
		sells(t, o.newer, 30, "after the restore")
		rest()
		ended(t, addr)
	})
	for _, s := range servers {
		s.stop()
	}
}

// close compares all books. What was lost was paid, and its id was given to nobody else.
func (o *outage) close(db *app.Database) {
	o.t.Helper()
	prove(o.t, db)
	lost := o.books.told()
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
	if want := len(o.restored) + len(o.newer.told()); len(after) != want {
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
