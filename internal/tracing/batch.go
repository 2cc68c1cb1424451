package tracing

import (
	"context"

	"go.opentelemetry.io/otel/trace"
)

// linksMax bounds how many members of one batch get spans of their own.
const linksMax = 128

// Batch is the spans of one batch: that of the batch itself, and one for each of its members that is followed.
type Batch struct {
	batch   Span
	members []Span
}

// Batch begins the spans of a batch of n members, whose traceparents parent tells. Each member that is followed gets a span,
// called name, below its own parent and linked to the batch's; the batch's stands below the first of them, so that the trace
// of an order which came alone is whole. The context that is returned has the batch's span. When no member is followed there
// is nothing: ctx and the zero Batch.
func (t Tracer) Batch(ctx context.Context, name string, kind trace.SpanKind, n int, parent func(i int) string) (context.Context, Batch) {
	var b Batch
	if t.tracer == nil {
		return ctx, b
	}
	for i := 0; i < n && len(b.members) < linksMax; i++ {
		if member := t.Below(parent(i), name, kind); member.On() {
			b.members = append(b.members, member)
		}
	}
	if len(b.members) == 0 {
		return ctx, b
	}
	ctx, b.batch = Inside(b.members[0].In(ctx), name+" batch", trace.SpanKindInternal)
	if !b.batch.On() { // the provider has been shut down meanwhile
		return ctx, b
	}
	b.batch.Set(Int("batch.size", int64(n)))
	for _, member := range b.members {
		member.span.AddLink(trace.Link{SpanContext: b.batch.span.SpanContext()})
	}
	return ctx, b
}

// End ends all of them, as failed when err is not nil.
func (b Batch) End(err error) {
	b.batch.End(err)
	for _, member := range b.members {
		member.End(err)
	}
}
