// Package telemetry is how the product speaks of itself: log lines and the registry of metrics.
//
// A log call must never cost an order its time, whatever happens to the other end of the pipe. So the caller only
// copies what it was given and puts it into a bounded buffer; one goroutine turns the copies into lines and writes
// them:
//
//	callers ──copy──▶ bounded buffer ──take all──▶ format ──▶ write
//	                    │ full                                 │ error
//	                    └───────────▶ counted, and said ◀──────┘
//
// What it guarantees:
//
//   - a log call waits for no write and for no formatting; its one lock is held for an append;
//   - lines are written in the order in which they were taken in, whole, each on one line;
//   - a line of level error is written at once; others wait for company for at most linger;
//   - the buffer is bounded in bytes, what is being written included. Its last eighth is kept for errors. What finds no
//     room is dropped, counted, told to the hook, and said in a line of the log as soon as it can be written;
//   - a pipe that is stuck costs only lines, and one that is broken does not end the process (see SurviveBrokenPipes);
//   - values are read while the caller waits, so that it may change them afterwards;
//   - nothing that a value contains can begin a line of its own or move a terminal's cursor.
package telemetry
