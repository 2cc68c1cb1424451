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

// Media types of bodies.
const (
	mediaJSON = "application/json"
	mediaForm = "application/x-www-form-urlencoded"
)

// readBody reads the JSON body into the exchange's own room. The errors carry CodeUnsupportedMedia,
// CodePayloadTooLarge or, when the body ends early, CodeMalformedJSON.
func (x *requestContext) readBody() ([]byte, error) {
	if _, err := mediaType(x.r.Header, mediaJSON); err != nil {
		return nil, err
	}
	return x.readBytes(malformed)
}

// readForm reads the rest of a request whose media type is mediaForm. Its limits are those of JSON. The errors carry
// CodePayloadTooLarge, CodeMalformedRequest when the form ends early, or CodeValidation.
func (x *requestContext) readForm() (url.Values, error) {
	raw, err := x.readBytes(malformedForm)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return nil, order.Invalid("body", "is no well-formed form")
	}
	return form, nil
}

// malformedForm is the error for a form that cannot be read; at is a position in bytes, counted from 0.
func malformedForm(at int64, reason string) error {
	return order.Errorf(order.CodeMalformedRequest, "The form cannot be read: at byte %d, %s.", at, reason)
}

// readBytes reads a body of any media type into the exchange's own room; broken makes the error for one that ends early.
func (x *requestContext) readBytes(broken func(at int64, reason string) error) ([]byte, error) {
	length := x.r.ContentLength
	if length > maxBody {
		return nil, tooLarge()
	}
	if cap(x.body) == 0 {
		x.body = make([]byte, 0, 1024)
	}
	into := bytes.NewBuffer(x.body[:0])
	if length > 0 {
		into.Grow(int(length) + bytes.MinRead) // the space in which ReadFrom finds the end
	}
	n, err := into.ReadFrom(&io.LimitedReader{R: x.r.Body, N: maxBody + 1})
	x.body = into.Bytes()
	switch {
	case n > maxBody:
		return nil, tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		x.slow = true
		x.Header()["Connection"] = x.api.fixed.closes
		return nil, broken(n, "the rest of the body took too long")
	case err != nil: // a caller that only closed its sending side reads the answer
		x.Header().Set("Connection", "close")
		return nil, broken(n, "the body broke off")
	}
	return x.body, nil
}

func tooLarge() error {
	return order.Errorf(order.CodePayloadTooLarge, "The body is larger than %d bytes.", maxBody)
}

// mediaType returns the media type of a body, which must be among those that the route takes and in UTF-8, not compressed.
// Other parameters than charset have no meaning for these media types and are ignored, as RFC 8259 asks for.
func mediaType(h http.Header, takes ...string) (string, error) {
	if encodings := h["Content-Encoding"]; len(encodings) > 0 && (len(encodings) > 1 || !strings.EqualFold(encodings[0], "identity")) {
		return "", order.Errorf(order.CodeUnsupportedMedia, "The body must not be compressed or encoded otherwise.")
	}
	types := h["Content-Type"]
	if len(types) == 1 && types[0] == takes[0] {
		return takes[0], nil
	}
	wrong := order.Errorf(order.CodeUnsupportedMedia, "The body must be JSON: send Content-Type: application/json.")
	if len(takes) > 1 {
		wrong = order.Errorf(order.CodeUnsupportedMedia, "The body must be of the type %s.", strings.Join(takes, " or "))
	}
	if len(types) != 1 {
		return "", wrong
	}
	kind, parameters, err := mime.ParseMediaType(types[0])
	if err != nil || !slices.Contains(takes, kind) {
		return "", wrong
	}
	if charset := parameters["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") && !strings.EqualFold(charset, "utf8") {
		return "", order.Errorf(order.CodeUnsupportedMedia, "The body must be in UTF-8: send Content-Type: %s without another charset.", kind)
	}
	return kind, nil
}
