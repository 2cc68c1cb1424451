package tracing_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"orderflow/internal/tracing"
)

const (
	sampled   = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
)

// recorder returns a Tracer and a function that returns its ended spans. Requests without a traceparent are not sampled.
func recorder() (tracing.Tracer, func() tracetest.SpanStubs) {
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans), sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.NeverSample())))
	return tracing.New(provider), spans.GetSpans
}

func TestChildOf(t *testing.T) {
	for _, test := range []struct {
		name, parent string
		want         bool
	}{
		{"sampled", sampled, true},
		{"not sampled", unsampled, false},
		{"none", "", false},
		{"flags 03", strings.TrimSuffix(sampled, "01") + "03", true},
		{"flags 0a", strings.TrimSuffix(sampled, "01") + "0a", false},
		{"flags 0b", strings.TrimSuffix(sampled, "01") + "0b", true},
		{"a later version", "01" + sampled[2:], false},
		{"zero trace id", "00-" + strings.Repeat("0", 32) + sampled[35:], false},
		{"zero span id", sampled[:36] + strings.Repeat("0", 16) + "-01", false},
		{"not hexadecimal", strings.Replace(sampled, "af", "zz", 1), false},
		{"separators", strings.Replace(sampled, "-b7", "_b7", 1), false},
		{"too long", sampled + "1", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			tracer, ended := recorder()
			span := tracer.ChildOf(test.parent, "work", tracing.Internal)
			if span.Recording() != test.want {
				t.Fatalf("recording: %t", span.Recording())
			}
			if got := span.Parent("other"); (got == "other") == test.want {
				t.Errorf("traceparent %q", got)
			}
			span.End(nil)
			if got := len(ended()); (got == 1) != test.want {
				t.Errorf("%d spans", got)
			}
			if test.want && (ended()[0].SpanContext.TraceID().String() != test.parent[3:35] || ended()[0].Parent.SpanID().String() != test.parent[36:52]) {
				t.Errorf("the span is %+v", ended()[0])
			}
		})
	}
}

func TestRequest(t *testing.T) {
	for parent, want := range map[string]bool{sampled: true, unsampled: false, "": false} {
		tracer, _ := recorder()
		span := tracer.Request(t.Context(), parent, nil, "POST /orders")
		if span.Recording() != want {
			t.Errorf("%q: recording: %t", parent, span.Recording())
		}
		if below := tracer.ChildOf(span.Parent(""), "create", tracing.Internal); below.Recording() != want {
			t.Errorf("%q: a span below it: %t", parent, below.Recording())
		}
	}
}

// The span of a request has the client's tracestate. A malformed one is dropped, and the trace continues.
func TestRequestState(t *testing.T) {
	for want, sent := range map[string][]string{"a=1,b=2": {"a=1", "b=2"}, "": {"no list"}} {
		tracer, ended := recorder()
		tracer.Request(t.Context(), sampled, sent, "POST /orders").End(nil)
		spans := ended()
		if len(spans) != 1 {
			t.Fatalf("%q: %d spans, want 1", sent, len(spans))
		}
		if got := spans[0].SpanContext.TraceState().String(); got != want {
			t.Errorf("%q: the span has the state %q, want %q", sent, got, want)
		}
	}
}

// failure is an error whose text contains data.
type failure struct{}

func (failure) Error() string     { return "duplicate key alice@example.com" }
func (failure) ErrorType() string { return "unavailable" }

// TestBatch: each sampled member has a span under its own parent, linked to the span of the batch. The parent of that is the first
// of them.
func TestBatch(t *testing.T) {
	tracer, ended := recorder()
	other := strings.Replace(sampled, "0af7", "1bf8", 1)
	parents := []string{"", other, unsampled, sampled}
	ctx, batch := tracer.Batch(t.Context(), "create", tracing.Internal, len(parents), func(i int) string { return parents[i] })
	_, inner := tracing.Start(ctx, "transaction", tracing.Client)
	inner.End(fmt.Errorf("within: %w", failure{}))
	batch.End(nil)

	spans := ended()
	names := make([]string, len(spans))
	for i, span := range spans {
		names[i] = span.Name
	}
	if want := []string{"transaction", "create batch", "create", "create"}; !slices.Equal(names, want) {
		t.Fatalf("spans %q, want %q", names, want)
	}
	transaction, all, first, second := spans[0], spans[1], spans[2], spans[3]
	if transaction.Parent.SpanID() != all.SpanContext.SpanID() || transaction.Status.Code != codes.Error ||
		transaction.Status.Description != "unavailable" {
		t.Errorf("the transaction is %+v", transaction)
	}
	if all.Parent.SpanID() != first.SpanContext.SpanID() {
		t.Error("the parent of the batch is not the first sampled member")
	}
	for i, member := range []tracetest.SpanStub{first, second} {
		if want := []string{other, sampled}[i]; member.Parent.SpanID().String() != want[36:52] || member.SpanContext.TraceID().String() != want[3:35] {
			t.Errorf("the parent of member %d is %s", i, member.Parent.SpanID())
		}
		if len(member.Links) != 1 || member.Links[0].SpanContext.SpanID() != all.SpanContext.SpanID() {
			t.Errorf("member %d is linked to %+v", i, member.Links)
		}
	}
}

// TestBatchAfterShutdown: a batch after the shutdown of the provider has no spans.
func TestBatchAfterShutdown(t *testing.T) {
	provider := sdktrace.NewTracerProvider()
	tracer := tracing.New(provider)
	if err := provider.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, batch := tracer.Batch(t.Context(), "create", tracing.Internal, 1, func(int) string { return sampled })
	_, span := tracing.Start(ctx, "transaction", tracing.Client)
	span.End(nil)
	batch.End(nil)
}

// TestBatchBounds: the spans of members of one batch are bounded.
func TestBatchBounds(t *testing.T) {
	tracer, ended := recorder()
	_, batch := tracer.Batch(t.Context(), "create", tracing.Internal, 1000, func(int) string { return sampled })
	batch.End(nil)
	if got := len(ended()); got != 128+1 {
		t.Errorf("%d spans", got)
	}
}

// TestUntracedOrdersCostNothing: after the request, an order that is not sampled allocates nothing, with and without a provider.
func TestUntracedOrdersCostNothing(t *testing.T) {
	on, _ := recorder()
	for name, tracer := range map[string]tracing.Tracer{"off": {}, "on": on} {
		ctx := context.Background()
		work := func() {
			ctx, batch := tracer.Batch(ctx, "create", tracing.Internal, 100, func(int) string { return unsampled })
			ctx, span := tracing.Start(ctx, "transaction", tracing.Client)
			below := tracer.ChildOf("", "process", tracing.Internal)
			_ = below.In(ctx)
			below.Fail("")
			below.End(nil)
			span.End(nil)
			batch.End(nil)
		}
		if got := testing.AllocsPerRun(100, work); got != 0 {
			t.Errorf("%s: %g allocations", name, got)
		}
	}
}

// A sampler of W3C Trace Context level 2 reads the random flag, so it must reach the spans of the callers' traces.
func TestFromHeader(t *testing.T) {
	const ids = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"
	for header, want := range map[string]string{
		"00-" + ids + "-01":       "00-" + ids + "-01",
		"00-" + ids + "-03":       "00-" + ids + "-03",
		"01-" + ids + "-02-later": "00-" + ids + "-02",
		"00-" + ids + "-08":       "", // a reserved flag
		"00-" + ids:               "",
		"":                        "",
	} {
		if got := tracing.FromHeader(header); got != want {
			t.Errorf("FromHeader(%q) = %q, want %q", header, got, want)
		}
	}
}
