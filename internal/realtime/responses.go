package realtime

import (
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"orderflow/internal/order"
	"orderflow/internal/web"
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

// fail writes err as the response, in the form of all errors of the product. It logs an internal error.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	trace := web.TraceID(r)
	coded := web.InternalError()
	if !errors.As(err, &coded) || coded.Code == order.CodeInternal {
		s.options.Logger.LogAttrs(r.Context(), slog.LevelError, "A request of the HTTP API failed.",
			slog.String("event", "request.failed"), slog.String("trace_id", trace), slog.String("error", err.Error()))
		coded = web.InternalError()
	}
	status := web.StatusOf(coded.Code)
	if coded.Code == order.CodeValidation {
		status = http.StatusBadRequest // Pusher's HTTP API has no 422
	}
	writeError(w, trace, status, coded)
}

// writeError writes an error with a status. Clients of Pusher's HTTP API show only the message, so it contains the validation error.
func writeError(w http.ResponseWriter, trace string, status int, e *order.Error) {
	shown := *e
	for field, messages := range e.Fields { // at most one
		shown.Message = field + " " + messages[0] + "."
	}
	w.Header().Set("X-Trace-Id", trace)
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, status, web.AppendError(nil, &shown, trace))
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
