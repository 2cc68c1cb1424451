package api

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"orderflow/internal/order"
	"orderflow/internal/tracing"
)

// requestContext is one request and its answer. It is the http.ResponseWriter of the request: all that is written goes through it.
// It belongs to the goroutine of the request and is reused for later requests.
type requestContext struct {
	api   *API
	w     http.ResponseWriter
	r     *http.Request // its context ends when the caller disconnects
	began time.Time
	trace order.Trace
	span  tracing.Span // of the request; the zero value when the request is not traced

	caller    order.Caller  // the zero value without a token, and until the route is known
	inProcess *order.Caller // the caller of a request from within the process; nil for a request over a connection

	query parameters // where the route reads the query string

	submitted    bool          // the intake has the request, and counts its outcome
	bodyTimedOut bool          // net/http ends the context then, although the caller is still connected
	status       int           // of the answer; 0 while there is none
	timing       *timing       // of the route; nil until the route is known
	untilStream  time.Duration // until an event stream began; 0 for other answers

	out    []byte // buffer for the answer
	body   []byte // buffer for the request's body
	reader bodyReader
}

// maxBuffer is the size up to which a buffer is kept for the next request, in bytes.
const maxBuffer = 64 << 10

// reset drops everything of the request, so that no later request can see it.
func (rc *requestContext) reset() {
	if cap(rc.out) > maxBuffer {
		rc.out = nil
	}
	if cap(rc.body) > maxBuffer {
		rc.body = nil
	}
	rc.api, rc.w, rc.r, rc.trace, rc.timing = nil, nil, nil, order.Trace{}, nil
	rc.caller, rc.inProcess, rc.span, rc.query = order.Caller{}, nil, tracing.Span{}, parameters{}
	rc.submitted, rc.bodyTimedOut, rc.status, rc.untilStream = false, false, 0, 0
	rc.reader.release()
}

// wipe overwrites the buffers, which hold a password and a token after a log-in.
func (rc *requestContext) wipe() {
	clear(rc.body[:cap(rc.body)])
	clear(rc.out[:cap(rc.out)])
}

// Header implements http.ResponseWriter.
func (rc *requestContext) Header() http.Header { return rc.w.Header() }

// Write implements http.ResponseWriter.
func (rc *requestContext) Write(p []byte) (int, error) {
	if rc.status == 0 {
		rc.WriteHeader(http.StatusOK)
	}
	return rc.w.Write(p)
}

// WriteHeader implements http.ResponseWriter. It keeps the first status that is not informational.
func (rc *requestContext) WriteHeader(status int) {
	if rc.status == 0 && status >= http.StatusOK {
		rc.status = status
		if kind := rc.Header()["Content-Type"]; len(kind) == 1 && kind[0] == eventStream {
			rc.untilStream = time.Since(rc.began)
		}
	}
	rc.w.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (rc *requestContext) Unwrap() http.ResponseWriter { return rc.w }

// json answers with a status and a JSON body of bounded length.
func (rc *requestContext) json(status int, body []byte) {
	rc.Header()["Content-Type"] = rc.api.fixed.json
	rc.send(status, body)
}

// value answers with a status and a value as JSON. It is for answers outside of the measured path of an order.
func (rc *requestContext) value(status int, value any) error {
	out := bytes.NewBuffer(rc.out[:0])
	err := json.MarshalWrite(out, value)
	rc.out = append(out.Bytes(), '\n')
	if err != nil {
		return fmt.Errorf("encode an answer: %w", err)
	}
	rc.json(status, rc.out)
	return nil
}

// jsonLarge answers with status 200 and a JSON body that may be large. The error is that of sendLarge.
func (rc *requestContext) jsonLarge(body []byte) error {
	rc.Header()["Content-Type"] = rc.api.fixed.json
	return rc.sendLarge(http.StatusOK, body)
}

// send answers with a status and a body. A write error means that the caller has disconnected; nothing depends on it.
func (rc *requestContext) send(status int, body []byte) {
	rc.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
	rc.WriteHeader(status)
	_, _ = rc.w.Write(body)
}
