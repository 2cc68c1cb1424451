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

// allowOrigin sets the headers that let the page which sent the request read the answer, when its origin is permitted.
func (rc *requestContext) allowOrigin() {
	origin := web.Origin(rc.r)
	if origin == "" || !rc.api.origins.Permit(origin, rc.r.Host) {
		return
	}
	h := rc.Header()
	h["Access-Control-Allow-Origin"] = []string{origin}
	h["Access-Control-Expose-Headers"] = rc.api.fixed.exposed
}

// preflight answers a preflight, by which a browser finds out whether a page may send a request. It returns false for other requests.
func (rc *requestContext) preflight() bool {
	if rc.r.Method != http.MethodOptions || web.Origin(rc.r) == "" || rc.r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h := rc.Header()
	h.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
	if h.Get("Access-Control-Allow-Origin") != "" {
		h.Set("Access-Control-Allow-Methods", corsMethods)
		h.Set("Access-Control-Allow-Headers", allowedHeaders(rc.r.Header["Access-Control-Request-Headers"]))
		h.Set("Access-Control-Max-Age", corsMaxAge)
	}
	rc.WriteHeader(http.StatusNoContent)
	return true
}

// maxRequestedHeaders bounds the header names that the answer to a preflight repeats, in bytes.
const maxRequestedHeaders = 4 << 10

// allowedHeaders returns the header names that a page may send. Permission depends on the origin alone, so a permitted page may send
// any header: libraries add their own, such as X-CSRF-TOKEN and X-Socket-ID. The names are repeated, since * does not cover
// Authorization. A malformed or too long list is answered with the headers that the API reads.
func allowedHeaders(requested []string) string {
	list := strings.Join(requested, ",")
	var names []string
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.Trim(name, " \t"); isHeaderName(name) {
			names = append(names, name)
		} else if name != "" {
			return corsHeaders
		}
	}
	if len(names) == 0 || len(list) > maxRequestedHeaders {
		return corsHeaders
	}
	return strings.Join(names, ", ")
}

// isHeaderName reports whether a text is a header name as RFC 9110 defines it.
func isHeaderName(text string) bool {
	const characters = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	return text != "" && strings.Trim(text, characters) == ""
}
