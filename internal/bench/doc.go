// Package bench is the load driver behind `orderflow bench` and the tour behind `orderflow demo`. It speaks HTTP and
// knows no other package of the product: who calls it hands in functions that start a server, stop it and audit its
// books. So it measures what a customer sees, and can point at any server that keeps the same contract.
//
//	clients ──POST /api/v1/orders──▶ server        Drive: one load, one Result
//	   │ every id of a 201                         Run:   `bench`, with the comparisons
//	   ▼                                           Table: every figure that has a floor
//	each id once? exists? books right?             Demo:  the tour
//
// What makes the figures worth reading:
//
//   - Ratios, not absolutes. What is compared runs in alternating rounds within one run, each on a server of its own
//     that is up the whole time, so that a noisy machine hits both; the ratio is that of the medians.
//   - The driver shares its processors with the server, so it must be cheap: one goroutine and one raw keep-alive
//     connection a client, a request that is written once and then only patched (key, user, product), and a parser
//     that reads no more of an answer than it needs. Its own processor time is printed beside the server's.
//   - Latency goes into an HDR histogram. The load is a closed loop (a client asks again when it has its answer), so
//     the percentiles are plain: they are what these clients saw, and say nothing of clients who come at a rate. Only
//     where a rate is asked for (Load.Rate) is there a schedule, and then an answer's time counts from the moment at
//     which its request was due, which corrects for coordinated omission at the root.
//   - Orders a second are 201 answers over the time from the first request to the last answer, stragglers included.
//   - Every id that came with a 201 is kept; an id that comes twice fails the run, and so does a broken audit.
package bench
