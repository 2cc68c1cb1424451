package api

import (
	"context"
	"net/http"
	"time"
	"unicode/utf8"

	"orderflow/internal/order"
	"orderflow/internal/web"
)

// Mount serves what stands below prefix, such as "/console", by another handler: with a trace id, headers and metrics as every
// answer of the API has them, but without rate limit, and open to everybody: the handler guards itself. The address "/" leads
// browsers there. Call it before the API serves, and not in a process without the role api.
func (a *API) Mount(prefix string, handler http.Handler) {
	serve := func(x *requestContext) error {
		handler.ServeHTTP(x, x.r)
		return nil
	}
	for method, name := range map[string]string{"": "other", "GET ": http.MethodGet, "POST ": http.MethodPost} {
		a.mux.Handle(method+prefix+"/", a.endpoint(route{exempt: true, open: true, anyQuery: true, handle: serve}, a.metrics.timing(name, prefix)))
	}
	a.mounted = prefix + "/"
}

// exchangeOf is the exchange of a mounted handler's request.
func (a *API) exchangeOf(w http.ResponseWriter) (*requestContext, error) {
	x, ok := w.(*requestContext)
	if !ok {
		return nil, order.Errorf(order.CodeInternal, "api: the writer is not the one that the mounted handler was handed")
	}
	return x, nil
}

// Enter returns who shows a token to a mounted handler, whose writer w is. CodeUnauthenticated is for one that does not count,
// which takes one of the requests that the address has, or CodeTooManyRequests when it has none left. CodeUnavailable and
// CodeOverloaded say that it cannot be found out.
func (a *API) Enter(w http.ResponseWriter, r *http.Request, token string) (order.Caller, error) {
	x, err := a.exchangeOf(w)
	if err != nil {
		return order.Caller{}, err
	}
	caller, err := a.Check(r.Context(), token)
	if order.CodeOf(err) == order.CodeUnauthenticated {
		if over := a.admit(x); over != nil { //nolint:contextcheck // the exchange has the request's
			err = over
		}
	}
	return caller, err
}

// Check returns who shows a token, as Enter does, but counts nothing.
func (a *API) Check(ctx context.Context, token string) (order.Caller, error) {
	if a.options.Auth == nil {
		return order.Caller{}, order.Errorf(order.CodeUnauthenticated, "Nobody can log in here.")
	}
	return a.options.Auth.Check(ctx, token)
}

// LogIn is POST /auth/tokens for a mounted handler, whose writer w is: under the same limits, and with the same errors.
func (a *API) LogIn(w http.ResponseWriter, r *http.Request, email, password, name string, lasts time.Duration) (string, error) {
	x, err := a.exchangeOf(w)
	if err != nil {
		return "", err
	}
	var f faults
	if n := utf8.RuneCountInString(email); n < 1 || n > order.MaxEmail {
		f.add("email", "must have 1 to 255 characters")
	}
	if password == "" || len(password) > order.MaxPassword {
		f.add("password", "must have 1 to 1024 bytes")
	}
	if err := a.admitLogIn(x, web.ClientKey("login:", web.ClientAddr(r, a.options.TrustedProxies))); err != nil {
		return "", err
	}
	if err := f.err(); err != nil {
		return "", err
	}
	token, _, err := x.makeToken(logInBody{email: email, password: password, name: name, lasts: lasts})
	return token, err
}

// LogOut is DELETE /auth/tokens/current for a mounted handler, whose writer w is.
func (a *API) LogOut(w http.ResponseWriter, r *http.Request, token string) error {
	x, err := a.exchangeOf(w)
	if err != nil {
		return err
	}
	caller, err := a.Check(r.Context(), token)
	if err == nil {
		err = a.options.Auth.Revoke(r.Context(), token)
	}
	if err == nil {
		x.logToken("a token was taken back", "auth.revoked", caller) //nolint:contextcheck // likewise
	}
	return err
}
