package api

import (
	"net/http"
	"slices"
	"strings"

	"orderflow/internal/order"
	"orderflow/internal/web"
)

// prefixes are the addresses of the API: the versioned one, which documents and metrics name, and its permanent alias.
func prefixes() []string { return []string{"/api/v1", "/api"} }

// route is one method of one path.
type route struct {
	method, path string
	exempt       bool // from the rate limit
	public       bool // needs no token, whatever the setting; a token that is sent is not checked
	admin        bool // requires an admin's token
	query        []web.Parameter
	anyQuery     bool // the query string is not read: load balancers, monitoring and caches may add to it
	handle       func(*requestContext) error
	refused      func(error) // counts the error of a request that the intake did not get; nil where nothing is counted
}

// table returns the routes of the API proper, which are served below each of the prefixes.
func (a *API) table() []route {
	return []route{
		{method: http.MethodPost, path: "/orders", handle: a.createOrder, refused: func(err error) { a.options.Intake.OrderRefused(err) }},
		{method: http.MethodGet, path: "/orders", handle: a.listOrders, query: orderParameters()},
		{method: http.MethodGet, path: "/orders/{id}", handle: a.showOrder},
		{
			method: http.MethodPost, path: "/orders/{id}/cancel", handle: a.cancelOrder,
			refused: func(err error) { a.options.Intake.CancelRefused(err) },
		},
		{method: http.MethodGet, path: "/orders/{id}/events", handle: a.orderEvents},
		{method: http.MethodGet, path: "/products", handle: a.listProducts},
		{method: http.MethodPost, path: "/products", handle: a.createProduct, admin: true},
		{method: http.MethodPatch, path: "/products/{id}", handle: a.changeProduct, admin: true},
		{method: http.MethodPost, path: "/products/{id}/restock", handle: a.restockProduct, admin: true},
		{method: http.MethodGet, path: "/failed-jobs", handle: a.listFailedJobs, admin: true, query: pageParameters()},
		{method: http.MethodPost, path: "/failed-jobs/{id}/retry", handle: a.retryFailedJob, admin: true},
		{method: http.MethodPost, path: "/failed-jobs/{id}/abandon", handle: a.abandonFailedJob, admin: true},
		{method: http.MethodGet, path: "/stats", handle: a.showStats, admin: true},
		{method: http.MethodPost, path: "/audit", handle: a.runAudit, admin: true},
		{method: http.MethodGet, path: "/health", handle: a.health, exempt: true, public: true},
		{method: http.MethodPost, path: "/auth/tokens", handle: a.logIn, public: true},
		{method: http.MethodDelete, path: "/auth/tokens/current", handle: a.logOut},
	}
}

// rootTable returns the routes outside the prefixes.
func (a *API) rootTable() []route {
	root := func(path string, handle func(*requestContext) error) route {
		return route{method: http.MethodGet, path: path, handle: handle, exempt: true, public: true, anyQuery: true}
	}
	table := []route{
		root(rootPath, a.index), root("/livez", a.live), root("/readyz", a.ready),
		root("/openapi.json", a.document), root("/docs", a.docs), root("/docs/rapidoc.js", a.docsScript),
	}
	if a.options.Metrics != nil {
		table = append(table, root("/metrics", a.showMetrics))
	}
	return table
}

// channelTable returns the routes that are served both outside and below the prefixes: libraries request a signature at the root,
// and single-page applications below the address of their API.
func (a *API) channelTable() []route {
	if !a.options.Realtime.CanSign() {
		return nil
	}
	return []route{{method: http.MethodPost, path: "/broadcasting/auth", handle: a.authorizeChannel}}
}

// rootPath is the pattern of the address "/" alone.
const rootPath = "/{$}"

// routes returns the mux with every route, and for each path a handler of the other methods.
func (a *API) routes() *http.ServeMux {
	mux := http.NewServeMux()
	add := func(table []route, name string, prefixes ...string) {
		allowed, last := map[string][]string{}, map[string]route{}
		for _, route := range table {
			allowed[route.path] = append(allowed[route.path], route.method)
			last[route.path] = route
			timing := a.metrics.timing(route.method, name+strings.TrimSuffix(route.path, "{$}"))
			for _, prefix := range prefixes {
				mux.Handle(route.method+" "+prefix+route.path, a.endpoint(route, timing))
			}
		}
		for path, methods := range allowed {
			other := route{path: path, exempt: last[path].exempt, public: last[path].public, anyQuery: true, handle: otherMethod(allow(methods))}
			timing := a.metrics.timing("other", name+strings.TrimSuffix(path, "{$}"))
			for _, prefix := range prefixes {
				mux.Handle(prefix+path, a.endpoint(other, timing))
			}
		}
	}
	table, root, channels := a.table(), a.rootTable(), a.channelTable()
	if a.options.Intake == nil { // a process without the role api serves health, probes and metrics only
		limited := func(route route) bool { return !route.exempt }
		table, root, channels = slices.DeleteFunc(table, limited), slices.DeleteFunc(root, limited), nil
	}
	add(table, prefixes()[0], prefixes()...)
	add(root, "", "")
	add(channels, "", append(prefixes(), "")...)
	mux.HandleFunc("/", a.unknownPath)
	return mux
}

// endpoint returns the handler of one route.
func (a *API) endpoint(route route, timing *timing) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		rc := w.(*requestContext) //nolint:forcetypeassert // only ServeHTTP calls the mux
		rc.r, rc.timing = r, timing
		if !route.exempt {
			rc.startSpan() //nolint:contextcheck // the requestContext has the context of the request
		}
		err := a.check(rc, &route) //nolint:contextcheck // likewise
		if err == nil {
			err = route.handle(rc)
		}
		if err != nil && route.refused != nil && !rc.submitted {
			route.refused(err)
		}
		if err != nil {
			rc.fail(err) //nolint:contextcheck // likewise
		}
	}
}

// check checks whether a request may be handled, in this order: the token, the rate limit, whether the token is an admin's, the query
// string, and the origin of a change.
func (a *API) check(rc *requestContext, route *route) error {
	var err error
	if !route.public {
		err = a.authenticate(rc)
	}
	if !route.exempt { // also with an invalid token, which counts against the address
		if exceeded := a.allowCaller(rc); exceeded != nil {
			err = exceeded
		}
	}
	if err == nil && route.admin {
		err = rc.requireAdmin()
	}
	if err == nil && !route.anyQuery {
		err = rc.readQuery(route.query)
	}
	if changes := route.method != "" && route.method != http.MethodGet; err == nil && changes {
		err = a.origins.CheckChange(rc.r)
	}
	return err
}

// unknownPath answers every path without a route.
func (a *API) unknownPath(w http.ResponseWriter, r *http.Request) {
	a.endpoint(route{anyQuery: true, handle: func(*requestContext) error {
		return order.Errorf(order.CodeNotFound, "This address does not exist. The addresses are listed at /docs.")
	}}, a.metrics.unmatched)(w, r)
}

// otherMethod returns the handler of the methods that a path does not allow.
func otherMethod(allowed string) func(*requestContext) error {
	return func(rc *requestContext) error {
		rc.Header().Set("Allow", allowed)
		if rc.r.Method == http.MethodOptions {
			rc.WriteHeader(http.StatusNoContent)
			return nil
		}
		return order.Errorf(order.CodeMethodNotAllowed, "This address does not allow %s. Use one of: %s.", methodName(rc.r.Method), allowed)
	}
}

// allow returns the value of the Allow header for a path with these methods.
func allow(methods []string) string {
	all := append(slices.Clone(methods), http.MethodOptions)
	if slices.Contains(all, http.MethodGet) {
		all = append(all, http.MethodHead)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// methodName returns a method for messages. Callers can send any text as a method, so a long one is not repeated.
func methodName(method string) string {
	if len(method) > 20 {
		return "this method"
	}
	return method
}
