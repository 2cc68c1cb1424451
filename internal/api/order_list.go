package api

import (
	"encoding/base64"
	"strconv"
	"strings"

	"orderflow/internal/order"
	"orderflow/internal/web"
)

func (a *API) listOrders(rc *requestContext) error {
	query, err := rc.query.orders()
	if err != nil {
		return err
	}
	if query.UserID == 0 && !rc.caller.Admin {
		query.UserID = rc.caller.UserID // without a token this is 0, which means all users
	}
	if err := mayActFor(rc.caller, query.UserID); err != nil {
		return err
	}
	page, err := a.options.Reader.Orders(rc.r.Context(), query)
	if err != nil {
		return err
	}
	rc.out = append(rc.out[:0], `{"data":[`...)
	for i := range page.Orders {
		if i > 0 {
			rc.out = append(rc.out, ',')
		}
		rc.out = appendOrder(rc.out, &page.Orders[i])
	}
	rc.out = append(rc.out, `],"meta":`...)
	rc.out = appendMeta(rc.out, query, page)
	rc.out = append(rc.out, '}', '\n')
	return rc.jsonLarge(rc.out)
}

// orders returns the parameters of a list of orders. All validation errors come in one CodeValidation error.
func (p *parameters) orders() (order.ListQuery, error) {
	query := p.paging()
	query.UserID = p.number("user_id", 0, order.MaxID)
	if status := p.values.Get("status"); status != "" {
		query.Status = order.Status(status)
		if !query.Status.Valid() {
			p.errors.Add("status", "must be one of "+statusNames())
		}
	}
	if p.values.Has("cursor") {
		query.Page = 0
		if cursor := p.values.Get("cursor"); cursor != "" {
			var ok bool
			if query.Before, ok = parseCursor(cursor); !ok {
				p.errors.Add("cursor", "is not a cursor of this API; begin again with an empty one")
			}
		}
		if p.values.Has("page") {
			p.errors.Add("cursor", "cannot be combined with page")
		}
	}
	return query, p.errors.Err()
}

func statusNames() string {
	names := make([]string, 0, len(order.Statuses()))
	for _, status := range order.Statuses() {
		names = append(names, string(status))
	}
	return strings.Join(names, ", ")
}

// appendMeta appends the position of a page in its list.
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

// cursorVersion begins the text that a cursor encodes, so that a later release can distinguish its cursors from these.
const cursorVersion = "1:"

// formatCursor returns the cursor for the page after this order. Clients must treat it as opaque.
func formatCursor(before int64) string {
	return base64.RawURLEncoding.EncodeToString(strconv.AppendInt([]byte(cursorVersion), before, 10))
}

func parseCursor(cursor string) (before int64, ok bool) {
	text, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil {
		return 0, false
	}
	digits, known := strings.CutPrefix(string(text), cursorVersion)
	if !known {
		return 0, false
	}
	return parseID(digits)
}
