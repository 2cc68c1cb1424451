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

// allowCaller counts the request against the limit of its caller, and returns CodeTooManyRequests when the limit is exceeded. A
// limiter that fails allows all requests: it protects the service and must not be the cause of an outage.
func (a *API) allowCaller(rc *requestContext) error {
	if a.options.Rate.Off() || rc.inProcess != nil {
		return nil
	}
	rate := a.options.Rate
	if rc.hasAdminToken() {
		rate = a.options.AdminRate
	}
	if rate.Off() {
		return nil
	}
	decision, counted := a.take(rc, a.callerKey(rc), rate)
	if !counted {
		return nil
	}
	rc.limitHeaders(decision)
	if decision.Allowed {
		return nil
	}
	source := "from this address"
	if !rc.caller.Anonymous() {
		source = "with this token"
	}
	return rc.tooMany(decision, "Too many requests "+source+".")
}

// allowUser counts an order that an admin's token places for a user against the limit of that user, and returns
// CodeTooManyRequests when it is exceeded: a back end acts for many users, each with a limit of its own. Without a token the address
// is the only thing that counts, since a client could name another user with each request.
func (a *API) allowUser(rc *requestContext, user int64) error {
	if a.options.Rate.Off() || rc.inProcess != nil || !rc.hasAdminToken() {
		return nil
	}
	decision, counted := a.take(rc, userKey(user), a.options.Rate)
	if !counted || decision.Allowed {
		return nil
	}
	rc.limitHeaders(decision)
	return rc.tooMany(decision, "Too many requests for user "+strconv.FormatInt(user, 10)+".")
}

// hasAdminToken reports whether the request carries an admin's token.
func (rc *requestContext) hasAdminToken() bool { return rc.caller.Admin && !rc.caller.Anonymous() }

// logInRate is the limit on log-ins for one account, and for one address. So an attacker gains nothing from many addresses against
// one account, or from many accounts at one address.
func logInRate() limit.Rate { return limit.Rate{Tokens: 10, Per: time.Minute} }

// allowLogIn counts a log-in under a key of its own. Log-ins are limited wherever requests are.
func (a *API) allowLogIn(rc *requestContext, key string) error {
	if a.options.Rate.Off() {
		return nil
	}
	decision, counted := a.take(rc, key, logInRate())
	if !counted || decision.Allowed {
		return nil
	}
	rc.limitHeaders(decision)
	return rc.tooMany(decision, "Too many log-ins.")
}

// take takes a token from the bucket of a key; counted is false when the limiter failed.
func (a *API) take(rc *requestContext, key string, rate limit.Rate) (decision limit.Decision, counted bool) {
	decision, err := a.options.Limiter.Allow(rc.r.Context(), key, rate)
	if err != nil {
		rc.log(slog.LevelWarn, "The rate limiter failed, so the request was allowed.", "limit.failed", err)
	}
	return decision, err == nil
}

// limitHeaders sets the headers that report the state of a limit.
func (rc *requestContext) limitHeaders(decision limit.Decision) {
	h := rc.Header()
	h["X-Ratelimit-Limit"] = []string{strconv.Itoa(decision.Limit)}
	h["X-Ratelimit-Remaining"] = []string{strconv.Itoa(decision.Remaining)}
	h["X-Ratelimit-Reset"] = []string{seconds(decision.Reset)}
}

// tooMany returns the error for a request beyond a limit, and sets Retry-After.
func (rc *requestContext) tooMany(decision limit.Decision, message string) error {
	wait := seconds(max(decision.RetryAfter, time.Second))
	rc.Header().Set("Retry-After", wait)
	return order.Errorf(order.CodeTooManyRequests, "%s Try again in %s s.", message, wait)
}

// seconds formats a wait in whole seconds, rounded up, as headers require.
func seconds(d time.Duration) string {
	return strconv.Itoa(int(math.Ceil(d.Seconds())))
}

// callerKey returns the key under which a caller is counted: the user, whatever the token; the token, when it has no user; or the
// address. An admin's token of a user is counted apart from the user.
func (a *API) callerKey(rc *requestContext) string {
	switch caller := rc.caller; {
	case caller.Anonymous():
		return web.ClientKey("api:", web.ClientAddr(rc.r, a.options.TrustedProxies))
	case caller.UserID > 0 && caller.Admin:
		return "api:admin:" + strconv.FormatInt(caller.UserID, 10)
	case caller.UserID > 0:
		return userKey(caller.UserID)
	default:
		return "api:token:" + strconv.FormatInt(caller.TokenID, 10)
	}
}

// userKey returns the key under which a user is counted.
func userKey(user int64) string { return "api:user:" + strconv.FormatInt(user, 10) }
