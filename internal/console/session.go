package console

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"orderflow/internal/order"
)

const (
	// SessionCookie holds the API token of who is logged in. The API takes it from the same origin for what only reads.
	SessionCookie = "orderflow_session"
	madeCookie    = "orderflow_session_made" // there when the log-in made the token, so that the log-out takes it back

	sessionLasts = 24 * time.Hour
	gone         = -time.Second // so long lasts a cookie that is to be deleted
	sessionName  = "console"    // of the token that a log-in makes
	maxToken     = 256          // bytes that are looked at; ours are far shorter
)

// session is who visits.
type session struct {
	caller order.Caller
	token  string // "" when nobody is logged in
	local  bool   // whoever sits at the machine
}

// In reports whether somebody is logged in, or need not be.
func (s session) In() bool { return s.local || !s.caller.Anonymous() }

// Admin reports whether they may do what admins do.
func (s session) Admin() bool { return s.local || s.caller.Admin }

// Local reports whether nobody needs to log in.
func (s session) Local() bool { return s.local }

// Name is what the navigation calls them.
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

// Caller is they as the product's other parts know them; who sits at the machine is anonymous there, and bound by nothing.
func (s session) Caller() order.Caller { return s.caller }

// acting is they as the API does something for them.
func (s session) acting() order.Caller {
	if s.local {
		return order.Operator()
	}
	return s.caller
}

// identify finds out who visits. A token that does not count any more is forgotten, and its owner logged out.
func (v *requestContext) identify() error {
	if v.console.options.Local {
		v.who = session{local: true}
		return nil
	}
	token := sessionToken(v.r)
	if token == "" {
		return nil
	}
	caller, err := v.console.options.Door.Enter(v.w, v.r, token)
	if order.CodeOf(err) == order.CodeUnauthenticated {
		v.forget()
		return nil
	}
	if err == nil {
		v.who = session{caller: caller, token: token}
	}
	return err
}

// sessionToken is the token of a request's cookie; "" when there is none that could be one.
func sessionToken(r *http.Request) string {
	cookie, err := r.Cookie(SessionCookie)
	if err != nil || len(cookie.Value) > maxToken {
		return ""
	}
	return cookie.Value
}

// remember makes the browser keep a token. One that the log-in made is taken back when they log out.
func (v *requestContext) remember(token string, made bool) {
	v.cookie(SessionCookie, token, sessionLasts)
	if made {
		v.cookie(madeCookie, "1", sessionLasts)
	} else {
		v.cookie(madeCookie, "", gone)
	}
}

// forget makes the browser forget its token.
func (v *requestContext) forget() {
	v.cookie(SessionCookie, "", gone)
	v.cookie(madeCookie, "", gone)
}

func (v *requestContext) cookie(name, value string, lasts time.Duration) {
	http.SetCookie(v.w, &http.Cookie{ //nolint:gosec // Secure where the browser came over TLS; a loopback address has none
		Name: name, Value: value, Path: "/", MaxAge: int(lasts.Seconds()), HttpOnly: true,
		SameSite: http.SameSiteStrictMode, Secure: v.console.options.Secure(v.r),
	})
}

// logInAt is the address of the log-in that leads back to what was asked for.
func logInAt(r *http.Request) string {
	if r.Method != http.MethodGet || r.URL.Path == Prefix+"/" {
		return Prefix + "/login"
	}
	return Prefix + "/login?next=" + url.QueryEscape(r.URL.RequestURI())
}

// next is where a log-in leads: an address of the console, whatever the browser was told.
func next(wanted string) string {
	u, err := url.Parse(wanted)
	if err != nil || u.Scheme != "" || u.Host != "" || strings.ContainsAny(wanted, "\\\r\n") ||
		!strings.HasPrefix(u.Path, Prefix+"/") || strings.Contains(u.Path, "/.") {
		return Prefix + "/"
	}
	return u.RequestURI()
}

// logInView is what the log-in shows.
type logInView struct {
	Email, Next string
}

func (c *Console) showLogIn(v *requestContext) (any, error) {
	where := next(v.query.Get("next"))
	if v.who.In() {
		return nil, seeOther(where)
	}
	return logInView{Next: where}, nil
}

// logIn lets in who knows a password, or has a token.
func (c *Console) logIn(v *requestContext) (any, error) {
	sent, err := v.form()
	form := logInView{Email: sent.Get("email"), Next: next(sent.Get("next"))}
	if err != nil {
		return form, err
	}
	if v.who.Local() {
		return nil, seeOther(form.Next)
	}
	token, made := strings.TrimSpace(sent.Get("token")), false
	if token != "" {
		_, err = c.options.Door.Enter(v.w, v.r, token)
	} else {
		made = true
		token, err = c.options.Door.LogIn(v.w, v.r, form.Email, sent.Get("password"), sessionName, sessionLasts)
	}
	if err != nil {
		return form, err
	}
	if v.who.token != token {
		_ = v.takeBack() // one that cannot be taken back ends by itself; the new one is there already
	}
	v.remember(token, made)
	return nil, seeOther(form.Next)
}

// logOut forgets the token in any case, and takes it back when the log-in made it.
func (c *Console) logOut(v *requestContext) (any, error) {
	v.forget()
	if err := v.takeBack(); err != nil {
		return nil, err
	}
	return nil, seeOther(Prefix + "/login")
}

// takeBack makes the visitor's token count no more when a log-in has made it: one that was pasted may be in use elsewhere.
func (v *requestContext) takeBack() error {
	if len(v.r.CookiesNamed(madeCookie)) == 0 || v.who.token == "" {
		return nil
	}
	if err := v.console.options.Door.LogOut(v.w, v.r, v.who.token); err != nil && order.CodeOf(err) != order.CodeUnauthenticated {
		return err
	}
	return nil // or it counts no more already
}
