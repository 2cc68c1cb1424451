package tracing

import (
	"context"

	"go.opentelemetry.io/otel/trace"
)

// linksMax bounds the spans of members of one batch.
const linksMax = 128

// Batch is the span of a batch and those of its traced members.
type Batch struct {
	batch   Span
	members []Span
}

// Batch begins the spans of a batch of n members; parent returns the traceparent of each. A traced member gets a span with the given
// name under its own parent, linked to the batch's span. The batch's span is a child of the first of them, so that the trace of a
// batch of one is complete. The returned context has the batch's span. Without traced members, Batch returns ctx and the zero Batch.
func (t Tracer) Batch(ctx context.Context, name string, kind trace.SpanKind, n int, parent func(i int) string) (context.Context, Batch) {
	var b Batch
	if t.tracer == nil {
		return ctx, b
	}
	for i := 0; i < n && len(b.members) < linksMax; i++ {
		if member := t.ChildOf(parent(i), name, kind); member.Recording() {
			b.members = append(b.members, member)
		}
	}
	if len(b.members) == 0 {
		return ctx, b
	}
	ctx, b.batch = Start(b.members[0].In(ctx), name+" batch", trace.SpanKindInternal)
	if !b.batch.Recording() { // the provider has shut down
		return ctx, b
	}
	b.batch.Set(Int("batch.size", int64(n)))
	for _, member := range b.members {
		member.span.AddLink(trace.Link{SpanContext: b.batch.span.SpanContext()})
	}
	return ctx, b
}

// End ends all spans, as failed when err is not nil.
func (b Batch) End(err error) {
	b.batch.End(err)
	for _, member := range b.members {
		member.End(err)
	}
}
