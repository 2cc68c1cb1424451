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

// visit is one request to the console and its answer.
type requestContext struct {
	console *Console
	w       http.ResponseWriter
	r       *http.Request
	page    *page
	who     session
	trace   string
	query   url.Values // parameters of the query string that the page takes
}

// errAnswered is returned by a handler that has answered by itself.
var errAnswered = errors.New("console: answered")

// seeOther is returned by a handler to send the browser to another address of the console, such as "/console/orders/7".
type seeOther string

// Error implements error.
func (to seeOther) Error() string { return "see " + string(to) }

// view is what templates see.
type view struct {
	Page  *page
	Nav   []*page
	Who   session
	Data  any
	Error *order.Error // instead of Data, when the page failed
	Trace string
}

// loadTemplates parses every page's template with the frame round it.
func (c *Console) loadTemplates() (map[string]*template.Template, error) {
	frame, err := template.New("").Funcs(template.FuncMap{"asset": c.assets.href}).ParseFS(templateFiles, "templates/layout.html")
	if err != nil {
		return nil, err
	}
	all := map[string]*template.Template{"": frame}
	for _, p := range c.pages() {
		if p.template == "" || all[p.template] != nil {
			continue
		}
		clone, err := frame.Clone()
		if err == nil {
			all[p.template], err = clone.ParseFS(templateFiles, "templates/"+p.template)
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// readQuery reads the query string by the page's table. The error carries CodeValidation: a filter that is ignored would show
// more than was asked for.
func (v *requestContext) readQuery() error {
	values, wrong := web.Query(v.r.URL.RawQuery, v.page.query...)
	v.query = values
	return order.ValidationErrors(wrong).Err()
}

// How long a form may be, in bytes.
const (
	maxForm     = 64 << 10
	maxOpenForm = 16 << 10 // from people who are not logged in
)

// form is the form that was sent, empty together with an error.
func (v *requestContext) form() (url.Values, error) {
	limit := int64(maxForm)
	if v.page.open {
		limit = maxOpenForm
	}
	text, err := io.ReadAll(http.MaxBytesReader(v.w, v.r.Body, limit))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, order.Errorf(order.CodePayloadTooLarge, "The form is larger than %d bytes.", limit)
	}
	values := url.Values(nil)
	if err == nil {
		values, err = url.ParseQuery(string(text))
	}
	if err != nil {
		return nil, order.Invalid("form", "is not well-formed, or broke off")
	}
	return values, nil
}

// outlive lets an action take up to limit, and go on to its end when the visitor, or a proxy between, does not wait for it. cancel
// must be called when it has ended.
func (v *requestContext) outlive(limit time.Duration) (cancel context.CancelFunc) {
	v.console.options.MayTake(v.w, limit)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.r.Context()), limit)
	v.r = v.r.WithContext(ctx)
	return cancel
}

// answer draws what the handler returned, or the error.
func (v *requestContext) answer(data any, err error) {
	var to seeOther
	switch {
	case err == nil:
		v.draw(http.StatusOK, view{Data: data})
	case errors.Is(err, errAnswered):
	case errors.As(err, &to):
		v.redirect(string(to))
	default:
		shown := v.shown(err)
		v.draw(v.console.options.Status(shown.Code), view{Data: data, Error: shown})
	}
}

// redirect sends the browser elsewhere; htmx needs to be told in its own way, as it would put the other page into this one.
func (v *requestContext) redirect(to string) {
	if v.fragment() {
		v.w.Header().Set("HX-Redirect", to)
		v.w.WriteHeader(http.StatusOK)
		return
	}
	v.w.Header().Set("Location", to)
	v.w.WriteHeader(http.StatusSeeOther)
}

// fragment reports whether htmx asks, for a part of a page.
func (v *requestContext) fragment() bool {
	return v.r.Header.Get("HX-Request") == "true" && v.r.Header.Get("HX-Request-Type") != "full"
}

// shown is the part of err that people see; what they may not know goes to the log.
func (v *requestContext) shown(err error) *order.Error {
	var coded *order.Error
	if errors.As(err, &coded) && coded.Code != order.CodeInternal && v.console.options.Status(coded.Code) != 0 {
		return coded
	}
	v.console.options.Logger.LogAttrs(v.r.Context(), slog.LevelError, "a page of the console failed", slog.String("event", "console.failed"),
		slog.String("trace_id", v.trace), slog.String("path", v.r.URL.Path), slog.String("error", err.Error()))
	return order.Errorf(order.CodeInternal, "Something went wrong on our side. The log has it under the trace id.")
}

// draw writes the page, or the part of it that htmx asks for. It is drawn whole before a byte is sent, so that an error in a
// template is an answer of its own and no half a page.
func (v *requestContext) draw(status int, shown view) {
	shown.Page, shown.Who, shown.Trace, shown.Nav = v.page, v.who, v.trace, v.console.nav()
	templates, name := v.console.templates[v.page.template], "layout"
	if v.fragment() {
		name = "main"
		if part := v.query.Get("part"); slices.Contains(v.page.parts, part) {
			name = part
		}
	}
	if shown.Error != nil && (v.page.template == "" || shown.Data == nil) {
		templates = v.console.templates[""] // whose main is the error
	}
	var out bytes.Buffer
	if err := templates.ExecuteTemplate(&out, name, shown); err != nil {
		shown.Error = v.shown(err)
		status = http.StatusInternalServerError
		out.Reset()
		out.WriteString(shown.Error.Message + " (" + v.trace + ")\n") // the frame itself may be what is broken
		v.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	} else {
		v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	}
	v.w.Header().Add("Vary", "HX-Request")
	v.w.Header().Set("Content-Length", strconv.Itoa(out.Len()))
	v.w.WriteHeader(status)
	_, _ = v.w.Write(out.Bytes()) // a browser that is gone has nobody to tell
}

// nav is the pages of the navigation.
func (c *Console) nav() []*page {
	var list []*page
	for _, p := range c.pages() {
		if p.nav {
			list = append(list, &p)
		}
	}
	return list
}
