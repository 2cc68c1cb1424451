package tracing

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

const scope = "orderflow" // what made the spans, as receivers show it

// Tracer begins spans. The zero value begins none and costs nothing. It may be used from any goroutine.
type Tracer struct{ tracer trace.Tracer }

// New returns a Tracer whose spans go to a provider, which also decides what requests are followed.
func New(provider trace.TracerProvider) Tracer { return Tracer{provider.Tracer(scope)} }

// Request begins the span of a request that came in, below the caller's traceparent if it sent one. The span has the caller's
// tracestate headers; a malformed one is dropped. No other span has them, since they are not kept with an order. It is the only
// span that is begun without knowing that its trace is recorded.
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

// Below begins a span below a traceparent, when that is sampled.
func (t Tracer) Below(parent, name string, kind trace.SpanKind) Span {
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

// Inside begins a span below the live one of ctx, if there is one, and returns a context that has it.
func Inside(ctx context.Context, name string, kind trace.SpanKind) (context.Context, Span) {
	above := trace.SpanFromContext(ctx)
	if !above.IsRecording() {
		return ctx, Span{}
	}
	ctx, span := above.TracerProvider().Tracer(scope).Start(ctx, name, trace.WithSpanKind(kind))
	return ctx, recording(span)
}

// Span is a piece of work, or nothing: the zero value, on which every method does nothing. It may be used from any
// goroutine.
type Span struct{ span trace.Span }

func recording(span trace.Span) Span {
	if !span.IsRecording() {
		return Span{}
	}
	return Span{span}
}

// On reports whether there is a span.
func (s Span) On() bool { return s.span != nil }

// Parent is the traceparent that makes others' spans stand below this one; other when there is no span.
func (s Span) Parent(other string) string {
	if s.span == nil {
		return other
	}
	return format(s.span.SpanContext())
}

// In returns a context that has the span.
func (s Span) In(ctx context.Context) context.Context {
	if s.span == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, s.span)
}

// Set adds attributes. Where making them costs something, ask On first.
func (s Span) Set(attributes ...attribute.KeyValue) {
	if s.span != nil {
		s.span.SetAttributes(attributes...)
	}
}

// Fail marks the span as failed. reason must be fit for people who may not see the data.
func (s Span) Fail(reason string) {
	if s.span != nil {
		s.span.SetStatus(codes.Error, reason)
	}
}

// End ends the span, as failed when err is not nil. Of err it tells the type or the code and not the text, which may quote
// data.
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
