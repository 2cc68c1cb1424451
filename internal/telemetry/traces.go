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
	spansWaiting = 8192             // spans that may wait to be sent; more are dropped
	spansAtOnce  = 512              // spans in one request
	spansPause   = time.Second      // between requests that are not full
	spansWithin  = 10 * time.Second // a request may take, tries and pauses between them included
)

// TraceOptions say where spans go.
type TraceOptions struct {
	Endpoint   string  // base URL of an OTLP receiver over HTTP, such as http://127.0.0.1:4318; "/v1/traces" is put behind it
	Ratio      float64 // share of requests that are followed, of those whose caller has not decided; 0 to 1
	Version    string  // of the product
	Node       string  // which process this is, such as "host-4711"
	Registerer prometheus.Registerer
	Logger     *slog.Logger
}

// NewTraces returns a provider of spans that sends them to an OTLP receiver (https://opentelemetry.io/docs/specs/otlp/, JSON
// aside), in the background: a receiver that is slow or away costs spans, which are counted, and nothing else. What else
// the exporter can be told stands in the standard's environment, OTEL_EXPORTER_OTLP_HEADERS above all. Shut it down to send
// what waits.
func NewTraces(ctx context.Context, o TraceOptions) (*sdktrace.TracerProvider, error) {
	endpoint, err := url.Parse(o.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("the OTLP endpoint cannot be read: %w", err)
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
		Help: "Spans, by what became of them: made; sent or failed, towards the OTLP endpoint. Those of the first that are neither wait, or " +
			"found no room.",
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

// newSpansClient makes a client that follows no redirect: it would take the secrets in its headers elsewhere.
func newSpansClient() *http.Client {
	return &http.Client{
		Timeout:       spansWithin,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// counted is a queue that counts what ends in it.
type counted struct {
	sdktrace.SpanProcessor

	made prometheus.Counter
}

// OnEnd implements sdktrace.SpanProcessor.
func (c counted) OnEnd(span sdktrace.ReadOnlySpan) {
	c.made.Inc()
	c.SpanProcessor.OnEnd(span)
}

// sender is an exporter whose failures are counted and logged, once for each time that it begins to fail or to work
// again: OpenTelemetry would hand them to a handler that the whole process shares.
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
			e.log.WarnContext(ctx, "Traces cannot be sent; they are dropped until they can.", "event", "traces.failed",
				"error", fmt.Sprintf("%.300s", err)) // it quotes the receiver
		} else {
			e.log.InfoContext(ctx, "Traces are sent again.", "event", "traces.recovered")
		}
	}
	return nil
}
