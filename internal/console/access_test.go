package console

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"orderflow/internal/order"
)

// Every page is complete, refers to no other host, and has nothing that the Content-Security-Policy forbids.
func TestPages(t *testing.T) {
	h := open(t, local)
	against := regexp.MustCompile(`<script>|<style|\sstyle=|\son[a-z]+=|hx-on|javascript:|(src|href|action)="(https?:)?//`)
	for _, p := range h.nav() {
		r := h.do(t, "GET", p.Href(), "").is(200, "<!doctype html>", "<h1>"+p.Title()+"</h1>", `aria-current="page"`, "!ZgotmplZ")
		if found := against.FindString(r.body); found != "" {
			t.Errorf("%s has %q", p.Href(), found)
		}
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
				"connect-src 'self' ws://127.0.0.1:8000; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
			"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
			"Content-Type": "text/html; charset=utf-8",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q", p.Href(), name, got)
			}
		}
		h.do(t, "GET", p.Href(), "", "HX-Request: true", "HX-Request-Type: partial").is(200, "!<html", "!<header")
		h.do(t, "GET", p.Href(), "", "HX-Request: true", "HX-Request-Type: full").is(200, "<html")
		h.do(t, "PUT", p.Href(), "").is(404)
	}
	h.do(t, "GET", "/console/nothing", "", "X-Trace-Id: mine").is(404, "This page does not exist.", "Trace id <code>mine</code>", "<nav")
	h.do(t, "GET", "/", "", "Accept: text/html,*/*").leads(home)
	h.do(t, "GET", "/", "", "Accept: application/json").is(200, `"console":"/console/"`)
}

// Without log-ins the console serves only local browsers that use a loopback name.
func TestRebinding(t *testing.T) {
	h := open(t, local)
	for host, status := range map[string]int{
		"127.0.0.1:8000": 200, "localhost:8000": 200, "LOCALHOST": 200, "[::1]:8000": 200, "[::1]": 200, "127.0.0.2:9": 200,
		"evil.example:8000": 403, "127.0.0.1.evil.example": 403, "localhost.evil.example:8000": 403, "192.168.0.1:8000": 403, "": 403,
		"0.0.0.0:8000": 403, "127.0.0.1:8000@evil.example": 403, "sub.localhost": 403,
	} {
		if r := h.do(t, "GET", home, "", "Host: "+host); r.StatusCode != status {
			t.Errorf("Host %q: %d, want %d", host, r.StatusCode, status)
		}
	}
	h.do(t, "GET", home, "", "Host: evil.example").is(403, "Open it as 127.0.0.1", "Trace id", "!admin on this machine")
	for _, header := range []string{"X-Forwarded-For: 203.0.113.9", "Forwarded: for=203.0.113.9", "Via: 1.1 proxy", "X-Real-Ip: 203.0.113.9"} {
		h.do(t, "GET", home, "", header).is(403, "--auth required")
	}
	h.do(t, "GET", home, "", "From: 192.0.2.1:1").is(403, "--auth required")
	open(t).do(t, "GET", "/console/login", "", "Host: shop.example").is(200) // with log-ins any Host is allowed
}

// By default nginx sends no header of a proxy, and the Host of its upstream. It is recognised by HTTP/1.0.
func TestProxyThatHides(t *testing.T) {
	for name, c := range map[string]struct {
		server *server
		want   map[string]int // by protocol
	}{
		"without log-ins": {open(t, local), map[string]int{"1.0": 403, "1.1": 200}},
		"with log-ins":    {open(t), map[string]int{"1.0": 303, "1.1": 303}},
	} {
		server := httptest.NewServer(c.server.api)
		t.Cleanup(server.Close)
		send := func(protocol, request, body string) int {
			t.Helper()
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_, err = fmt.Fprintf(conn, "%s HTTP/%s\r\nHost: %s\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n"+
				"Content-Length: %d\r\n\r\n%s", request, protocol, conn.RemoteAddr(), len(body), body)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			return answer.StatusCode
		}
		for protocol, want := range c.want {
			if status := send(protocol, "GET "+home, ""); status != want {
				t.Errorf("%s: HTTP/%s: %d, want %d", name, protocol, status, want)
			}
			subscription := form("socket_id", "1.2", "channel_name", "private-orders-feed")
			if status := send(protocol, "POST /broadcasting/auth", subscription); (status == 200) != (want == 200) {
				t.Errorf("%s: HTTP/%s: the feed is signed with %d", name, protocol, status)
			}
		}
	}
}

// A request of a page of another origin has no effect, and such a page cannot read a response.
func TestOtherOrigins(t *testing.T) {
	h := open(t, local)
	for _, header := range []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: http://127.0.0.1:3000", "Origin: null"} {
		h.do(t, "POST", "/console/logout", "", header).is(403, "another origin")
		r := h.do(t, "GET", home, "", header)
		for name := range r.Header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s: %s", header, name)
			}
		}
	}
	h.do(t, "POST", "/console/logout", "", "Sec-Fetch-Site: same-origin").leads("/console/login")
	h.do(t, "POST", "/console/logout", "", "Origin: http://127.0.0.1:8000").leads("/console/login")
}

// The policy contains the WebSocket server's origin, unless its address could inject something else.
func TestPolicyNamesTheSocket(t *testing.T) {
	for address, want := range map[string]string{
		"ws://127.0.0.1:8080": "ws://127.0.0.1:8080", "wss://shop.example": "wss://shop.example", "ws://[::1]:8080": "ws:",
		"ws://a;script-src *": "", "ws://a b": "", "ws://a'": "", "http://a": "", "": "", "ws://": "", "ws://a,b": "",
	} {
		if got := socketOrigin(address); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
}

// An admin page is refused without admin rights, before its handler runs.
func TestEndpoint(t *testing.T) {
	h := open(t)
	called := 0
	counted := &page{path: "/counted", title: "Counted", admin: true, handle: func(*Console, *requestContext) (any, error) {
		called++
		return nil, order.NotFound("This page")
	}}
	h.mux.HandleFunc("GET /console/counted", h.endpoint(counted))
	for _, c := range []struct {
		about  order.Token
		status int
	}{{order.Token{UserID: 1}, 403}, {order.Token{Admin: true}, 404}, {order.Token{UserID: 1, Admin: true}, 404}} {
		h.do(t, "GET", "/console/counted", "", "Cookie: "+SessionCookie+"="+h.token(t, c.about)).is(c.status, "Trace id")
	}
	h.do(t, "GET", "/console/counted", "").leads("/console/login?next=%2Fconsole%2Fcounted")
	if called != 2 {
		t.Errorf("the handler was called %d times", called)
	}
}

// An internal error shows only its trace id, in a page and in a part of one, also when the template fails.
func TestInternalErrors(t *testing.T) {
	h := open(t, local)
	for path, p := range map[string]*page{
		"handler": {handle: func(*Console, *requestContext) (any, error) { return nil, errors.New("secret of the handler") }},
		"drawing": {template: "login.html", handle: func(*Console, *requestContext) (any, error) { return struct{}{}, nil }},
	} {
		h.mux.HandleFunc("GET /console/"+path, h.endpoint(p))
		for _, as := range []string{"Accept: */*", "HX-Request: true"} {
			h.do(t, "GET", "/console/"+path, "", as, "X-Trace-Id: mine").is(500, "The server failed to process the request.", "mine", "!secret", "!template")
		}
	}
	if text := h.log.String(); strings.Count(text, `"event":"console.failed","trace_id":"mine"`) != 4 || !strings.Contains(text, "secret of the handler") {
		t.Errorf("log:\n%s", text)
	}
	h.log.Reset()
}

func TestAssets(t *testing.T) {
	h := open(t)
	for name, one := range h.assets.byName {
		want, err := one.file.Content(false)
		if err != nil {
			t.Fatal(err)
		}
		zipped, err := one.file.Content(true)
		if err != nil {
			t.Fatal(err)
		}
		plain := h.do(t, "GET", one.href, "").is(200)
		packed := h.do(t, "GET", one.href, "", "Accept-Encoding: br, gzip").is(200)
		if plain.body != string(want) || packed.body != string(zipped) || packed.Header.Get("Content-Encoding") != "gzip" ||
			plain.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: %v", name, packed.Header)
		}
		if c := plain.Header.Get("Cache-Control"); !strings.Contains(c, "immutable") || !slices.Contains(plain.Header.Values("Vary"), "Accept-Encoding") {
			t.Errorf("%s: Cache-Control %q", name, c)
		}
		if kind := http.DetectContentType(want); strings.HasPrefix(kind, "text/html") {
			t.Errorf("%s looks like %s", name, kind)
		}
	}
	// A page of another version requests its own version of an asset.
	other := h.do(t, "GET", "/console/assets/0000000000000000/console.css", "").is(200)
	css, err := h.assets.byName["console.css"].file.Content(false)
	if c := other.Header.Get("Cache-Control"); err != nil || c != "no-store" || other.body != string(css) ||
		!strings.HasPrefix(other.Header.Get("Content-Type"), "text/css") {
		t.Errorf("Cache-Control %q, %d bytes", c, len(other.body))
	}
	for _, path := range []string{"", "0000000000000000/other.css", "console.css", "0/0/console.css"} {
		h.do(t, "GET", "/console/assets/"+path, "").is(404)
	}
}
