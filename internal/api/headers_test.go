package api_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"orderflow/internal/api"
)

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestTraceID(t *testing.T) {
	n := open(t)
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for _, c := range []struct {
		headers []string
		want    string // "" for a new one
	}{
		{[]string{"X-Trace-Id: a"}, "a"},
		{[]string{"X-Trace-Id: AZaz09._-"}, "AZaz09._-"},
		{[]string{"X-Trace-Id: " + strings.Repeat("x", 128)}, strings.Repeat("x", 128)},
		{[]string{"X-Trace-Id: " + strings.Repeat("x", 129)}, ""},
		{[]string{"X-Trace-Id: "}, ""},
		{[]string{"X-Trace-Id: a b"}, ""},
		{[]string{"X-Trace-Id: a/b"}, ""},
		{[]string{"X-Trace-Id: é"}, ""},
		{[]string{"X-Trace-Id: a@"}, ""},
		{[]string{"X-Trace-Id: [a]"}, ""},
		{[]string{"X-Trace-Id: a", "X-Trace-Id: b"}, ""},
		{nil, ""},
	} {
		got := n.do(t, "GET", "/livez", "", c.headers...).header.Get("X-Trace-Id")
		switch {
		case c.want != "" && got != c.want:
			t.Errorf("%v: trace id %q, want the caller's", c.headers, got)
		case c.want == "" && (!uuid.MatchString(got) || seen[got]):
			t.Errorf("%v: trace id %q, want a new UUID", c.headers, got)
		}
		seen[got] = true
	}
}

// The trace of a request is stored with the order's events.
func TestTraceIsStored(t *testing.T) {
	n := open(t)
	for i, c := range []struct{ sent, kept string }{
		{parent, parent},
		{strings.ToUpper(parent), ""},
		{strings.Replace(parent, "00-", "ff-", 1), ""},
		{parent + "-x", ""},
		{"cc" + parent[2:], parent}, // a later version is continued as version 00
		{"01" + parent[2:] + "-what-the-future-will-be-like", parent},
		{"01" + parent[2:53] + "f2", parent[:53] + "02"}, // only the flags that W3C Trace Context level 2 defines are kept
		{parent[:53] + "03", parent[:53] + "03"},
		{"01" + parent[2:] + ".", ""},
		{"0G" + parent[2:], ""},
		{"00-00000000000000000000000000000000-b7ad6b7169203331-01", ""},
		{"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", ""},
		{"00-0af7651916cd43dd8448eb211c80319cxb7ad6b7169203331-01", ""},
		{"", ""},
	} {
		n.do(t, "POST", "/api/v1/orders", orderJSON(1, c.sent+"k", 2, 1), "X-Trace-Id: my-trace", "Traceparent: "+c.sent)
		events, err := n.store.Events(t.Context(), int64(i+1), 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := events[0].Trace; got.ID != "my-trace" || got.Parent != c.kept {
			t.Errorf("traceparent %q: kept %+v, want my-trace and %q", c.sent, got, c.kept)
		}
	}
}

func TestSecurityHeaders(t *testing.T) {
	n := open(t)
	for _, c := range []struct{ path, policy, cache string }{
		{"/api/v1/products", "default-src 'none'; frame-ancestors 'none'", "no-store"},
		{"/nothing", "default-src 'none'; frame-ancestors 'none'", "no-store"},
		{"/openapi.json", "default-src 'none'; frame-ancestors 'none'", "no-cache"},
		{"/docs", "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", "no-store"},
		{"/docs/rapidoc.js", "default-src 'none'; frame-ancestors 'none'", "public, max-age=3600"},
	} {
		h := n.do(t, "GET", c.path, "").header
		for name, want := range map[string]string{
			"Content-Security-Policy": c.policy, "Cache-Control": c.cache, "X-Content-Type-Options": "nosniff",
			"X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Connection": "",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", c.path, name, got, want)
			}
		}
		if !strings.Contains(strings.Join(h.Values("Vary"), ","), "Origin") {
			t.Errorf("%s: Vary is %q", c.path, h.Values("Vary"))
		}
	}
}

// If-None-Match may contain several entity tags, weak ones, or *.
func TestIfNoneMatch(t *testing.T) {
	n := open(t)
	tag := n.do(t, "GET", "/openapi.json", "").header.Get("ETag")
	for _, c := range []struct {
		headers []string
		status  int
	}{
		{[]string{tag}, 304},
		{[]string{"W/" + tag}, 304},
		{[]string{"*"}, 304},
		{[]string{" * "}, 304},
		{[]string{`"a", W/"b,c" ,` + tag}, 304},
		{[]string{`"a"`, `,, ` + tag}, 304},
		{[]string{`"a"`}, 200},
		{[]string{strings.Trim(tag, `"`)}, 200},
		{[]string{`"x` + tag[1:]}, 200},
		{[]string{`"a` + tag}, 200}, // a tag that does not end
		{[]string{`*, "a"`}, 200},
		{[]string{""}, 200},
	} {
		r := newRequest(t.Context(), "GET", "/openapi.json", "")
		r.Header["If-None-Match"] = c.headers
		if a := n.send(t, r); a.status != c.status {
			t.Errorf("If-None-Match %q: status %d, want %d", c.headers, a.status, c.status)
		}
	}
}

func TestViewer(t *testing.T) {
	n := open(t)
	packed := n.do(t, "GET", "/docs/rapidoc.js", "", "Accept-Encoding: br, GZIP;q=1.0")
	plain := n.do(t, "GET", "/docs/rapidoc.js", "", "Accept-Encoding: br, gzip;q=0")
	if packed.header.Get("Content-Encoding") != "gzip" || plain.header.Get("Content-Encoding") != "" {
		t.Errorf("encodings %q and %q, want gzip and none", packed.header.Get("Content-Encoding"), plain.header.Get("Content-Encoding"))
	}
	plain.expect(t, http.StatusOK, []string{"rapi-doc"})
	if len(packed.body) >= len(plain.body) {
		t.Errorf("packed %d bytes, plain %d", len(packed.body), len(plain.body))
	}
	again := n.do(t, "GET", "/docs/rapidoc.js", "", "If-None-Match: "+packed.header.Get("ETag"))
	if again.status != http.StatusNotModified || again.body != "" {
		t.Errorf("answered %d with %d bytes, want 304 and none", again.status, len(again.body))
	}
}

func TestCORS(t *testing.T) {
	list := func(origins ...string) func(*api.Options) {
		return func(o *api.Options) { o.AllowedOrigins = origins }
	}
	byDefault, listed, anyone := open(t), open(t, list("https://shop.example/", "https://b.example:8443", "capacitor://localhost")), open(t, list("*"))
	for _, c := range []struct {
		n            *server
		host, origin string
		allowed      bool // to read
		changes      bool // may cancel and order
	}{
		{byDefault, "api.example:8000", "http://api.example:8000", true, true},
		{byDefault, "api.example:8000", "https://API.example", true, true},
		{byDefault, "api.example", "http://localhost:5173", true, true},
		{byDefault, "api.example", "http://127.0.0.1:5173", true, true},
		{byDefault, "api.example", "http://[::1]:5173", true, true},
		{byDefault, "[::1]:8000", "http://[::1]", true, true},
		{byDefault, "api.example", "https://evil.example", false, false},
		{byDefault, "api.example", "https://api.example.evil.example", false, false},
		{byDefault, "api.example", "https://localhost.evil.example", false, false},
		{byDefault, "api.example", "null", false, false},
		{byDefault, "", "file://", false, false},
		{listed, "api.example", "https://shop.example", true, true},
		{listed, "api.example", "https://b.example:8443", true, true},
		{listed, "api.example", "https://b.example", false, false},
		{listed, "api.example", "http://shop.example", false, false},
		{listed, "api.example", "http://localhost", false, false},
		{listed, "api.example", "http://api.example", true, true}, // a list never excludes the API's own origin
		{listed, "api.example:8000", "http://api.example:8000", true, true},
		{listed, "api.example:443", "https://api.example", true, true},
		{listed, "[::1]:8000", "http://[::1]:8000", true, true},
		{listed, "api.example:8000", "http://api.example", false, false},
		{listed, "capacitor", "capacitor://localhost", true, true},
		{byDefault, "localhost", "capacitor://localhost", false, false},
		{listed, "api.example", "http://api.example:81", false, false},
		{anyone, "api.example", "https://evil.example", true, true},
	} {
		host, origin := "Host: "+c.host, "Origin: "+c.origin
		get := c.n.do(t, "GET", "/api/v1/products", "", host, origin)
		if got := get.header.Get("Access-Control-Allow-Origin"); (got == c.origin) != c.allowed || (got == "") == c.allowed {
			t.Errorf("%s at %s: allowed %q, want %t", c.origin, c.host, got, c.allowed)
		}
		if exposed := get.header.Get("Access-Control-Expose-Headers"); strings.Contains(exposed, "X-Trace-Id") != c.allowed {
			t.Errorf("%s at %s: exposes %q", c.origin, c.host, exposed)
		}
		for _, target := range []string{"/api/v1/orders/1/cancel", "/api/v1/orders"} {
			post := c.n.do(t, "POST", target, "", host, origin)
			if (post.status != http.StatusForbidden) != c.changes {
				t.Errorf("%s at %s: POST %s was answered %d, want it allowed: %t", c.origin, c.host, target, post.status, c.changes)
			}
		}
	}
}

func TestPreflight(t *testing.T) {
	n := open(t)
	ask := []string{"Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type,idempotency-key", "Host: api.example"}
	yes := n.do(t, "OPTIONS", "/api/v1/orders", "", append(ask, "Origin: https://api.example")...)
	if yes.status != http.StatusNoContent || yes.header.Get("Access-Control-Allow-Origin") != "https://api.example" {
		t.Errorf("answered %d %v", yes.status, yes.header)
	}
	for _, name := range []string{"content-type", "idempotency-key"} {
		if !strings.Contains(yes.header.Get("Access-Control-Allow-Headers"), name) {
			t.Errorf("%s is not allowed", name)
		}
	}
	if !strings.Contains(yes.header.Get("Access-Control-Allow-Methods"), "POST") || yes.header.Get("Access-Control-Max-Age") == "" {
		t.Errorf("headers %v", yes.header)
	}
	no := n.do(t, "OPTIONS", "/api/v1/orders", "", append(ask, "Origin: https://evil.example")...)
	for name := range no.header {
		if strings.HasPrefix(name, "Access-Control") {
			t.Errorf("another origin got %s", name)
		}
	}
}

// Permission depends on the origin: a permitted page may send the headers that its libraries add.
func TestPreflightHeaders(t *testing.T) {
	n := open(t)
	const fixed = "Authorization, Content-Type, Idempotency-Key, X-Trace-Id, Last-Event-ID, Traceparent"
	for _, c := range []struct {
		name  string
		asked []string
		want  string
	}{
		{"of libraries", []string{"authorization,x-csrf-token, X-Socket-ID"}, "authorization, x-csrf-token, X-Socket-ID"},
		{"in two lines", []string{"tracestate", "baggage,sentry-trace"}, "tracestate, baggage, sentry-trace"},
		{"none", nil, fixed},
		{"an empty one", []string{" , "}, fixed},
		{"no name of a header", []string{"x-fine, a b"}, fixed},
		{"control characters", []string{"x\x01y"}, fixed},
		{"too long a list", []string{strings.Repeat("x", 4<<10+1)}, fixed},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRequest(t.Context(), "OPTIONS", "/broadcasting/auth", "", "Origin: http://localhost:3000", "Access-Control-Request-Method: POST")
			r.Header["Access-Control-Request-Headers"] = c.asked
			a := n.send(t, r)
			if got := a.header.Get("Access-Control-Allow-Headers"); got != c.want {
				t.Errorf("Access-Control-Allow-Headers is %q, want %q", got, c.want)
			}
			if vary := strings.Join(a.header.Values("Vary"), ","); !strings.Contains(vary, "Access-Control-Request-Headers") {
				t.Errorf("Vary is %q", vary)
			}
		})
	}
}

// A proxy may hide the host that the browser used. Sec-Fetch-Site then states that the page has the server's own origin.
func TestSameOriginBehindProxy(t *testing.T) {
	n := open(t)
	a := n.do(t, "POST", "/api/v1/orders", fine, "Host: app:8000", "Origin: https://shop.example", "Sec-Fetch-Site: same-origin")
	a.expect(t, http.StatusCreated, nil)
}
