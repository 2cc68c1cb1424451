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

// maxDepth is how deep objects and arrays in a body may be nested.
const maxDepth = 16

// bodyReader reads the JSON of one body in one pass. It reads values of expected types by name, and collects the validation
// errors of the fields. A field with an error has the zero value, so the rules of package order reject it too. After a syntax
// error it reads nothing more.
type bodyReader struct {
	input   bytes.Buffer
	decoder jsontext.Decoder
	line    int // the line of an order that is being read; -1 outside of lines
	errors  order.ValidationErrors
	err     error // the first syntax error; it carries CodeMalformedJSON
}

// start makes the reader read a body. It may be called again for another body.
func (r *bodyReader) start(body []byte) {
	r.line, r.errors, r.err = -1, nil, nil
	if at, deep := tooDeep(body); deep {
		r.err = malformed(at, fmt.Sprintf("more than %d levels of nesting", maxDepth))
	}
	r.input = *bytes.NewBuffer(body)
	r.decoder.Reset(&r.input)
}

// release drops all references to the body.
func (r *bodyReader) release() { r.input, r.errors, r.err = bytes.Buffer{}, nil, nil }

// end checks that nothing follows the value that was read.
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

// invalid adds a validation error of a field.
func (r *bodyReader) invalid(field, message string) {
	if r.line >= 0 {
		field = order.LineField(r.line, field)
	}
	r.errors.Add(field, message)
}

// object reads an object. read reads the value of a name and returns true; it returns false for a name that it does not know, whose
// value is then skipped. A value that is not an object is a validation error, and so is each required name that is missing.
func (r *bodyReader) object(read func(name []byte) bool, required ...string) {
	if r.err != nil {
		return
	}
	isObject, found := r.decoder.PeekKind() == jsontext.KindBeginObject, uint(0)
	if isObject {
		found = r.members(read, required)
	} else {
		r.skip()
		if r.line >= 0 {
			r.invalid("", "must be an object")
			return
		}
		r.invalid("body", "must be an object")
	}
	for i, name := range required {
		if found&(1<<i) == 0 {
			r.invalid(name, "is required")
		}
	}
}

// members reads the members of an object, and returns which of the required names it has, by bit.
func (r *bodyReader) members(read func(name []byte) bool, required []string) (found uint) {
	r.token()
	for r.more(jsontext.KindEndObject) {
		quoted, err := r.decoder.ReadValue()
		if err != nil {
			r.fail(err)
			break
		}
		name := quoted[1 : len(quoted)-1]
		if bytes.IndexByte(name, '\\') >= 0 {
			name, _ = jsontext.AppendUnquote(nil, quoted) // cannot fail: the decoder has checked it
		}
		for i := range required {
			if string(name) == required[i] {
				found |= 1 << i
			}
		}
		if !read(name) {
			r.skip()
		}
	}
	r.token()
	return found
}

// more reports whether another value comes before the end of the object or array.
func (r *bodyReader) more(end jsontext.Kind) bool {
	if r.err != nil {
		return false
	}
	next := r.decoder.PeekKind()
	return next != end && next != jsontext.KindInvalid
}

// array reads an array by calling item for each element, which item must read or skip.
func (r *bodyReader) array(field string, item func()) {
	if r.decoder.PeekKind() != jsontext.KindBeginArray {
		r.invalid(field, "must be an array, not "+r.describe())
		return
	}
	r.token()
	for r.more(jsontext.KindEndArray) {
		item()
	}
	r.token()
}

// integer reads a whole number. A number beyond 64 bits becomes the largest or smallest one, which no rule allows.
func (r *bodyReader) integer(field string) int64 {
	if r.decoder.PeekKind() != jsontext.KindNumber {
		r.invalid(field, "must be a whole number, not "+r.describe())
		return 0
	}
	value, err := r.decoder.ReadValue()
	if err != nil {
		r.fail(err)
		return 0
	}
	if bytes.ContainsAny(value, ".eE") {
		r.invalid(field, "must be a whole number, without a fraction or an exponent")
		return 0
	}
	return parseInteger(value)
}

// parseInteger parses digits with an optional minus.
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

// text reads a string.
func (r *bodyReader) text(field string) string {
	if r.decoder.PeekKind() != jsontext.KindString {
		r.invalid(field, "must be a string, not "+r.describe())
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

// money reads an amount, which is a string.
func (r *bodyReader) money(field string) order.Money {
	if r.decoder.PeekKind() != jsontext.KindString {
		r.invalid(field, `must be a string such as "29.97", not `+r.describe())
		return 0
	}
	amount, err := order.ParseMoney(r.text(field))
	if invalid, ok := errors.AsType[*order.Error](err); ok && r.err == nil {
		for _, messages := range invalid.Fields {
			r.errors.Add(field, messages...)
		}
	}
	return amount
}

// boolean reads true or false.
func (r *bodyReader) boolean(field string) bool {
	kind := r.decoder.PeekKind()
	if kind != jsontext.KindTrue && kind != jsontext.KindFalse {
		r.invalid(field, "must be true or false, not "+r.describe())
		return false
	}
	r.skip()
	return kind == jsontext.KindTrue
}

// describe skips the next value and returns its type for a message.
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

// fail keeps the first syntax error.
func (r *bodyReader) fail(err error) {
	if err == nil || r.err != nil {
		return
	}
	offset, reason := r.decoder.InputOffset(), "it ends too early"
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		offset = syntax.ByteOffset
		switch {
		case errors.Is(err, jsontext.ErrDuplicateName):
			reason = "an object has a duplicate name"
		case !errors.Is(err, io.ErrUnexpectedEOF):
			reason = syntax.Err.Error()
		}
	}
	r.err = malformed(offset, reason)
}

// malformed returns the error for a body that is not strict JSON; at is a position in bytes, counted from 0.
func malformed(at int64, reason string) error {
	return order.Errorf(order.CodeMalformedJSON, "The body is not strict JSON: at byte %d, %s.", at, reason)
}

// tooDeep returns where a body is nested deeper than maxDepth. It distinguishes only strings from structure: the decoder refuses
// invalid JSON.
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
