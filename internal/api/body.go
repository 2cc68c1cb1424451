package api

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"orderflow/internal/order"
)

const maxBody = 64 << 10 // bytes of a body

// Media types of bodies.
const (
	mediaJSON = "application/json"
	mediaForm = "application/x-www-form-urlencoded"
)

// readJSON reads the JSON body of a request by read, and returns the validation errors of its fields. The error carries
// CodeUnsupportedMedia, CodePayloadTooLarge or CodeMalformedJSON; a syntax error anywhere in the body comes before the validation
// errors.
func (rc *requestContext) readJSON(read func(*bodyReader)) (order.ValidationErrors, error) {
	if _, err := mediaType(rc.r.Header, mediaJSON); err != nil {
		return nil, err
	}
	return rc.decode(read)
}

// decode is readJSON for a request whose media type has been checked.
func (rc *requestContext) decode(read func(*bodyReader)) (order.ValidationErrors, error) {
	body, err := rc.readBytes(malformed)
	if err != nil {
		return nil, err
	}
	rc.reader.start(body)
	read(&rc.reader)
	rc.reader.end()
	return rc.reader.errors, rc.reader.err
}

// readForm reads the form of a request whose media type is mediaForm, within the limits of JSON. The errors carry
// CodePayloadTooLarge, CodeMalformedRequest when the form ends early, or CodeValidation.
func (rc *requestContext) readForm() (url.Values, error) {
	body, err := rc.readBytes(malformedForm)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, order.Invalid("body", "is not a well-formed form")
	}
	return form, nil
}

// malformedForm returns the error for a form that cannot be read; at is a position in bytes, counted from 0.
func malformedForm(at int64, reason string) error {
	return order.Errorf(order.CodeMalformedRequest, "The form cannot be read: at byte %d, %s.", at, reason)
}

// readBytes reads a body of any media type into the buffer of the request; ended returns the error for a body that ends early.
func (rc *requestContext) readBytes(ended func(at int64, reason string) error) ([]byte, error) {
	length := rc.r.ContentLength
	if length > maxBody {
		return nil, tooLarge()
	}
	if cap(rc.body) == 0 {
		rc.body = make([]byte, 0, 1024)
	}
	into := bytes.NewBuffer(rc.body[:0])
	if length > 0 {
		into.Grow(int(length) + bytes.MinRead) // ReadFrom needs MinRead bytes to find the end
	}
	n, err := into.ReadFrom(&io.LimitedReader{R: rc.r.Body, N: maxBody + 1})
	rc.body = into.Bytes()
	switch {
	case n > maxBody:
		return nil, tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		rc.bodyTimedOut = true
		rc.Header()["Connection"] = rc.api.fixed.closes
		return nil, ended(n, "the rest of the body took too long")
	case err != nil: // a client that only closed its sending side reads the answer
		rc.Header()["Connection"] = rc.api.fixed.closes
		return nil, ended(n, "the body ended early")
	}
	return rc.body, nil
}

func tooLarge() error {
	return order.Errorf(order.CodePayloadTooLarge, "The body is larger than %d bytes. Send a smaller one.", maxBody)
}

// mediaType returns the media type of a body, which must be one of allowed, in UTF-8 and not compressed. Parameters other than
// charset have no meaning for these media types and are ignored, as RFC 8259 requires.
func mediaType(h http.Header, allowed ...string) (string, error) {
	if encodings := h["Content-Encoding"]; len(encodings) > 0 && (len(encodings) > 1 || !strings.EqualFold(encodings[0], "identity")) {
		return "", order.Errorf(order.CodeUnsupportedMedia, "The body is compressed. Send it without Content-Encoding.")
	}
	types := h["Content-Type"]
	if len(types) == 1 && types[0] == allowed[0] {
		return allowed[0], nil
	}
	unsupported := order.Errorf(order.CodeUnsupportedMedia, "The body must be JSON. Send Content-Type: application/json.")
	if len(allowed) > 1 {
		unsupported = order.Errorf(order.CodeUnsupportedMedia, "The body must have the Content-Type %s.", strings.Join(allowed, " or "))
	}
	if len(types) != 1 {
		return "", unsupported
	}
	kind, parameters, err := mime.ParseMediaType(types[0])
	if err != nil || !slices.Contains(allowed, kind) {
		return "", unsupported
	}
	if charset := parameters["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") && !strings.EqualFold(charset, "utf8") {
		return "", order.Errorf(order.CodeUnsupportedMedia, "The body must be in UTF-8. Send Content-Type: %s without another charset.", kind)
	}
	return kind, nil
}
