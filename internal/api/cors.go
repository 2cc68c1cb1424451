package api

import (
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
	corsHeaders = "Authorization, Content-Type, Idempotency-Key, X-Trace-Id, Last-Event-ID, Traceparent"
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

// MayCall returns what tells whether a page of an origin may use what a browser reached as host: the rule of the setting
// allowed-origins, for other servers than the API.
func MayCall(allowed []string) func(origin, host string) bool { return newOrigins(allowed).permits }

// permits reports whether a page of this origin may use the API that the browser reached as host.
func (o origins) permits(origin, host string) bool {
	if o.any || o.allowed[strings.ToLower(origin)] {
		return true
	}
	if len(o.allowed) > 0 {
		return false
	}
	page, err := url.Parse(origin)
	if err != nil || (page.Scheme != "http" && page.Scheme != "https") || page.Host == "" {
		return false
	}
	name := page.Hostname()
	return strings.EqualFold(name, hostname(host)) || loopback(name)
}

// allow sets the headers that let the page which sent the request read the answer, if it may.
func (o origins) allow(x *exchange) {
	origin := originOf(x.r)
	if origin == "" || !o.permits(origin, x.r.Host) {
		return
	}
	h := x.Header()
	h["Access-Control-Allow-Origin"] = []string{origin}
	h["Access-Control-Expose-Headers"] = o.exposed
}

// preflight answers a browser's question whether a page may send a request. It reports whether there was one.
func (o origins) preflight(x *exchange) bool {
	if x.r.Method != http.MethodOptions || originOf(x.r) == "" || x.r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h := x.Header()
	h.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
	if h.Get("Access-Control-Allow-Origin") != "" {
		h.Set("Access-Control-Allow-Methods", corsMethods)
		h.Set("Access-Control-Allow-Headers", corsHeaders)
		h.Set("Access-Control-Max-Age", corsMaxAge)
	}
	x.WriteHeader(http.StatusNoContent)
	return true
}

// check refuses a change that a page of a strange origin asks for. A browser sends some of those without a preflight,
// and on a loopback address nobody has to say who they are. Programs send no origin.
func (o origins) check(x *exchange) error {
	origin := originOf(x.r)
	if origin == "" || x.r.Header.Get("Sec-Fetch-Site") == "same-origin" || o.permits(origin, x.r.Host) {
		return nil
	}
	if _, host, _ := strings.Cut(origin, "://"); host != "" && strings.EqualFold(host, x.r.Host) {
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
