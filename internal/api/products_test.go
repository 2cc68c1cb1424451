package api_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/store"
)

// stockOf returns the stock of product 2 in an answer.
func stockOf(t *testing.T, a answer) string {
	t.Helper()
	a.expect(t, http.StatusOK, nil)
	_, rest, _ := strings.Cut(a.body, `"name":"Wireless Mouse"`)
	_, rest, _ = strings.Cut(rest, `"stock":`)
	stock, _, _ := strings.Cut(rest, ",")
	return stock
}

// A client that orders or cancels, and reads the list at once, gets the new stock.
func TestProductsAfterAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t)
		want := func(stock string) {
			t.Helper()
			if got := stockOf(t, n.do(t, "GET", "/api/v1/products", "")); got != stock {
				t.Errorf("stock %s, want %s", got, stock)
			}
		}
		want("200")
		n.place(t, "a", 2, 3)
		want("197")
		n.do(t, "POST", "/api/v1/orders/1/cancel", "")
		want("200")
	})
}

// Changes by other processes are seen after a second. Until then the database is not read.
func TestProductsAreCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *reader
		n := open(t, withReader(&r))
		want := func(stock string, fetches int64) {
			t.Helper()
			if got := stockOf(t, n.do(t, "GET", "/api/v1/products", "")); got != stock || r.fetches.Load() != fetches {
				t.Errorf("stock %s after %d fetches, want %s after %d", got, r.fetches.Load(), stock, fetches)
			}
		}
		want("200", 1)
		if err := n.store.Seed(t.Context(), store.SeedPlan{SetStock: true, Stock: 7}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(999 * time.Millisecond)
		want("200", 1)
		time.Sleep(time.Millisecond)
		want("7", 2)
		// A refused order changes no stock, so the list stays cached.
		n.do(t, "POST", "/api/v1/orders", orderJSON(1, "a", 2, 100)).expect(t, http.StatusConflict, nil)
		want("7", 2)
	})
}

// Concurrent readers share one fetch. A reader that arrives after a change does not share a fetch that began before it, and the result
// of that fetch is not cached.
func TestProductsOfSeveralReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *reader
		n := open(t, withReader(&r))
		gate := make(chan struct{})
		r.gate.Store(&gate)
		var readers sync.WaitGroup
		stocks := make([]string, 20)
		read := func(i int) {
			readers.Go(func() { stocks[i] = stockOf(t, n.do(t, "GET", "/api/v1/products", "")) })
		}
		for i := range 10 {
			read(i)
		}
		synctest.Wait() // all wait for one fetch, which has read the old stock
		n.place(t, "a", 2, 3)
		for i := range 10 {
			read(10 + i)
		}
		synctest.Wait()
		if got := r.fetches.Load(); got != 1 {
			t.Errorf("%d fetches, want 1 at a time", got)
		}
		close(gate)
		readers.Wait()
		for i, got := range stocks {
			if want := []string{"200", "197"}[i/10]; got != want {
				t.Errorf("reader %d got %s, want %s", i, got, want)
			}
		}
		if got := r.fetches.Load(); got != 2 {
			t.Errorf("%d fetches, want 2", got)
		}
		if got := stockOf(t, n.do(t, "GET", "/api/v1/products", "")); got != "197" || r.fetches.Load() != 2 {
			t.Errorf("then %s after %d fetches, want 197 from the cache", got, r.fetches.Load())
		}
	})
}

// An error is returned to the readers that waited for it; the next reader fetches again.
func TestProductsErrorIsNotCached(t *testing.T) {
	var r *reader
	n := open(t, withReader(&r))
	r.fail(order.Errorf(order.CodeUnavailable, "unavailable"))
	n.do(t, "GET", "/api/v1/products", "").expect(t, http.StatusServiceUnavailable, nil)
	r.fail(nil)
	n.do(t, "GET", "/api/v1/products", "").expect(t, http.StatusOK, nil)
	r.panics.Store(true)
	n.place(t, "a", 2, 1)
	n.do(t, "GET", "/api/v1/products", "").expect(t, http.StatusInternalServerError, nil, "secret")
	r.panics.Store(false)
	n.do(t, "GET", "/api/v1/products", "").expect(t, http.StatusOK, nil)
}
