package bench

import (
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
)

// noopOrder is the body of POST /orders.
type noopOrder struct {
	UserID int64      `json:"user_id"`
	Key    string     `json:"idempotency_key"`
	Items  []noopItem `json:"items"`
}

type noopItem struct {
	ProductID int64  `json:"product_id"`
	Quantity  int64  `json:"quantity"`
	UnitPrice string `json:"unit_price,omitempty"`
}

// noopAnswer is the body of a 201.
type noopAnswer struct {
	Data noopPlaced `json:"data"`
}

type noopPlaced struct {
	ID          int64      `json:"id"`
	UserID      int64      `json:"user_id"`
	Status      string     `json:"status"`
	Total       string     `json:"total_amount"`
	Currency    string     `json:"currency"`
	Key         string     `json:"idempotency_key"`
	CancelledAt *string    `json:"cancelled_at"`
	CreatedAt   string     `json:"created_at"`
	UpdatedAt   string     `json:"updated_at"`
	Items       []noopItem `json:"items"`
}

// NoopHandler is the no-op server of `bench --ceiling`. It decodes the same JSON as the order API, encodes the same answer and does
// nothing else. It lists 100 products, so that the same load fits.
func NoopHandler() http.Handler {
	var last atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+ordersPath, func(w http.ResponseWriter, r *http.Request) {
		var order noopOrder
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err == nil {
			err = json.Unmarshal(body, &order)
		}
		if err != nil {
			http.Error(w, `{"error":"malformed_json"}`, http.StatusBadRequest)
			return
		}
		const microseconds = "2006-01-02T15:04:05.000000Z07:00"
		now := time.Now().UTC().Format(microseconds)
		for i := range order.Items {
			order.Items[i].UnitPrice = "29.99"
		}
		writeNoop(w, http.StatusCreated, noopAnswer{noopPlaced{
			ID: last.Add(1), UserID: order.UserID, Status: "PENDING", Total: "29.99", Currency: "USD", Key: order.Key,
			CreatedAt: now, UpdatedAt: now, Items: order.Items,
		}})
	})
	mux.HandleFunc("GET "+productsPath, func(w http.ResponseWriter, _ *http.Request) {
		var list productList
		for id := range int64(100) {
			list.Data = append(list.Data, product{ID: id + 1, Name: "Nothing", Price: "29.99", Stock: 1 << 30, Active: true})
		}
		writeNoop(w, http.StatusOK, list)
	})
	for _, path := range []string{"GET /livez", "GET /readyz"} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	}
	return mux
}

func writeNoop(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		http.Error(w, `{"error":"internal_error"}`, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be disconnected
}
