package api

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"orderflow/internal/order"
	"orderflow/internal/web"
)

// Bounds of a list. Pages further down are what cursors are for: a page has to count and skip all that come before it.
const (
	defaultPerPage = 15
	maxPerPage     = 50
	maxPage        = 10_000
)

func (a *API) listOrders(x *requestContext) error {
	query, err := x.query.list()
	if err != nil {
		return err
	}
	if query.UserID == 0 && !x.caller.Admin {
		query.UserID = x.caller.UserID // the caller's own; 0, and so anybody's, without a token
	}
	if err := mayActFor(x.caller, query.UserID); err != nil {
		return err
	}
	page, err := a.options.Reader.Orders(x.r.Context(), query)
	if err != nil {
		return err
	}
	x.out = append(x.out[:0], `{"data":[`...)
	for i := range page.Orders {
		if i > 0 {
			x.out = append(x.out, ',')
		}
		x.out = appendOrder(x.out, &page.Orders[i])
	}
	x.out = append(x.out, `],"meta":`...)
	x.out = appendMeta(x.out, query, page)
	x.out = append(x.out, '}', '\n')
	return x.jsonMade(x.out)
}

func appendMeta(dst []byte, query order.ListQuery, page order.Page) []byte {
	if query.Page == 0 {
		dst = append(dst, `{"per_page":`...)
		dst = strconv.AppendInt(dst, int64(query.PerPage), 10)
		dst = append(dst, `,"next_cursor":`...)
		if page.More && len(page.Orders) > 0 {
			dst = web.AppendString(dst, formatCursor(page.Orders[len(page.Orders)-1].ID))
		} else {
			dst = append(dst, `null`...)
		}
		return append(dst, '}')
	}
	perPage := int64(query.PerPage)
	dst = append(dst, `{"current_page":`...)
	dst = strconv.AppendInt(dst, int64(query.Page), 10)
	dst = append(dst, `,"per_page":`...)
	dst = strconv.AppendInt(dst, perPage, 10)
	dst = append(dst, `,"total":`...)
	dst = strconv.AppendInt(dst, page.Total, 10)
	dst = append(dst, `,"last_page":`...)
	dst = strconv.AppendInt(dst, max(1, (page.Total+perPage-1)/perPage), 10)
	return append(dst, '}')
}

// parameters are those of a request's query string, with what is wrong with them.
type parameters struct {
	values url.Values
	faults faults
}

// readQuery reads the query string of a route that takes these parameters. A route that takes some reads their values and
// returns all errors together; of one that takes none the error is returned here.
func (x *requestContext) readQuery(takes []web.Parameter) error {
	if x.r.URL.RawQuery == "" {
		return nil
	}
	x.query.values, x.query.faults = web.Query(x.r.URL.RawQuery, takes...)
	if len(takes) > 0 {
		return nil
	}
	return x.query.faults.err()
}

// list reads the parameters of a list of orders. All errors come in one CodeValidation error.
func (p *parameters) list() (order.ListQuery, error) {
	query := p.paging()
	query.UserID = p.number("user_id", 0, order.MaxID)
	if status := p.values.Get("status"); status != "" {
		query.Status = order.Status(status)
		if !query.Status.Valid() {
			p.faults.add("status", "must be one of "+statusNames())
		}
	}
	if p.values.Has("cursor") {
		query.Page = 0
		if cursor := p.values.Get("cursor"); cursor != "" {
			var ok bool
			if query.Before, ok = parseCursor(cursor); !ok {
				p.faults.add("cursor", "is none that was given out; begin again with an empty one")
			}
		}
		if p.values.Has("page") {
			p.faults.add("cursor", "cannot be combined with page")
		}
	}
	return query, p.faults.err()
}

// paging reads the parameters that every list with pages takes.
func (p *parameters) paging() order.ListQuery {
	return order.ListQuery{
		PerPage: int(p.number("per_page", defaultPerPage, maxPerPage)),
		Page:    int(p.number("page", 1, maxPage)),
	}
}

// number returns a number from 1 to limit, or fallback when it was not given.
func (p *parameters) number(name string, fallback, limit int64) int64 {
	if !p.values.Has(name) {
		return fallback
	}
	n, ok := parseID(p.values.Get(name))
	if !ok || n > limit {
		p.faults.add(name, fmt.Sprintf("must be a whole number from 1 to %d", limit))
		return fallback
	}
	return n
}

func statusNames() string {
	names := make([]string, 0, len(order.Statuses()))
	for _, status := range order.Statuses() {
		names = append(names, string(status))
	}
	return strings.Join(names, ", ")
}

// cursorMark begins what a cursor hides, so that a later release can tell its own from these.
const cursorMark = "1:"

// formatCursor makes a cursor of the last order of a page. Callers are to hand it back and not to look into it.
func formatCursor(before int64) string {
	return base64.RawURLEncoding.EncodeToString(strconv.AppendInt([]byte(cursorMark), before, 10))
}

func parseCursor(cursor string) (before int64, ok bool) {
	text, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil {
		return 0, false
	}
	digits, marked := strings.CutPrefix(string(text), cursorMark)
	if !marked {
		return 0, false
	}
	return parseID(digits)
}
