package api_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"orderflow/internal/api"
	"orderflow/internal/order"
)

// Bounds of the memory for clients that do not read, in bytes.
const (
	connectionBound = 64 << 10 // for a connection, whatever it requests
	answersBound    = 32 << 20 // for all answers over 32 KiB that belong to one request
	readers         = 110      // clients of the test
)

// large creates a page of orders and a list of products that need a budget: 60 KB and 400 KB.
func (n *server) large(t *testing.T) {
	t.Helper()
	products := make([]order.ProductDraft, 1000)
	for i := range products {
		draft, err := order.NewProductDraft(nil, fmt.Sprint("p", i), strings.Repeat("n", 255), 100, 1_000_000, true)
		if err != nil {
			t.Fatal(err)
		}
		products[i] = draft
	}
	added, err := n.store.CreateProducts(t.Context(), products)
	if err != nil {
		t.Fatal(err)
	}
	drafts := make([]order.Draft, 50)
	for i := range drafts {
		lines := make([]order.Line, 10)
		for j := range lines {
			lines[j] = order.Line{ProductID: added[j].Product.ID, Quantity: 1}
		}
		if drafts[i], err = order.NewDraft(nil, 1, fmt.Sprintf("%d-%s", i, strings.Repeat("k", 200)), lines, ""); err != nil {
			t.Fatal(err)
		}
		drafts[i].Actor = "user:1"
	}
	if _, _, err := n.store.CreateOrders(t.Context(), drafts); err != nil {
		t.Fatal(err)
	}
}

// get returns a GET request as it is written to a connection.
func get(path string, headers ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n" + strings.Join(append(headers, ""), "\r\n") + "\r\n"
}

// getPaths returns a request for every address of the document that allows GET.
func getPaths(t *testing.T) map[string]string {
	t.Helper()
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	requests := map[string]string{}
	for path, item := range doc.Paths.Map() {
		if item.Get == nil {
			continue
		}
		requests[path] = get(strings.ReplaceAll(path, "{id}", "1"))
	}
	requests["/api/v1/orders/{id}/events as a stream"] = get("/api/v1/orders/1/events", "Accept: text/event-stream")
	requests["/docs/rapidoc.js gzipped"] = get("/docs/rapidoc.js", "Accept-Encoding: gzip")
	requests["/metrics gzipped"] = get("/metrics", "Accept-Encoding: gzip")
	requests["/api/v1/orders of 50"] = get("/api/v1/orders?per_page=50")
	requests["/nothing"] = get("/nothing")
	return requests
}

// A client that does not read its answer costs a bounded amount of memory on every route: answers that many clients share are one copy,
// and all others fit into the budget.
func TestUnreadAnswersAreBounded(t *testing.T) {
	own := map[string]bool{"/api/v1/orders": true, "/api/v1/orders of 50": true} // each request has its own answer
	for name, request := range getPaths(t) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n *server
				n = open(t, func(o *api.Options) {
					o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						promhttp.HandlerFor(n.registry, promhttp.HandlerOpts{}).ServeHTTP(w, r)
					})
				})
				if strings.Contains(name, "/orders") || strings.HasSuffix(name, "/products") {
					n.large(t)
				}
				p := servePipes(t, n)
				n.do(t, "GET", strings.Fields(request)[1], "") // the shared copy exists
				unread := p.Unread(t, readers, request, nil)
				bound := int64(connectionBound)
				if own[name] {
					bound += answersBound / readers
				}
				if unread.Held > bound {
					t.Errorf("an unread answer holds %d bytes, the bound is %d", unread.Held, bound)
				}
				if strings.HasPrefix(name, "/docs") && unread.Allocated > connectionBound {
					t.Errorf("a request allocates %d bytes, the bound is %d", unread.Allocated, connectionBound)
				}
			})
		})
	}
}

// Each change creates a new list of products. Unread lists fit into the budget. Clients beyond it are refused, and served again when
// others have disconnected.
func TestUnreadListsOfProducts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t)
		n.large(t)
		p := servePipes(t, n)
		n.do(t, "GET", "/api/v1/products", "").expect(t, http.StatusOK, nil)
		placed := 0
		unread := p.Unread(t, readers, get("/api/v1/products"), func() {
			synctest.Wait() // the previous client has a list of its own
			placed++
			n.place(t, fmt.Sprint("between-", placed), 2, 1)
		})
		const kept = 4 << 20 // the newest list, and what the orders leave
		if bound := int64(connectionBound + (answersBound+kept)/readers); unread.Held > bound {
			t.Errorf("an unread list holds %d bytes, the bound is %d", unread.Held, bound)
		}
		const orders = "/api/v1/orders?per_page=50&page=3" // those of large
		rest := p.Unread(t, 10, get(orders), nil)          // which use the rest of the budget
		for _, path := range []string{"/api/v1/products", orders} {
			refused := n.do(t, "GET", path, "")
			if refused.status != http.StatusServiceUnavailable || !strings.Contains(refused.body, `"error":"overloaded"`) {
				t.Errorf("%s: status %d, %.200s, want overloaded", path, refused.status, refused.body)
			}
		}
		n.do(t, "GET", "/api/v1/orders/1", "").expect(t, http.StatusOK, nil)
		for _, c := range append(rest.Clients, unread.Clients...) {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		n.do(t, "GET", "/api/v1/products", "").expect(t, http.StatusOK, nil)
		n.do(t, "GET", orders, "").expect(t, http.StatusOK, nil)
	})
}

// A header field takes many times its size in memory, so the number of fields is bounded too.
func TestTooManyHeaderFields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := servePipes(t, open(t))
		for name, c := range map[string]struct {
			field  string
			fields int
			want   string
		}{
			"the maximum":             {"X-%d: 1", 100, "HTTP/1.1 200 "},
			"too many names":          {"X-%d: 1", 101, "HTTP/1.1 431 "},
			"too many of one name":    {"X-Forwarded-For: 10.0.0.%d", 101, "HTTP/1.1 431 "},
			"the maximum of one name": {"X-Forwarded-For: 10.0.0.%d", 100, "HTTP/1.1 200 "},
		} {
			headers := make([]string, c.fields)
			for i := range headers {
				headers[i] = fmt.Sprintf(c.field, i)
			}
			connection := p.Dial(t)
			if _, err := io.WriteString(connection, get("/livez", headers...)); err != nil {
				t.Fatal(err)
			}
			status := make([]byte, len(c.want))
			if _, err := io.ReadFull(connection, status); err != nil || string(status) != c.want {
				t.Errorf("%s: %q, %v, want %q", name, status, err, c.want)
			}
		}
	})
}
