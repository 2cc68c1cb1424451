package api

import (
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"orderflow/internal/limit"
	"orderflow/internal/order"
)

// admit takes a token for the caller, or returns CodeTooManyRequests. A limiter that fails lets everybody in: it is there to
// protect the service, not to be its weakest part.
func (a *API) admit(x *requestContext) error {
	if a.options.Rate.Off() || x.inside != nil {
		return nil
	}
	rate := a.options.Rate
	if x.byAdminToken() {
		rate = a.options.AdminRate
	}
	if rate.Off() {
		return nil
	}
	decision, counted := a.count(x, a.callerKey(x), rate)
	if !counted {
		return nil
	}
	x.showLimit(decision)
	if decision.Allowed {
		return nil
	}
	who := "address"
	if !x.caller.Anonymous() {
		who = "token"
	}
	return x.refuse(decision, "Too many requests with this "+who+".")
}

// admitUser takes a token for the user that an order by an admin's token is for, or returns CodeTooManyRequests: a back end acts
// for many users, and each of them has the limit of a user. Without a token the address is counted alone: a client could change
// the user with each request.
func (a *API) admitUser(x *requestContext, user int64) error {
	if a.options.Rate.Off() || x.inside != nil || !x.byAdminToken() {
		return nil
	}
	decision, counted := a.count(x, userKey(user), a.options.Rate)
	if !counted || decision.Allowed {
		return nil
	}
	x.showLimit(decision)
	return x.refuse(decision, "Too many requests for user "+strconv.FormatInt(user, 10)+".")
}

// byAdminToken reports whether the request carries an admin's token.
func (x *requestContext) byAdminToken() bool { return x.caller.Admin && !x.caller.Anonymous() }

// admitLogIn takes a token for a log-in, under another key than the caller's. Log-ins are limited wherever requests are.
func (a *API) admitLogIn(x *requestContext, key string) error {
	if a.options.Rate.Off() {
		return nil
	}
	decision, counted := a.count(x, key, logInRate())
	if !counted || decision.Allowed {
		return nil
	}
	x.showLimit(decision)
	return x.refuse(decision, "Too many log-ins.")
}

// count asks the limiter; false when it cannot say.
func (a *API) count(x *requestContext, key string, rate limit.Rate) (decision limit.Decision, counted bool) {
	decision, err := a.options.Limiter.Allow(x.r.Context(), key, rate)
	if err != nil {
		x.log(slog.LevelWarn, "the rate limiter failed; the request was let in", "limit.failed", err)
	}
	return decision, err == nil
}

// showLimit sets the headers that say how much is left.
func (x *requestContext) showLimit(decision limit.Decision) {
	h := x.Header()
	h["X-Ratelimit-Limit"] = []string{strconv.Itoa(decision.Limit)}
	h["X-Ratelimit-Remaining"] = []string{strconv.Itoa(decision.Remaining)}
	h["X-Ratelimit-Reset"] = []string{seconds(decision.Reset)}
}

// refuse is the error for one too many.
func (x *requestContext) refuse(decision limit.Decision, what string) error {
	wait := seconds(max(decision.RetryAfter, time.Second))
	x.Header().Set("Retry-After", wait)
	return order.Errorf(order.CodeTooManyRequests, "%s Try again in %s s.", what, wait)
}

// seconds is a wait in whole seconds, rounded up, as headers want it.
func seconds(d time.Duration) string {
	return strconv.Itoa(int(math.Ceil(d.Seconds())))
}

// callerKey is the name under which a caller is counted: the user's, also when there are several tokens, or the token's
// when it belongs to nobody, or the address. A user is counted apart as an admin.
func (a *API) callerKey(x *requestContext) string {
	switch who := x.caller; {
	case who.Anonymous():
		return clientKey("api:", ClientAddr(x.r, a.options.TrustedProxies))
	case who.UserID > 0 && who.Admin:
		return "api:admin:" + strconv.FormatInt(who.UserID, 10)
	case who.UserID > 0:
		return userKey(who.UserID)
	default:
		return "api:token:" + strconv.FormatInt(who.TokenID, 10)
	}
}

// userKey is the name under which a user is counted.
func userKey(user int64) string { return "api:user:" + strconv.FormatInt(user, 10) }

// clientKey is the name under which a client's address is counted, with what for before it. An IPv6 client has a whole /64
// of addresses to choose from, so that is what counts. Clients without an address (a socket in the file system) count
// together.
func clientKey(what string, addr netip.Addr) string {
	var room [64]byte
	key := append(room[:0], what...)
	switch {
	case !addr.IsValid():
		return string(append(key, "unknown"...))
	case addr.Is6():
		return string(limit.Client(addr).AppendTo(key))
	default:
		return string(addr.AppendTo(key))
	}
}

// ClientAddr is the address that a request came from: the connection's, or, behind trusted proxies, the last one in
// X-Forwarded-For that is not a trusted proxy's. What stands left of it is the client's own word and counts for
// nothing.
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

// Proxied reports whether a request came through a trusted proxy.
func Proxied(r *http.Request, trusted []netip.Prefix) bool {
	connection, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && isTrusted(connection.Addr().Unmap(), trusted)
}

// Secure reports whether the client sent a request over TLS: to us, or to a trusted proxy that says so.
func Secure(r *http.Request, trusted []netip.Prefix) bool {
	return r.TLS != nil || (Proxied(r, trusted) && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https"))
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
