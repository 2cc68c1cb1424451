package api

import (
	"net/http"
	"strings"

	"orderflow/internal/web"
)

// What pages of other origins may send and read.
const (
	corsMethods = "GET, HEAD, POST, PATCH, DELETE, OPTIONS"
	corsHeaders = "Authorization, Content-Type, Idempotency-Key, X-Trace-Id, Last-Event-ID, Traceparent" // when a preflight names none
	corsExposed = "X-Trace-Id, Location, Idempotent-Replayed, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset"
	corsMaxAge  = "600" // seconds
)

// allowOrigin sets the headers that let the page which sent the request read the answer, where its origin is permitted.
func (x *requestContext) allowOrigin() {
	origin := web.Origin(x.r)
	if origin == "" || !x.api.origins.Permit(origin, x.r.Host) {
		return
	}
	h := x.Header()
	h["Access-Control-Allow-Origin"] = []string{origin}
	h["Access-Control-Expose-Headers"] = x.api.fixed.exposed
}

// preflight answers a preflight, by which a browser finds out whether a page may send a request. It reports whether the request
// is one.
func (x *requestContext) preflight() bool {
	if x.r.Method != http.MethodOptions || web.Origin(x.r) == "" || x.r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h := x.Header()
	h.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
	if h.Get("Access-Control-Allow-Origin") != "" {
		h.Set("Access-Control-Allow-Methods", corsMethods)
		h.Set("Access-Control-Allow-Headers", allowedHeaders(x.r.Header["Access-Control-Request-Headers"]))
		h.Set("Access-Control-Max-Age", corsMaxAge)
	}
	x.WriteHeader(http.StatusNoContent)
	return true
}

// maxAskedHeaders bounds the header names that an answer to a preflight repeats, in bytes.
const maxAskedHeaders = 4 << 10

// allowedHeaders returns the header names that a page may send. The origin decides, so a page that may call may send any
// header: libraries add their own, such as X-CSRF-TOKEN and X-Socket-ID. The value * would not cover Authorization, so the
// names are repeated. A list that is malformed or too long is answered with the headers that the API reads.
func allowedHeaders(asked []string) string {
	list := strings.Join(asked, ",")
	var names []string
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.Trim(name, " \t"); headerName(name) {
			names = append(names, name)
		} else if name != "" {
			return corsHeaders
		}
	}
	if len(names) == 0 || len(list) > maxAskedHeaders {
		return corsHeaders
	}
	return strings.Join(names, ", ")
}

// headerName reports whether a text is a name of a header, as RFC 9110 defines it.
func headerName(text string) bool {
	const characters = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	return text != "" && strings.Trim(text, characters) == ""
}
