package order

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ValidationErrors are messages about the fields of a request, by field, such as "items.0.quantity". The zero value is empty.
type ValidationErrors map[string][]string

// Add adds messages about a field.
func (v *ValidationErrors) Add(field string, messages ...string) {
	if *v == nil {
		*v = ValidationErrors{}
	}
	(*v)[field] = append((*v)[field], messages...)
}

// Err returns the CodeValidation error with all messages, or nil when there are none.
func (v ValidationErrors) Err() error {
	if len(v) == 0 {
		return nil
	}
	return invalid(v)
}

func invalid(fields ValidationErrors) *Error {
	return &Error{Code: CodeValidation, Message: "The request has invalid fields; see errors.", Fields: fields}
}

// Merge adds the fields of a CodeValidation error that have no message yet, and ignores other errors. A field that could not be
// read has a message and the zero value, whose further messages would mislead.
func (v *ValidationErrors) Merge(err error) {
	invalid, ok := errors.AsType[*Error](err)
	if !ok {
		return
	}
	for field, messages := range invalid.Fields {
		if len((*v)[field]) == 0 {
			v.Add(field, messages...)
		}
	}
}

// With returns the CodeValidation error with v and the fields of rules that have no message in v, or nil. It may change v.
func (v ValidationErrors) With(rules ValidationErrors) error {
	v.Merge(rules.Err())
	return v.Err()
}

// ValidID reports whether an id is in the range of ids.
func ValidID(id int64) bool { return id >= 1 && id <= MaxID }

// checkKey checks an idempotency key. A key in a header may contain any bytes; JSON can return only UTF-8.
func (v *ValidationErrors) checkKey(key string) {
	if n := utf8.RuneCountInString(key); n < 1 || n > MaxKeyLength {
		v.Add("idempotency_key", fmt.Sprintf("must have 1 to %d characters", MaxKeyLength))
	}
	if !utf8.ValidString(key) {
		v.Add("idempotency_key", "must be valid UTF-8")
	}
}

// checkText checks a required text of one line.
func (v *ValidationErrors) checkText(field, text string, limit int) {
	if n := utf8.RuneCountInString(text); n < 1 || n > limit {
		v.Add(field, fmt.Sprintf("must have 1 to %d characters", limit))
	}
	if !utf8.ValidString(text) {
		v.Add(field, "must be valid UTF-8")
		return
	}
	if strings.ContainsFunc(text, unicode.IsControl) {
		v.Add(field, "must have no control characters, such as line breaks")
	}
	if text != "" && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsSpace(r) && !unicode.Is(unicode.Cf, r) }) {
		v.Add(field, "must have a visible character")
	}
}

func (v *ValidationErrors) checkPrice(price Money) {
	if price < 1 || price > MaxMoney {
		v.Add("price", fmt.Sprintf("must be from %s to %s", Money(1), MaxMoney))
	}
}
