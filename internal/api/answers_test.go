package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"orderflow/internal/api"
	"orderflow/internal/order"
)

// A caller that closes its side during its body may still read. The request is counted with the status of a disconnected caller.
func TestCallerDisconnects(t *testing.T) {
	ctx, disconnect := context.WithCancel(t.Context())
	n := open(t)
	partial := newRequest(ctx, "POST", "/api/v1/orders", "", "Content-Type: application/json")
	partial.Body, partial.ContentLength = io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF)), 100
	disconnect()
	n.send(t, partial).expect(t, http.StatusBadRequest, []string{`"error":"malformed_json"`, "ended early"})
	if logs := n.logs.String(); strings.Contains(logs, `"level":"ERROR"`) {
		t.Errorf("a disconnected caller was logged as an error: %s", logs)
	}
	if got := count(t, n, "POST", "/api/v1/orders", "499"); got != 1 {
		t.Errorf("%d requests counted as 499, want 1", got)
	}
}

// net/http ends the context of a request when a read fails, also when the body was too slow.
func TestSlowBodyIsNotADisconnect(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	n := open(t)
	r := newRequest(ctx, "POST", "/api/v1/orders", "", "Content-Type: application/json")
	r.Body, r.ContentLength = io.NopCloser(slowBody{end}), 100
	n.send(t, r).expect(t, http.StatusBadRequest, []string{`"error":"malformed_json"`, "took too long"})
	if got := count(t, n, "POST", "/api/v1/orders", "400"); got != 1 {
		t.Errorf("%d requests counted as 400, want 1", got)
	}
}

type slowBody struct{ end func() }

func (b slowBody) Read([]byte) (int, error) {
	b.end()
	return 0, os.ErrDeadlineExceeded
}

// The context of the request reaches the queue, so that the order of a disconnected caller leaves the queue.
func TestCallerDisconnectsInTheQueue(t *testing.T) {
	ctx, disconnect := context.WithCancel(t.Context())
	n := open(t, func(o *api.Options) { o.Intake = queued{o.Intake, disconnect} })
	n.send(t, newRequest(ctx, "POST", "/api/v1/orders", fine)).
		expect(t, http.StatusServiceUnavailable, []string{`"error":"unavailable"`, "closed its side"})
}

// queued is an intake whose queue does not move. Its caller disconnects.
type queued struct {
	api.Intake
	disconnect func()
}

func (q queued) Create(ctx context.Context, _ order.Draft) (order.Placed, error) {
	q.disconnect()
	<-ctx.Done()
	return order.Placed{}, ctx.Err()
}

// An audit ends when its caller disconnects. A caller that only closed its sending side reads the reason.
func TestCallerDisconnectsDuringAnAudit(t *testing.T) {
	ctx, disconnect := context.WithCancel(t.Context())
	n := open(t, withAuth(false, nil), func(o *api.Options) { o.Auditor = abandonedAuditor{disconnect} })
	r := newRequest(ctx, "POST", "/api/v1/audit", "", n.admin(t))
	n.send(t, r).expect(t, http.StatusServiceUnavailable, []string{`"error":"unavailable"`, "closed its side"})
}

// abandonedAuditor is an audit whose caller disconnects.
type abandonedAuditor struct{ disconnect func() }

func (a abandonedAuditor) WriteAudit(ctx context.Context, _ io.Writer) error {
	a.disconnect()
	<-ctx.Done()
	return ctx.Err()
}

// A context that is cancelled below the API, while the caller is connected, is an internal error.
func TestForeignCancellation(t *testing.T) {
	n := open(t)
	n.intake.fail(fmt.Errorf("secret: %w", context.Canceled))
	n.do(t, "POST", "/api/v1/orders", fine).expect(t, 500, []string{`"error":"internal_error"`}, "secret")
}

// A body with a too large Content-Length is refused without being read.
func TestDeclaredTooLarge(t *testing.T) {
	n := open(t)
	r := newRequest(t.Context(), "POST", "/api/v1/orders", "", "Content-Type: application/json")
	body := &counting{Reader: strings.NewReader(fine)}
	r.Body, r.ContentLength = io.NopCloser(body), 64<<10+1
	recorder := httptest.NewRecorder()
	n.ServeHTTP(recorder, r)
	if recorder.Code != http.StatusRequestEntityTooLarge || body.reads > 0 {
		t.Errorf("answered %d after %d reads, want 413 after none", recorder.Code, body.reads)
	}
}

type counting struct {
	io.Reader
	reads int
}

func (c *counting) Read(p []byte) (int, error) {
	c.reads++
	return c.Reader.Read(p)
}

// A body without a Content-Length is measured while it is read.
func TestBodyOfUnknownLength(t *testing.T) {
	n := open(t)
	send := func(body io.Reader) (int, string) {
		r := newRequest(t.Context(), "POST", "/api/v1/orders", "", "Content-Type: application/json")
		r.Body, r.ContentLength = io.NopCloser(body), -1
		recorder := httptest.NewRecorder()
		n.ServeHTTP(recorder, r)
		return recorder.Code, recorder.Body.String()
	}
	padded := func(size int) string { return fine + strings.Repeat(" ", size-len(fine)) }
	broken := io.MultiReader(strings.NewReader(fine), iotest.ErrReader(io.ErrUnexpectedEOF))
	for _, c := range []struct {
		name   string
		body   io.Reader
		status int
		want   string
	}{
		{"byte by byte", iotest.OneByteReader(strings.NewReader(fine)), 201, `"id":1,`},
		{"at the limit", strings.NewReader(padded(64 << 10)), 200, `"id":1,`},
		{"one byte too large", strings.NewReader(padded(64<<10 + 1)), 413, `"error":"payload_too_large"`},
		{"far too large", strings.NewReader(padded(10 << 20)), 413, `"error":"payload_too_large"`},
		{"ended early", broken, 400, `"error":"malformed_json"`},
		{"empty", strings.NewReader(""), 400, `"error":"malformed_json"`},
	} {
		if status, body := send(c.body); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: answered %d %s, want %d with %s", c.name, status, body, c.status, c.want)
		}
	}
}

// The log has the details of an internal error under its trace id.
func TestInnerDetailIsLogged(t *testing.T) {
	n := open(t)
	n.intake.fail(errors.New("secret table is missing"))
	n.do(t, "POST", "/api/v1/orders", fine, "X-Trace-Id: my-trace").expect(t, 500, []string{`"trace_id":"my-trace"`})
	logs := n.logs.String()
	for _, want := range []string{`"level":"ERROR"`, `"trace_id":"my-trace"`, "secret table is missing"} {
		if !strings.Contains(logs, want) {
			t.Errorf("the log lacks %s: %s", want, logs)
		}
	}
}

func TestPanics(t *testing.T) {
	var r *reader
	n := open(t, withReader(&r))
	r.panics.Store(true)
	a := n.do(t, "GET", "/api/v1/orders/1", "", "X-Trace-Id: my-trace")
	a.expect(t, 500, []string{`"error":"internal_error"`, `"trace_id":"my-trace"`}, "secret", "goroutine")
	if logs := n.logs.String(); !strings.Contains(logs, "secret of the reader") || !strings.Contains(logs, "server_test.go") {
		t.Errorf("the log lacks the panic or its stack: %s", logs)
	}
	if got := count(t, n, "GET", "/api/v1/orders/{id}", "500"); got != 1 {
		t.Errorf("%d requests counted as 500, want 1", got)
	}
	r.panics.Store(false)
	n.do(t, "GET", "/api/v1/orders/1", "").expect(t, http.StatusNotFound, nil)
}

// When a part of the answer is sent, only a broken connection shows the caller that it is incomplete.
func TestPanicAfterPartOfTheAnswer(t *testing.T) {
	n := open(t)
	n.Mount("/pages", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("part"))
		panic("secret")
	}))
	recorder := httptest.NewRecorder()
	defer func() {
		if value := recover(); value != http.ErrAbortHandler { //nolint:errorlint // as net/http compares it
			t.Errorf("recovered %v, want http.ErrAbortHandler", value)
		}
		if body := recorder.Body.String(); body != "part" {
			t.Errorf("the body is %q", body)
		}
		if got := count(t, n, "GET", "/pages", "200"); got != 1 {
			t.Errorf("counted %d times", got)
		}
		if !strings.Contains(n.logs.String(), "secret") {
			t.Errorf("the log lacks the panic: %s", n.logs)
		}
	}()
	n.ServeHTTP(recorder, newRequest(t.Context(), "GET", "/pages/", ""))
}

func TestOrdersAreLogged(t *testing.T) {
	n := open(t)
	n.do(t, "POST", "/api/v1/orders", orderJSON(1, "a", 2, 1), "X-Trace-Id: t1")
	n.do(t, "POST", "/api/v1/orders", orderJSON(1, "a", 2, 1), "X-Trace-Id: t2")
	n.do(t, "POST", "/api/v1/orders", orderJSON(1, "b", 5, 7), "X-Trace-Id: t3")
	n.do(t, "POST", "/api/v1/orders/1/cancel", "", "X-Trace-Id: t4")
	n.do(t, "POST", "/api/v1/orders/99/cancel", "", "X-Trace-Id: t5")
	logs := n.logs.String()
	for _, want := range []string{
		`"event":"order.cancel_refused","error":"not_found","order_id":99,"trace_id":"t5"`,
		`"event":"order.created","order_id":1,"user_id":1,"trace_id":"t1"`,
		`"event":"order.replayed","order_id":1,"user_id":1,"trace_id":"t2"`,
		`"event":"order.refused","error":"insufficient_stock","user_id":1,"product_id":5,"requested":7,"available":1,"trace_id":"t3"`,
		`"event":"order.cancelled","order_id":1,"user_id":1,"trace_id":"t4"`,
	} {
		if !strings.Contains(logs, want) {
			t.Errorf("the log lacks %s:\n%s", want, logs)
		}
	}
}

// Lists contain every order once, by page and by cursor.
func TestListsAreComplete(t *testing.T) {
	n := open(t)
	for i := range 7 {
		n.place(t, fmt.Sprint(i), 2, 1)
	}
	want := "7 6 5 4 3 2 1"
	var byPage, byCursor []string
	for page := 1; page <= 4; page++ {
		byPage = append(byPage, ids(n.do(t, "GET", fmt.Sprintf("/api/v1/orders?per_page=2&page=%d", page), ""))...)
	}
	for cursor := ""; ; {
		a := n.do(t, "GET", "/api/v1/orders?per_page=3&cursor="+cursor, "")
		byCursor = append(byCursor, ids(a)...)
		_, rest, more := strings.Cut(a.body, `"next_cursor":"`)
		if !more {
			break
		}
		cursor, _, _ = strings.Cut(rest, `"`)
	}
	if got := strings.Join(byPage, " "); got != want {
		t.Errorf("by page: %s, want %s", got, want)
	}
	if got := strings.Join(byCursor, " "); got != want {
		t.Errorf("by cursor: %s, want %s", got, want)
	}
}

func ids(a answer) []string {
	var found []string
	for _, part := range strings.Split(a.body, `{"id":`)[1:] {
		id, _, _ := strings.Cut(part, ",")
		found = append(found, id)
	}
	return found
}
