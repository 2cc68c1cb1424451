package api

import (
	"net/http"
	"strings"

	"orderflow/internal/order"
	"orderflow/internal/tracing"
	"orderflow/internal/web"
)

// traceOf returns the caller's trace id where it is well-formed, else a new one, and the caller's traceparent where that
// is well-formed.
func traceOf(r *http.Request) order.Trace {
	trace := order.Trace{ID: web.TraceID(r)}
	if parents := r.Header["Traceparent"]; len(parents) == 1 {
		trace.Parent = parentOf(parents[0])
	}
	return trace
}

// follow begins the request's span, where it is to be followed. What comes of the request stands below it.
func (x *requestContext) follow() {
	x.span = x.api.options.Tracer.Request(x.r.Context(), x.trace.Parent, x.r.Header["Tracestate"], x.timing.name)
	if !x.span.Recording() {
		return
	}
	x.trace.Parent = x.span.Parent("")
	x.span.Set(tracing.Text("http.request.method", methodName(x.r.Method)), tracing.Text("http.route", x.timing.route),
		tracing.Text("orderflow.trace_id", x.trace.ID))
}

// followed ends the request's span.
func (x *requestContext) followed() {
	if !x.span.Recording() {
		return
	}
	x.span.Set(tracing.Int("http.response.status_code", int64(x.status)))
	if x.status >= http.StatusInternalServerError {
		x.span.Fail(http.StatusText(x.status))
	}
	x.span.End(nil)
}

// parentLength is the length of a traceparent of version 00:
// 00-{trace id, 32 hex digits}-{parent id, 16 hex digits}-{flags, 2 hex digits}, lower case, neither id all zeros.
const parentLength = 55

// parentOf returns a traceparent of W3C Trace Context as one of version 00, "" when it is malformed. As the specification asks
// for, a later version is read by the layout of version 00, and of its flags only the one that says sampled is known.
func parentOf(s string) string {
	if len(s) < parentLength || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return ""
	}
	version, trace, parent, flags := s[:2], s[3:35], s[36:52], s[53:parentLength]
	if !lowerHex(version) || !lowerHex(trace) || !lowerHex(parent) || !lowerHex(flags) || version == "ff" {
		return ""
	}
	if strings.Trim(trace, "0") == "" || strings.Trim(parent, "0") == "" {
		return ""
	}
	switch {
	case version == "00" && len(s) == parentLength:
		return s
	case version == "00" || len(s) > parentLength && s[parentLength] != '-':
		return ""
	case strings.ContainsRune("13579bdf", rune(flags[1])):
		return "00" + s[2:53] + "01"
	default:
		return "00" + s[2:53] + "00"
	}
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
