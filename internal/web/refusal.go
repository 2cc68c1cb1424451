package web

import (
	"bytes"
	"fmt"
	"net/http"

	"github.com/google/uuid"

	"orderflow/internal/order"
)

// refusalHeaders are the headers of an answer that net/http writes by itself to a request that it cannot read, without calling the
// handler. No other answer has exactly these: all others carry a date.
const refusalHeaders = "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"

// maxRefusal bounds the length of such an answer, in bytes. Its texts are constants of net/http.
const maxRefusal = 512

// Write writes to the connection. An answer that net/http writes by itself is replaced by the same refusal in the form of the
// product's errors.
func (c *limitedConn) Write(p []byte) (int, error) {
	answer := rewriteRefusal(p)
	if answer == nil {
		return c.TCPConn.Write(p)
	}
	if _, err := c.TCPConn.Write(answer); err != nil {
		return 0, err
	}
	return len(p), nil
}

// rewriteRefusal returns the answer that replaces p, with a new trace id, when p is net/http's own refusal with status 400 or 431; else
// nil.
func rewriteRefusal(p []byte) []byte {
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
		refused = order.Errorf(order.CodeHeadersTooLarge, "The headers are larger than %d bytes. Send fewer or shorter ones.", maxHeaderBytes)
	case !bytes.HasPrefix(head, []byte("HTTP/1.1 400 ")):
		return nil
	case len(reason) > 0:
		refused = order.Errorf(order.CodeMalformedRequest, "The request cannot be read: %s.", reason)
	default:
		refused = order.Errorf(order.CodeMalformedRequest, "The request line or a header cannot be read. "+
			"Check the percent-encoding of the address and the form of the headers.")
	}
	traceID, status := uuid.NewString(), StatusOf(refused.Code)
	body := AppendError(nil, refused, traceID)
	answer := fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nX-Trace-Id: %s\r\n"+
		"X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
		status, http.StatusText(status), len(body), traceID)
	return append(answer, body...)
}
