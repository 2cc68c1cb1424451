// Package tracing follows single orders through the product, in the terms of OpenTelemetry. It is the one place that says
// what a span is here; who makes them says where they begin and end.
//
//	request ─┬─ create ──▶ batch ─┬─ lock products      a batch's spans stand below the first of its orders that is
//	         │                    ├─ transaction        followed; the others are linked to it
//	         ├─ publish ─▶ batch
//	         ├─ claim ───▶ batch ─── transaction
//	         └─ process ─┬─ charge
//	                     ├─ settle ─▶ batch ─── transaction
//	                     ├─ publish ─▶ batch
//	                     └─ broadcast
//
// Whether an order is followed is decided once, with its request. From there the decision travels in the traceparent of its
// events (W3C Trace Context), through the database and the bus: a span is made below a traceparent whose sampled flag is
// set, and below no other. So an order that is not followed costs a look at one character, and without a provider not even
// that is looked at.
package tracing
