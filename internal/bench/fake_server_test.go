package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"
)

// fakeServer implements the order API in memory. Its fields make it violate the API's guarantees.
type fakeServer struct {
	duplicateIDAfter int // ids begin again after this one; 0: never
	declines         int // number of payments that are declined first
	limit            int // 429 after this number of orders; 0: never
	oversells        bool
	forgetsKeys      bool // a repeated key creates a new order

	mu     sync.Mutex
	stock  map[int64]int64
	orders map[string]int64
	seen   int
	last   int64
}

func newFakeServer(products int, stock int64) *fakeServer {
	s := &fakeServer{stock: map[int64]int64{}, orders: map[string]int64{}}
	for id := range int64(products) {
		s.stock[id+1] = stock
	}
	return s
}

// newSampleServer has two products with stock and one with a single unit, like the sample data.
func newSampleServer() *fakeServer {
	s := newFakeServer(2, 200)
	s.stock[3] = 1
	return s
}

func (s *fakeServer) serve(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+ordersPath, s.create)
	mux.HandleFunc("GET "+ordersPath, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, `{"data":[],"meta":{"total":0}}`)
	})
	mux.HandleFunc("GET "+ordersPath+"/{id}/events", s.events)
	mux.HandleFunc("GET "+productsPath, s.list)
	mux.HandleFunc("GET /livez", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func (s *fakeServer) create(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var order noopOrder
	if err := json.NewDecoder(r.Body).Decode(&order); err != nil || len(order.Items) == 0 || order.UserID < 1 {
		http.Error(w, `{"error":"malformed_json"}`, http.StatusBadRequest)
		return
	}
	s.seen++
	key := fmt.Sprint(order.UserID, order.Key)
	id, replay := s.orders[key]
	first := order.Items[0]
	switch {
	case s.limit > 0 && s.seen > s.limit:
		w.Header().Set("Retry-After", "1")
		http.Error(w, `{"error":"too_many_requests"}`, http.StatusTooManyRequests)
	case replay:
		w.Header().Set("Idempotent-Replayed", "true")
		_, _ = fmt.Fprintf(w, `{"data":{"id":%d}}`, id)
	case s.stock[first.ProductID] < first.Quantity && !s.oversells:
		http.Error(w, `{"error":"insufficient_stock"}`, http.StatusConflict)
	default:
		s.stock[first.ProductID] -= first.Quantity
		if s.last++; s.duplicateIDAfter > 0 && s.last > int64(s.duplicateIDAfter) {
			s.last = 1
		}
		if !s.forgetsKeys {
			s.orders[key] = s.last
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprintf(w, `{"data":{"id":%d,"total_amount":"29.99","currency":"USD"}}`, s.last)
	}
}

func (s *fakeServer) list(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list productList
	for id := range int64(len(s.stock)) {
		list.Data = append(list.Data, product{ID: id + 1, Name: "Thing " + strconv.Itoa(int(id+1)), Stock: s.stock[id+1], Active: true})
	}
	_ = json.NewEncoder(w).Encode(list)
}

func (s *fakeServer) events(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	end := "OrderPaid"
	if s.declines > 0 {
		s.declines--
		end = "OrderFailed"
	}
	s.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = fmt.Fprint(w, "retry: 1000\n\n:\n\n")
	for i, name := range []string{"OrderCreated", "OrderProcessing", end} {
		_, _ = fmt.Fprintf(w, "id: %s-%d\nevent: %s\ndata: {\"type\":%q}\n\n", r.PathValue("id"), i+1, name, name)
	}
}

// fakeServers starts fake servers as private servers, and records the requested ones and those that were stopped.
type fakeServers struct {
	wanted    []Server
	stopped   int
	violation string // report of their failed audit; "" for one that passes
}

func (f *fakeServers) starter(t *testing.T, open func(Server) *fakeServer) Starter {
	return func(_ context.Context, want Server) (Running, error) {
		f.wanted = append(f.wanted, want)
		used, fake := time.Duration(0), open(want)
		urls := make([]string, max(1, want.Processes))
		for i := range urls {
			urls[i] = fake.serve(t)
		}
		return Running{
			URLs: urls, Spawned: time.Now(), Counted: "server process",
			Stop: func(context.Context) error { f.stopped++; return nil },
			Audit: func(context.Context) (string, bool, error) {
				return cmp.Or(f.violation, "audit: passed"), f.violation == "", nil
			},
			Sweep:  func(_ context.Context, times int) ([]time.Duration, error) { return make([]time.Duration, times), nil },
			Verify: func(context.Context, []int64) error { return nil },
			CPU:    func() (time.Duration, error) { used += time.Second; return used, nil },
			Memory: func() (int64, error) { return 25e6, nil },
		}, nil
	}
}
