package api

import (
	"net/http"
	"strings"

	"orderflow/internal/order"
	"orderflow/internal/web"
)

// maxBearer is the longest token that is looked at, in bytes; ours are far shorter.
const maxBearer = 256

// identify finds out who calls. A token that is sent must count, also where none is needed: whoever sends one means to be
// taken for somebody. The error carries CodeUnauthenticated, or the code of a database that could not be asked.
func (a *API) identify(x *requestContext) error {
	if x.inside != nil {
		x.caller = *x.inside
		return nil
	}
	values := x.r.Header["Authorization"]
	if values == nil {
		if counts, err := a.identifyByCookie(x); counts || err != nil {
			return err
		}
		if a.options.AuthRequired {
			return order.Errorf(order.CodeUnauthenticated, "A token is needed: send Authorization: Bearer, and one from POST /auth/tokens.")
		}
		return nil
	}
	token, ok := bearer(values)
	if !ok || a.options.Auth == nil {
		return order.Errorf(order.CodeUnauthenticated, "The Authorization header must be Bearer and a token, and be sent once.")
	}
	var err error
	x.caller, err = a.options.Auth.Check(x.r.Context(), token)
	return err
}

// identifyByCookie finds out who calls by the cookie of the console's session, in a request that only reads and that a page of
// ours sent. A cookie that does not count is none: browsers send it by themselves. The error is that of a database that could
// not be asked.
func (a *API) identifyByCookie(x *requestContext) (counts bool, err error) {
	token := a.cookieToken(x.r)
	if token == "" {
		return false, nil
	}
	caller, err := a.options.Auth.Check(x.r.Context(), token)
	if order.CodeOf(err) == order.CodeUnauthenticated {
		return false, nil
	}
	if err == nil {
		x.caller = caller
	}
	return err == nil, err
}

// cookieToken is the token in a request's cookie; "" when there is none, or it is not to be believed. A browser sends the cookie
// with what pages of the same site ask for, and other ports of a host are the same site: so the browser must say that the page is
// of this very origin, or, where it says nothing because the connection is plain, must not name another one. Nothing is changed
// by way of a cookie, and CORS never lets a page of another origin read what a cookie was sent for.
func (a *API) cookieToken(r *http.Request) string {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	if a.options.SessionCookie == "" || a.options.Auth == nil || r.Header["Cookie"] == nil || !reads {
		return ""
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		return ""
	}
	if _, host, found := strings.Cut(web.Origin(r), "://"); found && !strings.EqualFold(host, r.Host) || web.Origin(r) == "null" {
		return ""
	}
	cookie, err := r.Cookie(a.options.SessionCookie)
	if err != nil || len(cookie.Value) > maxBearer {
		return ""
	}
	return cookie.Value
}

// tokenOf is the token by which a request was let in.
func (a *API) tokenOf(r *http.Request) string {
	if values := r.Header["Authorization"]; values != nil {
		token, _ := bearer(values)
		return token
	}
	return a.cookieToken(r)
}

// bearer is the token of Authorization headers; false when they hold none, or more than one.
func bearer(values []string) (token string, ok bool) {
	if len(values) != 1 {
		return "", false
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.Trim(token, " ")
	return token, strings.EqualFold(scheme, "Bearer") && token != "" && len(token) <= maxBearer && !strings.ContainsAny(token, " ,\t")
}

// checkAgain is identify for an exchange that goes on for long: its token may have been taken back, or be over.
func (a *API) checkAgain(x *requestContext) error {
	if x.caller.Anonymous() {
		return nil
	}
	_, err := a.options.Auth.Check(x.r.Context(), a.tokenOf(x.r))
	return err
}

// requireAdmin returns CodeUnauthenticated to who has shown no token, and CodeForbidden to who has shown one that is no
// admin's.
func (x *requestContext) requireAdmin() error {
	switch {
	case x.caller.Admin:
		return nil
	case x.caller.Anonymous():
		return order.Errorf(order.CodeUnauthenticated, "This needs an admin's token: orderflow token create --admin makes one.")
	default:
		return order.Errorf(order.CodeForbidden, "This needs an admin's token.")
	}
}

// mayActFor returns CodeForbidden unless the caller may act for a user.
func mayActFor(caller order.Caller, user int64) error {
	if caller.MayActFor(user) {
		return nil
	}
	return order.Errorf(order.CodeForbidden, "This token is for user %d alone.", caller.UserID)
}

// own returns CodeNotFound unless the caller may see an order of this user: what is another's is not there.
func (x *requestContext) own(id, user int64) error {
	if x.caller.MayActFor(user) {
		return nil
	}
	return noOrder(id)
}

// logOut takes back the token that was sent.
func (a *API) logOut(x *requestContext) error {
	if err := a.origins.CheckChange(x.r); err != nil {
		return err
	}
	if x.caller.Anonymous() {
		return order.Errorf(order.CodeUnauthenticated, "No token was sent.")
	}
	token, _ := bearer(x.r.Header["Authorization"])
	if err := a.options.Auth.Revoke(x.r.Context(), token); err != nil {
		return err
	}
	x.logToken("a token was taken back", "auth.revoked", x.caller)
	x.WriteHeader(http.StatusNoContent)
	return nil
}
