package api

import (
	"net/http"
	"strconv"
	"strings"

	"orderflow/internal/order"
	"orderflow/internal/web"
)

// maxBearer is the longest token that is checked, in bytes; valid tokens are far shorter.
const maxBearer = 256

// authenticate finds the caller. A token that is sent must be valid, also where none is required: a client that sends one expects
// to act for its user. The error carries CodeUnauthenticated, or CodeUnavailable or CodeOverloaded when the token could not be
// checked.
func (a *API) authenticate(rc *requestContext) error {
	if rc.inProcess != nil {
		rc.caller = *rc.inProcess
		return nil
	}
	values := rc.r.Header["Authorization"]
	if values == nil {
		if found, err := a.authenticateByCookie(rc); found || err != nil {
			return err
		}
		if a.options.AuthRequired {
			return order.Errorf(order.CodeUnauthenticated, "A token is required. Send Authorization: Bearer with a token from POST /auth/tokens.")
		}
		return nil
	}
	token, ok := bearer(values)
	if !ok || a.options.Auth == nil {
		return order.Errorf(order.CodeUnauthenticated, "The Authorization header is invalid. Send it once, with Bearer and a token.")
	}
	var err error
	rc.caller, err = a.options.Auth.Check(rc.r.Context(), token)
	return err
}

// authenticateByCookie finds the caller by the cookie of the console's session, in a request that only reads. Browsers send cookies
// by themselves, so an invalid one counts as absent. The error is that of a token that could not be checked.
func (a *API) authenticateByCookie(rc *requestContext) (found bool, err error) {
	token := a.cookieToken(rc.r)
	if token == "" {
		return false, nil
	}
	caller, err := a.options.Auth.Check(rc.r.Context(), token)
	if order.CodeOf(err) == order.CodeUnauthenticated {
		return false, nil
	}
	if err == nil {
		rc.caller = caller
	}
	return err == nil, err
}

// cookieToken returns the token in a request's session cookie; "" when there is none, or a page of another origin may have sent the
// request. A browser sends the cookie with requests of all pages of the site, which includes other ports of the host. So
// Sec-Fetch-Site must be same-origin; over plain HTTP to another host than localhost browsers omit it, and then the Origin header
// must not name another origin. The cookie never allows a change, and CORS keeps pages of other origins from reading the answer.
func (a *API) cookieToken(r *http.Request) string {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	if a.options.SessionCookie == "" || a.options.Auth == nil || r.Header["Cookie"] == nil || !reads {
		return ""
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		return ""
	}
	origin := web.Origin(r)
	if _, host, found := strings.Cut(origin, "://"); found && !strings.EqualFold(host, r.Host) || origin == "null" {
		return ""
	}
	cookie, err := r.Cookie(a.options.SessionCookie)
	if err != nil || len(cookie.Value) > maxBearer {
		return ""
	}
	return cookie.Value
}

// requestToken returns the token that authenticated a request.
func (a *API) requestToken(r *http.Request) string {
	if values := r.Header["Authorization"]; values != nil {
		token, _ := bearer(values)
		return token
	}
	return a.cookieToken(r)
}

// bearer returns the token of Authorization headers; ok is false when they have none, or more than one.
func bearer(values []string) (token string, ok bool) {
	if len(values) != 1 {
		return "", false
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.Trim(token, " ")
	return token, strings.EqualFold(scheme, "Bearer") && token != "" && len(token) <= maxBearer && !strings.ContainsAny(token, " ,\t")
}

// checkAgain checks the token of a long request again: it may be expired or revoked since.
func (a *API) checkAgain(rc *requestContext) error {
	if rc.caller.Anonymous() {
		return nil
	}
	_, err := a.options.Auth.Check(rc.r.Context(), a.requestToken(rc.r))
	return err
}

// requireAdmin returns CodeUnauthenticated for a caller without a token, and CodeForbidden for one whose token is not an admin's.
func (rc *requestContext) requireAdmin() error {
	switch {
	case rc.caller.Admin:
		return nil
	case rc.caller.Anonymous():
		return order.Errorf(order.CodeUnauthenticated, "This request requires an admin's token. Create one with orderflow token create --admin.")
	default:
		return order.Errorf(order.CodeForbidden, "This request requires an admin's token, and the token of the request is a user's.")
	}
}

// mayActFor returns CodeForbidden unless the caller may act for a user.
func mayActFor(caller order.Caller, user int64) error {
	if caller.MayActFor(user) {
		return nil
	}
	return order.Errorf(order.CodeForbidden, "The token belongs to user %d and cannot act for another user.", caller.UserID)
}

// checkVisible returns CodeNotFound unless the caller may see an order of this user.
func (rc *requestContext) checkVisible(id, user int64) error {
	if rc.caller.MayActFor(user) {
		return nil
	}
	return order.NotFound("Order " + strconv.FormatInt(id, 10))
}
