package api

import (
	"log/slog"
	"math"
	"strconv"
	"time"

	"orderflow/internal/limit"
	"orderflow/internal/order"
	"orderflow/internal/web"
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
		return web.ClientKey("api:", web.ClientAddr(x.r, a.options.TrustedProxies))
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
