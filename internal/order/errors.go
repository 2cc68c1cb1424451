package order

import (
	"errors"
	"fmt"
)

// Code names a kind of failure. Codes are part of the API: they never change their meaning.
type Code string

// Every code that the product answers with. The API maps each to one HTTP status, in one table.
const (
	CodeInsufficientStock Code = "insufficient_stock"     // fewer units left than requested
	CodeProductInactive   Code = "product_inactive"       // the product is not for sale
	CodeLockConflict      Code = "lock_conflict"          // a product stayed locked through all tries
	CodeValidation        Code = "validation_error"       // fields of the request are invalid: see Fields
	CodeKeyReused         Code = "idempotency_key_reused" // the key belongs to an order with other items
	CodeNotCancellable    Code = "order_not_cancellable"  // only PENDING orders can be cancelled
	CodeMalformedJSON     Code = "malformed_json"         // the body is not strict JSON
	CodeMalformedRequest  Code = "malformed_request"      // the request cannot be parsed
	CodeHeadersTooLarge   Code = "headers_too_large"      // the headers are over the limit
	CodeNotFound          Code = "not_found"              // does not exist, or the caller must not see it
	CodeMethodNotAllowed  Code = "method_not_allowed"     // the path exists, the method does not
	CodePayloadTooLarge   Code = "payload_too_large"      // the body is over the limit
	CodeUnsupportedMedia  Code = "unsupported_media_type" // the body is not JSON
	CodeTooManyRequests   Code = "too_many_requests"      // over the rate limit
	CodeUnauthenticated   Code = "unauthenticated"        // no token, or an invalid one
	CodeForbidden         Code = "forbidden"              // the token does not allow this
	CodeOverloaded        Code = "overloaded"             // the queue is full; try again shortly
	CodeUnavailable       Code = "unavailable"            // the database cannot be reached or written
	CodeInternal          Code = "internal_error"         // unexpected; the log has the error under the trace id
	CodeJobInProgress     Code = "job_in_progress"        // the failed job's order is being processed, or is settled
)

// Codes returns every code, so that tests can compare them with the API's table and document.
func Codes() []Code {
	return []Code{
		CodeInsufficientStock, CodeProductInactive, CodeLockConflict, CodeValidation, CodeKeyReused, CodeNotCancellable,
		CodeMalformedJSON, CodeNotFound, CodeMethodNotAllowed, CodePayloadTooLarge, CodeUnsupportedMedia,
		CodeTooManyRequests, CodeUnauthenticated, CodeForbidden, CodeOverloaded, CodeUnavailable, CodeInternal,
		CodeJobInProgress, CodeMalformedRequest, CodeHeadersTooLarge,
	}
}

// Error is the one error type of the domain: a code for programs, a message for people.
type Error struct {
	Code    Code
	Message string           // what happened and what to do; shown to callers
	Fields  ValidationErrors // CodeValidation only

	ProductID            int64 // CodeInsufficientStock, CodeProductInactive, CodeLockConflict and LockedProduct
	Requested, Available int64 // CodeInsufficientStock: units

	Cause error // for the log, never shown to callers
}

// Error returns the message and, for logs, the cause.
func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Message + ": " + e.Cause.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// ErrorType returns the code: the type of the error in traces.
func (e *Error) ErrorType() string { return string(e.Code) }

// CodeOf returns the code of the *Error in the chain of err, CodeInternal without one, and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if coded, ok := errors.AsType[*Error](err); ok {
		return coded.Code
	}
	return CodeInternal
}

// Errorf returns an error with a code and a message.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Invalid returns a CodeValidation error for one field.
func Invalid(field, message string) *Error {
	return invalid(ValidationErrors{field: {message}})
}

// ErrLocked is the cause of the errors of LockedOrder, LockedProduct and LockedUser.
var ErrLocked = errors.New("another transaction keeps the row locked")

// LockedOrder returns the CodeUnavailable error for a request that was not processed because the row of its order is locked.
func LockedOrder(id int64) *Error {
	return &Error{
		Code: CodeUnavailable, Cause: ErrLocked,
		Message: fmt.Sprintf("Order %d is locked by another transaction at the moment; try again shortly.", id),
	}
}

// LockedProduct is LockedOrder for the row of a product.
func LockedProduct(id int64) *Error {
	return &Error{
		Code: CodeUnavailable, Cause: ErrLocked, ProductID: id,
		Message: fmt.Sprintf("Product %d is locked by another transaction at the moment; try again shortly with the same key.", id),
	}
}

// LockedUser is LockedOrder for the row of a user.
func LockedUser(id int64) *Error {
	return &Error{
		Code: CodeUnavailable, Cause: ErrLocked,
		Message: fmt.Sprintf("User %d is locked by another transaction at the moment; try again shortly with the same key.", id),
	}
}

// NotFound returns the CodeNotFound error for a missing row, such as "Order 7".
func NotFound(what string) *Error { return Errorf(CodeNotFound, "%s does not exist.", what) }
