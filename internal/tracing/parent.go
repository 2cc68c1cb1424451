package tracing

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// parentLength is the length of a traceparent of version 00: 00-{trace id}-{span id}-{flags}, with 2, 32, 16 and 2 hex digits.
const parentLength = 2 + 1 + 32 + 1 + 16 + 1 + 2

// sampled reports whether a traceparent has the sampled flag: its sender records this trace.
func sampled(parent string) bool {
	if len(parent) != parentLength {
		return false
	}
	digit := parent[parentLength-1]
	if digit >= 'a' {
		digit++ // a is 10, which is even; its character is odd
	}
	return digit&1 == 1
}

// parse parses a traceparent. The result of an invalid one is not valid either.
func parse(parent string) trace.SpanContext {
	if len(parent) != parentLength || parent[:3] != "00-" || parent[35] != '-' || parent[52] != '-' {
		return trace.SpanContext{}
	}
	traceID, err1 := trace.TraceIDFromHex(parent[3:35])
	spanID, err2 := trace.SpanIDFromHex(parent[36:52])
	if err1 != nil || err2 != nil {
		return trace.SpanContext{}
	}
	flags := trace.TraceFlags(0).WithSampled(sampled(parent))
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: traceID, SpanID: spanID, TraceFlags: flags, Remote: true})
}

// format returns the traceparent of a span.
func format(c trace.SpanContext) string {
	return "00-" + c.TraceID().String() + "-" + c.SpanID().String() + "-" + c.TraceFlags().String()
}

// FromHeader returns the traceparent header of a request in the form of version 00, "" when it is malformed. Of the caller's flags it
// keeps sampled and random, the two of W3C Trace Context level 2.
func FromHeader(header string) string {
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": header})
	caller := trace.SpanContextFromContext(ctx)
	if !caller.IsValid() {
		return ""
	}
	return format(caller)
}
