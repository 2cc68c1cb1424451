package api

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"orderflow/internal/order"
)

// statusGone is counted and logged for a caller that closed its side of the connection before the answer. It is never sent.
const statusGone = 499

// statusOf is the one table from codes to HTTP statuses. It returns 0 for a code that it does not know.
func statusOf(code order.Code) int {
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

// StatusOf is the status that the API answers with for a code; 0 for a code that it does not know.
func StatusOf(code order.Code) int { return statusOf(code) }

// fail answers with err. What the caller may not know goes to the log.
func (x *requestContext) fail(err error) {
	if x.r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		if x.status == 0 { // a caller that only closed its sending side reads this
			x.Header()["Connection"] = x.api.fixed.closes
			x.out = appendError(x.out[:0], errCallerLeft(), x.trace.ID)
			x.json(statusOf(order.CodeUnavailable), x.out)
		}
		return
	}
	if x.status != 0 {
		// Half an answer is out and cannot be taken back: cutting the connection is the only way to say so.
		x.log(slog.LevelError, "an answer broke off", "request.broken", err)
		panic(http.ErrAbortHandler)
	}
	shown := x.shown(err)
	if shown.Code == order.CodeOverloaded || shown.Code == order.CodeUnavailable {
		x.Header().Set("Retry-After", "1")
	}
	if shown.Code == order.CodeUnauthenticated {
		x.Header()["Www-Authenticate"] = x.api.fixed.bearer
	}
	x.out = appendError(x.out[:0], shown, x.trace.ID)
	x.json(statusOf(shown.Code), x.out)
}

func errCallerLeft() *order.Error {
	return order.Errorf(order.CodeUnavailable, "The work was ended, because the caller closed its side of the connection. Keep it open.")
}

// shown is the part of err that the caller sees.
func (x *requestContext) shown(err error) *order.Error {
	var coded *order.Error
	if errors.As(err, &coded) && statusOf(coded.Code) != 0 && coded.Code != order.CodeInternal {
		if coded.Code == order.CodeUnavailable {
			if more, due := x.api.unavailable.due(time.Now()); due {
				x.log(slog.LevelWarn, "requests are refused as unavailable; the error says why", "request.unavailable", err,
					slog.Int64("unlogged", more))
			}
		}
		return coded
	}
	x.log(slog.LevelError, "a request failed", "request.failed", err)
	return internal()
}

// internal is the error that hides all others.
func internal() *order.Error {
	return order.Errorf(order.CodeInternal, "Something went wrong on our side. The log has it under the trace id.")
}

// appendError appends the one shape of all errors.
func appendError(dst []byte, e *order.Error, trace string) []byte {
	dst = append(dst, `{"error":`...)
	dst = appendString(dst, string(e.Code))
	dst = append(dst, `,"message":`...)
	dst = appendString(dst, e.Message)
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
	default: // the others say it all in their message
	}
	dst = append(dst, `,"trace_id":`...)
	dst = appendString(dst, trace)
	return append(dst, '}', '\n')
}

func appendFields(dst []byte, fields map[string][]string) []byte {
	dst = append(dst, '{')
	for i, field := range slices.Sorted(maps.Keys(fields)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, field)
		dst = append(dst, ':', '[')
		for j, message := range fields[field] {
			if j > 0 {
				dst = append(dst, ',')
			}
			dst = appendString(dst, message)
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}
