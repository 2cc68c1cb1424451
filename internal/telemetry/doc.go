// Package telemetry has the log, the metrics registry and the export of traces.
//
// A log call must never delay an order, even if nobody reads the pipe that the log writes to. So a log call only copies its
// values into a bounded buffer; one goroutine formats and writes the lines:
//
//	callers ──copy──▶ bounded buffer ──take all──▶ format ──▶ write
//	                    │ full                                  │ error
//	                    └────────▶ lines counted and reported ◀─┘
//
// The log guarantees:
//
//   - A log call waits neither for formatting nor for a write. It holds one lock, for an append.
//   - Lines are written whole and in the order of the calls.
//   - An error is written at once. Other lines wait up to 20 ms, to be written together.
//   - The buffer is bounded in bytes, including the lines being written; its last eighth is reserved for errors. A line
//     that does not fit is dropped, counted, reported to the hook, and reported by a log line as soon as one can be written.
//   - A blocked pipe costs log lines only; a broken one does not end the process (see SurviveBrokenPipes).
//   - Values are read during the call. The caller may change them afterwards.
//   - No value can start a new log line or move a terminal's cursor.
//
// NewRegistry returns the metrics registry of a process. NewTraces returns the provider that sends spans to an OTLP receiver
// in the background.
package telemetry
