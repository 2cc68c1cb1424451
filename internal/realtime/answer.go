package realtime

import (
	"log/slog"
	"net/http"
	"strconv"

	"github.com/google/uuid"

	"orderflow/internal/order"
)

// writeJSON writes a response with a JSON body.
func writeJSON(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) //nolint:gosec // declared as JSON; an error means that the client has disconnected
}

// writeError writes an error in the API's JSON.
func writeError(w http.ResponseWriter, status int, code order.Code, text string) {
	trace := uuid.NewString()
	w.Header().Set("X-Trace-Id", trace)
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	body := appendString([]byte(`{"error":`), string(code))
	body = appendString(append(body, `,"message":`...), text)
	body = appendString(append(body, `,"trace_id":`...), trace)
	writeJSON(w, status, append(body, '}', '\n'))
}

// fail writes err as the response.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	code := order.CodeOf(err)
	status := statusOf(code)
	text := err.Error()
	if coded, ok := err.(*order.Error); ok { //nolint:errorlint // our own functions return nothing else
		text = coded.Message
		for field, messages := range coded.Fields { // at most one
			text = field + " " + messages[0] + "."
		}
	}
	if code == order.CodeInternal {
		s.options.Logger.LogAttrs(r.Context(), slog.LevelError, "A request of the HTTP API failed.",
			slog.String("event", "request.failed"), slog.String("error", err.Error()))
		text = "Internal error. Search the log for the trace id."
	}
	writeError(w, status, code, text)
}

// statusOf returns the HTTP status of a code.
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
		return http.StatusBadRequest // Pusher's HTTP API has no 422
	case order.CodeOverloaded, order.CodeUnavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// methodNotAllowed handles other methods of a path.
func methodNotAllowed(allowed string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Allow", allowed)
		w.Header().Set("Connection", "close") // frees the connection at once
		return order.Errorf(order.CodeMethodNotAllowed, "This path supports %s only.", allowed)
	}
}

// notFound handles unknown paths.
func notFound(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Connection", "close") // likewise
	return order.Errorf(order.CodeNotFound, "This path does not exist. "+
		"Connect WebSockets to /app/KEY, publish events to /apps/ID/events, and list channels at /apps/ID/channels.")
}
