package payment_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/payment"
	"orderflow/internal/payment/paymenttest"
)

const (
	secret = "whsec_never_shown"
	method = "pm_never_shown_either"
)

// serve starts a provider with one handler, and a gateway to it, optionally at a path.
func serve(t *testing.T, handler http.HandlerFunc, path ...string) *payment.HTTP {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return newHTTP(t, payment.HTTPOptions{URL: server.URL + strings.Join(path, ""), Secret: secret})
}

func plausible() payment.Request {
	r := paymenttest.NewRequest("installation", 7)
	r.Method = method
	return r
}

// noAnswer fails the test unless err says what happened and shows no secret.
func noAnswer(t *testing.T, result payment.Result, err error, says string) {
	t.Helper()
	if err == nil || result != (payment.Result{}) {
		t.Fatalf("result %+v, %v; want no answer", result, err)
	}
	if !strings.Contains(err.Error(), says) {
		t.Errorf("error %q, want one with %q", err, says)
	}
	for _, hidden := range []string{secret, method, "hunter2"} {
		if strings.Contains(err.Error(), hidden) {
			t.Errorf("error %q shows %q", err, hidden)
		}
	}
}

func TestHTTPAnswers(t *testing.T) {
	const (
		charged  = `{"status":"succeeded","reference":"ch_1"}`
		declined = `{"status":"declined","reason":"insufficient funds"}`
	)
	success := payment.Result{Outcome: order.Succeeded, Reference: "ch_1"}
	decline := func(reason string) payment.Result { return payment.Result{Outcome: order.Declined, Reason: reason} }
	long := strings.Repeat("x", 256)
	for _, test := range []struct {
		status int
		body   string
		want   payment.Result
		err    string // for no answer
	}{
		{status: 200, body: charged, want: success},
		{status: 201, body: charged, want: success},
		{status: 200, body: `{"id":9,"status":"succeeded","reference":"ch_1","more":{}} `, want: success},
		{status: 200, body: declined, want: decline("insufficient funds")},
		{status: 402, body: declined, want: decline("insufficient funds")},
		{status: 402, body: `{"status":"declined"}`, want: decline("declined by the payment provider")},
		{status: 402, body: `{"status":"declined","reason":"` + method + ` has expired"}`, want: decline("[payment method] has expired")},

		{status: 402, body: charged, err: `status 402 contradicts the answer "succeeded"`},
		{status: 201, body: `{"status":"declined","reason":"x"}`, err: `status 201 contradicts the answer "declined"`},
		{status: 200, body: `{"status":"succeeded"}`, err: "a reference of 0 characters"},
		{status: 200, body: `{"status":"succeeded","reference":"` + long + `"}`, err: "a reference of 256 characters"},
		{status: 200, body: `{"status":"pending","reference":"` + method + `"}`, err: "neither succeeded nor declined"},
		{status: 200, body: `{"status":"` + method + `"}`, err: "neither succeeded nor declined"},
		{status: 200, body: `{"Status":"succeeded","reference":"ch_1"}`, err: "neither succeeded nor declined"},
		{status: 200, body: `{}`, err: "neither succeeded nor declined"},
		{status: 200, body: `null`, err: "neither succeeded nor declined"},
		{status: 200, body: ``, err: "malformed JSON"},
		{status: 402, body: ``, err: "malformed JSON"},
		{status: 200, body: `<html>` + method, err: "malformed JSON"},
		{status: 200, body: charged[:30], err: "malformed JSON"},
		{status: 200, body: charged + charged, err: "malformed JSON"},
		{status: 200, body: `[` + charged + `]`, err: "malformed JSON"},
		{status: 200, body: `{"status":true,"reference":"` + method + `"}`, err: "malformed JSON"},
		{status: 200, body: `{"status":"declined","status":"succeeded","reference":"ch_1"}`, err: "malformed JSON"},
		{status: 200, body: "{\"status\":\"succeeded\",\"reference\":\"\xff\"}", err: "malformed JSON"},
		{status: 200, body: charged + strings.Repeat(" ", 64<<10), err: "more than 65536 bytes"},

		{status: 202, body: charged, err: "status 202 Accepted"},
		{status: 204, err: "status 204 No Content"},
		{status: 302, body: charged, err: "status 302 Found"},
		{status: 307, body: charged, err: "status 307 Temporary Redirect"},
		{status: 400, body: charged, err: "status 400 Bad Request"},
		{status: 401, body: method, err: "status 401 "},
		{status: 403, body: charged, err: "status 403 Forbidden"},
		{status: 404, body: charged, err: "status 404 Not Found"},
		{status: 409, body: charged, err: "status 409 Conflict"},
		{status: 422, body: charged, err: "status 422 Unprocessable Entity"},
		{status: 425, body: charged, err: "status 425 Too Early"},
		{status: 429, body: charged, err: "status 429 Too Many Requests"},
		{status: 500, body: charged, err: "status 500 Internal Server Error"},
		{status: 502, body: charged, err: "status 502 Bad Gateway"},
		{status: 503, body: charged, err: "status 503 Service Unavailable"},
		{status: 504, body: charged, err: "status 504 Gateway Timeout"},
		{status: 599, body: charged, err: "status 599"},
	} {
		name := fmt.Sprintf("%d %.40s", test.status, test.body)
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int64
			g := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				requests.Add(1)
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			})
			result, err := g.Charge(t.Context(), plausible())
			if test.err != "" {
				noAnswer(t, result, err, test.err)
			} else if err != nil || result != test.want {
				t.Errorf("%+v, %v; want %+v", result, err, test.want)
			}
			if n := requests.Load(); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
		})
	}
}

func TestHTTPVoidAnswers(t *testing.T) {
	for _, test := range []struct {
		status int
		body   string
		want   payment.Result
		err    string
	}{
		{status: 200, body: `{"status":"succeeded"}`, want: payment.Result{Outcome: order.Succeeded}},
		{status: 200, body: `{"status":"succeeded","reference":"re_1"}`, want: payment.Result{Outcome: order.Succeeded, Reference: "re_1"}},
		{status: 402, body: `{"status":"declined","reason":"too old"}`, want: payment.Result{Outcome: order.Declined, Reason: "too old"}},
		{status: 404, body: `{"status":"succeeded"}`, err: "payment provider: void: status 404"},
		{status: 500, err: "payment provider: void: status 500"},
	} {
		t.Run(fmt.Sprint(test.status, test.body), func(t *testing.T) {
			g := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			})
			result, err := g.Void(t.Context(), plausible())
			if test.err != "" {
				noAnswer(t, result, err, test.err)
			} else if err != nil || result != test.want {
				t.Errorf("%+v, %v; want %+v", result, err, test.want)
			}
		})
	}
}

// raw sends bytes instead of an HTTP answer, and closes the connection.
func raw(t *testing.T, answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, answer)
		_ = conn.Close()
	}
}

func TestHTTPBrokenConnections(t *testing.T) {
	for name, test := range map[string]struct{ answer, says string }{
		"closed":              {"", "closed before the answer"},
		"not HTTP":            {method + " is not HTTP\r\n\r\n", "not HTTP"},
		"bad header":          {"HTTP/1.1 200 OK\r\n" + method + "\r\n\r\n", "not HTTP"},
		"body cut short":      {"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"status\":", "closed before the answer"},
		"chunk cut short":     {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{", "closed before the answer"},
		"bad chunk":           {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + method + "\r\n", "not HTTP"},
		"endless header":      {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n", "payment provider: charge: "},
		"error body cut":      {"HTTP/1.1 503 x\r\nContent-Length: 99\r\n\r\n{", "status 503 Service Unavailable"},
		"status of its own":   {"HTTP/1.1 777 " + method + "\r\nContent-Length: 0\r\n\r\n", "status 777"},
		"unasked compression": {"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b", "malformed JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			g := serve(t, raw(t, test.answer))
			result, err := g.Charge(t.Context(), plausible())
			noAnswer(t, result, err, test.says)
		})
	}
}

func TestHTTPWithoutProvider(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	g := newHTTP(t, payment.HTTPOptions{URL: "http://" + address, Secret: secret})
	result, err := g.Charge(t.Context(), plausible())
	noAnswer(t, result, err, "connection refused")

	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // the failed handshake is expected
	server.StartTLS()
	t.Cleanup(server.Close)
	g = newHTTP(t, payment.HTTPOptions{URL: server.URL, Secret: secret})
	result, err = g.Charge(t.Context(), plausible())
	noAnswer(t, result, err, "certificate")

	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	g = newHTTP(t, payment.HTTPOptions{URL: strings.Replace(plain.URL, "http:", "https:", 1), Secret: secret})
	result, err = g.Charge(t.Context(), plausible())
	noAnswer(t, result, err, "payment provider: charge: ")
}

func TestHTTPTimeOut(t *testing.T) {
	p := paymenttest.NewProvider(t, paymenttest.Options{Script: func(paymenttest.Call) paymenttest.Behaviour { return paymenttest.Hang }})
	g := newHTTP(t, payment.HTTPOptions{URL: p.URL()})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	result, err := g.Charge(ctx, plausible())
	noAnswer(t, result, err, "no answer within the time limit")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is not a DeadlineExceeded", err)
	}

	r := plausible()
	r.Key = "another"
	ctx, cancel = context.WithCancel(t.Context())
	var watch sync.WaitGroup
	watch.Go(func() {
		defer cancel()
		await(t, p, r.Key, func(e paymenttest.Entry) bool { return e.Charges == 1 })
	})
	result, err = g.Charge(ctx, r)
	watch.Wait()
	noAnswer(t, result, err, "cancelled before")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v is not Canceled", err)
	}
}

func TestHTTPEndlessAnswers(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusInternalServerError} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			closed := make(chan struct{})
			g := serve(t, func(w http.ResponseWriter, r *http.Request) {
				defer close(closed)
				w.WriteHeader(status)
				for r.Context().Err() == nil {
					if _, err := io.WriteString(w, strings.Repeat(" ", 4096)); err != nil {
						return
					}
				}
			})
			result, err := g.Charge(t.Context(), plausible())
			noAnswer(t, result, err, fmt.Sprint("status ", status))
			<-closed // the connection was closed before its end
		})
	}
}

func TestHTTPConnectionsAreBounded(t *testing.T) {
	const conns, calls = 2, 8
	arrived, release := make(chan struct{}, calls), make(chan struct{})
	var mu sync.Mutex
	from := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		from[r.RemoteAddr] = true
		mu.Unlock()
		arrived <- struct{}{}
		<-release
		_, _ = io.WriteString(w, `{"status":"succeeded","reference":"ch_1"}`)
	}))
	t.Cleanup(server.Close)
	g := newHTTP(t, payment.HTTPOptions{URL: server.URL, MaxConns: conns})
	errs := make(chan error, calls)
	for range calls {
		go func() {
			_, err := g.Charge(t.Context(), plausible())
			errs <- err
		}()
	}
	for range conns {
		<-arrived
	}
	close(release)
	for range calls {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if len(from) != conns {
		t.Errorf("%d calls used %d connections, want %d", calls, len(from), conns)
	}
}

func TestHTTPRefusesBadOptions(t *testing.T) {
	good := "https://pay.example.com/v1"
	for name, options := range map[string]payment.HTTPOptions{
		"no URL":      {MaxConns: 1},
		"no scheme":   {URL: "pay.example.com", MaxConns: 1},
		"scheme":      {URL: "ftp://pay.example.com", MaxConns: 1},
		"no host":     {URL: "https:///v1", MaxConns: 1},
		"port":        {URL: "https://user:hunter2@pay.example.com:port", MaxConns: 1},
		"user":        {URL: "https://hunter2@pay.example.com", MaxConns: 1},
		"password":    {URL: "https://user:hunter2@pay.example.com", MaxConns: 1},
		"query":       {URL: good + "?key=hunter2", MaxConns: 1},
		"fragment":    {URL: good + "#hunter2", MaxConns: 1},
		"connections": {URL: good},
	} {
		_, err := payment.NewHTTP(options)
		if order.CodeOf(err) != order.CodeValidation {
			t.Errorf("%s: %v, want %s", name, err, order.CodeValidation)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows the URL: %v", name, err)
		}
	}
}

func TestHTTPSendsWhatTheDocumentSays(t *testing.T) {
	type sent struct {
		path, body string
		header     http.Header
	}
	requests := make(chan sent, 4)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		requests <- sent{r.Method + " " + r.URL.EscapedPath(), string(body), r.Header}
		_, _ = io.WriteString(w, `{"status":"succeeded","reference":"ch_1"}`)
	}))
	t.Cleanup(server.Close)
	g := newHTTP(t, payment.HTTPOptions{URL: server.URL + "/a%2Fb/"})
	r := plausible()
	r.Attempt = 3
	if _, err := g.Charge(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	got := <-requests
	wantBody := `{"key":"installation-7","order_id":7,"attempt":3,"amount":"20.29","currency":"USD",` +
		`"payment_method":"` + method + `","trace_id":"trace-installation"}`
	if got.path != "POST /a%2Fb/charges" || got.body != wantBody {
		t.Errorf("sent %s\n%s, want\n%s", got.path, got.body, wantBody)
	}
	for name, want := range map[string]string{
		"Idempotency-Key": "installation-7", "X-Trace-Id": "trace-installation", "Traceparent": r.Trace.Parent,
		"Content-Type": "application/json", "Orderflow-Signature": "", // without a secret
	} {
		if got.header.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.header.Get(name), want)
		}
	}

	r.Trace = order.Trace{}
	if _, err := g.Void(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	got = <-requests
	wantBody = `{"key":"installation-7","order_id":7,"attempt":3,"amount":"20.29","currency":"USD"}`
	if got.path != "POST /a%2Fb/voids" || got.body != wantBody || got.header.Get("Idempotency-Key") != "installation-7-void-3" {
		t.Errorf("sent %s with key %s\n%s, want\n%s", got.path, got.header.Get("Idempotency-Key"), got.body, wantBody)
	}
	for _, name := range []string{"Traceparent", "X-Trace-Id"} {
		if got.header.Values(name) != nil {
			t.Errorf("%s was sent without a trace: %q", name, got.header.Values(name))
		}
	}
}

// The signature covers the path of the request line and the body as it was sent.
func TestHTTPSigns(t *testing.T) {
	g := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		path, _, _ := strings.Cut(r.RequestURI, "?")
		stamp, signature, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Orderflow-Signature"), "t="), ",v1=")
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(stamp + "\nPOST\n" + path + "\n" + string(body)))
		if want := hex.EncodeToString(mac.Sum(nil)); path != "/a%2Fb/%C3%A4/charges" || signature != want {
			t.Errorf("the signature of %s is %s, want %s", path, signature, want)
		}
		seconds, err := strconv.ParseInt(stamp, 10, 64)
		if age := time.Since(time.Unix(seconds, 0)).Abs(); err != nil || age > time.Minute {
			t.Errorf("signed at %q, which is off by %v: %v", stamp, age, err)
		}
		_, _ = io.WriteString(w, `{"status":"succeeded","reference":"ch_1"}`)
	}, "/a%2Fb/%C3%A4")
	if _, err := g.Charge(t.Context(), plausible()); err != nil {
		t.Fatal(err)
	}
}
