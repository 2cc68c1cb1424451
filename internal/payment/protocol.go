package payment

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"orderflow/internal/order"
)

// signatureHeader carries the signature of a request to the provider.
const signatureHeader = "Orderflow-Signature"

// sign returns the value of the signature header, such as "t=1767225600,v1=5f2b…": the time in Unix seconds, and the hexadecimal
// HMAC-SHA256 of
//
//	seconds \n method \n path \n body
//
// with the path of the request line. None of the first three can contain a line feed, so different requests have different
// signed texts.
func sign(secret []byte, at time.Time, method, path string, body []byte) string {
	seconds := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, secret)
	for _, part := range []string{seconds, method, path} {
		mac.Write([]byte(part)) // a hash never fails
		mac.Write([]byte{'\n'})
	}
	mac.Write(body)
	return "t=" + seconds + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

// wireRequest is the body of both requests.
type wireRequest struct {
	Key      string `json:"key"`
	OrderID  int64  `json:"order_id"`
	Attempt  int    `json:"attempt"`
	Amount   string `json:"amount"` // decimal, such as "2029.97"
	Currency string `json:"currency"`
	Method   string `json:"payment_method,omitzero"`
	TraceID  string `json:"trace_id,omitzero"`
}

func encode(request Request) ([]byte, error) {
	body, err := json.Marshal(wireRequest{
		Key: request.Key, OrderID: request.OrderID, Attempt: request.Attempt, Amount: request.Amount.String(),
		Currency: request.Currency, Method: request.Method, TraceID: request.Trace.ID,
	})
	if err != nil { // invalid UTF-8; err might quote the payment method
		return nil, errors.New("the request cannot be encoded as JSON: one of its strings is not UTF-8")
	}
	return body, nil
}

// wireAnswer is the body of an answer. Unknown fields are ignored. A duplicate field, invalid UTF-8 or data after the object make
// it malformed.
type wireAnswer struct {
	Status    string `json:"status"`
	Reference string `json:"reference"`
	Reason    string `json:"reason"`
}

// Bounds of stored texts, in characters.
const (
	maxReference = 255
	maxReason    = 255
	minRedacted  = 8 // a shorter payment method is a word such as "card", not a token
)

// answer is an HTTP answer of the provider.
type answer struct {
	status int
	body   []byte
}

// mayBeDefinite reports whether the status allows a definite answer, which the body then has.
func (a answer) mayBeDefinite() bool {
	return a.status == http.StatusOK || a.status == http.StatusCreated || a.status == http.StatusPaymentRequired
}

// result interprets an answer according to the table of docs/payment-provider.md. Its errors name the status and the problem, but
// do not quote the body, which may contain the payment method.
func (a answer) result(kind order.PaymentKind, method string) (Result, error) {
	if !a.mayBeDefinite() {
		return Result{}, fmt.Errorf("status %d %s", a.status, http.StatusText(a.status))
	}
	if len(a.body) > maxAnswerBytes {
		return Result{}, fmt.Errorf("status %d with an answer of more than %d bytes", a.status, maxAnswerBytes)
	}
	var wire wireAnswer
	if err := json.Unmarshal(a.body, &wire); err != nil {
		return Result{}, fmt.Errorf("status %d with a malformed JSON answer", a.status)
	}
	switch {
	case wire.Status == "succeeded" && a.status != http.StatusPaymentRequired:
		length := utf8.RuneCountInString(wire.Reference)
		if length > maxReference || (length == 0 && kind == order.KindCharge) {
			return Result{}, fmt.Errorf("status %d, succeeded, with a reference of %d characters instead of 1 to %d", a.status, length, maxReference)
		}
		return Result{Outcome: order.Succeeded, Reference: wire.Reference}, nil
	case wire.Status == "declined" && a.status != http.StatusCreated:
		return Result{Outcome: order.Declined, Reason: reason(wire.Reason, method)}, nil
	case wire.Status == "succeeded" || wire.Status == "declined":
		return Result{}, fmt.Errorf("status %d contradicts the answer %q", a.status, wire.Status)
	default:
		return Result{}, fmt.Errorf("status %d with an answer that is neither succeeded nor declined", a.status)
	}
}

// reason returns the provider's reason for customers and logs: never empty, not too long, without the payment method.
func reason(text, method string) string {
	if utf8.RuneCountInString(method) >= minRedacted {
		text = strings.ReplaceAll(text, method, "[payment method]")
	}
	if utf8.RuneCountInString(text) > maxReason {
		text = string([]rune(text)[:maxReason])
	}
	if text == "" {
		return "declined by the payment provider"
	}
	return text
}
