package web

import (
	"cmp"
	"net"
	"net/http"
	"net/url"
	"strings"

	"orderflow/internal/order"
)

// Origins are the origins whose pages may use a server from a browser: the rule of the setting --allowed-origins. Its methods may be
// called from any goroutine.
type Origins struct {
	// APIPort is the port of the API in the process of a WebSocket server; "" for none. The API's own pages connect to another
	// port of their host and are always allowed. Set it before the server serves.
	APIPort string

	any    bool
	listed map[string]bool // empty: pages of the same host and of loopback addresses
}

// NewOrigins returns the rule for a list such as https://shop.example; * permits every origin, and an empty list permits pages of the
// same host and of loopback addresses.
func NewOrigins(list []string) *Origins {
	o := &Origins{listed: map[string]bool{}}
	for _, origin := range list {
		o.any = o.any || origin == "*"
		o.listed[strings.ToLower(strings.TrimSuffix(origin, "/"))] = true
	}
	return o
}

// Permit reports whether a page of this origin may use the server that the browser reached as host. The server's own origin is
// permitted with every list.
func (o *Origins) Permit(origin, host string) bool {
	if o.any || o.listed[strings.ToLower(origin)] || sameOrigin(origin, host) {
		return true
	}
	if o.APIPort != "" && sameOrigin(origin, net.JoinHostPort(Hostname(host), o.APIPort)) {
		return true
	}
	page, ok := parseOrigin(origin)
	if !ok || len(o.listed) > 0 {
		return false
	}
	return strings.EqualFold(page.Hostname(), Hostname(host)) || isLoopbackHost(page.Hostname())
}

// CheckChange returns CodeForbidden for a change that a page of another origin requests. Browsers send some changes without a
// preflight, and a server on a loopback address requires no token. Clients that are not browsers send no Origin header.
func (o *Origins) CheckChange(r *http.Request) error {
	origin := Origin(r)
	if origin == "" || r.Header.Get("Sec-Fetch-Site") == "same-origin" || o.Permit(origin, r.Host) {
		return nil
	}
	return order.Errorf(order.CodeForbidden, "Pages of this origin may not change anything here. Add the origin to the setting "+
		"--allowed-origins of the server.")
}

// Origin returns the Origin header of a request, "" when it has none.
func Origin(r *http.Request) string {
	if values := r.Header["Origin"]; len(values) > 0 { // Header.Get would compute the canonical name
		return values[0]
	}
	return ""
}

// sameOrigin reports whether an origin is the origin of a Host header. The scheme is not compared, since a proxy may end TLS.
func sameOrigin(origin, host string) bool {
	page, ok := parseOrigin(origin)
	if !ok {
		return false
	}
	standard := map[string]string{"http": "80", "https": "443"}[page.Scheme]
	target := url.URL{Host: host}
	return strings.EqualFold(page.Hostname(), Hostname(host)) && cmp.Or(page.Port(), standard) == cmp.Or(target.Port(), standard)
}

// parseOrigin parses the origin of a page that was loaded over HTTP; ok is false for any other origin.
func parseOrigin(origin string) (page *url.URL, ok bool) {
	page, err := url.Parse(origin)
	return page, err == nil && (page.Scheme == "http" || page.Scheme == "https") && page.Host != ""
}
