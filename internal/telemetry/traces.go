package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

const (
	spansWaiting = 8192             // most waiting spans; further ones are dropped
	spansAtOnce  = 512              // most spans of a request
	spansPause   = time.Second      // between requests that are not full
	spansWithin  = 10 * time.Second // most time of a request, including its retries
)

// TraceOptions configure the export of spans.
type TraceOptions struct {
	Endpoint   string  // base URL of an OTLP receiver over HTTP, such as http://127.0.0.1:4318; "/v1/traces" is appended
	Ratio      float64 // share of requests that are traced when the caller has not decided; 0 to 1
	Version    string  // of the product
	Node       string  // identifies this process, such as "host-4711"
	Registerer prometheus.Registerer
	Logger     *slog.Logger
}

// NewTraces returns a tracer provider that sends spans to an OTLP receiver (https://opentelemetry.io/docs/specs/otlp/, protobuf over
// HTTP) in the background. A slow or unreachable receiver only loses spans, which are counted. The exporter also reads the
// standard's environment variables, such as OTEL_EXPORTER_OTLP_HEADERS. Shutdown sends the waiting spans.
func NewTraces(ctx context.Context, o TraceOptions) (*sdktrace.TracerProvider, error) {
	endpoint, err := url.Parse(o.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("invalid OTLP endpoint: %w", err)
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint.JoinPath("v1", "traces").String()),
		otlptracehttp.WithHTTPClient(newSpansClient()), otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
	if err != nil {
		return nil, err
	}
	about := resource.NewSchemaless(attribute.String("service.name", "orderflow"), attribute.String("service.version", o.Version),
		attribute.String("service.instance.id", o.Node))
	spans := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "orderflow_trace_spans_total",
		Help: "Spans by outcome: made, and of these sent or failed. The others wait, or were dropped because the queue was full.",
	}, []string{"outcome"})
	o.Registerer.MustRegister(spans)
	sender := &sender{Exporter: exporter, log: o.Logger, sent: spans.WithLabelValues("sent"), failed: spans.WithLabelValues("failed")}
	queue := sdktrace.NewBatchSpanProcessor(sender, sdktrace.WithMaxQueueSize(spansWaiting),
		sdktrace.WithMaxExportBatchSize(spansAtOnce), sdktrace.WithBatchTimeout(spansPause), sdktrace.WithExportTimeout(spansWithin))
	return sdktrace.NewTracerProvider(
		sdktrace.WithResource(about),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(o.Ratio))),
		sdktrace.WithSpanProcessor(counted{queue, spans.WithLabelValues("made")}),
	), nil
}

// newSpansClient returns a client that follows no redirects, which would send the secrets in its headers to another server.
func newSpansClient() *http.Client {
	return &http.Client{
		Timeout:       spansWithin,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// counted is a span processor that counts the spans.
type counted struct {
	sdktrace.SpanProcessor

	made prometheus.Counter
}

// OnEnd implements sdktrace.SpanProcessor.
func (c counted) OnEnd(span sdktrace.ReadOnlySpan) {
	c.made.Inc()
	c.SpanProcessor.OnEnd(span)
}

// sender is an exporter that counts its failures, and logs when it begins to fail and when it works again. OpenTelemetry would pass
// the errors to a global handler.
type sender struct {
	*otlptrace.Exporter

	log          *slog.Logger
	sent, failed prometheus.Counter
	failing      atomic.Bool
}

// ExportSpans implements sdktrace.SpanExporter.
func (e *sender) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.Exporter.ExportSpans(ctx, spans)
	if err != nil {
		e.failed.Add(float64(len(spans)))
	} else {
		e.sent.Add(float64(len(spans)))
	}
	if was := e.failing.Swap(err != nil); was != (err != nil) {
		if err != nil {
			e.log.WarnContext(ctx, "Traces cannot be sent to the OTLP endpoint. They are dropped until it accepts them.", "event", "traces.failed",
				"error", fmt.Sprintf("%.300s", err)) // it quotes the receiver
		} else {
			e.log.InfoContext(ctx, "Traces are sent again.", "event", "traces.recovered")
		}
	}
	return nil
}
