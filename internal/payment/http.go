package payment

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"orderflow/internal/order"
)

// HTTPOptions configure the HTTP gateway.
type HTTPOptions struct {
	URL      string // http or https, without user, query and fragment
	Secret   string // signs each request; "" for no signature
	MaxConns int    // most connections, each with one call at a time: the worker's concurrency; at least 1
}

// Limits of the HTTP gateway. The caller limits the time for an answer.
const (
	connectTimeout   = 5 * time.Second // for TCP, and again for TLS
	idleTimeout      = 90 * time.Second
	maxAnswerBytes   = 64 << 10
	maxAnswerHeaders = 16 << 10
)

// HTTP is the gateway to any payment provider that speaks the JSON protocol of docs/payment-provider.md:
//
//	POST {URL}/charges   {"key", "order_id", "attempt", "amount", "currency", "payment_method", "trace_id"}
//	POST {URL}/voids     the same without payment_method
//
//	200, 201 {"status":"succeeded","reference":"…"}    Succeeded
//	200, 402 {"status":"declined","reason":"…"}        Declined
//	everything else, or nothing                        an error: no answer
//
// The protocol requires that a voided key can never be charged, so Features.VoidBlocksCharge is set. HTTP does not follow
// redirects, so a charge goes only to the configured address.
type HTTP struct {
	client  *http.Client
	charges *url.URL
	voids   *url.URL
	secret  []byte
}

// NewHTTP returns the gateway to a provider. It connects at the first call. The error, with CodeValidation, names the invalid option
// but does not quote the URL, which may hold a password.
func NewHTTP(options HTTPOptions) (*HTTP, error) {
	base, err := url.Parse(options.URL)
	if err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" {
		return nil, order.Errorf(order.CodeValidation, "The payment gateway's URL must look like https://host/path.")
	}
	if base.User != nil || base.RawQuery != "" || base.ForceQuery || base.Fragment != "" {
		return nil, order.Errorf(order.CodeValidation, "The payment gateway's URL must have no user, password, query or fragment.")
	}
	if options.MaxConns < 1 {
		return nil, order.Errorf(order.CodeValidation, "The payment gateway's connections %d must be at least 1.", options.MaxConns)
	}
	return &HTTP{
		client: &http.Client{
			Transport:     newTransport(options.MaxConns),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		charges: base.JoinPath("charges"), voids: base.JoinPath("voids"), secret: []byte(options.Secret),
	}, nil
}

// newTransport returns a transport for HTTP/1.1, which has one call per connection: a cancelled call closes its connection and
// affects no other call. Because requests have an Idempotency-Key, net/http repeats a request when its idle connection was closed.
func newTransport(conns int) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: connectTimeout}).DialContext,
		TLSHandshakeTimeout:    connectTimeout,
		MaxConnsPerHost:        conns,
		MaxIdleConns:           conns,
		MaxIdleConnsPerHost:    conns,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxAnswerHeaders,
		DisableCompression:     true, // so that maxAnswerBytes also limits the bytes received
		Protocols:              &protocols,
	}
}

// Charge requests a charge from the provider. Every error means no answer. When ctx ended, the error wraps that of ctx.
func (g *HTTP) Charge(ctx context.Context, request Request) (Result, error) {
	return g.post(ctx, order.KindCharge, g.charges, request.Key, request)
}

// Void requests the void of a charge from the provider. Every error means no answer. When ctx ended, the error wraps that of ctx.
func (g *HTTP) Void(ctx context.Context, request Request) (Result, error) {
	// Each void has its own header key: a provider that answers repeated header keys from a cache would otherwise confirm the
	// second void with the answer to the first, without voiding a charge made in between.
	key := request.Key + "-void-" + strconv.Itoa(request.Attempt)
	request.Method = ""
	return g.post(ctx, order.KindVoid, g.voids, key, request)
}

// Features returns the guarantees that the protocol requires of a provider.
func (g *HTTP) Features() Features { return Features{VoidBlocksCharge: true} }

// Close closes idle connections. The gateway remains usable.
func (g *HTTP) Close() { g.client.CloseIdleConnections() }

func (g *HTTP) post(ctx context.Context, kind order.PaymentKind, to *url.URL, headerKey string, request Request) (Result, error) {
	answer, err := g.send(ctx, to, headerKey, request)
	if err != nil {
		return Result{}, fmt.Errorf("payment provider: %s: %w", kind, err)
	}
	result, err := answer.result(kind, request.Method)
	if err != nil {
		return Result{}, fmt.Errorf("payment provider: %s: %w", kind, err)
	}
	return result, nil
}

// send sends one request and reads the answer.
func (g *HTTP) send(ctx context.Context, to *url.URL, headerKey string, request Request) (answer, error) {
	body, err := encode(request)
	if err != nil {
		return answer{}, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), bytes.NewReader(body))
	if err != nil {
		return answer{}, errors.New("the request could not be built")
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "orderflow")
	r.Header.Set("Idempotency-Key", headerKey)
	if request.Trace.ID != "" {
		r.Header.Set("X-Trace-Id", request.Trace.ID)
	}
	if request.Trace.Parent != "" {
		r.Header.Set("Traceparent", request.Trace.Parent)
	}
	if len(g.secret) > 0 {
		r.Header.Set(signatureHeader, sign(g.secret, time.Now(), r.Method, r.URL.EscapedPath(), body))
	}
	response, err := g.client.Do(r)
	if err != nil {
		return answer{}, transportError(ctx, err)
	}
	defer func() { _ = response.Body.Close() }() // the body was read, or is not needed
	return read(ctx, response)
}

// read reads the body of an answer that may be definite. Other bodies are read only if they have a known and small length, so that
// the connection can be reused: an endless body is not read.
func read(ctx context.Context, response *http.Response) (answer, error) {
	a := answer{status: response.StatusCode}
	if !a.mayBeDefinite() {
		if response.ContentLength >= 0 && response.ContentLength <= maxAnswerBytes {
			_, _ = io.Copy(io.Discard, response.Body) // an error costs only the connection
		}
		return a, nil
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes+1))
	if err != nil {
		return answer{}, transportError(ctx, err)
	}
	a.body = body
	return a, nil
}

// transportError returns why a connection gave no answer. It quotes errors of the network and of TLS, which name addresses and
// certificates. Other errors of net/http may quote the provider's answer, and with it a payment method.
func transportError(ctx context.Context, err error) error {
	var (
		network *net.OpError
		name    *net.DNSError
		cert    *tls.CertificateVerificationError
		alert   tls.AlertError
		noTLS   tls.RecordHeaderError
	)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("no answer within the time limit: %w", ctx.Err())
	case ctx.Err() != nil:
		return fmt.Errorf("the call was cancelled before the answer: %w", ctx.Err())
	case errors.As(err, &name):
		return name
	case errors.As(err, &network):
		return network
	case errors.As(err, &cert):
		return cert
	case errors.As(err, &alert):
		return alert
	case errors.As(err, &noTLS):
		return noTLS
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the connection was closed before the answer was complete")
	default:
		return errors.New("the connection failed, or the answer was not HTTP")
	}
}
