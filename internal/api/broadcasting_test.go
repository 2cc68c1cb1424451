package api_test

import (
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"orderflow/internal/pusher"
)

// The body of a request for a signature is JSON or a form, and has the limits of all bodies.
func TestChannelBodies(t *testing.T) {
	t.Parallel()
	const form, formUTF8 = "application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=UTF-8"
	signed := pusher.App{Key: "key", Secret: "secret"}.SignChannel("1.2", "private-orders.1")
	n := open(t)
	for _, c := range []struct {
		name, kind, body string
		status           int
		want             []string
	}{
		{"JSON", "application/json;charset=utf8", `{"socket_id":"1.2","channel_name":"private-orders.1","other":{}}`, 200, []string{signed}},
		{"a form", formUTF8, "socket_id=1.2&channel_name=private-orders.1&_token=x", 200, []string{signed}},
		{"a large form", form, "socket_id=1.2&channel_name=private-orders.1&_token=" + strings.Repeat("x", 20_000), 200, []string{signed}},
		{"too large a form", form, "socket_id=" + strings.Repeat("x", 64<<10), 413, []string{"larger than 65536 bytes"}},
		{"an array", "application/json", `[]`, 422, []string{`"body":["must be an object"]`}},
		{"a number", "application/json", `{"socket_id":1,"channel_name":"private-orders.1"}`, 422, []string{`"socket_id":["must be a string, not a number"]`}},
		{"no names", "application/json", `{}`, 422, []string{`"socket_id":["is required"]`, `"channel_name":["is required"]`}},
		{"no names in a form", form, "", 422, []string{`"socket_id":["is required"]`, `"channel_name":["is required"]`}},
		{"a name twice", "application/json", `{"socket_id":"1.2","socket_id":"1.3","channel_name":"private-orders.1"}`, 400, []string{"has a duplicate name"}},
		{"a name twice in a form", form, "socket_id=1.2&socket_id=1.3&channel_name=private-orders.1", 422, []string{`"socket_id":["must be given once"]`}},
		{"deep nesting", "application/json", `{"x":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + `}`, 400, []string{"16 levels"}},
		{"more data", "application/json", `{"socket_id":"1.2","channel_name":"private-orders.1"} {}`, 400, []string{"more data"}},
		{"bad encoding in a form", form, "socket_id=%zz", 422, []string{`"body":["is not a well-formed form"]`}},
		{"another charset", form + "; charset=latin1", "socket_id=1.2", 415, []string{"UTF-8"}},
		{"another type", "text/plain", "x", 415, []string{"application/x-www-form-urlencoded or application/json"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, prefix := range []string{"", "/api", "/api/v1"} {
				n.do(t, "POST", prefix+"/broadcasting/auth", c.body, "Content-Type: -", "Content-Type: "+c.kind).expect(t, c.status, c.want)
			}
		})
	}
}

// A form that ends early is not reported as too large.
func TestChannelFormEndsEarly(t *testing.T) {
	t.Parallel()
	n := open(t)
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"ended early": {io.ErrUnexpectedEOF, "at byte 9, the body ended early"},
		"slow":        {os.ErrDeadlineExceeded, "at byte 9, the rest of the body took too long"},
	} {
		r := newRequest(t.Context(), "POST", "/broadcasting/auth", "", "Content-Type: -", "Content-Type: application/x-www-form-urlencoded")
		r.Body, r.ContentLength = io.NopCloser(io.MultiReader(strings.NewReader("socket_id"), iotest.ErrReader(c.err))), 100
		a := n.send(t, r)
		a.expect(t, http.StatusBadRequest, []string{`"error":"malformed_request"`, c.want})
		if a.header.Get("Connection") != "close" {
			t.Errorf("%s: the connection stays open", name)
		}
	}
}
