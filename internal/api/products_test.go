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

// stockOf returns the part of an answer that says what is left of product 2.
func stockOf(t *testing.T, a answer) string {
	t.Helper()
	a.expect(t, http.StatusOK, nil)
	_, rest, _ := strings.Cut(a.body, `"name":"Wireless Mouse"`)
	_, rest, _ = strings.Cut(rest, `"stock":`)
	stock, _, _ := strings.Cut(rest, ",")
	return stock
}

// Who orders or cancels and then looks sees the new stock, however little time has passed.
func TestProductsAfterAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t)
		look := func(want string) {
			t.Helper()
			if got := stockOf(t, n.do(t, "GET", "/api/v1/products", "")); got != want {
				t.Errorf("stock %s, want %s", got, want)
			}
		}
		look("200")
		n.place(t, "a", 2, 3)
		look("197")
		n.do(t, "POST", "/api/v1/orders/1/cancel", "")
		look("200")
	})
}

// Others' changes are seen within a second, and until then the database is left in peace.
func TestProductsAreCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *reader
		n := open(t, withReader(&r))
		look := func(want string, loads int64) {
			t.Helper()
			if got := stockOf(t, n.do(t, "GET", "/api/v1/products", "")); got != want || r.loads.Load() != loads {
				t.Errorf("stock %s after %d loads, want %s after %d", got, r.loads.Load(), want, loads)
			}
		}
		look("200", 1)
		if err := n.store.Seed(t.Context(), store.SeedPlan{SetStock: true, Stock: 7}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(999 * time.Millisecond)
		look("200", 1)
		time.Sleep(time.Millisecond)
		look("7", 2)
		// A refusal changes no stock.
		n.do(t, "POST", "/api/v1/orders", orderJSON(1, "a", 2, 100)).expect(t, http.StatusConflict, nil)
		look("7", 2)
	})
}

// Readers who come at once share one load. One who comes after a change does not share a load that began before it,
// and what that load brings is not kept.
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
		synctest.Wait() // all wait for the one load, which has read the old stock
		n.place(t, "a", 2, 3)
		for i := range 10 {
			read(10 + i)
		}
		synctest.Wait()
		if got := r.loads.Load(); got != 1 {
			t.Errorf("%d loads, want one at a time", got)
		}
		close(gate)
		readers.Wait()
		for i, got := range stocks {
			if want := []string{"200", "197"}[i/10]; got != want {
				t.Errorf("reader %d saw %s, want %s", i, got, want)
			}
		}
		if got := r.loads.Load(); got != 2 {
			t.Errorf("%d loads, want 2", got)
		}
		if got := stockOf(t, n.do(t, "GET", "/api/v1/products", "")); got != "197" || r.loads.Load() != 2 {
			t.Errorf("then %s after %d loads, want 197 from the cache", got, r.loads.Load())
		}
	})
}

// An error is for those who waited for it; the next reader tries again.
func TestProductsErrorIsNotKept(t *testing.T) {
	var r *reader
	n := open(t, withReader(&r))
	r.fail(order.Errorf(order.CodeUnavailable, "away"))
	n.do(t, "GET", "/api/v1/products", "").expect(t, http.StatusServiceUnavailable, nil)
	r.fail(nil)
	n.do(t, "GET", "/api/v1/products", "").expect(t, http.StatusOK, nil)
	r.panics.Store(true)
	n.place(t, "a", 2, 1)
	n.do(t, "GET", "/api/v1/products", "").expect(t, http.StatusInternalServerError, nil, "secret")
	r.panics.Store(false)
	n.do(t, "GET", "/api/v1/products", "").expect(t, http.StatusOK, nil)
}
