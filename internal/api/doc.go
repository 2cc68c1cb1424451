// Package api is the HTTP API: routes, strict decoding, one table of errors, limits and headers, server-sent events,
// and the OpenAPI document with a page to read it.
//
// The way of a request:
//
//	ServeHTTP ── trace id, headers, CORS ──▶ ServeMux ──▶ endpoint ── rate limit ──▶ handler
//	    ▲                                                                          │ answer, or an error
//	    └──────────── status, time, panics ◀──── one table: code → status ◀───────┘
//
// Every request gets one exchange: the writer that all answers go through, with its trace id and its buffers. Handlers
// return errors; only fail writes them. An error that is no *order.Error is internal_error: the caller sees no more
// than that, and the log has the rest under the trace id.
//
// # Mounted handlers
//
// The console is served by the API's own server (Mount): its requests come with an exchange, so they have trace ids,
// metrics, headers and an answer when they panic, but no rate limit. It lets people in by Enter, LogIn and LogOut, which
// take the exchange from the writer, so that its log-ins have the limits and the log lines of the API's. What it does for
// them it asks the API itself, through Inside.
//
// # Server-sent events
//
// A stream repeats what the table of events says, nothing else; the bus only tells it when to look. It registers with
// the waker before it reads the table for the first time, so a change that commits after that read finds it registered
// and leaves a token in its channel of capacity one. Tokens may be lost with the bus and may come twice. A lost one
// costs time, at most until the next keep-alive, which looks into the table as well; one that comes twice costs a
// query. Since events of an order have sequences without gaps and a stream asks for those above the last one that it
// sent, nothing is skipped and nothing repeated, whatever the bus does.
//
// One reader of the bus serves all streams of the process (Run). It never waits for a stream: a token that finds the
// channel full is dropped, because the one in there has the same effect. A client that reads too slowly runs into the
// write deadline and is dropped.
//
// # Clients that do not read
//
// An answer stays in memory until its client has read it or the server's limit on an answer has passed. So what many clients may
// ask for is one copy that all share: the documents, the list of products, the metrics of one moment. Other answers over 32 KiB
// have a budget (unread), and a request that finds it used up is overloaded. All else that a connection holds is small.
//
// # Callers that close their side
//
// The context of a request ends when its caller has left; app sees to it that a caller that only closed its sending side has two
// seconds to be answered as any other. Work that the context has ended is answered too, in case somebody reads.
//
// # Products
//
// The list of products is kept for at most a second (shared). Who orders and then looks, through the same process, sees
// the new stock: every change drops the list before it is answered, by raising a generation. A load remembers the
// generation in which it began; its result is handed only to readers who arrived in that generation or an earlier one,
// and is kept only if the generation is still the same. So nobody gets a list that was read before a change that was
// answered before they asked.
package api
