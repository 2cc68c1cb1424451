package api

import (
	"context"
	"errors"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"orderflow/internal/order"
)

// everyone is a reader for which every user and product exists.
type everyone struct{ Reader }

func (everyone) Existing(_ context.Context, users, products []int64) (existingUsers, existingProducts map[int64]bool, err error) {
	all := func(ids []int64) map[int64]bool {
		existing := map[int64]bool{}
		for _, id := range ids {
			existing[id] = true
		}
		return existing
	}
	return all(users), all(products), nil
}

// typed is the body as the JSON library decodes it by reflection, independently of bodyReader.
type typed struct {
	UserID int64  `json:"user_id"`
	Key    string `json:"idempotency_key"`
	Items  []struct {
		ProductID int64 `json:"product_id"`
		Quantity  int64 `json:"quantity"`
	} `json:"items"`
	PaymentMethod string `json:"payment_method"`
}

func (b typed) lines() []order.Line {
	lines := make([]order.Line, 0, len(b.Items))
	for _, item := range b.Items {
		lines = append(lines, order.Line{ProductID: item.ProductID, Quantity: item.Quantity})
	}
	return lines
}

// depth returns how deep a valid body is nested.
func depth(body string) int {
	deepest := 0
	d := jsontext.NewDecoder(strings.NewReader(body))
	for {
		if _, err := d.ReadToken(); err != nil {
			return deepest
		}
		deepest = max(deepest, d.StackDepth())
	}
}

func FuzzDecodeOrder(f *testing.F) {
	for _, seed := range []string{
		`{"user_id":1,"idempotency_key":"a","items":[{"product_id":1,"quantity":2},{"product_id":2,"quantity":1}],"payment_method":"x"}`,
		`{"user_id":"1","idempotency_key":null,"items":[{"product_id":1.0,"quantity":1e3},7,{}]}`,
		`{"user_id":99999999999999999999,"items":{"a":[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]}}`,
		`{"user_\u0069d":-0,"x":"\ud83d\ude00","items":[{"product_id":3,"quantity":600000},{"product_id":3,"quantity":600000}]} `,
		`{"a":1,"a":2}`, `[]`, `null`, ``, `{`, `{"items":[`, `{"user_id":1}}`, "{\"idempotency_key\":\"\xff\"}", `{"items":[null]}`, `"{[{["`,
	} {
		f.Add(seed)
	}
	a := &API{options: Options{Reader: everyone{}}}
	f.Fuzz(func(t *testing.T, body string) {
		decoded, invalid, err := decodeOrder(new(requestContext), []byte(body))
		var anything any
		strict := json.Unmarshal([]byte(body), &anything)
		switch {
		case err != nil && order.CodeOf(err) != order.CodeMalformedJSON:
			t.Fatalf("the error has code %s: %v", order.CodeOf(err), err)
		case err != nil && strict == nil && depth(body) <= maxDepth:
			t.Fatalf("valid JSON was refused: %v", err)
		case err == nil && strict != nil:
			t.Fatalf("decoded, but the JSON library reports %v", strict)
		case err == nil && depth(body) > maxDepth:
			t.Fatal("decoded, but it is nested too deeply")
		case err != nil:
			return
		}
		compareOrder(t, a, body, decoded, invalid)
	})
}

// decodeOrder decodes a body as readDraft does.
func decodeOrder(rc *requestContext, body []byte) (orderBody, order.ValidationErrors, error) {
	var into orderBody
	rc.reader.start(body)
	rc.reader.order(&into)
	rc.reader.end()
	return into, rc.reader.errors, rc.reader.err
}

// draftOf returns the draft of a request with this body.
func draftOf(t *testing.T, a *API, body string) (order.Draft, error) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/v1/orders", strings.NewReader(body))
	r.Header.Set("Content-Type", mediaJSON)
	return a.readDraft(&requestContext{api: a, w: httptest.NewRecorder(), r: r})
}

// compareOrder compares what was decoded with the result of the typed decoder, and the draft with the rules of an order.
func compareOrder(t *testing.T, a *API, body string, decoded orderBody, invalid order.ValidationErrors) {
	t.Helper()
	var want typed
	typedErr := json.Unmarshal([]byte(body), &want)
	if typedErr != nil && len(invalid) == 0 {
		t.Fatalf("no validation error was found, but the JSON library reports %v", typedErr)
	}
	if len(invalid) == 0 && len(want.Items) <= order.MaxLines {
		have := typed{UserID: decoded.userID, Key: decoded.key.value, PaymentMethod: decoded.paymentMethod, Items: want.Items}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Fatalf("decoded (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want.lines(), decoded.lines, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("lines (-want +got):\n%s", diff)
		}
	}
	draft, err := draftOf(t, a, body)
	_, ruleErr := order.NewDraft(nil, want.UserID, want.Key, want.lines(), want.PaymentMethod)
	if err == nil {
		if len(invalid) > 0 {
			t.Fatalf("a body with the validation errors %v became a draft", invalid)
		}
		if ruleErr != nil {
			t.Fatalf("became the draft %+v, but the rules report %v", draft, ruleErr)
		}
		return
	}
	refused, ok := errors.AsType[*order.Error](err)
	if !ok || refused.Code != order.CodeValidation || len(refused.Fields) == 0 {
		t.Fatalf("refused without a validation error: %v", err)
	}
	if len(invalid) == 0 && ruleErr == nil {
		t.Fatalf("refused for %v, but the rules allow it", refused.Fields)
	}
}

func TestParseInteger(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "-0": 0, "7": 7, "-7": -7, "9007199254740991": order.MaxID, "1000000000000000000": 1_000_000_000_000_000_000,
		"9223372036854775808": math.MaxInt64, "-99999999999999999999": -math.MaxInt64,
	} {
		if got := parseInteger([]byte(text)); got != want {
			t.Errorf("%s is parsed as %d, want %d", text, got, want)
		}
	}
}

// A request whose ids cannot be looked up is answered with the other validation errors.
func TestValidationWithoutDatabase(t *testing.T) {
	a := &API{options: Options{Reader: unavailable{}, Logger: discard()}}
	_, err := draftOf(t, a, `{"user_id":1,"idempotency_key":"a","items":[{"product_id":1,"quantity":0}]}`)
	refused, ok := errors.AsType[*order.Error](err)
	if !ok {
		t.Fatalf("got %v, want a validation error", err)
	}
	if got := slices.Collect(maps.Keys(refused.Fields)); !slices.Equal(got, []string{"items.0.quantity"}) {
		t.Errorf("errors of %v, want items.0.quantity alone", got)
	}
}

// unavailable is a reader that does not answer.
type unavailable struct{ Reader }

func (unavailable) Existing(context.Context, []int64, []int64) (users, products map[int64]bool, err error) {
	return nil, nil, order.Errorf(order.CodeUnavailable, "unavailable")
}

func BenchmarkDecode(b *testing.B) {
	body := []byte(`{"user_id":1,"idempotency_key":"cart-7001","items":[{"product_id":1,"quantity":2},{"product_id":2,"quantity":1}]}`)
	b.Run("ours", func(b *testing.B) {
		rc := new(requestContext)
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := decodeOrder(rc, body); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("reflection", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var into typed
			if err := json.Unmarshal(body, &into); err != nil {
				b.Fatal(err)
			}
		}
	})
}
