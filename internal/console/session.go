package console

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/web"
)

const (
	// SessionCookie holds the session's API token. The API accepts it for GET from the same origin.
	SessionCookie = "orderflow_session"
	issuedCookie  = "orderflow_session_made" // set when the log-in created the token: the log-out then revokes it

	sessionLifetime = 24 * time.Hour
	expired         = -time.Second // the lifetime that deletes a cookie
	sessionName     = "console"    // name of the tokens that a log-in creates
	maxToken        = 256          // bytes; real tokens are far shorter
)

// session is the identity of the browser.
type session struct {
	caller order.Caller
	token  string // "" without a log-in
	local  bool   // a local client without a log-in
}

// LoggedIn reports whether the session is logged in, or needs no log-in.
func (s session) LoggedIn() bool { return s.local || !s.caller.Anonymous() }

// Admin reports whether the session has admin rights.
func (s session) Admin() bool { return s.local || s.caller.Admin }

// Local reports whether the session needs no log-in.
func (s session) Local() bool { return s.local }

// Name returns the name in the navigation.
func (s session) Name() string {
	switch {
	case s.local:
		return "admin on this machine"
	case s.caller.Anonymous():
		return ""
	case s.caller.Admin:
		return "admin (" + s.caller.Actor() + ")"
	default:
		return s.caller.Actor()
	}
}

// Caller returns the caller of the token; a local session has none.
func (s session) Caller() order.Caller { return s.caller }

// apiCaller returns the caller for requests to the API.
func (s session) apiCaller() order.Caller {
	if s.local {
		return order.Operator()
	}
	return s.caller
}

// readSession reads and checks the session's token. It clears the cookies of an invalid token.
func (rc *requestContext) readSession() error {
	if rc.console.options.Local {
		rc.session = session{local: true}
		return nil
	}
	token := sessionToken(rc.r)
	if token == "" {
		return nil
	}
	caller, err := rc.console.options.Authenticator.Enter(rc.w, rc.r, token)
	if order.CodeOf(err) == order.CodeUnauthenticated {
		rc.clearCookies()
		return nil
	}
	if err == nil {
		rc.session = session{caller: caller, token: token}
	}
	return err
}

// sessionToken returns the token of a request's cookie, "" for none.
func sessionToken(r *http.Request) string {
	cookie, err := r.Cookie(SessionCookie)
	if err != nil || len(cookie.Value) > maxToken {
		return ""
	}
	return cookie.Value
}

// setCookies stores a token in the browser. issued means that the log-in created it, so that the log-out revokes it.
func (rc *requestContext) setCookies(token string, issued bool) {
	rc.setCookie(SessionCookie, token, sessionLifetime)
	if issued {
		rc.setCookie(issuedCookie, "1", sessionLifetime)
	} else {
		rc.setCookie(issuedCookie, "", expired)
	}
}

// clearCookies removes the token from the browser.
func (rc *requestContext) clearCookies() {
	rc.setCookie(SessionCookie, "", expired)
	rc.setCookie(issuedCookie, "", expired)
}

func (rc *requestContext) setCookie(name, value string, lifetime time.Duration) {
	http.SetCookie(rc.w, &http.Cookie{ //nolint:gosec // Secure only over TLS: a loopback address has none
		Name: name, Value: value, Path: "/", MaxAge: int(lifetime.Seconds()), HttpOnly: true,
		SameSite: http.SameSiteStrictMode, Secure: web.Secure(rc.r, rc.console.options.TrustedProxies),
	})
}

// logInURL returns the address of the log-in that leads back to the requested page.
func logInURL(r *http.Request) string {
	if r.Method != http.MethodGet || r.URL.Path == Prefix+"/" {
		return Prefix + "/login"
	}
	return Prefix + "/login?next=" + url.QueryEscape(r.URL.RequestURI())
}

// next returns the address after a log-in: the wanted one if it is a page of the console, else the start page.
func next(wanted string) string {
	u, err := url.Parse(wanted)
	if err != nil || u.Scheme != "" || u.Host != "" || strings.ContainsAny(wanted, "\\\r\n") ||
		!strings.HasPrefix(u.Path, Prefix+"/") || strings.Contains(u.Path, "/.") {
		return Prefix + "/"
	}
	return u.RequestURI()
}

// logInView is the data of the page Log in.
type logInView struct {
	Email, Next string
}

func (c *Console) showLogIn(rc *requestContext) (any, error) {
	where := next(rc.query.Get("next"))
	if rc.session.LoggedIn() {
		return nil, seeOther(where)
	}
	return logInView{Next: where}, nil
}

// logIn logs a browser in with a password or a token.
func (c *Console) logIn(rc *requestContext) (any, error) {
	sent, err := rc.form()
	form := logInView{Email: sent.Get("email"), Next: next(sent.Get("next"))}
	if err != nil {
		return form, err
	}
	if rc.session.Local() {
		return nil, seeOther(form.Next)
	}
	token, issued := strings.TrimSpace(sent.Get("token")), false
	if token != "" {
		_, err = c.options.Authenticator.Enter(rc.w, rc.r, token)
	} else {
		issued = true
		token, err = c.options.Authenticator.LogIn(rc.w, rc.r, form.Email, sent.Get("password"), sessionName, sessionLifetime)
	}
	if err != nil {
		return form, err
	}
	if rc.session.token != token {
		_ = rc.revokeToken() // on an error the old token expires by itself; the new session exists already
	}
	rc.setCookies(token, issued)
	return nil, seeOther(form.Next)
}

// logOut always clears the cookies, and revokes the token if the log-in created it.
func (c *Console) logOut(rc *requestContext) (any, error) {
	rc.clearCookies()
	if err := rc.revokeToken(); err != nil {
		return nil, err
	}
	return nil, seeOther(Prefix + "/login")
}

// revokeToken revokes the session's token if a log-in created it. A pasted token may be in use elsewhere.
func (rc *requestContext) revokeToken() error {
	if len(rc.r.CookiesNamed(issuedCookie)) == 0 || rc.session.token == "" {
		return nil
	}
	err := rc.console.options.Authenticator.LogOut(rc.w, rc.r, rc.session.token)
	if order.CodeOf(err) == order.CodeUnauthenticated { // it is already invalid
		return nil
	}
	return err
}
