package api

import (
	"strings"
	"unicode/utf8"

	"orderflow/internal/order"
)

// bodyKey is the idempotency key of a body.
type bodyKey struct {
	value   string
	present bool
}

const keyField = "idempotency_key"

// key reads the idempotency key of a body.
func (r *bodyReader) key() bodyKey { return bodyKey{r.text(keyField), true} }

// idempotencyKey returns the idempotency key of a request: from the body or from the Idempotency-Key header. If both are present,
// they must be equal. It adds to the validation errors of the body.
func (rc *requestContext) idempotencyKey(body bodyKey, invalid *order.ValidationErrors) string {
	header := rc.r.Header["Idempotency-Key"]
	switch {
	case len(header) == 0 && !body.present:
		invalid.Add(keyField, "is required, here or in the Idempotency-Key header")
	case len(header) == 0:
	case len(header) > 1:
		invalid.Add(keyField, "is in more than one Idempotency-Key header")
	default:
		key, ok := parseKey(header[0])
		switch {
		case !ok:
			invalid.Add(keyField, "is malformed in the Idempotency-Key header: send plain text, or one quoted string")
		case !body.present:
			return key
		case len((*invalid)[keyField]) == 0 && body.value != key:
			invalid.Add(keyField, "differs from the Idempotency-Key header")
		}
	}
	return body.value
}

// parseKey parses an Idempotency-Key header: plain text, or a string of RFC 9651 (in quotes, with \ as the escape character).
func parseKey(value string) (key string, ok bool) {
	if !utf8.ValidString(value) {
		return "", false
	}
	quoted, isQuoted := strings.CutPrefix(value, `"`)
	if !isQuoted {
		return value, true
	}
	plain := make([]byte, 0, len(quoted))
	for i := 0; i < len(quoted); i++ {
		c := quoted[i]
		switch {
		case c == '"':
			return string(plain), i == len(quoted)-1
		case c == '\\' && i+1 < len(quoted) && (quoted[i+1] == '"' || quoted[i+1] == '\\'):
			i++
			plain = append(plain, quoted[i])
		case c == '\\' || c < ' ' || c > '~':
			return "", false
		default:
			plain = append(plain, c)
		}
	}
	return "", false
}
