package web

import (
	"cmp"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/google/uuid"

	"orderflow/internal/order"
)

const (
	maxHeaderBytes  = 32 << 10 // with the request line
	maxHeaderFields = 100      // a short field takes many times its size in memory
	maxTraceID      = 128      // characters

	// AnswerWrite is how long a client may take to read an answer that has a deadline of its own.
	AnswerWrite = 10 * time.Second
)

// Limits are the time limits of a server. A zero limit stands for the default.
type Limits struct {
	Header time.Duration // for the headers of a request
	Read   time.Duration // for a whole request
	Write  time.Duration // for an answer, from the end of the request's headers
	Idle   time.Duration // between two requests of a connection; longer than proxies keep connections, so that they close first
}

// NewServer returns a server with the limits that all servers of the product have. The default limits leave time for an order that
// waits almost four seconds for a busy product and then for the retries of a deadlock.
func NewServer(handler http.Handler, limits Limits) *http.Server {
	return &http.Server{
		Handler: limitFields(handler),

		DisableGeneralOptionsHandler: true, // the handler answers OPTIONS * too
		ReadHeaderTimeout:            cmp.Or(limits.Header, 5*time.Second),
		ReadTimeout:                  cmp.Or(limits.Read, 15*time.Second),
		WriteTimeout:                 cmp.Or(limits.Write, 30*time.Second),
		IdleTimeout:                  cmp.Or(limits.Idle, 75*time.Second),
		MaxHeaderBytes:               maxHeaderBytes,
	}
}

// limitFields refuses requests with too many header fields.
func limitFields(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fields := 0
		for _, values := range r.Header {
			fields += len(values)
		}
		if fields <= maxHeaderFields {
			handler.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Connection", "close")
		WriteError(w, TraceID(r), order.Errorf(order.CodeHeadersTooLarge, "The request has more than %d header fields. Send fewer.", maxHeaderFields))
	})
}

// ExtendDeadline allows the answer of a handler, whose writer is w, to take until limit from now instead of the server's limit.
func ExtendDeadline(w http.ResponseWriter, limit time.Duration) {
	control, end := http.NewResponseController(w), time.Now().Add(limit)
	// An error means that there is no connection, so there is no deadline either. The read deadline matters too: when it passes,
	// net/http treats the caller as disconnected.
	_ = control.SetReadDeadline(end)
	_ = control.SetWriteDeadline(end.Add(AnswerWrite))
}

// CleanPath reports whether a path has no empty, "." or ".." segments. http.ServeMux redirects other paths, which clients of an API or
// of WebSockets do not expect.
func CleanPath(p string) bool {
	if p == "/" {
		return true
	}
	clean := path.Clean(p)
	return strings.HasPrefix(p, "/") && clean != "/" && clean == strings.TrimSuffix(p, "/")
}

// TraceID returns the caller's trace id when it is well-formed, else a new one.
func TraceID(r *http.Request) string {
	if ids := r.Header["X-Trace-Id"]; len(ids) == 1 && validTraceID(ids[0]) {
		return ids[0]
	}
	return uuid.NewString()
}

func validTraceID(id string) bool {
	if id == "" || len(id) > maxTraceID {
		return false
	}
	for i := range len(id) {
		c := id[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		digit := c >= '0' && c <= '9'
		if !letter && !digit && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
