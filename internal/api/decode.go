package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/go-json-experiment/json/jsontext"

	"orderflow/internal/order"
)

// orderBody is the body of POST /orders as far as it was understood; faults says where it was not. Values at fault are
// zero, so that the checks of package order find fault with them too.
type orderBody struct {
	bodyKey
	userID        int64
	lines         []order.Line
	paymentMethod string
	faults        faults
}

// decodeOrder reads a body in one pass. The error, which carries CodeMalformedJSON, means that the body is no strict
// JSON: it comes before all faults of single fields, wherever it stands.
func (x *requestContext) decodeOrder(body []byte) (orderBody, error) {
	reader, err := x.reader(body)
	if err != nil {
		return orderBody{}, err
	}
	var into orderBody
	reader.order(&into)
	reader.end()
	return into, reader.err
}

// reader returns what reads a body, once, with the room of this exchange. The error carries CodeMalformedJSON.
func (x *requestContext) reader(body []byte) (bodyReader, error) {
	if at, deep := tooDeep(body); deep {
		return bodyReader{}, malformed(at, fmt.Sprintf("more than %d levels of nesting", maxDepth))
	}
	x.input = *bytes.NewBuffer(body)
	x.decoder.Reset(&x.input)
	return bodyReader{decoder: &x.decoder}, nil
}

// end makes sure that the one value was all there is.
func (r *bodyReader) end() {
	if r.err != nil {
		return
	}
	if _, err := r.decoder.ReadToken(); err == nil {
		r.err = malformed(r.decoder.InputOffset(), "more data after the end of the value")
	} else if !errors.Is(err, io.EOF) {
		r.fail(err)
	}
}

// bodyKey is the idempotency key of a body.
type bodyKey struct {
	key   string
	keyed bool // idempotency_key is there
}

// bodyReader reads values of expected types. After an error of the syntax it reads nothing more and keeps that error.
type bodyReader struct {
	decoder *jsontext.Decoder
	err     error
}

func (r *bodyReader) order(into *orderBody) {
	var hasUser, hasItems bool
	object := r.object(func(name []byte) {
		switch string(name) {
		case "user_id":
			hasUser = true
			into.userID, _ = r.integer("user_id", &into.faults)
		case "idempotency_key":
			into.keyed = true
			into.key = r.text("idempotency_key", &into.faults)
		case "items":
			hasItems = true
			r.items(into)
		case "payment_method":
			into.paymentMethod = r.text("payment_method", &into.faults)
		default:
			r.skip()
		}
	})
	if !object {
		into.faults.add("body", "must be an object")
	}
	if !hasUser {
		into.faults.add("user_id", "is required")
	}
	if !hasItems {
		into.faults.add("items", "is required")
	}
}

// items reads the lines. It keeps one more than an order may have, which is enough to see that there are too many.
func (r *bodyReader) items(into *orderBody) {
	if r.decoder.PeekKind() != jsontext.KindBeginArray {
		into.faults.add("items", "must be an array, not "+r.describe())
		return
	}
	r.token()
	for r.more(jsontext.KindEndArray) {
		if len(into.lines) > order.MaxLines {
			r.skip()
			continue
		}
		r.line(into)
	}
	r.token()
}

func (r *bodyReader) line(into *orderBody) {
	i := len(into.lines)
	var line order.Line
	var hasProduct, hasQuantity bool
	object := r.object(func(name []byte) {
		switch string(name) {
		case "product_id":
			hasProduct = true
			line.ProductID = r.lineInteger(into, i, "product_id")
		case "quantity":
			hasQuantity = true
			line.Quantity = r.lineInteger(into, i, "quantity")
		default:
			r.skip()
		}
	})
	switch {
	case !object:
		into.faults.add(order.LineField(i, ""), "must be an object")
	default:
		if !hasProduct {
			into.faults.add(order.LineField(i, "product_id"), "is required")
		}
		if !hasQuantity {
			into.faults.add(order.LineField(i, "quantity"), "is required")
		}
	}
	into.lines = append(into.lines, line)
}

// lineInteger is integer for a field of a line, whose name is only put together when there is a fault to report.
func (r *bodyReader) lineInteger(into *orderBody, i int, field string) int64 {
	var wrong faults
	n, ok := r.integer(field, &wrong)
	if !ok {
		into.faults.move(order.LineField(i, field), wrong[field])
	}
	return n
}

// object reads an object and calls member for each name; member must read or skip the value. It reports whether there
// was one; another value is skipped.
func (r *bodyReader) object(member func(name []byte)) bool {
	if r.decoder.PeekKind() != jsontext.KindBeginObject {
		r.skip()
		return false
	}
	r.token()
	for r.more(jsontext.KindEndObject) {
		quoted, err := r.decoder.ReadValue()
		if err != nil {
			r.fail(err)
			break
		}
		name := quoted[1 : len(quoted)-1]
		if bytes.IndexByte(name, '\\') >= 0 {
			// The decoder has checked the string, so taking its quotes off cannot fail.
			name, _ = jsontext.AppendUnquote(nil, quoted)
		}
		member(name)
	}
	r.token()
	return true
}

// more reports whether another value comes before the end of the object or array.
func (r *bodyReader) more(end jsontext.Kind) bool {
	if r.err != nil {
		return false
	}
	next := r.decoder.PeekKind()
	return next != end && next != jsontext.KindInvalid
}

// integer reads a whole number; ok is false, and a fault noted, for anything else. A number beyond 64 bits becomes the
// largest or smallest one, which is out of all bounds here.
func (r *bodyReader) integer(field string, faults *faults) (n int64, ok bool) {
	if r.decoder.PeekKind() != jsontext.KindNumber {
		faults.add(field, "must be a whole number, not "+r.describe())
		return 0, false
	}
	value, err := r.decoder.ReadValue()
	if err != nil {
		r.fail(err)
		return 0, false
	}
	if bytes.ContainsAny(value, ".eE") {
		faults.add(field, "must be a whole number, without a fraction or an exponent")
		return 0, false
	}
	return parseInteger(value), true
}

// parseInteger reads digits with an optional minus before them.
func parseInteger(value []byte) int64 {
	digits, negative := bytes.CutPrefix(value, []byte("-"))
	var n int64
	for _, c := range digits {
		if n > (math.MaxInt64-9)/10 {
			n = math.MaxInt64
			break
		}
		n = n*10 + int64(c-'0')
	}
	if negative {
		return -n
	}
	return n
}

// text reads a string; it notes a fault for anything else.
func (r *bodyReader) text(field string, faults *faults) string {
	if r.decoder.PeekKind() != jsontext.KindString {
		faults.add(field, "must be a string, not "+r.describe())
		return ""
	}
	value, err := r.decoder.ReadValue()
	if err != nil {
		r.fail(err)
		return ""
	}
	if bytes.IndexByte(value, '\\') < 0 {
		return string(value[1 : len(value)-1])
	}
	plain, _ := jsontext.AppendUnquote(nil, value) // cannot fail: the decoder has checked it
	return string(plain)
}

// describe skips the next value and says what it was.
func (r *bodyReader) describe() string {
	kind := r.decoder.PeekKind()
	r.skip()
	switch kind {
	case jsontext.KindNull:
		return "null"
	case jsontext.KindTrue, jsontext.KindFalse:
		return "a boolean"
	case jsontext.KindString:
		return "a string"
	case jsontext.KindNumber:
		return "a number"
	case jsontext.KindBeginObject:
		return "an object"
	case jsontext.KindBeginArray:
		return "an array"
	default:
		return "this"
	}
}

func (r *bodyReader) skip() {
	if r.err == nil {
		r.fail(r.decoder.SkipValue())
	}
}

func (r *bodyReader) token() {
	if r.err == nil {
		_, err := r.decoder.ReadToken()
		r.fail(err)
	}
}

// fail keeps the first error of the syntax.
func (r *bodyReader) fail(err error) {
	if err == nil || r.err != nil {
		return
	}
	offset, reason := r.decoder.InputOffset(), "it ends too early"
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		offset = syntax.ByteOffset
		switch {
		case errors.Is(err, jsontext.ErrDuplicateName):
			reason = "a name stands twice in one object"
		case !errors.Is(err, io.ErrUnexpectedEOF):
			reason = syntax.Err.Error()
		}
	}
	r.err = malformed(offset, reason)
}

// malformed is the error for a body that is no strict JSON; at is a position in bytes, counted from 0.
func malformed(at int64, reason string) error {
	return order.Errorf(order.CodeMalformedJSON, "The body is not strict JSON: at byte %d, %s.", at, reason)
}

// tooDeep reports where a body nests deeper than maxDepth. It knows strings from structure and no more: what is not
// valid JSON is refused by the decoder, if not here.
func tooDeep(body []byte) (at int64, deep bool) {
	depth := 0
	quoted := false
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '\\':
			if quoted {
				i++
			}
		case '"':
			quoted = !quoted
		case '{', '[':
			if !quoted {
				if depth++; depth > maxDepth {
					return int64(i), true
				}
			}
		case '}', ']':
			if !quoted {
				depth--
			}
		}
	}
	return 0, false
}
