package api

import (
	"bytes"
	"fmt"
	"net/http"

	"orderflow/internal/order"
)

// refusalHeaders are the headers of an answer that net/http writes by itself, before there is a request to hand on. No other
// answer has them: all others carry a date.
const refusalHeaders = "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"

// maxRefusal bounds such an answer, in bytes. Its texts are constants of net/http.
const maxRefusal = 512

// Refusal returns what a connection writes instead of p: when p is net/http's own refusal of a request that it could not
// read, the same refusal in the shape of the API's errors, with a new trace id; else nil. It covers status 400 and 431.
func Refusal(p []byte) []byte {
	if len(p) > maxRefusal || !bytes.HasPrefix(p, []byte("HTTP/1.1 4")) {
		return nil
	}
	head, _, found := bytes.Cut(p, []byte(refusalHeaders))
	if !found {
		return nil
	}
	var refused *order.Error
	switch _, reason, _ := bytes.Cut(head, []byte(": ")); {
	case bytes.HasPrefix(head, []byte("HTTP/1.1 431 ")):
		refused = order.Errorf(order.CodeHeadersTooLarge, "The headers are larger than %d bytes.", maxHeaders)
	case !bytes.HasPrefix(head, []byte("HTTP/1.1 400 ")):
		return nil
	case len(reason) > 0:
		refused = order.Errorf(order.CodeMalformedRequest, "The request cannot be read: %s.", reason)
	default:
		refused = order.Errorf(order.CodeMalformedRequest, "The request line or a header cannot be read. "+
			"Check the percent-encoding of the address and the form of the headers.")
	}
	trace, status := newUUID(), statusOf(refused.Code)
	body := appendError(nil, refused, trace)
	answer := fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nX-Trace-Id: %s\r\n"+
		"X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
		status, http.StatusText(status), mediaJSON, len(body), trace)
	return append(answer, body...)
}
