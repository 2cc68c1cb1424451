package console

import (
	"context"
	"net/http"
	"time"

	"orderflow/internal/order"
)

// InProcess returns the product's HTTP API for calls from within the process: without a network and without rate limits, with the
// rights of caller. The pages act through it, so that an action of a page is exactly an action of the API. It is
// api.API.InProcess.
type InProcess func(caller order.Caller) http.Handler

// Authenticator authenticates browsers by the API's own rules, with the same limits and log lines. w must be the writer that the
// console was given, and r its request. CodeUnavailable and CodeOverloaded mean that the check could not be made.
type Authenticator interface {
	// Enter returns the caller of a token. CodeUnauthenticated means that the token is invalid; the request then counts against the
	// rate limit of its address, and over the limit the code is CodeTooManyRequests.
	Enter(w http.ResponseWriter, r *http.Request, token string) (order.Caller, error)
	// Check is Enter without counting against a limit, for a stream that is already open.
	Check(ctx context.Context, token string) (order.Caller, error)
	// LogIn creates a token for the user with this e-mail address and password, valid for lifetime. It returns
	// CodeUnauthenticated, CodeValidation or CodeTooManyRequests.
	LogIn(w http.ResponseWriter, r *http.Request, email, password, name string, lifetime time.Duration) (token string, err error)
	// LogOut revokes a token. CodeUnauthenticated means that it is already invalid.
	LogOut(w http.ResponseWriter, r *http.Request, token string) error
}

// Store has the data that the pages show. Each method limits its own time; CodeUnavailable means that the database does not
// answer.
type Store interface {
	Order(ctx context.Context, id int64) (*order.Order, error)
	Orders(ctx context.Context, query order.ListQuery) (order.Page, error)
	// OrdersByKey returns a user's order with this idempotency key. With user 0 it returns the orders of all users with this key
	// among the newest 100,000 orders.
	OrdersByKey(ctx context.Context, user int64, key string, limit int) ([]*order.Order, error)
	Events(ctx context.Context, orderID int64, after int) ([]order.Event, error)
	Payments(ctx context.Context, orderID int64) ([]order.Payment, error)
	// ProductsByID returns the existing products of these ids.
	ProductsByID(ctx context.Context, ids []int64) ([]order.Product, error)
	// ProductPage returns products by id; pages count from 1.
	ProductPage(ctx context.Context, page, perPage int) (order.ProductPage, error)
	// StockAdded returns, for each product, the units that were added by hand.
	StockAdded(ctx context.Context, products []int64) (units map[int64]int64, err error)
	FailedJobOrders(ctx context.Context, page, perPage int) (order.FailedJobOrderPage, error)
	Backlog(ctx context.Context) (order.Backlog, error)
}

// Gateway is the process's simulated payment gateway, whose faults can be switched at run time. Its methods may be called from any
// goroutine.
type Gateway interface {
	// State returns the state of its circuit breaker: closed, open or half-open.
	State() string
	// Fault returns whether calls fail, and by how much they are delayed.
	Fault() (errors bool, delay time.Duration)
	// SetFault changes both.
	SetFault(errors bool, delay time.Duration)
	// MaxDelay returns the longest delay that SetFault takes.
	MaxDelay() time.Duration
}

// Feed is the product's WebSocket server, from which browsers receive changes of orders.
type Feed struct {
	Key string // of the application
	// URL returns the ws:// or wss:// address of the server for the browser that sent r.
	URL func(r *http.Request) string
}
