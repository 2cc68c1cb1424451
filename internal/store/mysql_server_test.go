package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
	"orderflow/test/env"
	"orderflow/test/servers"
)

// ownServers are the kinds of database servers, each with a function that starts one for one test.
var ownServers = map[string]func(t *testing.T, settings ...string) (*servers.Server, string){"MySQL": ownServer, "PostgreSQL": ownPostgres}

// ownServer starts a database server for one test, and returns it with the address of an empty database on it.
func ownServer(t *testing.T, flags ...string) (*servers.Server, string) {
	t.Helper()
	server, err := servers.Database(t.Context(), env.Folder(t), flags...)
	env.Started(t, server, err)
	return server, env.NewDatabase(t, servers.MySQLURL(server.Addr(), ""))
}

// filled migrates a database and fills in the sample data.
func filled(t *testing.T, address string, options store.Options) *store.Store {
	t.Helper()
	s := openAt(t, address, options)
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Seed(t.Context(), store.SeedPlan{SetStock: true, Stock: 1000}); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestIDsNotConsecutive: on a server that skips ids, every order still gets its own lines and events.
func TestIDsNotConsecutive(t *testing.T) {
	t.Parallel()
	_, address := ownServer(t, "--auto-increment-increment=3", "--auto-increment-offset=2")
	s := filled(t, address, store.Options{Rules: storetest.Rules()})
	var drafts []order.Draft
	for i := range 50 {
		drafts = append(drafts, storetest.Draft(t, int64(3-i%3), fmt.Sprint("k", (i*37)%50), int64(i%5+1), int64(i+1)))
	}
	answers, _, err := s.CreateOrders(t.Context(), drafts)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range answers {
		o, err := s.Order(t.Context(), a.Order.ID)
		if err != nil || o.Key != drafts[i].Key || o.UserID != drafts[i].UserID || o.Items[0].Quantity != int64(i+1) || a.Order.ID%3 != 2 {
			t.Errorf("draft %d (%s of user %d) became %+v, %v", i, drafts[i].Key, drafts[i].UserID, o, err)
		}
	}
	storetest.CheckInvariants(t, s)
}

// TestWarnsOfDurability: settings that may lose confirmed orders cause one warning each, and no other setting causes one.
func TestWarnsOfDurability(t *testing.T) {
	t.Parallel()
	warned := func(flags ...string) (lines []string) {
		_, address := ownServer(t, flags...)
		openAt(t, address, store.Options{Warn: func(line string) { lines = append(lines, line) }})
		return lines
	}
	if lines := warned("--log-bin"); len(lines) > 0 {
		t.Errorf("warned of a server that keeps its promises: %q", lines)
	}
	lines := warned("--log-bin", "--sync-binlog=0", "--innodb-flush-log-at-trx-commit=2", "--binlog-format=STATEMENT", "--skip-innodb-doublewrite")
	for _, name := range []string{"innodb_flush_log_at_trx_commit is 2", "sync_binlog is 0", "binlog_format is STATEMENT", "innodb_doublewrite is off"} {
		if !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, name) }) {
			t.Errorf("no warning contains %s: %q", name, lines)
		}
	}
	if len(lines) != 4 {
		t.Errorf("%d warnings: %q", len(lines), lines)
	}
}

func TestRefusesSmallPackets(t *testing.T) {
	t.Parallel()
	_, address := ownServer(t, "--max-allowed-packet=4M")
	_, err := store.Open(t.Context(), address, store.Options{})
	if order.CodeOf(err) != order.CodeUnavailable || !strings.Contains(err.Error(), "max_allowed_packet") {
		t.Errorf("%v", err)
	}
}

// TestMySQLOpenErrors: each error is one line, without the password.
func TestMySQLOpenErrors(t *testing.T) {
	t.Parallel()
	_, address := ownServer(t)
	host := address[strings.Index(address, "@")+1 : strings.LastIndex(address, "/")]
	port, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		address string
		code    order.Code
		want    string
	}{
		"no server there": {fmt.Sprintf("mysql://u:secret@127.0.0.1:%d/db", port), order.CodeUnavailable, "check the address and that the server runs."},
		"wrong user":      {"mysql://stranger:secret@" + host + "/db", order.CodeUnavailable, "check user and password, and add ?tls=true where the server requires encryption."},
		"no database":     {"mysql://root@" + host + "/nothing", order.CodeNotFound, "make one with orderflow migrate up."},
		"no name":         {"mysql://u:secret@" + host, order.CodeUnavailable, "use mysql://USER:PASSWORD@HOST:PORT/NAME."},
		"not a number":    {"mysql://u:secret@host:port/db", order.CodeUnavailable, "use mysql://USER:PASSWORD@HOST:PORT/NAME."},
		"two databases":   {"mysql://u:secret@" + host + "/a/b", order.CodeUnavailable, "use mysql://USER:PASSWORD@HOST:PORT/NAME."},
	} {
		_, err := store.Open(t.Context(), test.address, store.Options{Existing: true})
		if order.CodeOf(err) != test.code || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "secret") || !strings.HasSuffix(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCreatesTheDatabase: a missing database is created, unless Options.Existing is set.
func TestCreatesTheDatabase(t *testing.T) {
	t.Parallel()
	_, address := ownServer(t)
	odd := address[:strings.LastIndex(address, "/")] + "/odd-`name"
	filled(t, odd, store.Options{Rules: storetest.Rules()})
	if _, err := openAt(t, odd, store.Options{Existing: true}).Products(t.Context()); err != nil {
		t.Error(err)
	}
}

// account creates an account whose privileges do not exempt it from the server's limits, and returns its address.
func account(t *testing.T, address string, limits string) string {
	t.Helper()
	db := env.Admin(t, address)
	name := address[strings.LastIndex(address, "/")+1:]
	must(t, db, "CREATE USER shop@'127.0.0.1' IDENTIFIED BY 'pass/word'"+limits, "GRANT ALL ON "+name+".* TO shop@'127.0.0.1'")
	return strings.Replace(address, "root@", "shop:pass%2Fword@", 1)
}

// TestReadOnlyServer: while the server is read-only, writes are refused with a code and reads continue. Afterwards writes work again.
func TestReadOnlyServer(t *testing.T) {
	t.Parallel()
	_, address := ownServer(t)
	s := filled(t, account(t, address, ""), store.Options{Rules: storetest.Rules()})
	draft := []order.Draft{storetest.Draft(t, 1, "a", 1, 1)}
	admin := env.Admin(t, address)
	must(t, admin, "SET GLOBAL read_only = 1")
	if _, _, err := s.CreateOrders(t.Context(), draft); order.CodeOf(err) != order.CodeUnavailable {
		t.Errorf("on a read-only server: %v", err)
	}
	if err := s.CheckWritable(); order.CodeOf(err) != order.CodeUnavailable {
		t.Errorf("health of a store that cannot write: %v", err)
	}
	if _, err := s.Products(t.Context()); err != nil {
		t.Errorf("reading a read-only server: %v", err)
	}
	must(t, admin, "SET GLOBAL read_only = 0")
	if _, _, err := s.CreateOrders(t.Context(), draft); err != nil {
		t.Errorf("after it: %v", err)
	}
	storetest.CheckInvariants(t, s)
}

// TestTooFewConnections: a request without a connection is refused at once, and the others continue.
func TestTooFewConnections(t *testing.T) {
	t.Parallel()
	_, address := ownServer(t)
	limited := account(t, address, " WITH MAX_USER_CONNECTIONS 3")
	if err := filled(t, limited, store.Options{Rules: storetest.Rules()}).Close(); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, limited, store.Options{Rules: storetest.Rules(), Pool: 8})
	var held []*sql.Conn
	hold := env.Admin(t, limited)
	env.Eventually(t, "all connections are taken", func() bool { // the server may still be busy closing others
		if conn, err := hold.Conn(t.Context()); err == nil {
			held = append(held, conn)
		}
		return len(held) == 3
	})
	if _, err := s.Products(t.Context()); order.CodeOf(err) != order.CodeUnavailable {
		t.Errorf("without a connection to be had: %v", err)
	}
	for _, conn := range held {
		_ = conn.Close()
	}
	_ = hold.Close()
	env.EventuallyNil(t, "products can be read", func() error { _, err := s.Products(t.Context()); return err })
}

// TestKilledDatabase kills the server under writers several times: every confirmed order exists once, and the store reconnects by
// itself.
func TestKilledDatabase(t *testing.T) {
	t.Parallel()
	for kind, own := range ownServers {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			server, address := own(t)
			killedDatabase(t, server, address)
		})
	}
}

func killedDatabase(t *testing.T, server *servers.Server, address string) {
	t.Helper()
	s := filled(t, address, store.Options{Rules: storetest.Rules(), Pool: 4})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	confirmed := make([]map[string]int64, 3)
	var writers sync.WaitGroup
	for w := range confirmed {
		confirmed[w] = map[string]int64{}
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				key := fmt.Sprintf("w%d-%d", w, i)
				answers, _, err := s.CreateOrders(context.WithoutCancel(ctx), []order.Draft{storetest.Draft(t, int64(w+1), key, int64(w+1), 1)})
				if err == nil && answers[0].Err == nil {
					confirmed[w][key] = answers[0].Order.ID
				} else if err != nil && order.CodeOf(err) != order.CodeUnavailable {
					t.Errorf("%s: %v", key, err)
				}
			}
		})
	}
	for range 3 {
		before := storetest.Figure(t, s, 3, "orders")
		env.Eventually(t, "more than 5 orders are created", func() bool { return storetest.Figure(t, s, 3, "orders") > before+5 })
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := server.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		env.EventuallyNil(t, "the database answers", func() error { return s.Ping(t.Context()) })
	}
	stop()
	writers.Wait()
	for w, keys := range confirmed {
		for key, id := range keys {
			if o, err := s.Order(t.Context(), id); err != nil || o.Key != key || o.UserID != int64(w+1) {
				t.Errorf("order %d was confirmed for %s and is %+v, %v", id, key, o, err)
			}
		}
	}
	storetest.CheckInvariants(t, s)
}

// TestFrozenDatabase: a write to a server that does not answer ends at its time limit. Later writes work.
func TestFrozenDatabase(t *testing.T) {
	t.Parallel()
	for kind, own := range ownServers {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			server, address := own(t)
			frozenDatabase(t, server, address)
		})
	}
}

func frozenDatabase(t *testing.T, server *servers.Server, address string) {
	t.Helper()
	s := filled(t, address, store.Options{Rules: storetest.Rules(), Pool: 4})
	draft := []order.Draft{storetest.Draft(t, 1, "a", 1, 1)}
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	_, _, err := s.CreateOrders(t.Context(), draft)
	if order.CodeOf(err) != order.CodeUnavailable {
		t.Errorf("on a frozen server: %v", err)
	}
	if err := server.Thaw(); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, "an order is created", func() bool {
		answers, _, err := s.CreateOrders(t.Context(), draft)
		return err == nil && answers[0].Err == nil
	})
	if got := storetest.Figure(t, s, 3, "orders"); got != 1 {
		t.Errorf("%d orders under one key", got)
	}
	storetest.CheckInvariants(t, s)
}

// TestStrandedConnections: a lost network leaves connections open without answers, some of them during their handshake. All waiting
// callers continue.
func TestStrandedConnections(t *testing.T) {
	t.Parallel()
	for kind, own := range ownServers {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			_, address := own(t)
			strandedConnections(t, address)
		})
	}
}

func strandedConnections(t *testing.T, address string) {
	t.Helper()
	proxy, proxied := env.Proxy(t, address)
	s := filled(t, proxied, store.Options{Rules: storetest.Rules(), Pool: 2})
	proxy.Strand()
	var waiting sync.WaitGroup
	for range 10 {
		waiting.Go(func() {
			if _, err := s.Products(t.Context()); order.CodeOf(err) != order.CodeUnavailable {
				t.Errorf("while nothing answers: %v", err)
			}
		})
	}
	waiting.Wait()
	proxy.Restore()
	env.EventuallyNil(t, "products can be read", func() error { _, err := s.Products(t.Context()); return err })
	answers, _, err := s.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 1, "a", 1, 1)})
	if err != nil || answers[0].Err != nil {
		t.Errorf("after it: %+v, %v", answers, err)
	}
}

// TestReplica: lists and products are read from the replica, all else from the primary. While the replica does not answer, all is read
// from the primary.
func TestReplica(t *testing.T) {
	t.Parallel()
	server, address := ownServer(t)
	replica, copied := ownServer(t) // not replicated: its rows differ, so that an answer shows which server gave it
	primary := filled(t, address, store.Options{Rules: storetest.Rules()})
	filled(t, copied, store.Options{Rules: storetest.Rules()})
	must(t, env.Admin(t, copied), "UPDATE products SET name = 'of the replica'")
	answers, _, err := primary.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 1, "a", 1, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s := openAt(t, address, store.Options{Rules: storetest.Rules(), Replica: copied})
	look := func() (name string, listed int) {
		products, err1 := s.Products(t.Context())
		page, err2 := s.Orders(t.Context(), order.ListQuery{PerPage: 5, Page: 1})
		if err1 != nil || err2 != nil || page.Total != int64(len(page.Orders)) {
			t.Fatal(err1, err2, page)
		}
		return products[0].Name, len(page.Orders)
	}
	if name, listed := look(); name != "of the replica" || listed != 0 {
		t.Errorf("not the replica's: %q, %d orders", name, listed)
	}
	if o, err := s.Order(t.Context(), answers[0].Order.ID); err != nil || len(o.Items) != 1 {
		t.Errorf("an order by id came from the replica: %+v, %v", o, err)
	}
	for _, user := range []int64{0, 1} {
		if found, err := s.OrdersByKey(t.Context(), user, "a", 5); err != nil || len(found) != 1 {
			t.Errorf("an order by key, user %d, came from the replica: %d orders, %v", user, len(found), err)
		}
	}
	if err := replica.Kill(); err != nil {
		t.Fatal(err)
	}
	if name, listed := look(); name == "of the replica" || listed != 1 {
		t.Errorf("without the replica: %q, %d orders", name, listed)
	}
	if err := replica.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, "reads come from the replica", func() bool { name, _ := look(); return name == "of the replica" })
	_ = server
}
