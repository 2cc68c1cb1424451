package api

import (
	"fmt"
	"net/url"
	"slices"

	"orderflow/internal/order"
	"orderflow/internal/web"
)

// Bounds of a page. A page number is bounded, since the database has to count and skip all rows before the page; cursors have no
// such cost.
const (
	defaultPerPage = 15
	maxPerPage     = 50
	maxPage        = 10_000
)

// pageParameters are the parameters of every list with pages, as in the OpenAPI document.
func pageParameters() []web.Parameter {
	return []web.Parameter{{Name: "per_page"}, {Name: "page"}}
}

// orderParameters are the parameters of the list of orders.
func orderParameters() []web.Parameter {
	return slices.Concat([]web.Parameter{{Name: "user_id"}, {Name: "status"}}, pageParameters(), []web.Parameter{{Name: "cursor", Empty: true}})
}

// parameters are the parameters of a request's query string and their validation errors.
type parameters struct {
	values url.Values
	errors order.ValidationErrors
}

// readQuery reads the query string of a route with these parameters. The handler of a route with parameters reads their values and
// returns all validation errors together; for a route without parameters they are returned here.
func (rc *requestContext) readQuery(allowed []web.Parameter) error {
	if rc.r.URL.RawQuery == "" {
		return nil
	}
	rc.query.values, rc.query.errors = web.Query(rc.r.URL.RawQuery, allowed...)
	if len(allowed) > 0 {
		return nil
	}
	return rc.query.errors.Err()
}

// paging returns the parameters of every list with pages.
func (p *parameters) paging() order.ListQuery {
	return order.ListQuery{
		PerPage: int(p.number("per_page", defaultPerPage, maxPerPage)),
		Page:    int(p.number("page", 1, maxPage)),
	}
}

// number returns a number from 1 to limit, or fallback when the parameter is absent or invalid.
func (p *parameters) number(name string, fallback, limit int64) int64 {
	if !p.values.Has(name) {
		return fallback
	}
	n, ok := parseID(p.values.Get(name))
	if !ok || n > limit {
		p.errors.Add(name, fmt.Sprintf("must be a whole number from 1 to %d", limit))
		return fallback
	}
	return n
}
