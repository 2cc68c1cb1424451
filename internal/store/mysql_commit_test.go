package store_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
	"orderflow/test/env"
)

// moments are the moments at which a connection is cut around COMMIT. The caller still gets an answer.
var moments = map[string]env.Moment{
	"the server does not receive it": env.BeforeCommit,
	"the answer is lost":             env.AfterCommit,
	"it arrives after the check":     env.LateCommit,
}

// TestCutAtCommit cuts the connection between COMMIT and its answer, for every kind of write: no order is lost or duplicated, every
// caller gets an answer, and a COMMIT that arrives late has no effect.
func TestCutAtCommit(t *testing.T) {
	t.Parallel()
	for kind, newDatabase := range onServers {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			cutAtCommit(t, newDatabase)
		})
	}
}

func cutAtCommit(t *testing.T, newDatabase func(t testing.TB) string) {
	t.Helper()
	for name, moment := range moments {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := newDatabase(t)
			cutter := env.NewCommitCutter(t, address)
			s := openAt(t, cutter.URL(), store.Options{Rules: storetest.Rules(), Pool: 4})
			if err := s.Seed(t.Context(), store.SeedPlan{SetStock: true, Stock: 100}); err != nil {
				t.Fatal(err)
			}
			ctx := t.Context()
			var cut <-chan struct{}
			late := func() {
				env.Eventually(t, "a connection is cut at COMMIT", func() bool { return closed(cut) })
				if moment == env.LateCommit && cutter.Deliver() {
					t.Error("a COMMIT was executed after its transaction had failed")
				}
			}

			cut = cutter.Arm(moment, "INSERT INTO orders")
			drafts := []order.Draft{storetest.Draft(t, 1, "a", 1, 2), storetest.Draft(t, 2, "b", 2, 1), storetest.Draft(t, 3, "c", 5, 101)}
			created, batch, err := s.CreateOrders(ctx, drafts)
			if err != nil || created[0].Err != nil || created[0].Replayed || created[1].Err != nil || batch.ID == "" ||
				order.CodeOf(created[2].Err) != order.CodeInsufficientStock {
				t.Fatalf("created: %+v, %+v, %v", created, batch, err)
			}
			late()
			a, b := created[0].Order.ID, created[1].Order.ID

			cut = cutter.Arm(moment, "lease_token")
			claims, _, err := s.ClaimOrders(ctx, []order.ClaimRequest{{OrderID: a}})
			if err != nil || claims[0].Task != order.TaskCharge || claims[0].Order.Claims != 1 {
				t.Fatalf("claimed: %+v, %v", claims, err)
			}
			late()

			cut = cutter.Arm(moment, "INSERT INTO payments")
			settled, batch, err := s.SettleOrders(ctx, []order.Settlement{{
				OrderID: a, Claim: 1, Lease: claims[0].Order.Lease, Kind: order.KindCharge, Outcome: order.Declined, Reason: "reason",
			}})
			if err != nil || settled[0].Order.Status != order.Failed || batch.ID == "" {
				t.Fatalf("settled: %+v, %+v, %v", settled, batch, err)
			}
			late()

			cut = cutter.Arm(moment, "cancelled_at")
			cancelled, batch, err := s.CancelOrders(ctx, []order.CancelRequest{{OrderID: b}})
			if err != nil || cancelled[0].Err != nil || batch.ID == "" {
				t.Fatalf("cancelled: %+v, %+v, %v", cancelled, batch, err)
			}
			late()

			// The work runs again, and finds its own row by the unique key if the first run was committed.
			again := moment == env.AfterCommit
			cut = cutter.Arm(moment, "INSERT INTO products")
			added, err := s.CreateProducts(ctx, []order.ProductDraft{{Key: "k", Name: "New", Price: 1, Stock: 3, Active: true}})
			if err != nil || added[0].Err != nil || added[0].Replayed != again || added[0].Product.Stock != 3 {
				t.Fatalf("added: %+v, %v", added, err)
			}
			late()

			cut = cutter.Arm(moment, "INSERT INTO stock_movements")
			moved, err := s.Restock(ctx, []order.Restock{{ProductID: 3, Quantity: 7, Reason: "r", Key: "k"}})
			if err != nil || moved[0].Err != nil || moved[0].Replayed != again || moved[0].Product.Stock != 107 {
				t.Fatalf("restocked: %+v, %v", moved, err)
			}
			late()

			products, err := s.Products(ctx)
			if err != nil || len(products) != 6 || products[2].Stock != 107 || products[0].Stock != 100 || products[1].Stock != 100 {
				t.Errorf("the stock is %d and %d afterwards (%v)", products[0].Stock, products[1].Stock, err)
			}
			if got := storetest.Figure(t, s, 3, "orders"); got != 2 {
				t.Errorf("%d orders for two creators", got)
			}
			storetest.CheckInvariants(t, s)
		})
	}
}

// closed reports whether a channel is closed.
func closed(channel <-chan struct{}) bool {
	select {
	case <-channel:
		return true
	default:
		return false
	}
}

// TestCutBeforeCommit cuts all connections repeatedly, at random moments: each answered request has one order.
func TestCutBeforeCommit(t *testing.T) {
	t.Parallel()
	for kind, newDatabase := range onServers {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			cutBeforeCommit(t, newDatabase(t))
		})
	}
}

func cutBeforeCommit(t *testing.T, address string) {
	t.Helper()
	proxy, proxied := env.Proxy(t, address)
	s := openAt(t, proxied, store.Options{Rules: storetest.Rules(), Pool: 2})
	if err := s.Seed(t.Context(), store.SeedPlan{SetStock: true, Stock: 1_000_000}); err != nil {
		t.Fatal(err)
	}
	var cuts atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // with growing pauses, so that some writes succeed on a slow machine too
		defer close(stopped)
		timer := time.NewTimer(0)
		defer timer.Stop()
		for pause := 5 * time.Millisecond; ; pause += time.Millisecond {
			timer.Reset(pause)
			select {
			case <-timer.C:
			case <-stop:
				return
			}
			proxy.Cut()
			proxy.Restore()
			cuts.Add(1)
		}
	}()
	end := sync.OnceFunc(func() {
		close(stop)
		<-stopped
	})
	defer end()
	answered := map[string]int64{}
	for i := 0; len(answered) < 5 || cuts.Load() < 40; i++ {
		key := fmt.Sprint("k", i)
		answers, _, err := s.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 1, key, 1, 1), storetest.Draft(t, 2, key, 2, 1)})
		switch {
		case err == nil:
			answered[key] = answers[0].Order.ID
		case order.CodeOf(err) != order.CodeUnavailable:
			t.Fatalf("%s: %v", key, err)
		}
	}
	end()
	for key, id := range answered {
		if o, err := s.Order(t.Context(), id); err != nil || o.Key != key {
			t.Errorf("%s was answered with order %d, which is %+v, %v", key, id, o, err)
		}
	}
	storetest.CheckInvariants(t, s)
}
