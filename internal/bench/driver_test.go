package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// forEver is a duration that no test waits for: the load ends for another reason.
const forEver = 10 * time.Minute

func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

func created(w http.ResponseWriter, id int64) {
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, `{"data":{"id":%d}}`, id)
}

func TestDriveCountsAnswers(t *testing.T) {
	server := newFakeServer(3, 40) // 120 units, then it is sold out
	server.limit = 1000            // ends the load
	result, err := Drive(t.Context(), []string{server.serve(t)}, Load{Clients: 8, Duration: forEver, Products: []int64{1, 2, 3}, Users: 3})
	if !errors.Is(err, ErrRateLimited) {
		t.Fatal(err)
	}
	server.mu.Lock()
	defer server.mu.Unlock()
	want := map[string]int64{"201": 120, "409 insufficient_stock": 880, "429 too_many_requests": int64(server.seen) - 1000}
	if diff := cmp.Diff(want, result.Answers); diff != "" || result.Created != 120 {
		t.Errorf("created %d, answers %s", result.Created, diff)
	}
	if len(server.orders) != 120 {
		t.Errorf("120 orders have %d keys", len(server.orders))
	}
	if twice := duplicate(result.IDs); len(result.IDs) != 120 || twice != 0 {
		t.Errorf("%d ids, %d duplicates", len(result.IDs), twice)
	}
	if n := result.Latency.TotalCount(); n != int64(server.seen) {
		t.Errorf("%d latencies of %d answers", n, server.seen)
	}
	if rate := result.OrdersPerSecond(); math.Abs(rate*result.Elapsed.Seconds()-120) > 1e-6 {
		t.Errorf("%g orders/s in %s", rate, result.Elapsed)
	}
}

// decoded returns the order of a request.
func decoded(t *testing.T, r *http.Request) (order noopOrder) {
	t.Helper()
	if err := json.NewDecoder(r.Body).Decode(&order); err != nil {
		t.Error(err)
	}
	return order
}

func TestRequests(t *testing.T) {
	var mu sync.Mutex
	keys, users, products := map[string]bool{}, map[int64]bool{}, map[int64]bool{}
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		order := decoded(t, r)
		mu.Lock()
		defer mu.Unlock()
		if r.Method != http.MethodPost || r.URL.Path != "/below/this"+ordersPath || r.Header.Get("Content-Type") != "application/json" ||
			len(order.Items) != 1 || order.Items[0].Quantity != 1 || keys[order.Key] {
			t.Errorf("%s %s %v %+v", r.Method, r.URL, r.Header, order)
		}
		if len(keys) == 200 { // enough for every user and product
			http.Error(w, "", http.StatusTooManyRequests)
			return
		}
		keys[order.Key], users[order.UserID], products[order.Items[0].ProductID] = true, true, true
		created(w, int64(len(keys)))
	})
	const big = 1<<53 - 1
	_, err := Drive(t.Context(), []string{url + "/below/this/"}, Load{Clients: 3, Duration: forEver, Products: []int64{7, big}, Users: 2})
	if !errors.Is(err, ErrRateLimited) {
		t.Fatal(err)
	}
	want := []map[int64]bool{{1: true, 2: true}, {7: true, big: true}}
	if diff := cmp.Diff(want, []map[int64]bool{users, products}); diff != "" {
		t.Error(diff)
	}
}

// Clients are spread evenly over servers, and the results of each server are counted.
func TestDriveSpreadsOverServers(t *testing.T) {
	var bases []string
	var seen [3]atomic.Int64
	clients := [3]sync.Map{}
	for i := range seen {
		bases = append(bases, serve(t, func(w http.ResponseWriter, r *http.Request) {
			clients[i].Store(r.RemoteAddr, true)
			created(w, int64(len(seen))*seen[i].Add(1)+int64(i))
		}))
	}
	result, err := Drive(t.Context(), bases, Load{Clients: 8, Duration: 100 * time.Millisecond, Products: []int64{1}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{3, 3, 2} {
		conns := 0
		clients[i].Range(func(any, any) bool { conns++; return true })
		if conns != want || result.ByServer[i] != seen[i].Load() || result.ByServer[i] == 0 {
			t.Errorf("server %d: %d clients, want %d; %d orders, and %d are reported", i, conns, want, seen[i].Load(), result.ByServer[i])
		}
	}
	if sum := result.ByServer[0] + result.ByServer[1] + result.ByServer[2]; sum != result.Created || duplicate(result.IDs) != 0 {
		t.Errorf("%d orders in all, %v by server", result.Created, result.ByServer)
	}
	for _, bases := range [][]string{nil, bases, make([]string, MaxServers+1)} {
		if _, err := Drive(t.Context(), bases, Load{Clients: 2, Duration: time.Second, Products: []int64{1}}); err == nil {
			t.Errorf("%d servers for 2 clients: no error", len(bases))
		}
	}
}

// Two loads with the same keys and number of orders send the same orders, those of each client in the same sequence.
func TestDriveWithANumberOfOrders(t *testing.T) {
	place := func() map[string][]int64 {
		var mu sync.Mutex
		placed := map[string][]int64{} // products by key
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			order := decoded(t, r)
			mu.Lock()
			defer mu.Unlock()
			for _, item := range order.Items {
				placed[order.Key] = append(placed[order.Key], order.UserID, item.ProductID)
			}
			created(w, int64(len(placed)))
		})
		load := Load{Clients: 3, Orders: 5, Duration: forEver, Products: []int64{1, 2, 3, 4}, Users: 2, Keys: "same"}
		result, err := Drive(t.Context(), []string{url}, load)
		if err != nil {
			t.Fatal(err)
		}
		if result.Created != 15 {
			t.Errorf("%d orders, want 3 times 5", result.Created)
		}
		return placed
	}
	first := place()
	if len(first) != 15 {
		t.Errorf("%d keys, want 15", len(first))
	}
	if diff := cmp.Diff(first, place()); diff != "" {
		t.Error(diff)
	}
}

func TestOrdersOfManyLines(t *testing.T) {
	var mu sync.Mutex
	seen, last := map[int64]int{}, int64(0)
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		order := decoded(t, r)
		mu.Lock()
		defer mu.Unlock()
		products := map[int64]bool{}
		for _, item := range order.Items {
			products[item.ProductID] = true
			seen[item.ProductID]++
			if item.Quantity != 1 {
				t.Errorf("%+v", item)
			}
		}
		if len(order.Items) != 3 || len(products) != 3 {
			t.Errorf("%+v", order.Items)
		}
		last++
		created(w, last)
	})
	const big = 1<<53 - 1
	load := Load{Clients: 2, Duration: 100 * time.Millisecond, Products: []int64{1, 20, 300, big}, Lines: 3}
	if _, err := Drive(t.Context(), []string{url}, load); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 4 || seen[1] == 0 || seen[big] == 0 {
		t.Errorf("bought %v", seen)
	}
}

func TestDriveStopsAtTheFirst429(t *testing.T) {
	server := newFakeServer(1, largeStock)
	server.limit = 50
	result, err := Drive(t.Context(), []string{server.serve(t)}, Load{Clients: 4, Duration: forEver, Products: []int64{1}})
	if !errors.Is(err, ErrRateLimited) || !strings.Contains(err.Error(), "429, Retry-After 1 s") || !strings.Contains(err.Error(), "--rate-limit off") {
		t.Errorf("error %v", err)
	}
	// Every other client may have had one request in flight.
	if n := result.Answers["429 too_many_requests"]; result.Created != 50 || n < 1 || n > 4 {
		t.Errorf("answers %v", result.Answers)
	}
}

func TestDriveReconnects(t *testing.T) {
	for _, kind := range []string{"announced", "not announced", "through net/http"} {
		t.Run(kind, func(t *testing.T) {
			var seen, hungUp, sold atomic.Int64
			url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				switch n := seen.Add(1); {
				case n == 20:
					http.Error(w, "", http.StatusTooManyRequests)
					return
				case kind == "announced":
					w.Header().Set("Connection", "close")
				case n%3 == 0:
					hungUp.Add(1)
					hangUp(t, w)
					return
				}
				created(w, sold.Add(1))
			})
			load := Load{Clients: 1, Duration: forEver, Products: []int64{1}}
			result, err := driveBy(t.Context(), url, load, kind != "through net/http")
			if !errors.Is(err, ErrRateLimited) {
				t.Fatal(err)
			}
			if result.Created != sold.Load() || result.Created < 13 || result.Answers["no answer: connection lost"] != hungUp.Load() {
				t.Errorf("answers %v; %d sold, hung up %d times", result.Answers, sold.Load(), hungUp.Load())
			}
		})
	}
}

func hangUp(t *testing.T, w http.ResponseWriter) {
	t.Helper()
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	_ = conn.Close()
}

func TestDriveEndsWithTheServer(t *testing.T) {
	var seen atomic.Int64
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		n := seen.Add(1)
		if n > 20 {
			hangUp(t, w)
			return
		}
		created(w, n)
	})
	result, err := Drive(t.Context(), []string{url}, Load{Clients: 3, Duration: forEver, Products: []int64{1}})
	if err == nil || !strings.Contains(err.Error(), "ended early") {
		t.Errorf("error %v", err)
	}
	if result.Created != 20 || result.Answers["no answer: connection lost"] < maxFailures {
		t.Errorf("answers %v", result.Answers)
	}
}

func TestDriveCannotConnect(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Drive(t.Context(), []string{"http://" + address}, Load{Clients: 2, Duration: forEver, Products: []int64{1}}); err == nil {
		t.Error("a load without a server succeeded")
	}
}

// The server answers with the bytes of the case.
func TestDriveRefusesWrongLengths(t *testing.T) {
	tests := []struct{ name, answer, want string }{
		{"too long", "HTTP/1.1 201 Created\r\nContent-Length: 99\r\n\r\n{\"data\":{\"id\":1}}", "connection lost"},
		{"too short", "HTTP/1.1 201 Created\r\nContent-Length: 17\r\n\r\n{\"data\":{\"id\":1}}and more", "malformed"},
		{"no order", "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				conn, both, err := http.NewResponseController(w).Hijack()
				if err == nil {
					_, _ = both.WriteString(test.answer)
					_ = both.Flush()
					_ = conn.Close()
				}
			})
			result, err := Drive(t.Context(), []string{url}, Load{Clients: 1, Duration: forEver, Products: []int64{1}})
			if err == nil || len(result.IDs) != 0 {
				t.Fatalf("error %v, ids %v", err, result.IDs)
			}
			if test.want == "" {
				if !errors.Is(err, errMalformed) {
					t.Errorf("error %v", err)
				}
			} else if result.Answers["no answer: "+test.want] != maxFailures {
				t.Errorf("answers %v", result.Answers)
			}
		})
	}
}

func TestDriveWaitsForLateAnswers(t *testing.T) {
	over := make(chan struct{})
	var last, once atomic.Int64
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		<-over
		created(w, last.Add(1))
	})
	const window = 150 * time.Millisecond
	result, err := Drive(t.Context(), []string{url}, Load{
		Clients: 5, Duration: window, Products: []int64{1},
		Progress: func(since time.Duration) {
			if since == window && once.Add(1) == 1 {
				close(over)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if result.Created != 5 || result.Elapsed < window || time.Duration(result.Latency.Min())*time.Microsecond < window-window/10 {
		t.Errorf("%d created in %s, at least %d µs each", result.Created, result.Elapsed, result.Latency.Min())
	}
}

func TestDriveEndsWithItsContext(t *testing.T) {
	for _, raw := range []bool{true, false} {
		ctx, cancel := context.WithCancel(t.Context())
		end := make(chan struct{})
		url := serve(t, func(http.ResponseWriter, *http.Request) {
			cancel()
			<-end
		})
		_, err := driveBy(ctx, url, Load{Clients: 3, Duration: forEver, Products: []int64{1}}, raw)
		close(end)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("raw %t: error %v", raw, err)
		}
	}
}

// At a rate, a late answer delays the requests after it. Their latency counts from the time at which they were due, both if the server
// catches up and if the load ends before.
func TestRateCorrectsForCoordinatedOmission(t *testing.T) {
	const window = 300 * time.Millisecond
	tests := []struct {
		name     string
		held     time.Duration // the time until which the first answer is delayed
		leastP50 time.Duration
	}{
		{"it catches up", 200 * time.Millisecond, 30 * time.Millisecond},
		{"it does not", window, 100 * time.Millisecond},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			over := make(chan struct{})
			var last atomic.Int64
			var once sync.Once
			url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				<-over
				created(w, last.Add(1))
			})
			result, err := Drive(t.Context(), []string{url}, Load{
				Clients: 1, Duration: window, Products: []int64{1}, Rate: 100,
				Progress: func(since time.Duration) {
					if since >= test.held {
						once.Do(func() { close(over) })
					}
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			if n := result.Latency.TotalCount(); n != 30 || result.Created != last.Load() {
				t.Errorf("%d latencies and %d orders; 30 requests were due and %d arrived", n, result.Created, last.Load())
			}
			if p50 := time.Duration(result.Latency.ValueAtPercentile(50)) * time.Microsecond; p50 < test.leastP50 {
				t.Errorf("p50 %s: the delayed requests do not count", p50)
			}
		})
	}
}

func TestRateIsKept(t *testing.T) {
	var last atomic.Int64
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) { created(w, last.Add(1)) })
	result, err := Drive(t.Context(), []string{url}, Load{Clients: 7, Duration: 200 * time.Millisecond, Products: []int64{1}, Rate: 500})
	if err != nil {
		t.Fatal(err)
	}
	var all int64
	for _, n := range result.Answers {
		all += n
	}
	if all != 100 {
		t.Errorf("%d requests at 500/s in 200 ms: %v", all, result.Answers)
	}
}

func TestDriveRefusesLoadsOutOfBounds(t *testing.T) {
	good := Load{Clients: 1, Duration: time.Second, Products: []int64{1}}
	for name, change := range map[string]func(*Load){
		"no clients": func(l *Load) { l.Clients = 0 }, "clients": func(l *Load) { l.Clients = MaxClients + 1 },
		"no time": func(l *Load) { l.Duration = 0 }, "time": func(l *Load) { l.Duration = MaxDuration + 1 },
		"no products": func(l *Load) { l.Products = nil }, "rate": func(l *Load) { l.Rate = -1 },
		"lines": func(l *Load) { l.Lines = MaxLines + 1 }, "negative lines": func(l *Load) { l.Lines = -1 },
		"negative orders": func(l *Load) { l.Orders = -1 }, "orders at a rate": func(l *Load) { l.Orders, l.Rate = 1, 1 },
		"long keys":                func(l *Load) { l.Keys = strings.Repeat("k", 41) },
		"more lines than products": func(l *Load) { l.Lines = 2 },
		"a product twice":          func(l *Load) { l.Products, l.Lines = []int64{1, 2, 1}, 2 },
	} {
		load := good
		change(&load)
		if _, err := Drive(t.Context(), []string{"http://127.0.0.1:1"}, load); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, address := range []string{"", "127.0.0.1:8000", "ftp://x", "http://", "http://x/?y=z", "http://\x00"} {
		if _, err := Drive(t.Context(), []string{address}, good); err == nil {
			t.Errorf("address %q: no error", address)
		}
	}
}

// driveBy is Drive with a given client.
func driveBy(ctx context.Context, base string, load Load, raw bool) (Result, error) {
	to, err := newTarget(base, answerTimeout)
	if err != nil {
		return Result{}, err
	}
	to.raw = raw
	return driveAt(ctx, []target{to}, load)
}

// BenchmarkClients measures the processor time of client and server for one request, over a raw connection and over net/http. The server
// is the same, so the difference is that of the clients.
func BenchmarkClients(b *testing.B) {
	for _, raw := range []bool{true, false} {
		b.Run(fmt.Sprintf("raw=%t", raw), func(b *testing.B) {
			server := httptest.NewServer(NoopHandler())
			defer server.Close()
			to, err := newTarget(server.URL, answerTimeout)
			if err != nil {
				b.Fatal(err)
			}
			to.raw = raw
			client, request := to.client(time.Now().Add(time.Hour)), to.newRequest(newRun(), 1, 1)
			defer client.close()
			b.ReportAllocs()
			for b.Loop() {
				request.next(1, []int64{1})
				if got, err := client.send(b.Context(), request); err != nil || got.status != http.StatusCreated {
					b.Fatal(got.status, err)
				}
			}
		})
	}
}
