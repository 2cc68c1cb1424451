// Package bench is the load driver of `orderflow bench` and the tour of `orderflow demo`. It uses HTTP only and imports no other
// package of the product: the caller passes functions that start, stop and audit a server. So it measures what a client measures, and
// can load any server with the same API.
//
//	clients ──POST /api/v1/orders──▶ server        Drive: one load, one Result
//	   │ ids of the 201 answers                    Run:   `bench`, with the comparisons
//	   ▼                                           Table: every figure that has a floor
//	unique? each exists? audit passed?             Demo:  the tour
//
// How it measures:
//
//   - Ratios count, not absolute figures. Servers that are compared run at the same time and are loaded in alternating rounds, so
//     that other work on the machine affects all of them. The ratio is that of the medians.
//   - The driver shares the processors with the server, so it must be cheap. A client is one goroutine with one keep-alive
//     connection. It builds its request once and then overwrites key, user and product. The parser reads only the parts of an answer
//     that it needs. The report has the processor time of driver and server.
//   - Latencies go into an HDR histogram. The load is a closed loop: a client sends its next request after the answer, so the
//     percentiles are those of these clients. With Load.Rate requests have a schedule; the latency then counts from the scheduled
//     time, which avoids coordinated omission.
//   - Orders per second are 201 answers divided by the time from the first request to the last answer.
//   - The ids of all 201 answers are kept. A duplicate id or a failed audit fails the run.
package bench
