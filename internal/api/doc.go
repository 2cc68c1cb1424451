// Package api is the HTTP API: routes, strict decoding, errors, rate limits, server-sent events, and the OpenAPI document with a
// page that shows it.
//
// # The path of a request
//
// Each request has one requestContext: the writer of its answer, with its trace id, its caller and its buffers. Handlers return
// errors; only fail answers with them. An *order.Error is answered with its code. Any other error is answered as internal_error, and
// the log has it under the trace id.
//
// POST /orders enters these files, in this order:
//
//	middleware.go       trace id, headers, CORS (cors.go)
//	routes.go           the endpoint; its checks follow
//	  trace.go          the span
//	  caller.go         the token
//	  ratelimit.go      the limit of the caller
//	orders.go           the handler; its steps follow
//	  drafts.go         the draft, from the next three
//	    body.go         bytes and media type
//	    decode.go       JSON, field by field
//	    idempotency_key.go
//	  caller.go, ratelimit.go
//	                    again, since they need the user of the draft: whether the caller may act for that user, and the limit of
//	                    that user where an admin's token orders for it
//	  (Intake.Create)   the order is committed
//	  cache.go          the list of products is invalidated
//	  log.go, encode.go, request.go
//	                    the log line and the answer
//	middleware.go       on the way back: metrics.go, the end of the span
//
// # Mounted handlers
//
// The API's server also serves the console (Mount). Its requests have a requestContext too, and so trace ids, metrics, headers and an
// answer when they panic, but no rate limit. The console checks tokens with Enter, and logs users in and out with LogIn and LogOut.
// These take the requestContext from the writer, so that the console has the limits and the log lines of the API. The console
// performs its actions through the API itself, with InProcess.
//
// # Server-sent events
//
// A stream sends what the table of events contains. The bus only wakes it. A stream registers with the waker before it reads the table
// for the first time. So a change that commits after that read finds the stream registered, and leaves a token in its channel of
// capacity one. Tokens may be lost with the bus, and may come twice. A lost token delays an event until a keep-alive reads the table;
// a second token costs a query. The events of an order have sequences without gaps, and a stream reads those above the last one that
// it sent. So it skips nothing and repeats nothing, whatever the bus does.
//
// One reader of the bus serves all streams of the process (Run), and never waits for one: a token that finds the channel full is
// dropped, since the token in the channel has the same effect. A client that reads too slowly exceeds the write deadline, and its
// stream ends.
//
// # Clients that do not read
//
// An answer stays in memory until its client has read it or the server's time limit has passed. So answers that many clients request
// are one copy that all share: the documents, the list of products, the metrics of one moment. Other answers over 32 KiB need a budget
// (answerBudget); a read that finds none left is answered as overloaded. Everything else that a connection holds is small.
//
// # Clients that close their side
//
// The context of a request ends when its client disconnects. web.LimitListener gives a client that only closed its sending side two
// more seconds. A request that is stopped because its context ended is answered too, since such a client may still read.
//
// # The list of products
//
// The list is cached for at most a second (cache). Each change invalidates it before the change is answered. So a client that
// orders, and then reads the list through the same process, sees the new stock.
package api
