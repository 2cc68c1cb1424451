package realtime

import (
	"log/slog"
	"net/http"
	"strconv"

	"github.com/google/uuid"

	"orderflow/internal/order"
)

// answer answers with a status and a JSON body.
func answer(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) //nolint:gosec // JSON, and declared so; an error means that the client has left
}

// answerError answers with the one shape of all errors.
func answerError(w http.ResponseWriter, status int, code order.Code, text string) {
	trace := uuid.NewString()
	w.Header().Set("X-Trace-Id", trace)
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	body := appendString([]byte(`{"error":`), string(code))
	body = appendString(append(body, `,"message":`...), text)
	body = appendString(append(body, `,"trace_id":`...), trace)
	answer(w, status, append(body, '}', '\n'))
}

// fail answers with err.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	code := order.CodeOf(err)
	status := statusOf(code)
	text := err.Error()
	if coded, ok := err.(*order.Error); ok { //nolint:errorlint // our own functions return nothing else
		text = coded.Message
		for field, faults := range coded.Fields { // one at most
			text = field + " " + faults[0] + "."
		}
	}
	if code == order.CodeInternal {
		s.options.Logger.LogAttrs(r.Context(), slog.LevelError, "a request failed",
			slog.String("event", "request.failed"), slog.String("error", err.Error()))
		text = "Something went wrong on our side."
	}
	answerError(w, status, code, text)
}

// statusOf is the HTTP status of a code.
func statusOf(code order.Code) int {
	switch code {
	case order.CodeMalformedJSON, order.CodeMalformedRequest:
		return http.StatusBadRequest
	case order.CodeUnauthenticated:
		return http.StatusUnauthorized
	case order.CodeNotFound:
		return http.StatusNotFound
	case order.CodeMethodNotAllowed:
		return http.StatusMethodNotAllowed
	case order.CodePayloadTooLarge:
		return http.StatusRequestEntityTooLarge
	case order.CodeValidation:
		return http.StatusBadRequest // as Pusher's HTTP API answers, whose clients know no 422
	case order.CodeOverloaded, order.CodeUnavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// wrongMethod answers a method that a path does not have.
func wrongMethod(allowed string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Allow", allowed)
		w.Header().Set("Connection", "close") // nobody who errs needs a place here
		return order.Errorf(order.CodeMethodNotAllowed, "This address takes %s only.", allowed)
	}
}

// nothingHere answers all that is no address.
func nothingHere(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Connection", "close") // likewise
	return order.Errorf(order.CodeNotFound, "There is nothing at this address: "+
		"WebSockets connect to /app/KEY, events are published to /apps/ID/events, and channels are listed at /apps/ID/channels.")
}
