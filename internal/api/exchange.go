package api

import (
	"bytes"
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"orderflow/internal/order"
	"orderflow/internal/tracing"
)

// exchange is one request and its answer. It is the http.ResponseWriter of its request: all that is written goes
// through it. It belongs to the goroutine of the request and is used again for a later one.
type requestContext struct {
	api   *API
	w     http.ResponseWriter
	r     *http.Request // its context ends when the caller has left
	began time.Time
	trace order.Trace
	span  tracing.Span // of the request; none when it is not followed

	caller order.Caller  // the zero value without a token, and until the route is known
	inside *order.Caller // who calls from within the process; nil for a request that came by a connection

	query parameters // of the query string, where the route reads it

	asked  bool          // the intake was asked, which counts the outcome
	slow   bool          // the body took too long, for which net/http ends the context though the caller is there
	status int           // of the answer; 0 while there is none
	timing *timing       // of the route; nil until one is found
	took   time.Duration // until a stream began; 0 for other answers

	out     []byte // room for the answer
	body    []byte // room for the request's body
	input   bytes.Buffer
	decoder jsontext.Decoder
}

// maxKept is the room that an exchange keeps for the next request, in bytes.
const maxKept = 64 << 10

// reset forgets the request, so that nothing of it is held or shown to the next one.
func (x *requestContext) reset() {
	if cap(x.out) > maxKept {
		x.out = nil
	}
	if cap(x.body) > maxKept {
		x.body = nil
	}
	x.api, x.w, x.r, x.trace, x.timing = nil, nil, nil, order.Trace{}, nil
	x.caller, x.inside, x.span, x.query = order.Caller{}, nil, tracing.Span{}, parameters{}
	x.asked, x.slow, x.status, x.took = false, false, 0, 0
	x.input = bytes.Buffer{}
}

// Header is http.ResponseWriter's.
func (x *requestContext) Header() http.Header { return x.w.Header() }

// Write is http.ResponseWriter's.
func (x *requestContext) Write(p []byte) (int, error) {
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	return x.w.Write(p)
}

// WriteHeader is http.ResponseWriter's. It notes the first status that is not merely informational.
func (x *requestContext) WriteHeader(status int) {
	if x.status == 0 && status >= http.StatusOK {
		x.status = status
		if kind := x.Header()["Content-Type"]; len(kind) == 1 && kind[0] == eventStream {
			x.took = time.Since(x.began) // not until its end
		}
	}
	x.w.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (x *requestContext) Unwrap() http.ResponseWriter { return x.w }

// json answers with a status and a JSON body of bounded length.
func (x *requestContext) json(status int, body []byte) {
	x.Header()["Content-Type"] = x.api.fixed.json
	x.send(status, body)
}

// jsonMade answers with status 200 and a JSON body that may be large. The error is that of sendMade.
func (x *requestContext) jsonMade(body []byte) error {
	x.Header()["Content-Type"] = x.api.fixed.json
	return x.sendMade(http.StatusOK, body)
}

// send answers with a status and a body, whose length it announces. That the caller is gone shows in the status of
// nothing: there is nobody left to tell.
func (x *requestContext) send(status int, body []byte) {
	x.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
	x.WriteHeader(status)
	_, _ = x.w.Write(body)
}

// log writes a line about this request, with what went wrong if anything did.
func (x *requestContext) log(level slog.Level, message, event string, err error, more ...slog.Attr) {
	logger, ctx := x.api.options.Logger, x.r.Context()
	if !logger.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("event", event), slog.String("trace_id", x.trace.ID),
		slog.String("method", x.r.Method), slog.String("path", x.r.URL.Path),
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	logger.LogAttrs(ctx, level, message, append(attrs, more...)...)
}

// seldom lets one line a second through where every request would write the same one.
type seldom struct{ last, missed atomic.Int64 }

// due reports whether a line may be written now, and how many were not since the last one.
func (s *seldom) due(now time.Time) (missed int64, due bool) {
	last := s.last.Load()
	if now.UnixNano()-last < int64(time.Second) || !s.last.CompareAndSwap(last, now.UnixNano()) {
		s.missed.Add(1)
		return 0, false
	}
	return s.missed.Swap(0), true
}

// logOrder writes a line about an order that this request changed, or failed to make (id 0).
func (x *requestContext) logOrder(message, event string, id, user int64) {
	logger, ctx := x.api.options.Logger, x.r.Context()
	if logger.Enabled(ctx, slog.LevelInfo) {
		logger.LogAttrs(ctx, slog.LevelInfo, message, slog.String("event", event),
			slog.Int64("order_id", id), slog.Int64("user_id", user), slog.String("trace_id", x.trace.ID))
	}
}
