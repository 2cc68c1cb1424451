package console

import (
	"context"
	"net/http"
	"time"

	"orderflow/internal/order"
)

// Authenticator lets people in by the API's own rules: the same limits, the same log lines. w must be the writer that the console was
// handed, and r its request. CodeUnavailable and CodeOverloaded say that it cannot be found out.
type Authenticator interface {
	// Enter returns who shows this token, or CodeUnauthenticated for one that does not count; that counts against the rate
	// limit of the address, and is CodeTooManyRequests when it is one too many.
	Enter(w http.ResponseWriter, r *http.Request, token string) (order.Caller, error)
	// Check is Enter for a stream that has begun: it counts nothing.
	Check(ctx context.Context, token string) (order.Caller, error)
	// LogIn makes a token for the user with this e-mail address and password, good for as long as lasts. It returns
	// CodeUnauthenticated, CodeValidation, or CodeTooManyRequests.
	LogIn(w http.ResponseWriter, r *http.Request, email, password, name string, lasts time.Duration) (token string, err error)
	// LogOut takes a token back, or returns CodeUnauthenticated for one that does not count.
	LogOut(w http.ResponseWriter, r *http.Request, token string) error
}

// Feed is where browsers hear of orders as they change: the product's own WebSocket server.
type Feed struct {
	Key string // of the application
	// URL returns the ws:// or wss:// address at which the browser that sent a request reaches it.
	URL func(r *http.Request) string
}
