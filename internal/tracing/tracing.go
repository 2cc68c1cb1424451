package tracing

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

const scope = "orderflow" // the instrumentation scope of all spans

// Tracer begins spans. The zero value begins none, at no cost. It is safe for concurrent use.
type Tracer struct{ tracer trace.Tracer }

// New returns a Tracer with a provider, which also decides which requests are traced.
func New(provider trace.TracerProvider) Tracer { return Tracer{provider.Tracer(scope)} }

// Request begins the span of a request, under the client's traceparent if there is one. It is the only span that does not require
// the sampled flag. It has the client's tracestate, unless that is malformed. Other spans have none: orders do not store it.
func (t Tracer) Request(ctx context.Context, parent string, state []string, name string) Span {
	if t.tracer == nil {
		return Span{}
	}
	if remote := parse(parent); remote.IsValid() {
		if parsed, err := trace.ParseTraceState(strings.Join(state, ",")); err == nil {
			remote = remote.WithTraceState(parsed)
		}
		ctx = trace.ContextWithRemoteSpanContext(ctx, remote)
	}
	_, span := t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer))
	return recording(span)
}

// ChildOf begins a span under a traceparent with the sampled flag; otherwise it returns the zero Span.
func (t Tracer) ChildOf(parent, name string, kind trace.SpanKind) Span {
	if t.tracer == nil || !sampled(parent) {
		return Span{}
	}
	remote := parse(parent)
	if !remote.IsValid() {
		return Span{}
	}
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), remote)
	_, span := t.tracer.Start(ctx, name, trace.WithSpanKind(kind))
	return recording(span)
}

// Start begins a span under that of ctx, and returns a context with the new one. Without a span in ctx it begins none.
func Start(ctx context.Context, name string, kind trace.SpanKind) (context.Context, Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, Span{}
	}
	ctx, span := parent.TracerProvider().Tracer(scope).Start(ctx, name, trace.WithSpanKind(kind))
	return ctx, recording(span)
}

// Span is a span that is recorded. The zero value is none, and its methods do nothing. It is safe for concurrent use.
type Span struct{ span trace.Span }

func recording(span trace.Span) Span {
	if !span.IsRecording() {
		return Span{}
	}
	return Span{span}
}

// Recording reports whether there is a span.
func (s Span) Recording() bool { return s.span != nil }

// Parent returns the traceparent for child spans of this one, or other without a span.
func (s Span) Parent(other string) string {
	if s.span == nil {
		return other
	}
	return format(s.span.SpanContext())
}

// In returns a context with the span.
func (s Span) In(ctx context.Context) context.Context {
	if s.span == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, s.span)
}

// Set sets attributes. Test Recording first where their values are expensive.
func (s Span) Set(attributes ...attribute.KeyValue) {
	if s.span != nil {
		s.span.SetAttributes(attributes...)
	}
}

// Fail marks the span as failed. reason must not contain data: readers of traces may not be allowed to see it.
func (s Span) Fail(reason string) {
	if s.span != nil {
		s.span.SetStatus(codes.Error, reason)
	}
}

// End ends the span, as failed when err is not nil. It records the type or code of err, and not the text, which may contain data.
func (s Span) End(err error) {
	if s.span == nil {
		return
	}
	if err != nil {
		kind := semconv.ErrorType(err)
		s.span.SetAttributes(kind)
		s.Fail(kind.Value.AsString())
	}
	s.span.End()
}
