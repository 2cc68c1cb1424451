package paymenttest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"orderflow/internal/order"
)

// The provider's side of the protocol is implemented from the document, not from package payment, so that tests reveal a mistake in
// either.

// tolerance is the largest accepted deviation of a signature's time.
const tolerance = 5 * time.Minute

type wireRequest struct {
	Key      string `json:"key"`
	OrderID  int64  `json:"order_id"`
	Attempt  int    `json:"attempt"`
	Amount   string `json:"amount"`
	Currency string `json:"currency"`
	Method   string `json:"payment_method"`
	TraceID  string `json:"trace_id"`
}

type wireAnswer struct {
	Status    string `json:"status"`
	Reference string `json:"reference,omitempty"`
	Reason    string `json:"reason,omitempty"`
}

func (p *Provider) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/charges", func(w http.ResponseWriter, r *http.Request) { p.handle(w, r, order.KindCharge) })
	mux.HandleFunc("POST /v1/voids", func(w http.ResponseWriter, r *http.Request) { p.handle(w, r, order.KindVoid) })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		p.problem("%s %s is not part of the protocol", r.Method, r.URL.Path)
		w.WriteHeader(http.StatusNotFound)
	})
	return mux
}

func (p *Provider) handle(w http.ResponseWriter, r *http.Request, kind order.PaymentKind) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest) // the client disconnected: not a protocol violation
		return
	}
	if p.options.Secret != "" {
		if err := verify(p.options.Secret, r, body, time.Now()); err != nil {
			p.problem("%s: %v", kind, err)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
	}
	request, err := parse(kind, r.Header, body)
	if err != nil {
		p.problem("%s: %v", kind, err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	nth, ok := p.record(kind, request)
	if !ok {
		w.WriteHeader(http.StatusConflict)
		return
	}
	call := Call{Kind: kind, Key: request.Key, OrderID: request.OrderID, Attempt: request.Attempt, Nth: nth}
	p.behave(w, r, call, p.options.Script(call))
}

// behave executes and answers a request according to its behaviour.
func (p *Provider) behave(w http.ResponseWriter, r *http.Request, call Call, b Behaviour) {
	if b == Fail {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	if b == Hang || b == Late {
		select {
		case <-r.Context().Done():
			if b == Late {
				p.execute(call.Kind, call.Key, false)
			}
		case <-p.closing:
		}
		return
	}
	status, answer := p.execute(call.Kind, call.Key, b == Decline)
	switch b {
	case ExecuteAndFail:
		w.WriteHeader(http.StatusInternalServerError)
	case Garbage:
		_, _ = io.WriteString(w, `{"status":"succeeded","reference":"half an ans`)
	case Disconnect:
		panic(http.ErrAbortHandler)
	default:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(answer) // a disconnected client will repeat the request
	}
}

// parse parses a request and checks that its headers agree with its body.
func parse(kind order.PaymentKind, header http.Header, body []byte) (wireRequest, error) {
	var r wireRequest
	if err := json.Unmarshal(body, &r); err != nil {
		return r, fmt.Errorf("the body is not a JSON object: %w", err)
	}
	key := r.Key
	if kind == order.KindVoid {
		key += "-void-" + strconv.Itoa(r.Attempt)
	}
	_, amountErr := order.ParseMoney(r.Amount)
	switch {
	case r.Key == "" || r.OrderID < 1 || r.Attempt < 1 || len(r.Currency) != 3:
		return r, fmt.Errorf("key %q, order %d, attempt %d, currency %q: one is missing", r.Key, r.OrderID, r.Attempt, r.Currency)
	case amountErr != nil || !strings.Contains(r.Amount, "."):
		return r, fmt.Errorf("amount %q is not a decimal with two places", r.Amount)
	case kind == order.KindVoid && r.Method != "":
		return r, errors.New("a void came with a payment method")
	case header.Get("Idempotency-Key") != key:
		return r, fmt.Errorf("the Idempotency-Key header is %q, want %q", header.Get("Idempotency-Key"), key)
	case header.Get("X-Trace-Id") != r.TraceID:
		return r, fmt.Errorf("the X-Trace-Id header is %q, trace_id is %q", header.Get("X-Trace-Id"), r.TraceID)
	case header.Get("Content-Type") != "application/json":
		return r, fmt.Errorf("the content type is %q", header.Get("Content-Type"))
	}
	return r, nil
}

// verify checks the signature of a request as the document describes.
func verify(secret string, r *http.Request, body []byte, now time.Time) error {
	header := r.Header.Get("Orderflow-Signature")
	stamp, signature, ok := strings.Cut(strings.TrimPrefix(header, "t="), ",v1=")
	if !ok {
		return fmt.Errorf("the signature %q is not t=…,v1=…", header)
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return fmt.Errorf("the signature's time %q is not a number", stamp)
	}
	if age := now.Sub(time.Unix(seconds, 0)).Abs(); age > tolerance {
		return fmt.Errorf("the signature's time is %v off", age)
	}
	got, err := hex.DecodeString(signature)
	if err != nil {
		return fmt.Errorf("the signature %q is not hexadecimal", signature)
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(stamp + "\n" + r.Method + "\n" + r.URL.EscapedPath() + "\n" + string(body)))
	if !hmac.Equal(got, mac.Sum(nil)) {
		return errors.New("the signature does not match the request")
	}
	return nil
}
