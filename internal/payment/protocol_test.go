package payment

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"orderflow/internal/order"
)

// The test vector of docs/payment-provider.md, which openssl computed.
func TestSignatureVector(t *testing.T) {
	body, err := encode(Request{
		Key: "7b0e-42", OrderID: 42, Attempt: 1, Amount: 2029_97, Currency: "USD", Method: "pm_4242", Trace: order.Trace{ID: "t-1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	const wantBody = `{"key":"7b0e-42","order_id":42,"attempt":1,"amount":"2029.97","currency":"USD",` +
		`"payment_method":"pm_4242","trace_id":"t-1"}`
	if string(body) != wantBody {
		t.Errorf("body\n%s, want\n%s", body, wantBody)
	}
	const want = "t=1767225600,v1=9a6ff3cf19fa53dab1d1ecb19c5c010d06fdba24a08a83086b0122a9e8b62abc"
	at := time.Date(2026, 1, 1, 0, 0, 0, 999, time.UTC)
	if got := sign([]byte("whsec_example"), at, http.MethodPost, "/v1/charges", body); got != want {
		t.Errorf("signature\n%s, want\n%s", got, want)
	}
}

func TestSignatureCoversEverything(t *testing.T) {
	at := time.Unix(1767225600, 0)
	base := sign([]byte("secret"), at, "POST", "/charges", []byte("{}"))
	for name, other := range map[string]string{
		"secret": sign([]byte("Secret"), at, "POST", "/charges", []byte("{}")),
		"time":   sign([]byte("secret"), at.Add(time.Second), "POST", "/charges", []byte("{}")),
		"method": sign([]byte("secret"), at, "PUT", "/charges", []byte("{}")),
		"path":   sign([]byte("secret"), at, "POST", "/voids", []byte("{}")),
		"body":   sign([]byte("secret"), at, "POST", "/charges", []byte("{ }")),
	} {
		if _, mac, _ := strings.Cut(other, "v1="); strings.HasSuffix(base, mac) {
			t.Errorf("another %s has the same signature", name)
		}
	}
}

func TestEncodeRefusesBadUTF8WithoutQuotingIt(t *testing.T) {
	_, err := encode(Request{Key: "k", Method: "pm_secret\xff"})
	if err == nil || strings.Contains(err.Error(), "pm_secret") {
		t.Errorf("error %v, want one that does not quote the payment method", err)
	}
}

func TestReason(t *testing.T) {
	long := strings.Repeat("ä", 300)
	for _, test := range []struct{ text, method, want string }{
		{"insufficient funds", "pm_opaque_token", "insufficient funds"},
		{"", "pm_opaque_token", "declined by the payment provider"},
		{"pm_opaque_token is expired", "pm_opaque_token", "[payment method] is expired"},
		{"card_declined", "card", "card_declined"},
		{"x", "", "x"},
		{long, "", strings.Repeat("ä", 255)},
	} {
		if got := reason(test.text, test.method); got != test.want {
			t.Errorf("reason(%q, %q) = %q, want %q", test.text, test.method, got, test.want)
		}
	}
}

// FuzzAnswer passes arbitrary answers to the parser. It must return a definite answer only where the table allows it, must not quote
// the body in an error, and must bound the texts.
func FuzzAnswer(f *testing.F) {
	for _, status := range []int{200, 201, 202, 302, 402, 409, 500} {
		for _, body := range []string{
			`{"status":"succeeded","reference":"ch_1"}`, `{"status":"declined","reason":"pm_opaque_token"}`, `{}`, `null`, `[]`, ``, `{"status":`,
			`{"status":"declined","status":"succeeded","reference":"x"}`, `{"Status":"succeeded","reference":"x"}`,
			`{"status":"succeeded","reference":"x"}{}`, "{\"status\":\"succeeded\",\"reference\":\"\xff\"}",
		} {
			f.Add(status, []byte(body), true)
			f.Add(status, []byte(body), false)
		}
	}
	const method = "pm_opaque_token"
	f.Fuzz(func(t *testing.T, status int, body []byte, charge bool) {
		kind := order.KindVoid
		if charge {
			kind = order.KindCharge
		}
		result, err := answer{status: status, body: body}.result(kind, method)
		switch {
		case err != nil:
			if result != (Result{}) {
				t.Errorf("the error %v came with the result %+v", err, result)
			}
			if strings.Contains(err.Error(), method) || len(err.Error()) > 200 {
				t.Errorf("the error quotes the answer: %v", err)
			}
		case result.Outcome == order.Succeeded:
			if status != 200 && status != 201 {
				t.Errorf("status %d succeeded", status)
			}
			if !bytes.Contains(body, []byte(`succeeded`)) && !bytes.Contains(body, []byte(`\u`)) {
				t.Errorf("%q succeeded", body)
			}
			if (charge && result.Reference == "") || utf8.RuneCountInString(result.Reference) > maxReference || result.Reason != "" {
				t.Errorf("success %+v", result)
			}
		case result.Outcome == order.Declined:
			if status != 200 && status != 402 {
				t.Errorf("status %d declined", status)
			}
			if result.Reason == "" || utf8.RuneCountInString(result.Reason) > maxReason || result.Reference != "" {
				t.Errorf("decline %+v", result)
			}
			if strings.Contains(result.Reason, method) {
				t.Errorf("the reason %q quotes the payment method", result.Reason)
			}
		default:
			t.Errorf("outcome %q", result.Outcome)
		}
		if len(body) > maxAnswerBytes && err == nil {
			t.Errorf("a body of %d bytes was accepted", len(body))
		}
	})
}
