package api

import (
	"net/http"
	"strings"

	"orderflow/internal/order"
)

// maxBearer is the longest token that is looked at, in bytes; ours are far shorter.
const maxBearer = 256

// identify finds out who calls. A token that is sent must count, also where none is needed: whoever sends one means to be
// taken for somebody. The error carries CodeUnauthenticated, or the code of a database that could not be asked.
func (a *API) identify(x *exchange) error {
	if x.inside != nil {
		x.caller = *x.inside
		return nil
	}
	values := x.r.Header["Authorization"]
	if values == nil {
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
func (a *API) checkAgain(x *exchange) error {
	if x.caller.Anonymous() {
		return nil
	}
	token, _ := bearer(x.r.Header["Authorization"])
	_, err := a.options.Auth.Check(x.r.Context(), token)
	return err
}

// requireAdmin returns CodeUnauthenticated to who has shown no token, and CodeForbidden to who has shown one that is no
// admin's.
func (x *exchange) requireAdmin() error {
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
func (x *exchange) own(id, user int64) error {
	if x.caller.MayActFor(user) {
		return nil
	}
	return noOrder(id)
}

// logOut takes back the token that was sent.
func (a *API) logOut(x *exchange) error {
	if err := a.origins.check(x); err != nil {
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
