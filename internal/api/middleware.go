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

// ServeHTTP answers every request: it does what all paths have in common and passes the rest to the routes.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.serve(w, r, nil) //nolint:contextcheck // the requestContext has the context of the request
}

// InProcess returns the API for callers within the process, such as pages of the same server. The caller is given, whatever a request
// contains, and there is no rate limit. The handler may be called from any goroutine.
func (a *API) InProcess(caller order.Caller) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.serve(w, r, &caller) //nolint:contextcheck // the requestContext has the context of the request
	})
}

// serve answers a request over a connection, or from within the process.
func (a *API) serve(w http.ResponseWriter, r *http.Request, inProcess *order.Caller) {
	rc, ok := a.pool.Get().(*requestContext)
	if !ok {
		rc = new(requestContext)
	}
	rc.api, rc.w, rc.r, rc.began, rc.inProcess = a, w, r, time.Now(), inProcess
	rc.trace.ID = web.TraceID(r)
	defer rc.finish()
	rc.commonHeaders()
	switch {
	case rc.preflight():
	case !web.CleanPath(r.URL.Path): // ServeMux would redirect it
		a.unknownPath(rc, r)
	default:
		a.mux.ServeHTTP(rc, r)
	}
}

// finish counts the request, answers a panic with internal_error, and returns the requestContext to the pool.
func (rc *requestContext) finish() {
	value := recover()
	if value == nil {
		rc.count()
		a := rc.api
		rc.reset()
		a.pool.Put(rc)
		return
	}
	if value == http.ErrAbortHandler { //nolint:errorlint // net/http compares it the same way
		rc.count()
		panic(value)
	}
	// The requestContext does not return to the pool: a goroutine of the panicked handler may still use it.
	rc.log(slog.LevelError, "A request panicked.", "request.panicked", fmt.Errorf("%v\n%s", value, debug.Stack()))
	partial := rc.status != 0
	if !partial {
		rc.out = web.AppendError(rc.out[:0], web.InternalError(), rc.trace.ID)
		rc.json(http.StatusInternalServerError, rc.out)
	}
	rc.count()
	if partial {
		panic(http.ErrAbortHandler)
	}
}

// count adds the request to the metrics, ends its span, and writes its debug line.
func (rc *requestContext) count() {
	took := rc.untilStream
	if took == 0 {
		took = time.Since(rc.began)
	}
	if rc.timing == nil {
		rc.timing = rc.api.metrics.unmatched
	}
	status := rc.status
	if rc.untilStream == 0 && !rc.bodyTimedOut && rc.r.Context().Err() != nil { // event streams end in this way
		status = statusDisconnected
	}
	rc.timing.observe(status, took)
	rc.endSpan()
	logger, ctx := rc.api.options.Logger, rc.r.Context()
	if logger.Enabled(ctx, slog.LevelDebug) {
		logger.LogAttrs(ctx, slog.LevelDebug, "A request was answered.", slog.String("event", "request"), slog.String("trace_id", rc.trace.ID),
			slog.String("method", rc.r.Method), slog.String("path", rc.r.URL.Path), slog.Int("status", status),
			slog.Int("answered", rc.status), slog.Duration("took", took))
	}
}

// fixedHeaders are header values that most answers share. They are never changed: Header.Set replaces the slice.
type fixedHeaders struct {
	nosniff, deny, noReferrer, policy, noStore, json, vary, exposed, closes, replayed, bearer []string
}

func newFixedHeaders() fixedHeaders {
	return fixedHeaders{
		nosniff:    []string{"nosniff"},
		deny:       []string{"DENY"},
		noReferrer: []string{"no-referrer"},
		policy:     []string{"default-src 'none'; frame-ancestors 'none'"},
		noStore:    []string{"no-store"},
		json:       []string{mediaJSON},
		vary:       []string{"Origin"},
		exposed:    []string{corsExposed},
		closes:     []string{"close"},
		replayed:   []string{"true"},
		bearer:     []string{"Bearer"},
	}
}

// commonHeaders sets the headers of every answer. It writes canonical names to the map, which Header.Set would compute each time.
func (rc *requestContext) commonHeaders() {
	h, fixed := rc.Header(), &rc.api.fixed
	h["X-Trace-Id"] = []string{rc.trace.ID}
	h["X-Content-Type-Options"] = fixed.nosniff
	h["X-Frame-Options"] = fixed.deny
	h["Referrer-Policy"] = fixed.noReferrer
	h["Content-Security-Policy"] = fixed.policy
	h["Cache-Control"] = fixed.noStore
	h["Vary"] = fixed.vary
	if rc.api.draining.Load() {
		h["Connection"] = fixed.closes
	}
	rc.allowOrigin()
}
