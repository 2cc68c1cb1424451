package api

import (
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"orderflow/internal/order"
)

// admit takes a token for the client's address. It reports whether the request may go on; if not, it is answered. A
// limiter that fails lets everybody in: it is there to protect the service, not to be its weakest part.
func (a *API) admit(x *exchange) bool {
	if a.options.Rate.Off() {
		return true
	}
	decision, err := a.options.Limiter.Allow(x.r.Context(), clientKey(clientAddr(x.r, a.options.TrustedProxies)), a.options.Rate)
	if err != nil {
		x.log(slog.LevelWarn, "the rate limiter failed; the request was let in", "limit.failed", err)
		return true
	}
	h := x.Header()
	h["X-Ratelimit-Limit"] = []string{strconv.Itoa(decision.Limit)}
	h["X-Ratelimit-Remaining"] = []string{strconv.Itoa(decision.Remaining)}
	h["X-Ratelimit-Reset"] = []string{seconds(decision.Reset)}
	if decision.Allowed {
		return true
	}
	wait := seconds(max(decision.RetryAfter, time.Second))
	h.Set("Retry-After", wait)
	x.fail(order.Errorf(order.CodeTooManyRequests, "Too many requests from this address. Try again in %s s.", wait))
	return false
}

// seconds is a wait in whole seconds, rounded up, as headers want it.
func seconds(d time.Duration) string {
	return strconv.Itoa(int(math.Ceil(d.Seconds())))
}

// clientKey is the name under which a client is counted. An IPv6 client has a whole /64 of addresses to choose from,
// so that is what counts. Clients without an address (a socket in the file system) count together.
func clientKey(addr netip.Addr) string {
	var room [64]byte
	key := append(room[:0], "api:"...)
	switch {
	case !addr.IsValid():
		return "api:unknown"
	case addr.Is6():
		prefix, err := addr.WithZone("").Prefix(64)
		if err != nil {
			return "api:unknown"
		}
		return string(prefix.AppendTo(key))
	default:
		return string(addr.AppendTo(key))
	}
}

// clientAddr is the address that a request came from: the connection's, or, behind trusted proxies, the last one in
// X-Forwarded-For that is not a trusted proxy's. What stands left of it is the client's own word and counts for
// nothing.
func clientAddr(r *http.Request, trusted []netip.Prefix) netip.Addr {
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

// parseForwarded reads one entry of X-Forwarded-For: an address, which some proxies give with a port.
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
