package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// productsPath is the path of the list of products.
const productsPath = "/api/v1/products"

// Server describes a private server: one or several child processes, on addresses and a database of its own, with logs and metrics on
// and the rate limit off.
type Server struct {
	Noop           bool          // serve NoopHandler; the other fields are then ignored
	Roles          string        // such as "api,worker"; "" for the default of `orderflow serve`
	Unbatched      Unbatched     // one transaction per order; requires the role api alone
	InstantGateway bool          // payments have no latency and always succeed; else the defaults of the simulated gateway
	Products       int           // number of products, at least; 0: the sample data
	Stock          int64         // of every product; 0: as in the sample data
	Orders         int64         // number of finished orders in the tables at the start
	Processes      int           // number of processes on the one database; 0: 1
	Proxied        bool          // connect to the database and to Redis through a DelayProxy each
	Delay          time.Duration // of these proxies
}

// Unbatched selects a server with one transaction per order, and its locks. It is the well-written service without batches that Orderflow
// is compared with: same answers, same rows, and a durable commit per order (package unbatched).
type Unbatched string

// The kinds of unbatched servers; "" is Orderflow.
const (
	RowLocks     Unbatched = "row locks"     // row locks of the database only
	ProductLocks Unbatched = "product locks" // and a Redis lock per product
)

// unbatched returns the same server with one transaction per order.
func (s Server) unbatched(locks Unbatched) Server {
	s.Unbatched = locks
	return s
}

// Running are running servers on one database. Its functions may be called during a load. Figures are missing in the report where a
// function is nil or returns an error.
type Running struct {
	URLs    []string  // of each process, without a path, such as http://127.0.0.1:40123
	Spawned time.Time // start of the first process, for the start-up figure

	Stop   func(ctx context.Context) error // ends the servers and removes their data
	Audit  func(ctx context.Context) (report string, ok bool, err error)
	Verify func(ctx context.Context, ids []int64) error // returns an error unless every order exists
	CPU    func() (time.Duration, error)                // processor time of the processes in Counted
	Memory func() (int64, error)                        // resident bytes of the first process
	// Sweep runs the sweeper's query for due orders, and returns the time of each run.
	Sweep func(ctx context.Context, times int) ([]time.Duration, error)

	Counted string // such as "server process", or "server, mariadbd and redis-server"
}

// Starter starts a private server and returns when it is ready.
type Starter func(ctx context.Context, want Server) (Running, error)

// product is a product as GET /products lists it.
type product struct {
	ID       int64  `json:"id"`
	Name     string `json:"name"`
	Price    string `json:"price"`
	Currency string `json:"currency"`
	Stock    int64  `json:"stock"`
	Active   bool   `json:"active"`
}

type productList struct {
	Data []product `json:"data"`
}

// apiClient is the HTTP client for requests other than the load.
type apiClient struct {
	base string
	http *http.Client
}

// newAPIClient returns a client for the server at base. Like the load it uses the proxy of the environment, if any.
func newAPIClient(base string) *apiClient {
	return &apiClient{base: base, http: &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 128, IdleConnTimeout: time.Minute,
	}}}
}

func (w *apiClient) close() { w.http.CloseIdleConnections() }

// do sends a request and returns status, header and body.
func (w *apiClient) do(ctx context.Context, method, path, body string) (int, http.Header, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(w.base, "/")+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := w.http.Do(request)
	if err != nil {
		return 0, nil, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	const most = 64 << 20 // enough for a list of 100,000 products
	answer, err := io.ReadAll(io.LimitReader(response.Body, most))
	return response.StatusCode, response.Header, answer, err
}

// get reads a JSON answer that must be a 200.
func (w *apiClient) get(ctx context.Context, path string, into any) error {
	status, header, body, err := w.do(ctx, http.MethodGet, path, "")
	switch {
	case err != nil:
		return fmt.Errorf("GET %s: %w", path, err)
	case status == http.StatusTooManyRequests:
		return fmt.Errorf("%w (429, Retry-After %s s): start it with --rate-limit off",
			ErrRateLimited, header.Get("Retry-After"))
	case status != http.StatusOK:
		return fmt.Errorf("GET %s: status %d: %.200s", path, status, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("GET %s: %w: %.200s", path, err, body)
	}
	return nil
}

func (w *apiClient) products(ctx context.Context) ([]product, error) {
	var list productList
	err := w.get(ctx, productsPath, &list)
	return list.Data, err
}

// forSale returns from least to most products that are for sale, those with the most stock first.
func (w *apiClient) forSale(ctx context.Context, least, most int) ([]int64, error) {
	all, err := w.products(ctx)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(p product) bool { return !p.Active || p.Stock < 1 })
	if len(all) < least {
		return nil, fmt.Errorf("the load needs %d products, but only %d are for sale; `orderflow seed --products %d --stock 1000000` adds more",
			least, len(all), least)
	}
	slices.SortFunc(all, func(a, b product) int {
		return cmp.Or(cmp.Compare(b.Stock, a.Stock), cmp.Compare(a.ID, b.ID))
	})
	ids := make([]int64, min(most, len(all)))
	for i := range ids {
		ids[i] = all[i].ID
	}
	return ids, nil
}

// open returns the number of unfinished orders.
func (w *apiClient) open(ctx context.Context) (int64, error) {
	var sum int64
	for _, status := range []string{"PENDING", "PROCESSING"} {
		var page struct {
			Meta *struct {
				Total int64 `json:"total"`
			} `json:"meta"`
		}
		if err := w.get(ctx, ordersPath+"?"+url.Values{"status": {status}, "per_page": {"1"}}.Encode(), &page); err != nil {
			return 0, err
		}
		if page.Meta == nil {
			return 0, errors.New("GET " + ordersPath + ": no meta in the answer")
		}
		sum += page.Meta.Total
	}
	return sum, nil
}

// walk reads this number of pages of a list by cursor, and begins again after the last page. It records the time of each in µs.
func (w *apiClient) walk(ctx context.Context, query string, pages int, took *hdrhistogram.Histogram) error {
	cursor := ""
	for range pages {
		var page struct {
			Meta struct {
				Next *string `json:"next_cursor"`
			} `json:"meta"`
		}
		began := time.Now()
		if err := w.get(ctx, ordersPath+"?"+query+"per_page=50&cursor="+url.QueryEscape(cursor), &page); err != nil {
			return err
		}
		if err := took.RecordValue(max(1, time.Since(began).Microseconds())); err != nil {
			return err
		}
		if cursor = ""; page.Meta.Next != nil {
			cursor = *page.Meta.Next
		}
	}
	return nil
}

// placed is an order in an answer.
type placed struct {
	ID       int64  `json:"id"`
	Status   string `json:"status"`
	Total    string `json:"total_amount"`
	Currency string `json:"currency"`
}

// order places an order of product and quantity pairs.
func (w *apiClient) order(ctx context.Context, user int64, key string, items ...[2]int64) (ordered, error) {
	lines := make([]string, len(items))
	for i, item := range items {
		lines[i] = fmt.Sprintf(`{"product_id":%d,"quantity":%d}`, item[0], item[1])
	}
	body := fmt.Sprintf(`{"user_id":%d,"idempotency_key":%q,"items":[%s]}`, user, key, strings.Join(lines, ","))
	status, header, answer, err := w.do(ctx, http.MethodPost, ordersPath, body)
	if err != nil {
		return ordered{}, fmt.Errorf("POST %s: %w", ordersPath, err)
	}
	o := ordered{status: status, at: time.Now(), replayed: header.Get("Idempotent-Replayed") == "true", code: errorCode(answer)}
	if status != http.StatusCreated && status != http.StatusOK {
		return o, nil
	}
	var data struct {
		Data placed `json:"data"`
	}
	if err := json.Unmarshal(answer, &data); err != nil || data.Data.ID < 1 {
		return o, fmt.Errorf("POST %s: a %d without an order: %.200s", ordersPath, status, answer)
	}
	o.placed = data.Data
	return o, nil
}

// ordered is the answer to POST /orders: the order when status is 200 or 201, else the error's code.
type ordered struct {
	status   int
	at       time.Time // time of the answer
	replayed bool
	code     string
	placed   placed
}
