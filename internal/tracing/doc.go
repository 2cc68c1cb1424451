// Package tracing creates the OpenTelemetry spans of single orders. It defines which spans exist and whether an order is traced;
// its callers decide where a span begins and ends.
//
//	request ─┬─ create ──▶ batch ─┬─ lock products      the parent of a batch's span is the first traced order in it;
//	         │                    ├─ transaction        the other traced orders are linked to it
//	         ├─ publish ─▶ batch
//	         ├─ claim ───▶ batch ─── transaction
//	         └─ process ─┬─ charge
//	                     ├─ settle ─▶ batch ─── transaction
//	                     ├─ publish ─▶ batch
//	                     └─ broadcast
//
// Whether an order is traced is decided once, for its request. The traceparent of its events (W3C Trace Context) carries that
// decision through the database and the bus: only a traceparent with the sampled flag gets child spans. So an untraced order costs
// the test of one character, and nothing without a trace provider.
package tracing
