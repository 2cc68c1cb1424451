package web

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"orderflow/internal/order"
)

// FromLoopback returns CodeForbidden for a request that does not come from a user of this machine. It protects a server on a loopback
// address that requires no log-in. Two kinds of requests reach such a server from other machines:
//
//   - A page of another site whose host name was made to resolve to this machine (DNS rebinding). Its Host header has that name.
//   - A client of a proxy on this machine. Most proxies add a header; nginx without configuration does not, but sends HTTP/1.0,
//     which browsers do not. A proxy that does neither is not detected.
func FromLoopback(r *http.Request) error {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !from.Addr().Unmap().IsLoopback() || !isLoopbackHost(Hostname(r.Host)) {
		return order.Errorf(order.CodeForbidden, "Without log-ins this address is only for clients on the same machine. "+
			"Open it as 127.0.0.1, [::1] or localhost, or start the server with --auth required.")
	}
	proxied := !r.ProtoAtLeast(1, 1)
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"} {
		proxied = proxied || r.Header[name] != nil
	}
	if proxied {
		return order.Errorf(order.CodeForbidden, "Without log-ins this address cannot be used through a proxy. "+
			"Start the server with --auth required.")
	}
	return nil
}

// Hostname returns a Host header without its port.
func Hostname(host string) string {
	if name, port, err := net.SplitHostPort(host); err == nil && strings.Trim(port, "0123456789") == "" {
		return name
	}
	return strings.Trim(host, "[]")
}

// isLoopbackHost reports whether a host name always means this machine.
func isLoopbackHost(name string) bool {
	if strings.EqualFold(name, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.IsLoopback()
}
