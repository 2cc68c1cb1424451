package api

import (
	"cmp"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"orderflow/internal/order"
)

// What pages of other origins may send and read.
const (
	corsMethods = "GET, HEAD, POST, PATCH, DELETE, OPTIONS"
	corsHeaders = "Authorization, Content-Type, Idempotency-Key, X-Trace-Id, Last-Event-ID, Traceparent" // when a preflight names none
	corsExposed = "X-Trace-Id, Location, Idempotent-Replayed, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset"
	corsMaxAge  = "600" // seconds
)

// origins says which pages may use the API from a browser.
type origins struct {
	any     bool
	allowed map[string]bool // empty: the same host and loopback
	exposed []string
}

func newOrigins(list []string) origins {
	o := origins{allowed: map[string]bool{}, exposed: []string{corsExposed}}
	for _, origin := range list {
		o.any = o.any || origin == "*"
		o.allowed[strings.ToLower(strings.TrimSuffix(origin, "/"))] = true
	}
	return o
}

// AllowedOrigins returns the rule of the setting allowed-origins for the WebSocket server: whether a page of an origin may connect
// to host. apiPort returns the port of the API in the same process, "" when there is none. The API's own pages connect to
// another port of their host, and are always allowed.
func AllowedOrigins(allowed []string, apiPort func() string) func(origin, host string) bool {
	o := newOrigins(allowed)
	return func(origin, host string) bool {
		if o.permits(origin, host) {
			return true
		}
		port := apiPort()
		return port != "" && sameOrigin(origin, net.JoinHostPort(hostname(host), port))
	}
}

// permits reports whether a page of this origin may use the API that the browser reached as host. A list never excludes the
// API's own origin.
func (o origins) permits(origin, host string) bool {
	if o.any || o.allowed[strings.ToLower(origin)] || sameOrigin(origin, host) {
		return true
	}
	page, ok := webOrigin(origin)
	if !ok || len(o.allowed) > 0 {
		return false
	}
	return strings.EqualFold(page.Hostname(), hostname(host)) || loopback(page.Hostname())
}

// sameOrigin reports whether an origin is that of a Host header. The scheme is not compared: a proxy may end TLS.
func sameOrigin(origin, host string) bool {
	page, ok := webOrigin(origin)
	if !ok {
		return false
	}
	standard := map[string]string{"http": "80", "https": "443"}[page.Scheme]
	target := url.URL{Host: host}
	return strings.EqualFold(page.Hostname(), hostname(host)) && cmp.Or(page.Port(), standard) == cmp.Or(target.Port(), standard)
}

// webOrigin parses an origin of a page that came over HTTP; ok is false for any other.
func webOrigin(origin string) (page *url.URL, ok bool) {
	page, err := url.Parse(origin)
	return page, err == nil && (page.Scheme == "http" || page.Scheme == "https") && page.Host != ""
}

// allow sets the headers that let the page which sent the request read the answer, if it may.
func (o origins) allow(x *requestContext) {
	origin := originOf(x.r)
	if origin == "" || !o.permits(origin, x.r.Host) {
		return
	}
	h := x.Header()
	h["Access-Control-Allow-Origin"] = []string{origin}
	h["Access-Control-Expose-Headers"] = o.exposed
}

// preflight answers a browser's question whether a page may send a request. It reports whether there was one.
func (o origins) preflight(x *requestContext) bool {
	if x.r.Method != http.MethodOptions || originOf(x.r) == "" || x.r.Header.Get("Access-Control-Request-Method") == "" {
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

// check refuses a change that a page of a strange origin asks for. A browser sends some of those without a preflight,
// and on a loopback address nobody has to say who they are. Programs send no origin.
func (o origins) check(x *requestContext) error {
	origin := originOf(x.r)
	if origin == "" || x.r.Header.Get("Sec-Fetch-Site") == "same-origin" || o.permits(origin, x.r.Host) {
		return nil
	}
	return order.Errorf(order.CodeForbidden, "Pages of this origin may not change anything here. The setting allowed-origins says which may.")
}

// originOf is the Origin header, read without computing its canonical name.
func originOf(r *http.Request) string {
	if values := r.Header["Origin"]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// hostname is a Host header without its port.
func hostname(host string) string {
	if name, port, err := net.SplitHostPort(host); err == nil && strings.Trim(port, "0123456789") == "" {
		return name
	}
	return strings.Trim(host, "[]")
}

// loopback reports whether a host name can only mean this machine.
func loopback(name string) bool {
	if strings.EqualFold(name, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.IsLoopback()
}
