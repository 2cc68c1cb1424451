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

// Paths of the order API that are read besides ordersPath.
const productsPath = "/api/v1/products"

// Server is what a private server must be: a child process, or several, on addresses and a database of its own, with
// logs and metrics on and the rate limit off.
type Server struct {
	Noop           bool          // serve NoopHandler; all else is then without meaning
	Roles          string        // such as "api,worker"; "" for those of `orderflow serve`
	Unbatched      Unbatched     // take orders one transaction per order; needs the role api alone
	InstantGateway bool          // payments take no time and always succeed; else the simulated gateway's defaults
	Products       int           // at least so many products are for sale; 0: the sample data
	Stock          int64         // of every product; 0: as in the sample data
	Orders         int64         // finished orders in the tables before the start
	Processes      int           // that serve the one database; 0: 1
	Forwarded      bool          // reach the database and Redis through a Forwarder each
	Delay          time.Duration // of these
}

// Unbatched is whether a server takes orders one transaction per order, and under which locks. It is the server that a good
// engineer writes without batches: same answers, same rows, and a durable commit for each order (package unbatched).
type Unbatched string

// The kinds of unbatched servers; "" is Orderflow.
const (
	RowLocks     Unbatched = "row locks"     // those of the database alone
	ProductLocks Unbatched = "product locks" // a lock in Redis for each product, too
)

// unbatched is the same server, one transaction per order.
func (s Server) unbatched(locks Unbatched) Server {
	s.Unbatched = locks
	return s
}

// Running are servers on one database. Its functions may be called while they are under load; those that are nil or
// return an error leave out what they would have told.
type Running struct {
	URLs    []string  // of each process, without a path, such as http://127.0.0.1:40123
	Spawned time.Time // when the first process was started, its database being ready; for the start-up figure

	Stop   func(ctx context.Context) error // ends it and removes what it left
	Audit  func(ctx context.Context) (report string, ok bool, err error)
	Verify func(ctx context.Context, ids []int64) error // every one of these orders exists
	CPU    func() (time.Duration, error)                // processor time so far of what Counted names
	Memory func() (int64, error)                        // bytes resident, of the first process
	// Sweep runs the query for what is due, as a worker does, so many times, and says how long each took.
	Sweep func(ctx context.Context, times int) ([]time.Duration, error)

	Counted string // such as "server process", or "server, mariadbd and redis-server"
}

// Starter starts a private server and returns when it listens.
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

// web is the everyday HTTP client: for all that is not the load itself.
type web struct {
	base string
	http *http.Client
}

// newWeb returns a client for the server at base. It goes through the environment's proxy, if any, as the load does.
func newWeb(base string) *web {
	return &web{base: base, http: &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 128, IdleConnTimeout: time.Minute,
	}}}
}

func (w *web) close() { w.http.CloseIdleConnections() }

// do sends a request and returns status, header and body.
func (w *web) do(ctx context.Context, method, path, body string) (int, http.Header, []byte, error) {
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
	const most = 64 << 20 // a list of 100,000 products has its place
	answer, err := io.ReadAll(io.LimitReader(response.Body, most))
	return response.StatusCode, response.Header, answer, err
}

// get reads a JSON answer that must be a 200.
func (w *web) get(ctx context.Context, path string, into any) error {
	status, header, body, err := w.do(ctx, http.MethodGet, path, "")
	switch {
	case err != nil:
		return fmt.Errorf("GET %s: %w", path, err)
	case status == http.StatusTooManyRequests:
		return fmt.Errorf("%w (429, Retry-After %s s): measure one that was started with --rate-limit off",
			ErrRateLimited, header.Get("Retry-After"))
	case status != http.StatusOK:
		return fmt.Errorf("GET %s: status %d: %.200s", path, status, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("GET %s: %w: %.200s", path, err, body)
	}
	return nil
}

func (w *web) products(ctx context.Context) ([]product, error) {
	var list productList
	err := w.get(ctx, productsPath, &list)
	return list.Data, err
}

// forSale picks products that are for sale, those with the most stock first: at least and at most so many.
func (w *web) forSale(ctx context.Context, least, most int) ([]int64, error) {
	all, err := w.products(ctx)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(p product) bool { return !p.Active || p.Stock < 1 })
	if len(all) < least {
		return nil, fmt.Errorf("%d products wanted, but only %d are for sale; `orderflow seed --products %d --stock 1000000` adds some",
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

// open is the number of orders that are not finished yet.
func (w *web) open(ctx context.Context) (int64, error) {
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

// walk reads so many pages of a list by cursor, one after the other and from the newest on again after the last, and
// records in µs how long each took.
func (w *web) walk(ctx context.Context, query string, pages int, took *hdrhistogram.Histogram) error {
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

// placed is an order as the API shows it.
type placed struct {
	ID       int64  `json:"id"`
	Status   string `json:"status"`
	Total    string `json:"total_amount"`
	Currency string `json:"currency"`
}

// order places an order of product and quantity pairs.
func (w *web) order(ctx context.Context, user int64, key string, items ...[2]int64) (ordered, error) {
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

// ordered is the answer to an order: the order when status is 200 or 201, else the error's code.
type ordered struct {
	status   int
	at       time.Time // when the answer was read
	replayed bool
	code     string
	placed   placed
}
