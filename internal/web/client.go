package web

import (
	"net/http"
	"net/netip"
	"strings"

	"orderflow/internal/limit"
)

// ClientAddr returns the address that a request came from: the address of the connection or, behind trusted proxies, the last
// address in X-Forwarded-For that is not a trusted proxy. The client itself may have written the addresses to the left of it.
func ClientAddr(r *http.Request, trusted []netip.Prefix) netip.Addr {
	connection, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	client := connection.Addr().Unmap()
	if len(trusted) == 0 {
		return client
	}
	forwarded := strings.Join(r.Header["X-Forwarded-For"], ",")
	for isTrusted(client, trusted) && forwarded != "" {
		cut := strings.LastIndexByte(forwarded, ',')
		addr, ok := parseForwarded(forwarded[cut+1:])
		if !ok {
			break
		}
		client, forwarded = addr, forwarded[:max(cut, 0)]
	}
	return client
}

// ClientKey returns the key under which a limiter counts the client with this address. An IPv6 client can choose any address of its
// /64, so the /64 is counted. Clients without an address (over a Unix socket) are counted together.
func ClientKey(prefix string, addr netip.Addr) string {
	var buffer [64]byte
	key := append(buffer[:0], prefix...)
	switch {
	case !addr.IsValid():
		return string(append(key, "unknown"...))
	case addr.Is6():
		return string(limit.Client(addr).AppendTo(key))
	default:
		return string(addr.AppendTo(key))
	}
}

// Proxied reports whether a request came through a trusted proxy.
func Proxied(r *http.Request, trusted []netip.Prefix) bool {
	connection, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && isTrusted(connection.Addr().Unmap(), trusted)
}

// Secure reports whether the client sent a request over TLS, to this server or to a trusted proxy that reports it.
func Secure(r *http.Request, trusted []netip.Prefix) bool {
	return r.TLS != nil || (Proxied(r, trusted) && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https"))
}

// parseForwarded reads one entry of X-Forwarded-For: an address, to which some proxies add a port.
func parseForwarded(entry string) (netip.Addr, bool) {
	entry = strings.TrimSpace(entry)
	if addr, err := netip.ParseAddr(strings.Trim(entry, "[]")); err == nil {
		return addr.Unmap(), true
	}
	if addrPort, err := netip.ParseAddrPort(entry); err == nil {
		return addrPort.Addr().Unmap(), true
	}
	return netip.Addr{}, false
}

func isTrusted(addr netip.Addr, trusted []netip.Prefix) bool {
	for _, prefix := range trusted {
		if prefix.Contains(addr.WithZone("")) {
			return true
		}
	}
	return false
}
