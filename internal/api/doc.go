// Package api is the HTTP API: routes, strict decoding, errors, rate limits, server-sent events, and the OpenAPI document with a
// page that shows it.
//
// # The path of a request
//
// Each request has one requestContext: the http.ResponseWriter of its answer, with its trace id, its caller and its buffers. Handlers
// return errors, and the method fail writes the answer for them. The answer to an *order.Error has the code of the error. Any other
// error is logged under the trace id, and the answer is internal_error.
//
// POST /orders passes through these files, in this order:
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
//	                    two checks that need the user of the draft: whether the caller may act for that user and, where an
//	                    admin's token orders for a user, the limit of that user
//	  (Intake.Create)   the order is committed
//	  cache.go          the list of products is invalidated
//	  log.go, encode.go, request.go
//	                    the log line and the answer
//	middleware.go       on the way back: metrics.go, the end of the span
//
// # Mounted handlers
//
// The API's server also serves the console (Mount). Requests to the console have a requestContext too. So they have trace ids, metrics,
// headers and an answer when they panic, but no rate limit. The console checks tokens with Enter, and logs users in and out with LogIn
// and LogOut. These take the requestContext from the writer, so that the limits and log lines of the API apply. The console performs
// its actions through the API itself, with InProcess.
//
// # Server-sent events
//
// A stream sends the events in the database; messages on the bus only wake it. The events of an order have sequences without gaps,
// and a stream reads those above the last one that it sent. So it skips nothing and repeats nothing, whatever the bus does.
//
// A stream registers with the waker before it reads the table for the first time. So a change that commits after that read finds the
// stream registered, and leaves a wake-up signal in its channel of capacity one. The bus may lose or duplicate signals. A lost signal
// delays an event until a keep-alive reads the table; a duplicate costs a query.
//
// One reader of the bus wakes all streams of the process (Run). It never waits for a stream: it drops a signal when the channel is
// full, since the signal in the channel has the same effect. A client that reads too slowly exceeds the write deadline, and its stream
// ends.
//
// # Clients that do not read
//
// An answer stays in memory until its client has read it or the server's time limit has passed. So clients share one copy of the
// answers that many of them request: the documents, the list of products, the metrics of one moment. All other answers over 32 KiB
// share a budget of memory (answerBudget); when it is used up, a read is answered as overloaded. Everything else that a connection
// holds is small.
//
// # Clients that close their side
//
// The context of a request ends when its client disconnects. A client that closed only its sending side may still read: it has two
// more seconds (web.LimitListener), and gets an answer even if the end of the context stopped its request.
//
// # The list of products
//
// The list is cached for at most a second (cache). Each change invalidates it before the change is answered. So a client that
// orders, and then reads the list through the same process, sees the new stock.
package api
