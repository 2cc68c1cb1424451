package console

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"orderflow/internal/api"
	"orderflow/internal/order"
)

const home = Prefix + "/"

// Without a log-in a page redirects to the log-in, which leads back to the page.
func TestLogInLeadsBack(t *testing.T) {
	h := open(t)
	h.do(t, "GET", home, "").leads("/console/login")
	h.do(t, "GET", "/console/orders?status=PAID&user=1", "").leads("/console/login?next=%2Fconsole%2Forders%3Fstatus%3DPAID%26user%3D1")
	h.do(t, "GET", "/console/login?next=%2Fconsole%2Forders%3Fuser%3D1", "").is(200, `name="next" value="/console/orders?user=1"`, "!Log out")
	h.do(t, "GET", "/console/live/events", "").is(401, "You are not logged in.") // no redirect for scripts
	in := h.do(t, "POST", "/console/login", form("email", "alice@example.com", "password", "password", "next", "/console/?a=1"))
	in.leads("/console/?a=1")
	h.do(t, "GET", home, "", in.session()).leads("/console/orders") // Live is for admins
	h.do(t, "GET", "/console/orders", "", in.session()).is(200, "user:1", "Log out")
	h.do(t, "GET", "/console/login", "", in.session()).leads(home)
	redirected := h.do(t, "GET", home, "", "HX-Request: true").is(200, "!<html")
	if to := redirected.Header.Get("HX-Redirect"); to != "/console/login" {
		t.Errorf("htmx is sent to %q", to)
	}
}

// Scripts and other sites cannot read the cookie, and a browser that uses TLS sends it over TLS only.
func TestSessionCookie(t *testing.T) {
	h := open(t)
	credentials := form("email", "alice@example.com", "password", "password")
	for name, c := range map[string]struct {
		headers []string
		secure  bool
	}{
		"plain":                       {nil, false},
		"a client that claims TLS":    {[]string{"X-Forwarded-Proto: https"}, false},
		"a trusted proxy with TLS":    {[]string{"From: 10.1.2.3:4", "X-Forwarded-Proto: https"}, true},
		"a trusted proxy without TLS": {[]string{"From: 10.1.2.3:4", "X-Forwarded-Proto: http"}, false},
	} {
		in := h.do(t, "POST", "/console/login", credentials, c.headers...).leads(home)
		cookie := in.cookie(SessionCookie)
		if cookie == nil {
			t.Errorf("%s: no cookie", name)
			continue
		}
		if !strings.HasPrefix(cookie.Value, "of_") {
			t.Errorf("%s: the value is not a token", name)
		}
		got := *cookie
		got.Value, got.Raw, got.Quoted = "", "", false
		want := http.Cookie{Name: SessionCookie, Path: "/", MaxAge: 24 * 60 * 60, Secure: c.secure, HttpOnly: true, SameSite: http.SameSiteStrictMode}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: want (-), got (+):\n%s", name, diff)
		}
	}
}

func TestLogInRefused(t *testing.T) {
	h := open(t)
	for _, c := range []struct {
		body   string
		status int
		text   string
	}{
		{form("email", "alice@example.com", "password", "secret?"), 401, "The e-mail address or the password is wrong."},
		{form("email", "nobody@example.com", "password", "secret?"), 401, "The e-mail address or the password is wrong."},
		{form("token", "of_AAAAAAAAAAAAAAAAAAAAAAAAAA"), 401, "token"},
		{form("token", "nonsense"), 401, "Invalid token: unknown, expired or revoked. Log in again."},
		{form(), 422, "email: must have 1 to 255 characters"},
		{form("email", strings.Repeat("a", 256), "password", "x"), 422, "email"},
		{"%zz", 422, "is malformed or incomplete"},
		{"email=" + strings.Repeat("a", maxPublicForm), 413, "larger than 16384 bytes"},
	} {
		r := h.do(t, "POST", "/console/login", c.body).is(c.status, c.text, "!secret?", "With a token", "Trace id <code>"+"")
		if r.cookie(SessionCookie) != nil {
			t.Errorf("%.60s: a cookie", c.body)
		}
	}
	h.do(t, "POST", "/console/login", form("email", `"><script>`, "password", "x")).is(401, `value="&#34;&gt;&lt;script&gt;"`, "!<script>")
}

// Log-ins of the console and of the API share one limit.
func TestLogInLimit(t *testing.T) {
	h := open(t, limited(1000))
	wrong := form("email", "alice@example.com", "password", "wrong")
	r := h.do(t, "POST", "/console/login", wrong)
	tries := 1
	for ; r.StatusCode == http.StatusUnauthorized && tries < 100; tries++ { // on a slow machine more than ten
		r = h.do(t, "POST", "/console/login", wrong)
	}
	if tries <= 10 {
		t.Errorf("%d tries were let in", tries-1)
	}
	r.is(429, "Too many log-ins.")
	if r.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	json := []string{"Content-Type: application/json", "From: 192.0.2.9:1"}
	api := h.do(t, "POST", "/api/v1/auth/tokens", "", json...)
	api.is(400)                                                           // another address, and no body yet; the account's turn comes after
	h.do(t, "POST", "/console/login", wrong, "From: 192.0.2.9:1").is(429) // the account
}

// Invalid cookies are limited like invalid tokens; valid ones are not.
func TestGuessedCookies(t *testing.T) {
	h := open(t, limited(3))
	guess := "Cookie: " + SessionCookie + "=of_AAAAAAAAAAAAAAAAAAAAAAAAAA"
	for range 3 {
		if r := h.do(t, "GET", home, "", guess).leads("/console/login"); r.cookie(SessionCookie) == nil || r.cookie(SessionCookie).MaxAge >= 0 {
			t.Error("the cookie is not deleted")
		}
	}
	h.do(t, "GET", home, "", guess).is(429, "Too many requests")
	good := "Cookie: " + SessionCookie + "=" + h.token(t, order.Token{UserID: 1})
	for range 10 {
		h.do(t, "GET", "/console/orders", "", good).is(200)
	}
}

// A log-out revokes the token of a log-in, and only removes a pasted token from the browser.
func TestLogOut(t *testing.T) {
	h := open(t)
	in := h.do(t, "POST", "/console/login", form("email", "alice@example.com", "password", "password"))
	pasted := h.token(t, order.Token{Admin: true, Name: "script"})
	with := h.do(t, "POST", "/console/login", form("token", "  "+pasted+"\n")).leads(home)
	for _, c := range []struct {
		in      reply
		revoked bool
	}{{in, true}, {with, false}} {
		token := c.in.cookie(SessionCookie).Value
		h.do(t, "GET", "/console/orders", "", c.in.session()).is(200)
		out := h.do(t, "POST", "/console/logout", "", c.in.session()).leads("/console/login")
		for _, name := range []string{SessionCookie, issuedCookie} {
			if cookie := out.cookie(name); cookie == nil || cookie.MaxAge >= 0 {
				t.Errorf("%s is not deleted: %v", name, cookie)
			}
		}
		status := h.do(t, "GET", "/api/v1/orders", "", "Authorization: Bearer "+token).StatusCode
		if want := map[bool]int{true: 401, false: 200}[c.revoked]; status != want {
			t.Errorf("with the token afterwards: %d, want %d", status, want)
		}
	}
	if text := h.log.String(); !strings.Contains(text, `"event":"auth.logged_in"`) || !strings.Contains(text, `"event":"auth.revoked"`) ||
		strings.Contains(text, "of_") {
		t.Errorf("log:\n%s", text)
	}
	h.do(t, "POST", "/console/logout", "").leads("/console/login") // a second log-out is not an error
}

// A log-in revokes the token of the session that it replaces.
func TestLogInAgain(t *testing.T) {
	h := open(t)
	credentials := form("email", "alice@example.com", "password", "password")
	first := h.do(t, "POST", "/console/login", credentials)
	second := h.do(t, "POST", "/console/login", credentials, first.session()).leads(home)
	pasted := h.token(t, order.Token{Admin: true})
	third := h.do(t, "POST", "/console/login", form("token", pasted), second.session()).leads(home)
	h.do(t, "POST", "/console/login", form("token", pasted), third.session()).leads(home)
	for token, want := range map[string]int{first.cookie(SessionCookie).Value: 401, second.cookie(SessionCookie).Value: 401, pasted: 200} {
		h.do(t, "GET", "/api/v1/orders", "", "Authorization: Bearer "+token).is(want)
	}
}

// failingCheck cannot check tokens: the database does not answer.
type failingCheck struct{ *api.API }

func (failingCheck) Enter(http.ResponseWriter, *http.Request, string) (order.Caller, error) {
	return order.Caller{}, errUnavailable
}

// failingLogOut cannot revoke tokens.
type failingLogOut struct{ *api.API }

func (failingLogOut) LogOut(http.ResponseWriter, *http.Request, string) error { return errUnavailable }

// A log-out deletes the cookies even while the database does not answer.
func TestLogOutWithoutADatabase(t *testing.T) {
	h := open(t)
	in := h.do(t, "POST", "/console/login", form("email", "alice@example.com", "password", "password"))
	for _, failing := range []Authenticator{failingCheck{h.api}, failingLogOut{h.api}} {
		h.options.Authenticator = failing
		out := h.do(t, "POST", "/console/logout", "", in.session()).is(503, "The database does not answer.")
		for _, name := range []string{SessionCookie, issuedCookie} {
			if cookie := out.cookie(name); cookie == nil || cookie.MaxAge >= 0 {
				t.Errorf("%T: %s is not deleted: %v", failing, name, cookie)
			}
		}
	}
	h.options.Authenticator = failingCheck{h.api}
	if r := h.do(t, "GET", "/console/orders", "", in.session()).is(503); r.cookie(SessionCookie) != nil {
		t.Error("a failed check deletes the cookie")
	}
}

// The API accepts the cookie for GET and HEAD only, and only from pages of its own origin.
func TestCookieReadsTheAPI(t *testing.T) {
	h := open(t)
	cookie := h.do(t, "POST", "/console/login", form("email", "alice@example.com", "password", "password")).session()
	for _, c := range []struct {
		status int
		method string
		header []string
	}{
		{200, "GET", []string{"Sec-Fetch-Site: same-origin"}},
		{200, "HEAD", []string{"Sec-Fetch-Site: same-origin"}},
		{200, "GET", nil}, // over plain HTTP browsers send neither header to their own origin
		{200, "GET", []string{"Origin: http://127.0.0.1:8000"}},
		{401, "GET", []string{"Sec-Fetch-Site: same-site", "Origin: http://127.0.0.1:3000"}},
		{401, "GET", []string{"Sec-Fetch-Site: same-site"}},
		{401, "GET", []string{"Sec-Fetch-Site: cross-site"}},
		{401, "GET", []string{"Sec-Fetch-Site: none"}},
		{401, "GET", []string{"Origin: http://127.0.0.1:3000"}},
		{401, "GET", []string{"Origin: http://localhost:8000"}},
		{401, "GET", []string{"Origin: null"}},
		{401, "POST", []string{"Sec-Fetch-Site: same-origin", "Content-Type: application/json"}},
	} {
		if r := h.do(t, c.method, "/api/v1/orders?user_id=1", "", append(c.header, cookie)...); r.StatusCode != c.status {
			t.Errorf("%s with %v: %d, want %d", c.method, c.header, r.StatusCode, c.status)
		}
	}
	same := "Sec-Fetch-Site: same-origin"
	h.do(t, "GET", "/api/v1/orders?user_id=2", "", cookie, same).is(403)
	h.do(t, "GET", "/api/v1/orders", "", "Cookie: "+SessionCookie+"=nonsense", same).is(401)
	h.do(t, "GET", "/api/v1/orders", "", cookie, same, "Authorization: Bearer nonsense").is(401) // the header takes precedence
	if r := h.do(t, "GET", "/api/v1/orders", "", cookie, same, "Origin: http://127.0.0.1:8000"); r.Header.Get("Access-Control-Allow-Credentials") != "" {
		t.Error("CORS lets cookies in")
	}
}

// An invalid cookie is ignored where no log-in is needed: browsers send it by themselves.
func TestStaleCookieWhereNoneIsNeeded(t *testing.T) {
	h := open(t, local)
	stale := "Cookie: " + SessionCookie + "=of_AAAAAAAAAAAAAAAAAAAAAAAAAA"
	h.do(t, "GET", "/api/v1/orders", "", stale).is(200)
	h.do(t, "GET", home, "", stale).is(200, "admin on this machine", "!Log out")
	h.do(t, "GET", "/console/login", "").leads(home)
	h.do(t, "POST", "/console/login", form("token", "x")).leads(home)
}

// The page's WebSocket client may subscribe to its user's channels.
func TestChannelsAreSignedForTheSession(t *testing.T) {
	h := open(t)
	cookie := h.do(t, "POST", "/console/login", form("email", "alice@example.com", "password", "password")).session()
	ask := func(user string, headers ...string) reply {
		return h.do(t, "POST", "/console/broadcasting/auth", form("socket_id", "1.2", "channel_name", "private-orders."+user), headers...)
	}
	r := ask("1", cookie, "X-Trace-Id: mine").is(200, `{"auth":"`+realtimeApp().SignChannel("1.2", "private-orders.1")+`"}`)
	if r.Header.Get("X-Trace-Id") != "mine" {
		t.Errorf("trace id %q", r.Header.Get("X-Trace-Id"))
	}
	ask("2", cookie).is(403)
	ask("1", cookie, "Sec-Fetch-Site: same-site").is(403, "another origin")
	ask("1").is(401)
	open(t, local).do(t, "POST", "/console/broadcasting/auth", form("socket_id", "1.2", "channel_name", "private-orders.2")).
		is(200, realtimeApp().SignChannel("1.2", "private-orders.2"))
}

// A page may reconnect any number of times: the requests of pages are exempt from the rate limit.
func TestSigningIsNotLimited(t *testing.T) {
	in := []func(*Options, *api.Options){limited(3)}
	for name, h := range map[string]*server{"with log-ins": open(t, in...), "without": open(t, append(in, local)...)} {
		cookie := "Cookie: " + SessionCookie + "=" + h.token(t, order.Token{Admin: true})
		for range 10 {
			r := h.do(t, "POST", "/console/broadcasting/auth", form("socket_id", "1.2", "channel_name", "private-orders-feed"), cookie)
			if r.StatusCode != http.StatusOK {
				t.Fatalf("%s: %d %s", name, r.StatusCode, r.body)
			}
		}
	}
}

func TestNext(t *testing.T) {
	for wanted, want := range map[string]string{
		"":                          home,
		"/console/":                 "/console/",
		"/console/orders?id=5":      "/console/orders?id=5",
		"/api/v1/orders":            home,
		"//evil.example/console/":   home,
		"https://evil.example/":     home,
		`/\evil.example`:            home,
		`/console/\evil`:            home,
		"/console":                  home,
		"javascript:alert(1)":       home,
		"/console/\r\nSet-Cookie:x": home,
		"%":                         home,
		"/console/../api/v1/orders": home,
		"/console/%2e%2e/docs":      home,
	} {
		if got := next(wanted); got != want {
			t.Errorf("%q leads to %q, want %q", wanted, got, want)
		}
		if u, err := url.Parse(next(wanted)); err != nil || u.Host != "" {
			t.Errorf("%q leads to another host", wanted)
		}
	}
}
