package console

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/web"
)

//go:embed templates/*.html
var templateFiles embed.FS

// requestContext is one request to the console with its response.
type requestContext struct {
	console *Console
	w       http.ResponseWriter
	r       *http.Request
	page    *page
	session session
	trace   string
	query   url.Values // parameters of the query string that the page takes
}

// errResponded is returned by a handler that has written the response itself.
var errResponded = errors.New("console: responded")

// seeOther is returned by a handler to redirect the browser to another path, such as "/console/orders/7".
type seeOther string

// Error implements error.
func (to seeOther) Error() string { return "see " + string(to) }

// view is the data of a template.
type view struct {
	Page    *page
	Nav     []*page
	Session session
	Data    any
	Error   *order.Error // the page failed; Data may be nil
	Trace   string
}

// loadTemplates parses every page's template together with the layout.
func (c *Console) loadTemplates() (map[string]*template.Template, error) {
	layout, err := template.New("").Funcs(template.FuncMap{"asset": c.assets.href}).ParseFS(templateFiles, "templates/layout.html")
	if err != nil {
		return nil, err
	}
	all := map[string]*template.Template{"": layout}
	for _, p := range c.pages() {
		if p.template == "" || all[p.template] != nil {
			continue
		}
		clone, err := layout.Clone()
		if err == nil {
			all[p.template], err = clone.ParseFS(templateFiles, "templates/"+p.template)
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// readQuery reads the query string. The error carries CodeValidation: an ignored filter would show more than was requested.
func (rc *requestContext) readQuery() error {
	values, wrong := web.Query(rc.r.URL.RawQuery, rc.page.query...)
	rc.query = values
	return wrong.Err()
}

// Limits of a form in bytes.
const (
	maxForm       = 64 << 10
	maxPublicForm = 16 << 10 // before the log-in
)

// form returns the submitted form, nil together with an error.
func (rc *requestContext) form() (url.Values, error) {
	limit := int64(maxForm)
	if rc.page.public {
		limit = maxPublicForm
	}
	text, err := io.ReadAll(http.MaxBytesReader(rc.w, rc.r.Body, limit))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, order.Errorf(order.CodePayloadTooLarge, "The form is larger than %d bytes.", limit)
	}
	values := url.Values(nil)
	if err == nil {
		values, err = url.ParseQuery(string(text))
	}
	if err != nil {
		return nil, order.Invalid("form", "is malformed or incomplete")
	}
	return values, nil
}

// detach lets an action run up to limit, even when the browser or a proxy closes the connection. The caller calls cancel at the
// end.
func (rc *requestContext) detach(limit time.Duration) (cancel context.CancelFunc) {
	web.ExtendDeadline(rc.w, limit)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(rc.r.Context()), limit)
	rc.r = rc.r.WithContext(ctx)
	return cancel
}

// respond writes the response for the handler's result.
func (rc *requestContext) respond(data any, err error) {
	var to seeOther
	switch {
	case err == nil:
		rc.draw(http.StatusOK, view{Data: data})
	case errors.Is(err, errResponded):
	case errors.As(err, &to):
		rc.redirect(string(to))
	default:
		public := rc.publicError(err)
		rc.draw(web.StatusOf(public.Code), view{Data: data, Error: public})
	}
}

// redirect sends the browser to another path. htmx needs its own header: it would insert the other page into this one.
func (rc *requestContext) redirect(to string) {
	if rc.fragment() {
		rc.w.Header().Set("HX-Redirect", to)
		rc.w.WriteHeader(http.StatusOK)
		return
	}
	rc.w.Header().Set("Location", to)
	rc.w.WriteHeader(http.StatusSeeOther)
}

// fragment reports whether htmx requests a part of a page.
func (rc *requestContext) fragment() bool {
	return rc.r.Header.Get("HX-Request") == "true" && rc.r.Header.Get("HX-Request-Type") != "full"
}

// publicError returns the error for the page. An internal error is logged, and the page shows only the trace id.
func (rc *requestContext) publicError(err error) *order.Error {
	var coded *order.Error
	if errors.As(err, &coded) && coded.Code != order.CodeInternal && web.StatusOf(coded.Code) != 0 {
		return coded
	}
	rc.console.options.Logger.LogAttrs(rc.r.Context(), slog.LevelError, "A page of the console failed.", slog.String("event", "console.failed"),
		slog.String("trace_id", rc.trace), slog.String("path", rc.r.URL.Path), slog.String("error", err.Error()))
	return web.InternalError()
}

// draw writes the page, or the part that htmx requests. It executes the template before it sends a byte, so that an error in a
// template becomes a complete error response.
func (rc *requestContext) draw(status int, data view) {
	data.Page, data.Session, data.Trace, data.Nav = rc.page, rc.session, rc.trace, rc.console.nav()
	templates, name := rc.console.templates[rc.page.template], "layout"
	if rc.fragment() {
		name = "main"
		if part := rc.query.Get("part"); slices.Contains(rc.page.parts, part) {
			name = part
		}
	}
	if data.Error != nil && (rc.page.template == "" || data.Data == nil) {
		templates = rc.console.templates[""] // the layout, whose main shows the error
	}
	var out bytes.Buffer
	contentType := "text/html; charset=utf-8"
	if err := templates.ExecuteTemplate(&out, name, data); err != nil {
		status, contentType = http.StatusInternalServerError, "text/plain; charset=utf-8" // the layout itself may have failed
		out.Reset()
		out.WriteString(rc.publicError(err).Message + " (" + rc.trace + ")\n")
	}
	h := rc.w.Header()
	h.Set("Content-Type", contentType)
	h.Add("Vary", "HX-Request")
	h.Set("Content-Length", strconv.Itoa(out.Len()))
	rc.w.WriteHeader(status)
	_, _ = rc.w.Write(out.Bytes()) // an error means that the browser has closed the connection
}

// nav returns the pages of the navigation.
func (c *Console) nav() []*page {
	var list []*page
	for _, p := range c.pages() {
		if p.nav {
			list = append(list, &p)
		}
	}
	return list
}
