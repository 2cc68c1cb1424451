package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/sqldb"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
	"orderflow/test/env"
	"orderflow/test/servers"
)

// TestClientVanishes: the machine of a process loses its power between the locks and the COMMIT, so its connection is not closed. The
// server's own defaults would keep the rows locked for eight hours.
func TestClientVanishes(t *testing.T) {
	t.Parallel()
	for kind, newDatabase := range onServers {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			clientVanishes(t, newDatabase(t))
		})
	}
}

func clientVanishes(t *testing.T, address string) {
	t.Helper()
	cutter := env.NewCommitCutter(t, address)
	gone := openAt(t, cutter.URL(), store.Options{Rules: storetest.Rules(), Pool: 2})
	if err := gone.Seed(t.Context(), store.SeedPlan{SetStock: true, Stock: 100}); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, address, store.Options{Rules: storetest.Rules(), Pool: 2})
	vanished := cutter.Arm(env.Vanished, "INSERT INTO orders")
	answered := make(chan error, 1)
	go func() {
		_, _, err := gone.CreateOrders(context.WithoutCancel(t.Context()), []order.Draft{storetest.Draft(t, 1, "gone", 1, 1)})
		answered <- err
	}()
	<-vanished
	env.Eventually(t, "an order is created", func() bool {
		answers, _, err := s.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 2, "other", 1, 1)})
		return err == nil && answers[0].Err == nil
	})
	if err := <-answered; order.CodeOf(err) != order.CodeUnavailable {
		t.Errorf("the order of the process that vanished: %v", err)
	}
	if got := storetest.Figure(t, s, 3, "orders"); got != 1 {
		t.Errorf("%d orders, want the other's", got)
	}
	storetest.CheckInvariants(t, s)
}

// TestIdleWritersStayOpen: the server ends idle sessions after the time that frees the locks of a lost client. A running store keeps its
// sessions open.
func TestIdleWritersStayOpen(t *testing.T) {
	t.Parallel()
	address := newMySQL(t)
	s := openAt(t, address, store.Options{Rules: storetest.Rules(), Pool: 2})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	before, err := s.WriterSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// When the server ends this unused session, it would also have ended an unused session of the writer.
	admin := env.Admin(t, address)
	alone, err := admin.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var id int64
	if err := alone.QueryRowContext(t.Context(), "SELECT CONNECTION_ID()").Scan(&id); err != nil {
		t.Fatal(err)
	}
	if _, err := alone.ExecContext(t.Context(), fmt.Sprint("SET SESSION wait_timeout = ", sqldb.SessionTimeout)); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, "the session has ended", func() bool { return !slices.Contains(sessionsOf(t, admin, databaseOf(address)), id) })
	after, err := s.WriterSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if before != after {
		t.Errorf("connection %d has become %d", before, after)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestServerEndsSessions: a server that ends idle sessions at once costs no order, no failed shutdown and no failed close.
func TestServerEndsSessions(t *testing.T) {
	t.Parallel()
	address := newMySQL(t)
	s := openAt(t, address, store.Options{Rules: storetest.Rules(), Pool: 2})
	if err := s.Seed(t.Context(), store.SeedPlan{SetStock: true, Stock: 100}); err != nil {
		t.Fatal(err)
	}
	_, batch, err := s.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 1, "a", 1, 1)})
	if err != nil {
		t.Fatal(err)
	}
	killAll(t, address)
	s.MarkPublished([]string{batch.ID})
	if err := s.FlushPublished(t.Context()); err != nil {
		t.Errorf("flush: %v", err)
	}
	answers, _, err := s.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 1, "b", 1, 1)})
	if err != nil || answers[0].Err != nil {
		t.Errorf("create: %+v, %v", answers, err)
	}
	killAll(t, address)
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// sessionsOf returns the ids of all sessions of a database.
func sessionsOf(t *testing.T, admin *sql.DB, database string) (ids []int64) {
	t.Helper()
	found, err := admin.QueryContext(t.Context(), "SHOW PROCESSLIST")
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	columns, err := found.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for found.Next() {
		var id int64
		var name sql.NullString
		targets := make([]any, len(columns))
		for i := range targets {
			targets[i] = new(sql.RawBytes)
		}
		targets[0], targets[3] = &id, &name // Id, User, Host, db, …
		if err := found.Scan(targets...); err != nil {
			t.Fatal(err)
		}
		if name.String == database {
			ids = append(ids, id)
		}
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return ids
}

// killAll has the server end all sessions of a database.
func killAll(t *testing.T, address string) {
	t.Helper()
	admin := env.Admin(t, address[:strings.LastIndex(address, "/")+1])
	for _, id := range sessionsOf(t, admin, databaseOf(address)) {
		_, _ = admin.ExecContext(t.Context(), "KILL ?", id) // it may have ended already
	}
}

// TestSwitchOver: the host name points to another server, while the old one still runs and is read-only. Connections for reads get no
// error from the old server, but must follow too.
func TestSwitchOver(t *testing.T) {
	t.Parallel()
	o := newSwitchOver(t)
	s, successor := o.s, o.successor
	warmReaders(t, s)

	o.refuse()
	o.redirect()
	draft := storetest.Draft(t, 1, "a", 1, 1)
	placed, _, err := successor.CreateOrders(t.Context(), []order.Draft{draft}) // by another process, which uses the new server
	if err != nil {
		t.Fatal(err)
	}
	answers, _, err := s.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 1, "b", 1, 1)})
	if err != nil || answers[0].Err != nil {
		t.Fatalf("the first order after it: %+v, %v", answers, err)
	}
	answers, _, err = s.CreateOrders(t.Context(), []order.Draft{draft})
	if err != nil || answers[0].Err != nil || !answers[0].Replayed || answers[0].Order.ID != placed[0].Order.ID {
		t.Errorf("the key of an order that another process placed: %+v, %v", answers, err)
	}
	found, err := s.FindOrders(t.Context(), []order.OrderKey{draft.OrderKey()})
	if err != nil || len(found) != 1 {
		t.Errorf("by key: %v, %v", found, err)
	}
	if _, err := s.Order(t.Context(), placed[0].Order.ID); err != nil {
		t.Errorf("by id: %v", err)
	}
	storetest.CheckInvariants(t, s)
	if err := o.old.Stop(); err != nil {
		t.Error(err)
	}
}

// TestSwitchOverWithAGap: for a while the old server refuses writes and the host name still points to it, so new connections reach it
// too. After the switch-over all reads come from the new server.
func TestSwitchOverWithAGap(t *testing.T) {
	t.Parallel()
	o := newSwitchOver(t)
	s := o.s
	write := func(key string) (*order.Order, error) {
		answers, _, err := s.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 1, key, 1, 1)})
		if err != nil {
			return nil, err
		}
		return answers[0].Order, answers[0].Err
	}
	o.refuse()
	for i, start := 0, time.Now(); time.Since(start) < 2*sqldb.SettleTime; i++ { // longer than the store remembers a refusal
		if _, err := write(fmt.Sprint("refused", i)); order.CodeOf(err) != order.CodeUnavailable {
			t.Fatalf("on a read-only server: %v", err)
		}
		warmReaders(t, s)
	}
	o.redirect()
	var placed *order.Order
	env.EventuallyNil(t, "an order is created", func() (err error) {
		placed, err = write("placed")
		return err
	})
	reads := 0
	env.Eventually(t, "20 reads in a row succeed", func() bool {
		reads++
		if _, err := s.Order(t.Context(), placed.ID); err != nil {
			reads = 0
		}
		return reads == 20 // through every connection, several times
	})
}

// TestKeyIsReadWhereItWasWritten: connections for reads reach a server that lacks the order whose key is taken. The order is still
// found.
func TestKeyIsReadWhereItWasWritten(t *testing.T) {
	t.Parallel()
	address := newMySQL(t)
	s := openAt(t, address, store.Options{Rules: storetest.Rules(), Pool: 2})
	if err := s.Seed(t.Context(), store.SeedPlan{SetStock: true, Stock: 10}); err != nil {
		t.Fatal(err)
	}
	stale := openAt(t, newMySQL(t), store.Options{Rules: storetest.Rules(), Pool: 2})
	drafts := []order.Draft{storetest.Draft(t, 1, "a", 1, 1)}
	first, _, err := s.CreateOrders(t.Context(), drafts)
	if err != nil {
		t.Fatal(err)
	}
	back := s.ReadFrom(stale)
	defer back()
	again, _, err := s.CreateOrders(t.Context(), drafts)
	if err != nil || !again[0].Replayed || again[0].Order.ID != first[0].Order.ID {
		t.Errorf("%+v, %v", again, err)
	}
}

// TestSwitchOverUnnoticed: a process without writes detects a switch-over too.
func TestSwitchOverUnnoticed(t *testing.T) {
	t.Parallel()
	o := newSwitchOver(t)
	s, successor := o.s, o.successor
	warmReaders(t, s)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()

	o.refuse()
	o.redirect()
	placed, _, err := successor.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 1, "a", 1, 1)})
	if err != nil {
		t.Fatal(err)
	}
	env.EventuallyNil(t, "the order can be read", func() error {
		_, err := s.Order(t.Context(), placed[0].Order.ID)
		return err
	})
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// switchOver is a database whose host name can be switched to another server.
type switchOver struct {
	old       *servers.Server
	s         *store.Store // uses the host name
	successor *store.Store // on the new server: a replica that has caught up
	refuse    func()       // makes the old server read-only
	redirect  func()       // points the host name to the new server
}

func newSwitchOver(t *testing.T) switchOver {
	t.Helper()
	old, oldAddress := ownServer(t)
	_, newAddress := ownServer(t)
	moved := successorOf(t, oldAddress, newAddress)
	proxy, address := env.Proxy(t, account(t, oldAddress, ""))
	return switchOver{
		old: old, s: filled(t, address, store.Options{Rules: storetest.Rules(), Pool: 3}),
		successor: filled(t, moved, store.Options{Rules: storetest.Rules(), Pool: 2}),
		refuse:    func() { must(t, env.Admin(t, oldAddress), "SET GLOBAL read_only = 1") },
		redirect:  func() { proxy.Redirect(hostOf(newAddress)) },
	}
}

// successorOf creates an empty database of the same name on the new server, with the account of the old one, and returns its
// address.
func successorOf(t *testing.T, oldAddress, newAddress string) string {
	t.Helper()
	account(t, newAddress, "")
	must(t, env.Admin(t, newAddress[:strings.LastIndex(newAddress, "/")+1]),
		"GRANT ALL ON "+databaseOf(oldAddress)+".* TO shop@'127.0.0.1'", "CREATE DATABASE "+databaseOf(oldAddress))
	return strings.Replace(newAddress, databaseOf(newAddress), databaseOf(oldAddress), 1)
}

// warmReaders opens several connections for reads.
func warmReaders(t *testing.T, s *store.Store) {
	t.Helper()
	if err := s.HoldReaders(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
}

func databaseOf(address string) string { return address[strings.LastIndex(address, "/")+1:] }

func hostOf(address string) string {
	return address[strings.Index(address, "@")+1 : strings.LastIndex(address, "/")]
}
