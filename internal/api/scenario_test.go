package api_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"orderflow/internal/order"
)

// scenario is one request with the expected and the forbidden content of its answer.
type scenario struct {
	name           string
	prepare        func(t testing.TB, n *server)
	method, target string
	body           string
	headers        []string // of the request, "Name: value"; "-" for none
	status         int
	want, forbid   []string // in the body
	wantHeaders    []string // "Name: value"; "-" for none
	once           bool     // cannot be repeated: no benchmark
}

// placed creates an order with key 7001 of user 1: two units of product 2.
func placed(t testing.TB, n *server) {
	t.Helper()
	n.place(t, "7001", 2, 2)
}

func ended(outcome order.Outcome) func(testing.TB, *server) {
	return func(t testing.TB, n *server) {
		t.Helper()
		n.intake.settle(t, n.place(t, "7001", 2, 2), outcome)
	}
}

func ordered(key string, product int64) func(testing.TB, *server) {
	return func(t testing.TB, n *server) {
		t.Helper()
		n.place(t, key, product, 1)
	}
}

func intakeFails(err error) func(testing.TB, *server) {
	return func(_ testing.TB, n *server) { n.intake.fail(err) }
}

const fine = `{"user_id":1,"idempotency_key":"a","items":[{"product_id":2,"quantity":1}]}`

func scenarios() []scenario {
	return slices.Concat(createScenarios(), keyScenarios(), mediaScenarios(), showScenarios(), listScenarios(), otherScenarios())
}

func createScenarios() []scenario {
	return []scenario{
		{
			name: "create", method: "POST", target: "/api/v1/orders", once: true, status: 201,
			body: `{"user_id":1,"idempotency_key":"7001","items":[{"product_id":2,"quantity":1},{"product_id":1,"quantity":2}],
				"payment_method":"pm_secret","total_amount":"0.01","items2":null,"User_ID":9}`,
			want: []string{
				`{"data":{"id":1,"user_id":1,"status":"PENDING","total_amount":"2029.97","currency":"USD","idempotency_key":"7001","cancelled_at":null,"created_at":"20`,
				`"items":[{"product_id":1,"quantity":2,"unit_price":"999.99"},{"product_id":2,"quantity":1,"unit_price":"29.99"}]}}`,
			},
			forbid:      []string{"pm_secret", "fingerprint", "lease", "attempts"},
			wantHeaders: []string{"Location: /api/v1/orders/1", "Idempotent-Replayed: -", "Content-Type: application/json", "Cache-Control: no-store"},
		},
		{
			name: "create by the alias", method: "POST", target: "/api/orders", once: true, status: 201,
			body: fine, wantHeaders: []string{"Location: /api/v1/orders/1"},
		},
		{
			name: "lines of one product are added up", method: "POST", target: "/api/v1/orders", once: true, status: 201,
			body: `{"user_id":1,"idempotency_key":"a","items":[{"product_id":2,"quantity":1},{"product_id":2,"quantity":3}]}`,
			want: []string{`"items":[{"product_id":2,"quantity":4,"unit_price":"29.99"}]`, `"total_amount":"119.96"`},
		},
		{
			name: "names may be spelled with escapes", method: "POST", target: "/api/v1/orders", once: true, status: 201,
			body: strings.Replace(fine, "user_id", `\u0075ser_\u0069d`, 1), want: []string{`"user_id":1`},
		},
		{
			name: "replay", prepare: placed, method: "POST", target: "/api/v1/orders", status: 200,
			body:        `{"items":[{"quantity":2,"product_id":2}],"idempotency_key":"\u0037001","user_id":1}`,
			want:        []string{`"id":1,`, `"status":"PENDING"`},
			wantHeaders: []string{"Location: /api/v1/orders/1", "Idempotent-Replayed: true"},
		},
		{
			name: "replay shows the present state of the order", prepare: ended(order.Succeeded), method: "POST", target: "/api/v1/orders", status: 200,
			body: orderJSON(1, "7001", 2, 2), want: []string{`"status":"PAID"`}, forbid: []string{"PENDING"},
		},
		{
			name: "a key of an order with other items", prepare: placed, method: "POST", target: "/api/v1/orders", status: 422,
			body: orderJSON(1, "7001", 2, 3), want: []string{`"error":"idempotency_key_reused"`}, forbid: []string{`"errors"`, `"data"`},
		},
		{
			name: "the same key of another user", prepare: placed, method: "POST", target: "/api/v1/orders", once: true, status: 201,
			body: orderJSON(2, "7001", 2, 3), want: []string{`"id":2,"user_id":2`},
		},
		{
			name: "more than in stock", method: "POST", target: "/api/v1/orders", status: 409,
			body: orderJSON(1, "a", 5, 2), want: []string{`"error":"insufficient_stock"`, `"product_id":5,"requested":2,"available":1,`},
			forbid: []string{`"data"`, `"errors"`},
		},
		{
			name: "out of stock", prepare: ordered("b", 5),
			method: "POST", target: "/api/v1/orders", status: 409, body: orderJSON(1, "a", 5, 1), want: []string{`"available":0`},
		},
		{
			name: "an inactive product", prepare: intakeFails(&order.Error{Code: order.CodeProductInactive, ProductID: 5, Message: "Not for sale."}),
			method: "POST", target: "/api/v1/orders", status: 409, body: fine,
			want: []string{`{"error":"product_inactive","message":"Not for sale.","product_id":5,"trace_id":"`}, forbid: []string{"requested", "available"},
		},
		{
			name: "a locked product", prepare: intakeFails(order.Errorf(order.CodeLockConflict, "Busy.")),
			method: "POST", target: "/api/v1/orders", status: 409, body: fine, want: []string{`"error":"lock_conflict"`}, wantHeaders: []string{"Retry-After: -"},
		},
		{
			name: "a full queue", prepare: intakeFails(fmt.Errorf("intake: %w", order.Errorf(order.CodeOverloaded, "Full."))),
			method: "POST", target: "/api/v1/orders", status: 503, body: fine,
			want: []string{`"error":"overloaded","message":"Full."`}, forbid: []string{"intake"}, wantHeaders: []string{"Retry-After: 1"},
		},
		{
			name: "no database", prepare: intakeFails(&order.Error{Code: order.CodeUnavailable, Message: "Not there.", Cause: errors.New("dial secret:3306")}),
			method: "POST", target: "/api/v1/orders", status: 503, body: fine,
			want: []string{`"error":"unavailable","message":"Not there."`}, forbid: []string{"secret"}, wantHeaders: []string{"Retry-After: 1"},
		},
		{
			name: "an internal error", prepare: intakeFails(errors.New("secret table is missing")),
			method: "POST", target: "/api/v1/orders", status: 500, body: fine,
			want: []string{`"error":"internal_error"`}, forbid: []string{"secret", "table"},
		},
		{
			name: "an internal error with its code", prepare: intakeFails(&order.Error{Code: order.CodeInternal, Message: "secret"}),
			method: "POST", target: "/api/v1/orders", status: 500, body: fine, want: []string{`"error":"internal_error"`}, forbid: []string{"secret"},
		},
		{
			name: "an unknown code", prepare: intakeFails(order.Errorf("secret_code", "secret")),
			method: "POST", target: "/api/v1/orders", status: 500, body: fine, want: []string{`"error":"internal_error"`}, forbid: []string{"secret"},
		},
		{
			name: "all validation errors at once", method: "POST", target: "/api/v1/orders", status: 422,
			body: `{"user_id":99,"idempotency_key":7,"payment_method":null,"items":[{"product_id":2,"quantity":"1"},{"product_id":77,"quantity":1},
				{"product_id":null,"quantity":1e3},{"quantity":0},7,{"product_id":1.0,"quantity":1000001}]}`,
			want: []string{`"errors":{"idempotency_key":["must be a string, not a number"],` +
				`"items.0.quantity":["must be a whole number, not a string"],"items.1.product_id":["does not exist"],` +
				`"items.2.product_id":["must be a whole number, not null"],"items.2.quantity":["must be a whole number, without a fraction or an exponent"],` +
				`"items.3.product_id":["is required"],"items.3.quantity":["must be a whole number from 1 to 1000000"],` +
				`"items.4":["must be an object"],` +
				`"items.5.product_id":["must be a whole number, without a fraction or an exponent"],"items.5.quantity":["must be a whole number from 1 to 1000000"],` +
				`"payment_method":["must be a string, not null"],"user_id":["does not exist"]}`},
		},
		{
			name: "unknown ids without other errors", method: "POST", target: "/api/v1/orders", status: 422,
			body: `{"user_id":99,"idempotency_key":"a","items":[{"product_id":2,"quantity":1},{"product_id":77,"quantity":1}]}`,
			want: []string{`"errors":{"items.1.product_id":["does not exist"],"user_id":["does not exist"]}`},
		},
		{
			name: "a sum that is too large", method: "POST", target: "/api/v1/orders", status: 422,
			body: `{"user_id":1,"idempotency_key":"a","items":[{"product_id":2,"quantity":600000},{"product_id":1,"quantity":1},{"product_id":2,"quantity":600000}]}`,
			want: []string{`"errors":{"items.2.quantity":["must be at most 1000000, also after the same product is added up"]}`},
		},
		{
			name: "two invalid product ids are not added up", method: "POST", target: "/api/v1/orders", status: 422,
			body:   `{"user_id":1,"idempotency_key":"a","items":[{"product_id":"2","quantity":600000},{"product_id":"2","quantity":600000}]}`,
			want:   []string{`"items.0.product_id":["must be a whole number, not a string"]`, `"items.1.product_id"`},
			forbid: []string{"quantity"},
		},
		{
			name: "overflow", method: "POST", target: "/api/v1/orders", status: 422,
			body: `{"user_id":99999999999999999999999,"idempotency_key":"a","items":[{"product_id":-99999999999999999999999,"quantity":9007199254740993000000}]}`,
			want: []string{`"errors":{"items.0.product_id":["must be the id of a product"],"items.0.quantity":["must be a whole number from 1 to 1000000"],"user_id":["must be the id of a user"]}`},
		},
		{
			name: "empty", method: "POST", target: "/api/v1/orders", status: 422, body: `{}`,
			want: []string{`"errors":{"idempotency_key":["is required, here or in the Idempotency-Key header"],"items":["is required"],"user_id":["is required"]}`},
		},
		{
			name: "names match exactly", method: "POST", target: "/api/v1/orders", status: 422,
			body: `{"User_Id":1,"IDEMPOTENCY_KEY":"a","Items":[]}`, want: []string{`"items":["is required"],"user_id":["is required"]`},
		},
		{
			name: "not an object", method: "POST", target: "/api/v1/orders", status: 422, body: `[1]`,
			want: []string{`"body":["must be an object"]`, `"user_id":["is required"]`},
		},
		{
			name: "no items", method: "POST", target: "/api/v1/orders", status: 422, body: `{"user_id":1,"idempotency_key":"a","items":[]}`,
			want: []string{`"errors":{"items":["must have 1 to 100 entries"]}`},
		},
		{
			name: "items of a wrong type", method: "POST", target: "/api/v1/orders", status: 422, body: `{"user_id":1,"idempotency_key":"a","items":{"0":{"product_id":2,"quantity":1}}}`,
			want: []string{`"errors":{"items":["must be an array, not an object"]}`},
		},
		{
			name: "too many items", method: "POST", target: "/api/v1/orders", status: 422,
			body: `{"user_id":1,"idempotency_key":"a","items":[` + strings.Repeat(`{"product_id":2,"quantity":1},`, 2000) + `{}]}`,
			want: []string{`"items":["must have 1 to 100 entries"]`}, forbid: []string{"items.2000", "items.101"},
		},
		{
			name: "a duplicate name", method: "POST", target: "/api/v1/orders", status: 400, body: `{"user_id":1,"x":"y","user_id":"z"}`,
			want: []string{`"error":"malformed_json"`, `at byte 21, an object has a duplicate name`}, forbid: []string{`"errors"`},
		},
		{
			name: "a duplicate name by another spelling", method: "POST", target: "/api/v1/orders", status: 400, body: `{"user_id":1,"\u0075ser_id":1}`,
			want: []string{`an object has a duplicate name`},
		},
		{
			name: "a duplicate name in an unknown field", method: "POST", target: "/api/v1/orders", status: 400, body: `{"x":{"a":1,"a":2},"user_id":"1"}`,
			want: []string{`an object has a duplicate name`},
		},
		{
			name: "syntax before fields", method: "POST", target: "/api/v1/orders", status: 400, body: `{"user_id":"1","items":7,}`,
			want: []string{`"error":"malformed_json"`}, forbid: []string{`"errors"`},
		},
		{
			name: "trailing data", method: "POST", target: "/api/v1/orders", status: 400, body: fine + ` {}`,
			want: []string{`more data after the end of the value`},
		},
		{
			name: "trailing garbage", method: "POST", target: "/api/v1/orders", status: 400, body: fine + `]`, want: []string{`"error":"malformed_json"`},
		},
		{
			name: "incomplete", method: "POST", target: "/api/v1/orders", status: 400, body: fine[:40], want: []string{`it ends too early`},
		},
		{
			name: "only white space", method: "POST", target: "/api/v1/orders", status: 400, body: " \n", want: []string{`it ends too early`},
		},
		{
			name: "invalid UTF-8", method: "POST", target: "/api/v1/orders", status: 400, body: strings.Replace(fine, `"a"`, "\"\xff\"", 1), want: []string{`invalid UTF-8`},
		},
		{
			name: "half a surrogate pair", method: "POST", target: "/api/v1/orders", status: 400, body: strings.Replace(fine, `"a"`, `"\ud800"`, 1),
			want: []string{`"error":"malformed_json"`},
		},
		{
			name: "too deep", method: "POST", target: "/api/v1/orders", status: 400,
			body: `{"x":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + `}`, want: []string{`more than 16 levels of nesting`, `at byte 20`},
		},
		{
			name: "maximum depth, and brackets in strings", method: "POST", target: "/api/v1/orders", once: true, status: 201,
			body: strings.Replace(fine, "{", `{"x":`+strings.Repeat("[", 15)+`"[[[\"[[["`+strings.Repeat("]", 15)+`,"y":"[[[[[[[[[[[[[[[[[[\\",`, 1),
		},
		{
			name: "a NaN", method: "POST", target: "/api/v1/orders", status: 400, body: `{"user_id":NaN}`, want: []string{`at byte 11`},
		},
		{
			name: "too large", method: "POST", target: "/api/v1/orders", status: 413, body: fine + strings.Repeat(" ", 64<<10), want: []string{`"error":"payload_too_large"`},
		},
		{
			name: "maximum size", method: "POST", target: "/api/v1/orders", once: true, status: 201, body: fine + strings.Repeat(" ", 64<<10-len(fine)),
		},
	}
}

func keyScenarios() []scenario {
	const keyless = `{"user_id":1,"items":[{"product_id":2,"quantity":1}]}`
	long := strings.Repeat("ü", 255)
	return []scenario{
		{name: "key in the header", method: "POST", target: "/api/v1/orders", once: true, status: 201, body: keyless, headers: []string{"Idempotency-Key: k-1"}, want: []string{`"idempotency_key":"k-1"`}},
		{name: "key in quotes", method: "POST", target: "/api/v1/orders", once: true, status: 201, body: keyless, headers: []string{`Idempotency-Key: "k \"1\" \\"`}, want: []string{`"idempotency_key":"k \"1\" \\"`}},
		{name: "both and equal", method: "POST", target: "/api/v1/orders", once: true, status: 201, body: fine, headers: []string{`Idempotency-Key: "a"`}, want: []string{`"idempotency_key":"a"`}},
		{name: "both and different", method: "POST", target: "/api/v1/orders", status: 422, body: fine, headers: []string{"Idempotency-Key: A"}, want: []string{`"idempotency_key":["differs from the Idempotency-Key header"]`}},
		{name: "null in the body counts as present", method: "POST", target: "/api/v1/orders", status: 422, body: strings.Replace(fine, `"a"`, "null", 1), headers: []string{"Idempotency-Key: a"}, want: []string{`"errors":{"idempotency_key":["must be a string, not null"]}`}},
		{name: "two headers", method: "POST", target: "/api/v1/orders", status: 422, body: keyless, headers: []string{"Idempotency-Key: a", "Idempotency-Key: b"}, want: []string{"more than one"}},
		{name: "an empty header", method: "POST", target: "/api/v1/orders", status: 422, body: keyless, headers: []string{"Idempotency-Key: "}, want: []string{`"idempotency_key":["must have 1 to 255 characters"]`}},
		{name: "an unclosed quote", method: "POST", target: "/api/v1/orders", status: 422, body: keyless, headers: []string{`Idempotency-Key: "a`}, want: []string{"is malformed"}},
		{name: "more after the quote", method: "POST", target: "/api/v1/orders", status: 422, body: keyless, headers: []string{`Idempotency-Key: "a";b`}, want: []string{"is malformed"}},
		{name: "an invalid escape", method: "POST", target: "/api/v1/orders", status: 422, body: keyless, headers: []string{`Idempotency-Key: "\a"`}, want: []string{"is malformed"}},
		{name: "a header with invalid UTF-8", method: "POST", target: "/api/v1/orders", status: 422, body: keyless, headers: []string{"Idempotency-Key: \xff"}, want: []string{"is malformed"}},
		{name: "an empty key", method: "POST", target: "/api/v1/orders", status: 422, body: strings.Replace(fine, `"a"`, `""`, 1), want: []string{`"errors":{"idempotency_key":["must have 1 to 255 characters"]}`}},
		{name: "characters, not bytes", method: "POST", target: "/api/v1/orders", once: true, status: 201, body: strings.Replace(fine, `"a"`, `"`+long+`"`, 1), want: []string{long}},
		{name: "one character too many", method: "POST", target: "/api/v1/orders", status: 422, body: strings.Replace(fine, `"a"`, `"`+long+`x"`, 1), want: []string{`"idempotency_key":["must have 1 to 255 characters"]`}},
		{name: "a key is not trimmed or folded", prepare: ordered("KEY", 2), method: "POST", target: "/api/v1/orders", once: true, status: 201, body: orderJSON(1, "key ", 2, 1), want: []string{`"idempotency_key":"key "`}},
	}
}

func mediaScenarios() []scenario {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write([]byte(fine))
	_ = w.Close()
	unsupported := []string{`"error":"unsupported_media_type"`}
	return []scenario{
		{name: "with a charset", method: "POST", target: "/api/v1/orders", once: true, status: 201, body: fine, headers: []string{"Content-Type: -", "Content-Type: Application/JSON; charset=UTF-8"}},
		{name: "another charset", method: "POST", target: "/api/v1/orders", status: 415, body: fine, headers: []string{"Content-Type: -", "Content-Type: application/json; charset=latin1"}, want: unsupported},
		{name: "a charset by another name", method: "POST", target: "/api/v1/orders", once: true, status: 201, body: fine, headers: []string{"Content-Type: -", `Content-Type: application/json;charset="utf8"`}},
		{name: "another parameter", method: "POST", target: "/api/v1/orders", once: true, status: 201, body: fine, headers: []string{"Content-Type: -", "Content-Type: application/json; profile=x"}},
		{name: "two charsets", method: "POST", target: "/api/v1/orders", status: 415, body: fine, headers: []string{"Content-Type: -", "Content-Type: application/json; charset=utf-8; charset=latin1"}, want: unsupported},
		{name: "a form", method: "POST", target: "/api/v1/orders", status: 415, body: "user_id=1", headers: []string{"Content-Type: -", "Content-Type: application/x-www-form-urlencoded"}, want: unsupported},
		{name: "plain text", method: "POST", target: "/api/v1/orders", status: 415, body: fine, headers: []string{"Content-Type: -", "Content-Type: text/plain"}, want: unsupported},
		{name: "no type", method: "POST", target: "/api/v1/orders", status: 415, body: fine, headers: []string{"Content-Type: -"}, want: unsupported},
		{name: "two types", method: "POST", target: "/api/v1/orders", status: 415, body: fine, headers: []string{"Content-Type: text/plain"}, want: unsupported},
		{name: "compressed", method: "POST", target: "/api/v1/orders", status: 415, body: packed.String(), headers: []string{"Content-Encoding: gzip"}, want: []string{"compressed"}},
		{name: "identity", method: "POST", target: "/api/v1/orders", once: true, status: 201, body: fine, headers: []string{"Content-Encoding: identity"}},
	}
}

func showScenarios() []scenario {
	return []scenario{
		{name: "show", prepare: placed, method: "GET", target: "/api/v1/orders/1", status: 200, want: []string{`{"data":{"id":1,"user_id":1,"status":"PENDING","total_amount":"59.98"`}, forbid: []string{"fingerprint", "lease"}},
		{name: "show by the alias", prepare: placed, method: "GET", target: "/api/orders/1", status: 200, want: []string{`"id":1,`}},
		{name: "show an unknown order", method: "GET", target: "/api/v1/orders/1", status: 404, want: []string{`"error":"not_found","message":"Order 1 does not exist."`}},
		{name: "show a word", method: "GET", target: "/api/v1/orders/abc", status: 404, want: []string{`"error":"not_found"`}},
		{name: "show zero", method: "GET", target: "/api/v1/orders/0", status: 404, want: []string{`"error":"not_found"`}},
		{name: "one spelling of an id", prepare: placed, method: "GET", target: "/api/v1/orders/01", status: 404, want: []string{`"error":"not_found"`}},
		{name: "show beyond 2^53", method: "GET", target: "/api/v1/orders/9007199254740992", status: 404, want: []string{`"error":"not_found"`}},
		{name: "show beyond 2^64", method: "GET", target: "/api/v1/orders/99999999999999999999999", status: 404, want: []string{`"error":"not_found"`}},
		{name: "an escaped slash", prepare: placed, method: "GET", target: "/api/v1/orders/1%2Fcancel", status: 404, want: []string{`"error":"not_found"`}},
		{name: "head", prepare: placed, method: "HEAD", target: "/api/v1/orders/1", status: 200, wantHeaders: []string{"Content-Type: application/json"}},
		{name: "cancel", prepare: placed, method: "POST", target: "/api/v1/orders/1/cancel", status: 200, want: []string{`"status":"CANCELLED"`, `"cancelled_at":"20`}, forbid: []string{`"cancelled_at":null`}},
		{name: "cancel with a body", prepare: placed, method: "POST", target: "/api/v1/orders/1/cancel", status: 200, body: `{"reason":"x"}`, want: []string{`"status":"CANCELLED"`}},
		{name: "cancel a paid order", prepare: ended(order.Succeeded), method: "POST", target: "/api/v1/orders/1/cancel", status: 422, want: []string{`"error":"order_not_cancellable","message":"Order 1 is PAID;`}, forbid: []string{`"errors"`}},
		{name: "cancel an unknown order", method: "POST", target: "/api/v1/orders/1/cancel", status: 404, want: []string{`"error":"not_found"`}},
		{name: "cancel a word", method: "POST", target: "/api/v1/orders/x/cancel", status: 404, want: []string{`"error":"not_found"`}},
		{
			name: "history", prepare: ended(order.Declined), method: "GET", target: "/api/v1/orders/1/events", status: 200,
			want: []string{
				`{"data":[{"event_id":"1-1","sequence":1,"type":"OrderCreated","payload":{"user_id":1,"total_amount":"59.98","currency":"USD"},"actor":"user:1","trace_id":"`,
				`{"event_id":"1-2","sequence":2,"type":"OrderProcessing"`,
				`{"event_id":"1-3","sequence":3,"type":"OrderFailed","payload":{"user_id":1,"total_amount":"59.98","currency":"USD","reason":"card declined"},"actor":"worker:test","trace_id":"settle","created_at":"20`,
			},
			wantHeaders: []string{"Content-Type: application/json"},
		},
		{name: "history by quality", prepare: placed, method: "GET", target: "/api/v1/orders/1/events", headers: []string{"Accept: text/event-stream;q=0.1, application/json, */*"}, status: 200, want: []string{`{"data":[`}},
		{name: "history listed first", prepare: placed, method: "GET", target: "/api/v1/orders/1/events", headers: []string{"Accept: application/json", "Accept: text/event-stream"}, status: 200, want: []string{`{"data":[`}},
		{name: "history where no stream is accepted", prepare: placed, method: "GET", target: "/api/v1/orders/1/events", headers: []string{"Accept: text/event-stream;q=0, text/event-stream;q=x, ;"}, status: 200, want: []string{`{"data":[`}},
		{name: "history of an unknown order", method: "GET", target: "/api/v1/orders/1/events", status: 404, want: []string{`"error":"not_found"`}},
		{name: "stream of an unknown order", method: "GET", target: "/api/v1/orders/1/events", headers: []string{"Accept: text/event-stream"}, status: 404, want: []string{`"error":"not_found"`}, wantHeaders: []string{"Content-Type: application/json"}},
	}
}

func listScenarios() []scenario {
	three := func(t testing.TB, n *server) {
		t.Helper()
		n.place(t, "1", 2, 1)
		n.intake.settle(t, n.place(t, "2", 2, 1), order.Succeeded)
		n.do(t, "POST", "/api/v1/orders", orderJSON(2, "3", 2, 1))
	}
	return []scenario{
		{name: "list without orders", method: "GET", target: "/api/v1/orders", status: 200, want: []string{`{"data":[],"meta":{"current_page":1,"per_page":15,"total":0,"last_page":1}}`}},
		{name: "list", prepare: three, method: "GET", target: "/api/v1/orders", status: 200, want: []string{`{"data":[{"id":3,`, `}]},{"id":1,`, `"meta":{"current_page":1,"per_page":15,"total":3,"last_page":1}`}},
		{name: "list a page", prepare: three, method: "GET", target: "/api/v1/orders?per_page=2&page=2", status: 200, want: []string{`{"data":[{"id":1,`, `"meta":{"current_page":2,"per_page":2,"total":3,"last_page":2}`}, forbid: []string{`"id":2,`}},
		{name: "list beyond the end", prepare: three, method: "GET", target: "/api/v1/orders?page=10000", status: 200, want: []string{`{"data":[],"meta":{"current_page":10000,"per_page":15,"total":3,"last_page":1}`}},
		{name: "list by user and status", prepare: three, method: "GET", target: "/api/v1/orders?user_id=1&status=PAID", status: 200, want: []string{`{"data":[{"id":2,`, `"total":1`}, forbid: []string{`"id":1,`, `"id":3,`}},
		{name: "list of an unknown user", prepare: three, method: "GET", target: "/api/v1/orders?user_id=99", status: 200, want: []string{`"data":[]`}},
		{name: "list by cursor", prepare: three, method: "GET", target: "/api/v1/orders?cursor=&per_page=2", status: 200, want: []string{`{"data":[{"id":3,`, `"meta":{"per_page":2,"next_cursor":"`}, forbid: []string{`"total"`, `"id":1,`}},
		{name: "list the last by cursor", prepare: three, method: "GET", target: "/api/v1/orders?cursor=&per_page=3", status: 200, want: []string{`"next_cursor":null`}},
		{name: "50 a page", method: "GET", target: "/api/v1/orders?per_page=50", status: 200, want: []string{`"per_page":50`}},
		{name: "51 a page", method: "GET", target: "/api/v1/orders?per_page=51", status: 422, want: []string{`"error":"validation_error"`, `"errors":{"per_page":["must be a whole number from 1 to 50"]}`}},
		{name: "page 10,001", method: "GET", target: "/api/v1/orders?page=10001", status: 422, want: []string{`"errors":{"page":["must be a whole number from 1 to 10000"]}`}},
		{name: "page 0", method: "GET", target: "/api/v1/orders?page=0", status: 422, want: []string{`"page":`}},
		{name: "all parameters wrong", method: "GET", target: "/api/v1/orders?page=x&per_page=1.0&status=paid&user_id=-1&cursor=x", status: 422, want: []string{`"cursor":["is not a cursor of this API; begin again with an empty one","cannot be combined with page"]`, `"page":[`, `"per_page":[`, `"status":["must be one of PENDING, PROCESSING, PAID, FAILED, CANCELLED"]`, `"user_id":[`}},
		{name: "empty values", prepare: three, method: "GET", target: "/api/v1/orders?user_id=&status=&per_page=&page=", status: 200, want: []string{`{"data":[{"id":3,`, `"meta":{"current_page":1,"per_page":15,"total":3,"last_page":1}`}},
		{name: "a cursor beside an empty page", method: "GET", target: "/api/v1/orders?page=&cursor=", status: 200, want: []string{`"next_cursor":null`}},
		{name: "a filter that does not exist", prepare: three, method: "GET", target: "/api/v1/orders?created_after=2026-01-01&userid=1&page=0", status: 422, want: []string{`"created_after":["is not a parameter of this address, which takes user_id, status, per_page, page, cursor"]`, `"userid":[`, `"page":[`}, forbid: []string{`"data"`}},
		{name: "statuses in a list", method: "GET", target: "/api/v1/orders?status=PAID,FAILED", status: 422, want: []string{`"status":["must be one of `}},
		{name: "an order with parameters", method: "POST", target: "/api/v1/orders?x=1", body: fine, status: 422, want: []string{`"errors":{"x":["is not a parameter of this address, which takes none"]}`}},
		{name: "a repeated parameter", method: "GET", target: "/api/v1/orders?status=PAID&status=FAILED", status: 422, want: []string{`"errors":{"status":["must be given once"]}`}},
		{name: "page and cursor", method: "GET", target: "/api/v1/orders?page=1&cursor=", status: 422, want: []string{`"errors":{"cursor":["cannot be combined with page"]}`}},
		{name: "a malformed query", method: "GET", target: "/api/v1/orders?page=%zz", status: 422, want: []string{`"errors":{"query":`}},
		{name: "a semicolon", method: "GET", target: "/api/v1/orders?page=1;status=PAID", status: 422, want: []string{`"errors":{"query":`}},
	}
}

func otherScenarios() []scenario {
	return []scenario{
		{name: "products", method: "GET", target: "/api/v1/products", status: 200, want: []string{`{"data":[{"id":1,"name":"Laptop Pro","price":"999.99","currency":"USD","stock":50,"active":true,"created_at":"20`, `"id":5,"name":"Limited Edition Headphones","price":"299.99","currency":"USD","stock":1,`}},
		{name: "health", method: "GET", target: "/api/v1/health", status: 200, want: []string{`{"status":"ok","services":{"database":"connected","redis":"embedded"},"timestamp":"20`}},
		{name: "health by the alias", method: "GET", target: "/api/health", status: 200, want: []string{`"status":"ok"`}},
		{name: "live", method: "GET", target: "/livez", status: 200, want: []string{`{"status":"ok"}`}},
		{name: "ready", method: "GET", target: "/readyz", status: 200, want: []string{`{"status":"ready"}`}},
		{name: "unknown", method: "GET", target: "/api/v1/nothing", status: 404, want: []string{`"error":"not_found"`, `"trace_id":"`}, wantHeaders: []string{"Content-Type: application/json"}},
		{name: "the root", method: "GET", target: "/", status: 200, want: []string{`"api":"/api/v1"`, `"docs":"/docs"`}, forbid: []string{"console"}, wantHeaders: []string{"Vary: Origin, Accept"}},
		{name: "the root in a browser", method: "GET", target: "/", headers: []string{"Accept: text/html,*/*;q=0.8"}, status: 303, wantHeaders: []string{"Location: /docs"}},
		{name: "the root by another method", method: "POST", target: "/", status: 405, wantHeaders: []string{"Allow: GET, HEAD, OPTIONS"}},
		{name: "a later version", method: "GET", target: "/api/v2/orders", status: 404, want: []string{`"error":"not_found"`}},
		{name: "a slash at the end", method: "GET", target: "/api/v1/orders/", status: 404, want: []string{`"error":"not_found"`}},
		{name: "two slashes", method: "GET", target: "/api//v1/orders", status: 404, want: []string{`"error":"not_found"`}, wantHeaders: []string{"Location: -"}},
		{name: "dots", method: "GET", target: "/api/v1/x/../orders", status: 404, want: []string{`"error":"not_found"`}, wantHeaders: []string{"Location: -"}},
		{name: "a wrong method", method: "DELETE", target: "/api/v1/orders/1", status: 405, want: []string{`"error":"method_not_allowed"`, "DELETE"}, wantHeaders: []string{"Allow: GET, HEAD, OPTIONS"}},
		{name: "a wrong method on two", method: "PUT", target: "/api/orders", status: 405, want: []string{`"error":"method_not_allowed"`}, wantHeaders: []string{"Allow: GET, HEAD, OPTIONS, POST"}},
		{name: "GET of a cancel", method: "GET", target: "/api/v1/orders/1/cancel", status: 405, wantHeaders: []string{"Allow: OPTIONS, POST"}},
		{name: "an invented method", method: strings.Repeat("X", 100), target: "/livez", status: 405, forbid: []string{"XXX"}},
		{name: "options", method: "OPTIONS", target: "/api/v1/orders", status: 204, wantHeaders: []string{"Allow: GET, HEAD, OPTIONS, POST", "Access-Control-Allow-Origin: -"}},
		{name: "head of health", method: "HEAD", target: "/api/v1/health", status: 200},
		{name: "docs", method: "GET", target: "/docs", status: 200, want: []string{"<rapi-doc", `spec-url="/openapi.json"`, `src="/docs/rapidoc.js"`}, forbid: []string{"http://", "https://", "//cdn"}},
		{name: "the document", method: "GET", target: "/openapi.json", status: 200, want: []string{`"openapi": "3.1.0"`}, wantHeaders: []string{"Content-Type: application/json"}},
	}
}

func TestScenarios(t *testing.T) {
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			n := open(t)
			if s.prepare != nil {
				s.prepare(t, n)
			}
			a := n.do(t, s.method, s.target, s.body, s.headers...)
			a.expect(t, s.status, s.want, s.forbid...)
			for _, h := range s.wantHeaders {
				name, value, _ := strings.Cut(h, ": ")
				if got := strings.Join(a.header.Values(name), ", "); got != strings.TrimPrefix(value, "-") {
					t.Errorf("header %s is %q, want %q", name, got, value)
				}
			}
			if a.header.Get("X-Trace-Id") == "" || a.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("common headers are missing: %v", a.header)
			}
			if a.status >= 400 && s.target != "/api/v1/health" {
				a.expect(t, s.status, []string{`"trace_id":"` + a.header.Get("X-Trace-Id") + `"`, `"message":"`})
			}
		})
	}
}

func BenchmarkScenarios(b *testing.B) {
	for _, s := range scenarios() {
		if s.once {
			continue
		}
		b.Run(s.name, func(b *testing.B) {
			n := open(b)
			if s.prepare != nil {
				s.prepare(b, n)
			}
			b.ReportAllocs()
			for b.Loop() {
				recorder := httptest.NewRecorder()
				n.ServeHTTP(recorder, newRequest(b.Context(), s.method, s.target, s.body, s.headers...))
				if recorder.Code != s.status {
					b.Fatal(recorder.Code, recorder.Body)
				}
			}
		})
	}
}
