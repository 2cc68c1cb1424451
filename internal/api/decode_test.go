package api

import (
	"context"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"orderflow/internal/order"
)

// everyone is a reader to whom every user and product is known.
type everyone struct{ Reader }

func (everyone) Existing(_ context.Context, users, products []int64) (knownUsers, knownProducts map[int64]bool, err error) {
	all := func(ids []int64) map[int64]bool {
		known := map[int64]bool{}
		for _, id := range ids {
			known[id] = true
		}
		return known
	}
	return all(users), all(products), nil
}

// typed is the body as a decoder by reflection reads it: an opinion of its own about the same rules.
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

// depth is how deep a valid body nests.
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
		x := &requestContext{api: a}
		decoded, err := x.decodeOrder([]byte(body))
		var anything any
		strict := json.Unmarshal([]byte(body), &anything)
		switch {
		case err != nil && order.CodeOf(err) != order.CodeMalformedJSON:
			t.Fatalf("the error has code %s: %v", order.CodeOf(err), err)
		case err != nil && strict == nil && depth(body) <= maxDepth:
			t.Fatalf("valid JSON was refused: %v", err)
		case err == nil && strict != nil:
			t.Fatalf("taken, though %v", strict)
		case err == nil && depth(body) > maxDepth:
			t.Fatal("taken, though too deep")
		case err != nil:
			return
		}
		agrees(t, a, body, decoded)
	})
}

// agrees holds what was decoded against the typed decoder's opinion, and the draft against the rules of an order.
func agrees(t *testing.T, a *API, body string, decoded orderBody) {
	var want typed
	typedErr := json.Unmarshal([]byte(body), &want)
	if typedErr != nil && len(decoded.faults) == 0 {
		t.Fatalf("no fault was found, though %v", typedErr)
	}
	found := len(decoded.faults) > 0
	if !found && len(want.Items) <= order.MaxLines {
		have := typed{UserID: decoded.userID, Key: decoded.key, PaymentMethod: decoded.paymentMethod}
		if have.UserID != want.UserID || have.Key != want.Key || have.PaymentMethod != want.PaymentMethod ||
			len(want.Items) > 0 && !reflect.DeepEqual(decoded.lines, want.lines()) {
			t.Fatalf("decoded %+v, want %+v", decoded, want)
		}
	}
	draft, err := a.draft(t.Context(), &decoded, order.Caller{})
	if err == nil {
		if found {
			t.Fatalf("a body with faults %v became a draft", decoded.faults)
		}
		if _, ruleErr := order.NewDraft(nil, want.UserID, want.Key, want.lines(), want.PaymentMethod); ruleErr != nil {
			t.Fatalf("became the draft %+v, though %v", draft, ruleErr)
		}
		return
	}
	var invalid *order.Error
	if !errors.As(err, &invalid) || invalid.Code != order.CodeValidation || len(invalid.Fields) == 0 {
		t.Fatalf("refused without saying why: %v", err)
	}
	if !found {
		if _, ruleErr := order.NewDraft(nil, want.UserID, want.Key, want.lines(), want.PaymentMethod); ruleErr == nil {
			t.Fatalf("refused for %v, though the rules allow it", invalid.Fields)
		}
	}
}

func TestParseInteger(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "-0": 0, "7": 7, "-7": -7, "9007199254740991": order.MaxID, "1000000000000000000": 1_000_000_000_000_000_000,
		"9223372036854775808": math.MaxInt64, "-99999999999999999999": -math.MaxInt64,
	} {
		if got := parseInteger([]byte(text)); got != want {
			t.Errorf("%s is read as %d, want %d", text, got, want)
		}
	}
}

// A request whose ids cannot be looked up still hears of the faults that were found without that.
func TestFaultsWithoutDatabase(t *testing.T) {
	a := &API{options: Options{Reader: nobody{}, Logger: discard()}}
	x := &requestContext{api: a}
	body, err := x.decodeOrder([]byte(`{"user_id":1,"idempotency_key":"a","items":[{"product_id":1,"quantity":0}]}`))
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.draft(t.Context(), &body, order.Caller{})
	var invalid *order.Error
	if !errors.As(err, &invalid) || len(invalid.Fields) != 1 || invalid.Fields["items.0.quantity"] == nil {
		t.Errorf("got %v %+v, want a fault of items.0.quantity alone", err, invalid)
	}
}

// nobody is a reader that does not answer.
type nobody struct{ Reader }

func (nobody) Existing(context.Context, []int64, []int64) (knownUsers, knownProducts map[int64]bool, err error) {
	return nil, nil, order.Errorf(order.CodeUnavailable, "away")
}

func BenchmarkDecode(b *testing.B) {
	body := []byte(`{"user_id":1,"idempotency_key":"cart-7001","items":[{"product_id":1,"quantity":2},{"product_id":2,"quantity":1}]}`)
	b.Run("ours", func(b *testing.B) {
		x := &requestContext{}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := x.decodeOrder(body); err != nil {
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
