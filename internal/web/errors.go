package web

import (
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"orderflow/internal/order"
)

// StatusOf returns the HTTP status of an error code, and 0 for an unknown code. The product has no other such table.
func StatusOf(code order.Code) int {
	switch code {
	case order.CodeMalformedJSON, order.CodeMalformedRequest:
		return http.StatusBadRequest
	case order.CodeUnauthenticated:
		return http.StatusUnauthorized
	case order.CodeForbidden:
		return http.StatusForbidden
	case order.CodeNotFound:
		return http.StatusNotFound
	case order.CodeMethodNotAllowed:
		return http.StatusMethodNotAllowed
	case order.CodeInsufficientStock, order.CodeProductInactive, order.CodeLockConflict, order.CodeJobInProgress:
		return http.StatusConflict
	case order.CodePayloadTooLarge:
		return http.StatusRequestEntityTooLarge
	case order.CodeUnsupportedMedia:
		return http.StatusUnsupportedMediaType
	case order.CodeValidation, order.CodeKeyReused, order.CodeNotCancellable:
		return http.StatusUnprocessableEntity
	case order.CodeTooManyRequests:
		return http.StatusTooManyRequests
	case order.CodeHeadersTooLarge:
		return http.StatusRequestHeaderFieldsTooLarge
	case order.CodeInternal:
		return http.StatusInternalServerError
	case order.CodeOverloaded, order.CodeUnavailable:
		return http.StatusServiceUnavailable
	default:
		return 0
	}
}

// InternalError returns the error that a client sees in place of one whose text is for operators.
func InternalError() *order.Error {
	return order.Errorf(order.CodeInternal, "The server failed to process the request. The cause is in the server's log, under the trace id.")
}

// WriteError answers with an error and the status of its code. Servers and handlers without an error format of their own use it.
func WriteError(w http.ResponseWriter, traceID string, e *order.Error) {
	body := AppendError(nil, e, traceID)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Trace-Id", traceID)
	w.WriteHeader(StatusOf(e.Code))
	_, _ = w.Write(body) //nolint:gosec // it is JSON, and an error means that the client has disconnected
}

// AppendError appends the JSON body of an error. All errors of the product have this form.
func AppendError(dst []byte, e *order.Error, traceID string) []byte {
	dst = append(dst, `{"error":`...)
	dst = AppendString(dst, string(e.Code))
	dst = append(dst, `,"message":`...)
	dst = AppendString(dst, e.Message)
	switch e.Code {
	case order.CodeInsufficientStock:
		dst = append(dst, `,"product_id":`...)
		dst = strconv.AppendInt(dst, e.ProductID, 10)
		dst = append(dst, `,"requested":`...)
		dst = strconv.AppendInt(dst, e.Requested, 10)
		dst = append(dst, `,"available":`...)
		dst = strconv.AppendInt(dst, e.Available, 10)
	case order.CodeProductInactive:
		dst = append(dst, `,"product_id":`...)
		dst = strconv.AppendInt(dst, e.ProductID, 10)
	case order.CodeValidation:
		dst = append(dst, `,"errors":`...)
		dst = appendFields(dst, e.Fields)
	default: // the other codes have no details
	}
	dst = append(dst, `,"trace_id":`...)
	dst = AppendString(dst, traceID)
	return append(dst, '}', '\n')
}

func appendFields(dst []byte, fields map[string][]string) []byte {
	dst = append(dst, '{')
	for i, field := range slices.Sorted(maps.Keys(fields)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, field)
		dst = append(dst, ':', '[')
		for j, message := range fields[field] {
			if j > 0 {
				dst = append(dst, ',')
			}
			dst = AppendString(dst, message)
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

// AppendString appends s as a JSON string. Plain ASCII is copied unchanged: nearly all strings of the API are ASCII.
func AppendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			// The error means that s is not UTF-8. Each invalid byte is now the replacement character, as intended.
			dst, _ = jsontext.AppendQuote(dst, s)
			return dst
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}
