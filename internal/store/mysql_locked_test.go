package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
	"orderflow/test/env"
)

// lockedStore is a store on its own server, with a separate connection whose transactions keep rows locked.
type lockedStore struct {
	*testing.T
	*store.Store
	admin  *sql.DB
	log    string // of a PostgreSQL server that logs each wait; "" for MySQL, which counts them
	drafts int
}

// onLockedStores runs a test on a store of each kind, on a server of its own, whose waits for rows are counted.
func onLockedStores(t *testing.T, test func(t *testing.T, l *lockedStore)) {
	t.Helper()
	t.Parallel()
	t.Run("MySQL", func(t *testing.T) {
		t.Parallel()
		_, address := ownServer(t)
		test(t, newLockedShop(t, address))
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		server, address := ownPostgres(t, "log_lock_waits=on", "deadlock_timeout=1ms", "lc_messages=C")
		l := newLockedShop(t, address)
		l.log = filepath.Join(server.Dir(), "log")
		test(t, l)
		if l.waits() == 0 {
			t.Error("no wait was logged, want at least the first one")
		}
	})
}

func newLockedShop(t *testing.T, address string) *lockedStore {
	t.Helper()
	s := filled(t, address, store.Options{Rules: storetest.AtOnce(), Pool: 4})
	return &lockedStore{T: t, Store: s, admin: env.Admin(t, address)}
}

// keep locks the rows that a query selects until free is called.
func (l *lockedStore) keep(query string) (free func()) {
	l.Helper()
	return l.hold(query + " FOR UPDATE")
}

// hold keeps the locks that a query takes until free is called.
func (l *lockedStore) hold(query string) (free func()) {
	l.Helper()
	stranger, err := l.admin.BeginTx(l.Context(), nil)
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { _ = stranger.Rollback() })
	rows, err := stranger.QueryContext(l.Context(), query)
	if err != nil {
		l.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		continue
	}
	if err := rows.Err(); err != nil {
		l.Fatal(err)
	}
	return func() {
		if err := stranger.Rollback(); err != nil {
			l.Error(err)
		}
	}
}

// waits returns how often statements of the server have waited for a row.
func (l *lockedStore) waits() (n int) {
	l.Helper()
	if l.log != "" {
		text, err := os.ReadFile(l.log)
		if err != nil {
			l.Fatal(err)
		}
		return strings.Count(string(text), "still waiting for")
	}
	var name string
	if err := l.admin.QueryRowContext(l.Context(), "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_waits'").Scan(&name, &n); err != nil {
		l.Fatal(err)
	}
	return n
}

// without runs a write that must not wait for a row.
func (l *lockedStore) without(what string, write func()) {
	l.Helper()
	before := l.waits()
	write()
	if n := l.waits() - before; n != 0 {
		l.Errorf("%s waited for %d locked rows, want none", what, n)
	}
}

// create places an order of one unit of each product.
func (l *lockedStore) create(products ...int64) []order.Placed {
	l.Helper()
	drafts := make([]order.Draft, len(products))
	for i, product := range products {
		drafts[i] = storetest.Draft(l, 1, fmt.Sprint("create-", l.drafts), product, 1)
		l.drafts++
	}
	answers, _, err := l.CreateOrders(l.Context(), drafts)
	if err != nil {
		l.Fatal(err)
	}
	return answers
}

func (l *lockedStore) wantLocked(what string, err error) {
	l.Helper()
	if order.CodeOf(err) != order.CodeUnavailable {
		l.Errorf("%s: %v, want the code unavailable", what, err)
	}
	if !errors.Is(err, order.ErrLocked) {
		l.Errorf("%s: %v, want an error that names the locked row", what, err)
	}
}

func (l *lockedStore) wantFine(what string, err error) {
	l.Helper()
	if err != nil {
		l.Errorf("%s: %v, want it done", what, err)
	}
}

// TestLockedProduct: while another transaction keeps a product's row locked, orders of other products wait once. Orders of this
// product are refused until the row is unlocked.
func TestLockedProduct(t *testing.T) { onLockedStores(t, lockedProduct) }

func lockedProduct(t *testing.T, l *lockedStore) {
	t.Helper()
	before := l.create(1, 2, 2)
	claims, _, err := l.ClaimOrders(t.Context(), []order.ClaimRequest{{OrderID: before[2].Order.ID}})
	if err != nil {
		t.Fatal(err)
	}
	declined := order.Settlement{
		OrderID: before[2].Order.ID, Claim: 1, Lease: claims[0].Order.Lease, Kind: order.KindCharge, Outcome: order.Declined,
	}
	free := l.keep("SELECT * FROM products WHERE id = 2")
	answers := l.create(1, 2, 3)
	l.wantFine("product 1 beside the locked one", answers[0].Err)
	l.wantLocked("the locked product", answers[1].Err)
	l.wantFine("product 3 beside the locked one", answers[2].Err)
	l.without("a create that needs the known locked row", func() {
		answers := l.create(2, 3, 99)
		l.wantLocked("the locked product", answers[0].Err)
		l.wantFine("product 3 beside it", answers[1].Err)
		if got := order.CodeOf(answers[2].Err); got != order.CodeValidation {
			t.Errorf("a product that does not exist, beside a locked one: %q", got)
		}
	})
	l.without("a cancellation that needs the known locked row", func() {
		answers, _, err := l.CancelOrders(t.Context(), []order.CancelRequest{{OrderID: before[0].Order.ID}, {OrderID: before[1].Order.ID}, {OrderID: 99}})
		if err != nil {
			t.Fatal(err)
		}
		l.wantFine("an order of product 1", answers[0].Err)
		l.wantLocked("an order of the locked product", answers[1].Err)
		if got := order.CodeOf(answers[2].Err); got != order.CodeNotFound {
			t.Errorf("an order that does not exist: %q", got)
		}
	})
	l.without("a settlement that needs the known locked row", func() {
		answers, _, err := l.SettleOrders(t.Context(), []order.Settlement{declined})
		if err != nil {
			t.Fatal(err)
		}
		l.wantLocked("a declined order of the locked product", answers[0].Err)
	})
	l.without("a restock of the known locked row", func() {
		answers, err := l.Restock(t.Context(), []order.Restock{{ProductID: 1, Quantity: 1, Key: "a"}, {ProductID: 2, Quantity: 1, Key: "b"}})
		if err != nil {
			t.Fatal(err)
		}
		l.wantFine("product 1", answers[0].Err)
		l.wantLocked("the locked product", answers[1].Err)
	})
	free()
	l.wantFine("the product that is free again", l.create(2)[0].Err)
	settled, _, err := l.SettleOrders(t.Context(), []order.Settlement{declined})
	if err != nil {
		t.Fatal(err)
	}
	l.wantFine("the settlement of an order of it", settled[0].Err)
	if n := l.LockedRows(); n != 0 {
		t.Errorf("%d rows are still remembered as locked", n)
	}
	storetest.CheckInvariants(t, l.Store)
}

// TestLockedUser: a user's row that another transaction keeps locked delays only the orders of this user. The foreign key of a new
// order needs a lock on that row.
func TestLockedUser(t *testing.T) { onLockedStores(t, lockedUser) }

func lockedUser(t *testing.T, l *lockedStore) {
	t.Helper()
	free := l.keep("SELECT * FROM users WHERE id = 2")
	create := func(key string) []order.Placed {
		answers, _, err := l.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 1, key, 1, 1), storetest.Draft(t, 2, key, 1, 1)})
		if err != nil {
			t.Fatal(err)
		}
		return answers
	}
	answers := create("a")
	l.wantFine("an order of another user", answers[0].Err)
	l.wantLocked("an order of the locked user", answers[1].Err)
	l.without("the next orders", func() {
		answers := create("b")
		l.wantFine("an order of another user", answers[0].Err)
		l.wantLocked("an order of the locked user", answers[1].Err)
	})
	free()
	l.wantFine("the user that is free again", create("c")[1].Err)
	if n := l.LockedRows(); n != 0 {
		t.Errorf("%d rows are still remembered as locked", n)
	}
	storetest.CheckInvariants(t, l.Store)
}

// TestRepeatedBesideLockedRows: a repeated request gets its order, although the row of the user or the product is locked.
func TestRepeatedBesideLockedRows(t *testing.T) {
	t.Parallel()
	for kind, newDatabase := range onServers {
		t.Run(kind, func(t *testing.T) { repeatedBesideLockedRows(t, newDatabase) })
	}
}

func repeatedBesideLockedRows(t *testing.T, newDatabase func(t testing.TB) string) {
	t.Helper()
	t.Parallel()
	for name, row := range map[string]string{
		"user":    "SELECT * FROM users WHERE id = 2",
		"product": "SELECT * FROM products WHERE id = 2",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLockedShop(t, newDatabase(t))
			create := func(key string) order.Placed {
				answers, _, err := l.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 2, key, 2, 1)})
				if err != nil {
					t.Fatal(err)
				}
				return answers[0]
			}
			before := create("before")
			free := l.keep(row)
			l.wantLocked("a new order", create("new").Err)
			for range 2 {
				if again := create("before"); !again.Replayed || again.Order == nil || again.Order.ID != before.Order.ID {
					t.Errorf("the order repeated: %+v, want order %d", again, before.Order.ID)
				}
			}
			free()
			storetest.CheckInvariants(t, l.Store)
		})
	}
}

// TestMySQLSharedUser: every order takes a shared lock on the row of its user. An open transaction with such a lock does not delay
// orders of this user for other products.
func TestMySQLSharedUser(t *testing.T) {
	t.Parallel()
	_, address := ownServer(t)
	l := newLockedShop(t, address)
	l.keep("SELECT * FROM products WHERE id = 3")
	l.hold("SELECT * FROM users WHERE id = 1 LOCK IN SHARE MODE")
	create := func(key string, product int64) order.Placed {
		answers, _, err := l.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 1, key, product, 1)})
		if err != nil {
			t.Fatal(err)
		}
		return answers[0]
	}
	l.wantLocked("an order of the locked product", create("a", 3).Err)
	l.wantFine("an order of another product", create("b", 4).Err)
	storetest.CheckInvariants(t, l.Store)
}

// TestLockedStock: a write that returns units to stock refuses the requests that need a locked product, and completes the others.
func TestLockedStock(t *testing.T) {
	t.Parallel()
	for kind, newDatabase := range onServers {
		t.Run(kind, func(t *testing.T) { lockedStocks(t, newDatabase) })
	}
}

func lockedStocks(t *testing.T, newDatabase func(t testing.TB) string) {
	t.Helper()
	t.Parallel()
	for name, write := range map[string]func(l *lockedStore, ids []int64) []order.Changed{
		"cancel": func(l *lockedStore, ids []int64) []order.Changed {
			requests := make([]order.CancelRequest, len(ids))
			for i, id := range ids {
				requests[i].OrderID = id
			}
			answers, _, err := l.CancelOrders(l.Context(), requests)
			l.wantFine("the batch of cancellations", err)
			return answers
		},
		"settle": func(l *lockedStore, ids []int64) []order.Changed {
			claims := make([]order.ClaimRequest, len(ids))
			for i, id := range ids {
				claims[i].OrderID = id
			}
			claimed, _, err := l.ClaimOrders(l.Context(), claims)
			l.wantFine("the batch of claims", err)
			settlements := make([]order.Settlement, len(ids))
			for i, c := range claimed {
				settlements[i] = order.Settlement{OrderID: ids[i], Claim: 1, Lease: c.Order.Lease, Kind: order.KindCharge, Outcome: order.Declined}
			}
			answers, _, err := l.SettleOrders(l.Context(), settlements)
			l.wantFine("the batch of settlements", err)
			return answers
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLockedShop(t, newDatabase(t))
			placed := l.create(1, 2, 3)
			ids := []int64{placed[0].Order.ID, placed[1].Order.ID, placed[2].Order.ID}
			free := l.keep("SELECT * FROM products WHERE id = 2")
			answers := write(l, ids)
			if len(answers) != 3 {
				t.Fatalf("%d answers to 3 requests", len(answers))
			}
			l.wantFine("an order of product 1", answers[0].Err)
			l.wantLocked("an order of the locked product", answers[1].Err)
			l.wantFine("an order of product 3", answers[2].Err)
			free()
			storetest.CheckInvariants(t, l.Store)
		})
	}
}

// TestMySQLLocksOneAfterTheOther: a write uses up its time at several locks, each shorter than the lock time-out. Later writes do not wait
// for these rows.
func TestMySQLLocksOneAfterTheOther(t *testing.T) {
	t.Parallel()
	_, address := ownServer(t)
	l := newLockedShop(t, address)
	first, second := l.keep("SELECT * FROM products WHERE id = 1"), l.keep("SELECT * FROM products WHERE id = 2")
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _, _ = l.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 1, "slow", 1, 1, 2, 1)}) // fails
	}()
	running := func(seconds int) (n int) {
		const query = "SELECT count(*) FROM information_schema.processlist WHERE command = 'Query' AND time >= ? AND id <> CONNECTION_ID()"
		if err := l.admin.QueryRowContext(t.Context(), query, seconds).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	env.Eventually(t, "the write has waited for 2 s", func() bool { return running(2) > 0 })
	first()
	<-done
	env.Eventually(t, "no write runs", func() bool { return running(0) == 0 }) // the server still waits for the write that timed out
	l.without("the write after it", func() {
		answers := l.create(1, 2)
		l.wantFine("product 1", answers[0].Err)
		l.wantLocked("the product that is still locked", answers[1].Err)
	})
	second()
	storetest.CheckInvariants(t, l.Store)
}

// TestLockedOrder: claims leave a locked order out without a wait. Cancellations and settlements wait for it once.
func TestLockedOrder(t *testing.T) { onLockedStores(t, lockedOrder) }

func lockedOrder(t *testing.T, l *lockedStore) {
	t.Helper()
	ids := make([]int64, 20)
	claims := make([]order.ClaimRequest, 20)
	for i, a := range l.create(1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5) {
		ids[i], claims[i].OrderID = a.Order.ID, a.Order.ID
	}
	held := l.keep(fmt.Sprint("SELECT * FROM orders WHERE id = ", ids[0]))
	var claimed []order.Claimed
	l.without("a claim", func() {
		var err error
		if claimed, _, err = l.ClaimOrders(t.Context(), slices.Concat(claims, []order.ClaimRequest{{OrderID: 999}})); err != nil {
			t.Fatal(err)
		}
	})
	l.wantLocked("the locked order", claimed[0].Err)
	for i, c := range claimed[1:20] {
		if c.Task != order.TaskCharge || c.Err != nil {
			t.Errorf("order %d beside it: task %q, %v", ids[i+1], c.Task, c.Err)
		}
	}
	if last := claimed[20]; last.Err != nil || last.Order != nil {
		t.Errorf("an order that does not exist: %+v", last)
	}
	cancelled, _, err := l.CancelOrders(t.Context(), []order.CancelRequest{{OrderID: ids[0]}, {OrderID: ids[1]}})
	if err != nil {
		t.Fatal(err)
	}
	l.wantLocked("the cancellation of the locked order", cancelled[0].Err)
	if got := order.CodeOf(cancelled[1].Err); got != order.CodeNotCancellable {
		t.Errorf("the cancellation of a claimed order: %q", got)
	}
	held()

	held = l.keep(fmt.Sprint("SELECT * FROM orders WHERE id = ", ids[1]))
	settlements := make([]order.Settlement, 3)
	for i := range settlements {
		settlements[i] = order.Settlement{OrderID: ids[i+1], Claim: 1, Lease: claimed[i+1].Order.Lease, Kind: order.KindCharge, Outcome: order.Succeeded}
	}
	settle := func() []order.Changed {
		answers, _, err := l.SettleOrders(t.Context(), settlements)
		if err != nil {
			t.Fatal(err)
		}
		return answers
	}
	settled := settle()
	l.wantLocked("the settlement of the locked order", settled[0].Err)
	l.wantFine("another settlement", settled[1].Err)
	l.wantFine("another settlement", settled[2].Err)
	l.without("a settlement of the known locked row", func() { l.wantLocked("the settlement again", settle()[0].Err) })
	held()
	if settled := settle(); settled[0].Order.Status != order.Paid {
		t.Errorf("after the order was free it is %s, want PAID", settled[0].Order.Status)
	}
	storetest.CheckInvariants(t, l.Store)
}

// TestLockedOutbox: locked rows of the outbox delay neither orders nor relays.
func TestLockedOutbox(t *testing.T) { onLockedStores(t, lockedOutbox) }

func lockedOutbox(t *testing.T, l *lockedStore) {
	t.Helper()
	var batches []string
	for i := range 3 {
		_, batch, err := l.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 1, fmt.Sprint("k", i), 1, 1)})
		if err != nil {
			t.Fatal(err)
		}
		batches = append(batches, batch.ID)
	}
	free := l.keep("SELECT * FROM outbox WHERE id = '" + batches[0] + "'")
	l.without("the relay", func() {
		leased, err := l.LeaseOutbox(t.Context(), -1, 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(leased) != 2 {
			t.Errorf("%d batches were leased beside the locked one, want 2", len(leased))
		}
	})
	l.MarkPublished(batches)
	l.wantFine("an order whose transaction marks a locked batch", l.create(1)[0].Err)
	l.without("the order after it", func() { l.wantFine("the order after it", l.create(1)[0].Err) })
	free()
	leased, err := l.LeaseOutbox(context.WithoutCancel(t.Context()), -1, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(leased) != 3 { // the locked one, which could not be marked, and those of the two newest orders
		t.Errorf("%d batches are left to the relay, want 3", len(leased))
	}
	storetest.CheckInvariants(t, l.Store)
}
