package api

import (
	"context"
	"net/http"

	"orderflow/internal/order"
)

// Mount serves the paths below prefix, such as "/console", by another handler. Its answers have the trace id, headers and metrics of
// the API's answers, but no rate limit, and it must check its callers itself. The address "/" redirects browsers to it. Call Mount
// before the API serves, and only in a process with the role api.
func (a *API) Mount(prefix string, handler http.Handler) {
	serve := func(rc *requestContext) error {
		handler.ServeHTTP(rc, rc.r)
		return nil
	}
	for pattern, name := range map[string]string{"": "other", "GET ": http.MethodGet, "POST ": http.MethodPost} {
		a.mux.Handle(pattern+prefix+"/", a.endpoint(route{exempt: true, public: true, anyQuery: true, handle: serve}, a.metrics.timing(name, prefix)))
	}
	a.mounted = prefix + "/"
}

// mountedRequest returns the requestContext of a mounted handler's writer.
func mountedRequest(w http.ResponseWriter) (*requestContext, error) {
	rc, ok := w.(*requestContext)
	if !ok {
		return nil, order.Errorf(order.CodeInternal, "api: the writer is not the writer of the mounted handler")
	}
	return rc, nil
}

// Enter returns the caller of a token for a mounted handler with this writer. An invalid token is CodeUnauthenticated and counts
// against the rate limit of the address; when that is exceeded, the error is CodeTooManyRequests. CodeUnavailable and CodeOverloaded
// mean that the token could not be checked.
func (a *API) Enter(w http.ResponseWriter, r *http.Request, token string) (order.Caller, error) {
	rc, err := mountedRequest(w)
	if err != nil {
		return order.Caller{}, err
	}
	caller, err := a.Check(r.Context(), token)
	if order.CodeOf(err) == order.CodeUnauthenticated {
		if exceeded := a.allowCaller(rc); exceeded != nil { //nolint:contextcheck // the requestContext has the context of the request
			err = exceeded
		}
	}
	return caller, err
}

// Check returns the caller of a token as Enter does, but counts nothing.
func (a *API) Check(ctx context.Context, token string) (order.Caller, error) {
	if a.options.Auth == nil {
		return order.Caller{}, errNoLogIn()
	}
	return a.options.Auth.Check(ctx, token)
}
