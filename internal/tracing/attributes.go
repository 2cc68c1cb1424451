package tracing

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// The kinds of spans (https://opentelemetry.io/docs/specs/otel/trace/api/#spankind).
const (
	Internal = trace.SpanKindInternal
	Client   = trace.SpanKindClient
	Producer = trace.SpanKindProducer
	Consumer = trace.SpanKindConsumer
)

// Text returns a string attribute.
func Text(name, value string) attribute.KeyValue { return attribute.String(name, value) }

// Int returns an integer attribute.
func Int(name string, value int64) attribute.KeyValue { return attribute.Int64(name, value) }
