package api

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/web"
)

// ServeHTTP answers any request: it does what all paths have in common and leaves the rest to the routes.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.serve(w, r, nil) //nolint:contextcheck // the exchange has the context of the request
}

// InProcess returns the API for callers within the process, such as pages of the same server: who calls is known, whatever a
// request carries, and there is no rate limit. Its handler may be called from any goroutine.
func (a *API) InProcess(who order.Caller) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.serve(w, r, &who) //nolint:contextcheck // the exchange has the context of the request
	})
}

// serve answers a request that came by a connection, or from inside.
func (a *API) serve(w http.ResponseWriter, r *http.Request, inside *order.Caller) {
	x, ok := a.pool.Get().(*requestContext)
	if !ok {
		x = new(requestContext)
	}
	x.api, x.w, x.r, x.began, x.trace, x.inside = a, w, r, time.Now(), traceOf(r), inside
	defer x.finish()
	x.commonHeaders()
	switch {
	case x.preflight():
	case !web.CleanPath(r.URL.Path):
		// ServeMux would redirect to the clean path; no address of ours is ever spelled that way.
		a.unknownPath(x, r)
	default:
		a.mux.ServeHTTP(x, r)
	}
}

// finish counts the request, turns a panic into an answer, and gives the exchange back.
func (x *requestContext) finish() {
	value := recover()
	if value == nil {
		x.count()
		x.recycle()
		return
	}
	if value == http.ErrAbortHandler { //nolint:errorlint // net/http compares it the same way
		x.count()
		panic(value)
	}
	x.log(slog.LevelError, "a request panicked", "request.panicked", fmt.Errorf("%v\n%s", value, debug.Stack()))
	broken := x.status != 0
	if !broken {
		x.out = web.AppendError(x.out[:0], web.InternalError(), x.trace.ID)
		x.json(http.StatusInternalServerError, x.out)
	}
	x.count()
	if broken {
		panic(http.ErrAbortHandler)
	}
}

// recycle gives the exchange to a later request. One that panicked is left to the collector: whoever holds on to it
// can do no harm there.
func (x *requestContext) recycle() {
	a := x.api
	x.reset()
	a.pool.Put(x)
}

// count adds the request to the metrics, and to the log for those who look that closely.
func (x *requestContext) count() {
	took := x.took
	if took == 0 {
		took = time.Since(x.began)
	}
	if x.timing == nil {
		x.timing = x.api.metrics.unmatched
	}
	counted := x.status
	if x.took == 0 && !x.slow && x.r.Context().Err() != nil { // a stream ends that way
		counted = statusGone
	}
	x.timing.observe(counted, took)
	x.followed()
	logger, ctx := x.api.options.Logger, x.r.Context()
	if logger.Enabled(ctx, slog.LevelDebug) {
		logger.LogAttrs(ctx, slog.LevelDebug, "request", slog.String("event", "request"), slog.String("trace_id", x.trace.ID),
			slog.String("method", x.r.Method), slog.String("path", x.r.URL.Path), slog.Int("status", counted),
			slog.Int("answered", x.status), slog.Duration("took", took))
	}
}

// fixedHeaders are header values that most answers share. Nobody changes them: Header.Set replaces the slice.
type fixedHeaders struct {
	nosniff, deny, noReferrer, nothing, noStore, json, vary, exposed, closes, replayed, bearer []string
}

func newFixedHeaders() fixedHeaders {
	return fixedHeaders{
		nosniff:    []string{"nosniff"},
		deny:       []string{"DENY"},
		noReferrer: []string{"no-referrer"},
		nothing:    []string{"default-src 'none'; frame-ancestors 'none'"},
		noStore:    []string{"no-store"},
		json:       []string{"application/json"},
		vary:       []string{"Origin"},
		exposed:    []string{corsExposed},
		closes:     []string{"close"},
		replayed:   []string{"true"},
		bearer:     []string{"Bearer"},
	}
}

// commonHeaders sets what every answer carries. It writes to the map with canonical names, which Header.Set would
// compute each time.
func (x *requestContext) commonHeaders() {
	h, fixed := x.Header(), &x.api.fixed
	h["X-Trace-Id"] = []string{x.trace.ID}
	h["X-Content-Type-Options"] = fixed.nosniff
	h["X-Frame-Options"] = fixed.deny
	h["Referrer-Policy"] = fixed.noReferrer
	h["Content-Security-Policy"] = fixed.nothing
	h["Cache-Control"] = fixed.noStore
	h["Vary"] = fixed.vary
	if x.api.draining.Load() {
		h["Connection"] = fixed.closes
	}
	x.allowOrigin()
}
