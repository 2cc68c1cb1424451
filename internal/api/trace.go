package api

import (
	"net/http"

	"orderflow/internal/tracing"
)

// startSpan takes over the caller's traceparent and starts the request's span, where the request is traced.
func (rc *requestContext) startSpan() {
	if headers := rc.r.Header["Traceparent"]; len(headers) == 1 {
		rc.trace.Parent = tracing.FromHeader(headers[0])
	}
	rc.span = rc.api.options.Tracer.Request(rc.r.Context(), rc.trace.Parent, rc.r.Header["Tracestate"], rc.timing.name)
	if !rc.span.Recording() {
		return
	}
	rc.trace.Parent = rc.span.Parent("")
	rc.span.Set(tracing.Text("http.request.method", methodName(rc.r.Method)), tracing.Text("http.route", rc.timing.route),
		tracing.Text("orderflow.trace_id", rc.trace.ID))
}

// endSpan ends the request's span.
func (rc *requestContext) endSpan() {
	if !rc.span.Recording() {
		return
	}
	rc.span.Set(tracing.Int("http.response.status_code", int64(rc.status)))
	if rc.status >= http.StatusInternalServerError {
		rc.span.Fail(http.StatusText(rc.status))
	}
	rc.span.End(nil)
}
