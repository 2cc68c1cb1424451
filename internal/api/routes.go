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
	open         bool // needs no token, whatever the setting; one that is sent is not looked at
	admin        bool // for admins' tokens alone
	query        []web.Parameter
	anyQuery     bool // the query string is not read: load balancers, monitoring and caches may add to it
	handle       func(*requestContext) error
	refused      func(error) // counts an error of a request that the intake was not asked about; nil where nothing is counted
}

// Parameters of lists, as the OpenAPI document describes them.
func pageParameters() []web.Parameter {
	return []web.Parameter{{Name: "per_page"}, {Name: "page"}}
}

func orderParameters() []web.Parameter {
	return slices.Concat([]web.Parameter{{Name: "user_id"}, {Name: "status"}}, pageParameters(), []web.Parameter{{Name: "cursor", Empty: true}})
}

// table is every route of the API proper, below each of the prefixes.
func (a *API) table() []route {
	return []route{
		{method: http.MethodPost, path: "/orders", handle: a.createOrder, refused: a.orderRefused},
		{method: http.MethodGet, path: "/orders", handle: a.listOrders, query: orderParameters()},
		{method: http.MethodGet, path: "/orders/{id}", handle: a.showOrder},
		{method: http.MethodPost, path: "/orders/{id}/cancel", handle: a.cancelOrder, refused: a.cancelRefused},
		{method: http.MethodGet, path: "/orders/{id}/events", handle: a.orderEvents},
		{method: http.MethodGet, path: "/products", handle: a.listProducts},
		{method: http.MethodPost, path: "/products", handle: a.createProduct, admin: true},
		{method: http.MethodPatch, path: "/products/{id}", handle: a.changeProduct, admin: true},
		{method: http.MethodPost, path: "/products/{id}/restock", handle: a.restockProduct, admin: true},
		{method: http.MethodGet, path: "/failed-jobs", handle: a.listJobs, admin: true, query: pageParameters()},
		{method: http.MethodPost, path: "/failed-jobs/{id}/retry", handle: a.retryJob, admin: true},
		{method: http.MethodPost, path: "/failed-jobs/{id}/abandon", handle: a.abandonJob, admin: true},
		{method: http.MethodGet, path: "/stats", handle: a.showStats, admin: true},
		{method: http.MethodPost, path: "/audit", handle: a.runAudit, admin: true},
		{method: http.MethodGet, path: "/health", handle: a.health, exempt: true, open: true},
		{method: http.MethodPost, path: "/auth/tokens", handle: a.logIn, open: true},
		{method: http.MethodDelete, path: "/auth/tokens/current", handle: a.logOut},
	}
}

// rootTable is every route that stands outside the prefixes.
func (a *API) rootTable() []route {
	table := []route{
		{method: http.MethodGet, path: firstPath, handle: a.index, exempt: true, open: true, anyQuery: true},
		{method: http.MethodGet, path: "/livez", handle: a.live, exempt: true, open: true, anyQuery: true},
		{method: http.MethodGet, path: "/readyz", handle: a.ready, exempt: true, open: true, anyQuery: true},
		{method: http.MethodGet, path: "/openapi.json", handle: a.document, exempt: true, open: true, anyQuery: true},
		{method: http.MethodGet, path: "/docs", handle: a.docs, exempt: true, open: true, anyQuery: true},
		{method: http.MethodGet, path: "/docs/rapidoc.js", handle: a.docsScript, exempt: true, open: true, anyQuery: true},
	}
	if a.options.Metrics != nil {
		table = append(table, route{method: http.MethodGet, path: "/metrics", handle: a.showMetrics, exempt: true, open: true, anyQuery: true})
	}
	return table
}

// channelTable is the routes that stand both outside and below the prefixes: libraries ask for a signature at the root, and
// single-page applications below the address of their API.
func (a *API) channelTable() []route {
	if !a.options.Realtime.CanSign() {
		return nil
	}
	return []route{{method: http.MethodPost, path: "/broadcasting/auth", handle: a.authorizeChannel}}
}

// firstPath is the pattern of the address "/" alone.
const firstPath = "/{$}"

// routes returns the mux with every route, and for each path what answers the other methods.
func (a *API) routes() *http.ServeMux {
	mux := http.NewServeMux()
	add := func(table []route, name string, prefixes ...string) {
		allowed, likeIt := map[string][]string{}, map[string]route{}
		for _, route := range table {
			allowed[route.path] = append(allowed[route.path], route.method)
			likeIt[route.path] = route
			timing := a.metrics.timing(route.method, name+strings.TrimSuffix(route.path, "{$}"))
			for _, prefix := range prefixes {
				mux.Handle(route.method+" "+prefix+route.path, a.endpoint(route, timing))
			}
		}
		for path, methods := range allowed {
			other := route{path: path, exempt: likeIt[path].exempt, open: likeIt[path].open, anyQuery: true, handle: otherMethod(allow(methods))}
			timing := a.metrics.timing("other", name+strings.TrimSuffix(path, "{$}"))
			for _, prefix := range prefixes {
				mux.Handle(prefix+path, a.endpoint(other, timing))
			}
		}
	}
	table, root, channels := a.table(), a.rootTable(), a.channelTable()
	if a.options.Intake == nil { // a process without the role api is asked for its health alone
		others := func(route route) bool { return !route.exempt }
		table, root, channels = slices.DeleteFunc(table, others), slices.DeleteFunc(root, others), nil
	}
	add(table, prefixes()[0], prefixes()...)
	add(root, "", "")
	add(channels, "", append(prefixes(), "")...)
	mux.HandleFunc("/", a.unknownPath)
	return mux
}

// endpoint is the handler of one route. The mux hands the exchange through as it is.
func (a *API) endpoint(route route, timing *timing) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		x := w.(*requestContext) //nolint:forcetypeassert // ServeHTTP alone calls the mux
		x.r, x.timing = r, timing
		if !route.exempt {
			x.follow() //nolint:contextcheck // the exchange has the request's
		}
		var err error
		if !route.open {
			err = a.identify(x) //nolint:contextcheck // the exchange has the request's
		}
		if !route.exempt { // a wrong token counts against the address
			if over := a.admit(x); over != nil { //nolint:contextcheck // likewise
				err = over
			}
		}
		if err == nil && route.admin {
			err = x.requireAdmin()
		}
		if err == nil && !route.anyQuery {
			err = x.readQuery(route.query)
		}
		if err == nil {
			err = route.handle(x)
		}
		if err != nil && route.refused != nil && !x.asked {
			route.refused(err)
		}
		if err != nil {
			x.fail(err) //nolint:contextcheck // likewise
		}
	}
}

// unknownPath answers all that is no route.
func (a *API) unknownPath(w http.ResponseWriter, r *http.Request) {
	a.endpoint(route{anyQuery: true, handle: func(*requestContext) error {
		return order.Errorf(order.CodeNotFound, "There is nothing at this address. See /docs for what there is.")
	}}, a.metrics.unmatched)(w, r)
}

// otherMethod answers a method that a path does not have.
func otherMethod(allowed string) func(*requestContext) error {
	return func(x *requestContext) error {
		x.Header().Set("Allow", allowed)
		if x.r.Method == http.MethodOptions {
			x.WriteHeader(http.StatusNoContent)
			return nil
		}
		return order.Errorf(order.CodeMethodNotAllowed, "This address does not take %s, only %s.", methodName(x.r.Method), allowed)
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

// methodName is a method as messages may repeat it: callers can invent any.
func methodName(method string) string {
	if len(method) > 20 {
		return "this method"
	}
	return method
}
