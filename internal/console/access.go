package console

import (
	"net/http"
	"net/url"
	"strings"

	"orderflow/internal/order"
	"orderflow/internal/web"
)

// setHeaders sets the headers of every response, in place of the API's. The policy allows scripts and styles from our own files
// only, and connections to this server and the WebSocket server only.
func (c *Console) setHeaders(h http.Header, r *http.Request) {
	connect := "'self'"
	if to := socketOrigin(c.options.Feed.URL(r)); to != "" {
		connect += " " + to
	}
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src "+connect+
		"; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Del("Access-Control-Allow-Origin") // pages of other origins may read the API, but not the console
	h.Del("Access-Control-Expose-Headers")
}

// socketOrigin returns the origin of a WebSocket address as a policy names it, "" for any other address. The address contains the
// request's Host, so only a plain name and port is accepted.
func socketOrigin(address string) string {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "ws" && u.Scheme != "wss") || !plainHost(u.Host) {
		return ""
	}
	if strings.HasPrefix(u.Host, "[") {
		return u.Scheme + ":" // a policy cannot name an IPv6 address
	}
	return u.Scheme + "://" + u.Host
}

func plainHost(host string) bool {
	return host != "" && strings.Trim(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]") == ""
}

// checkAccess reads the session and returns an error when the request is not allowed, or seeOther when a log-in comes first.
func (rc *requestContext) checkAccess() error {
	c := rc.console
	if c.options.Local {
		if err := web.FromLoopback(rc.r); err != nil {
			return err
		}
	}
	if err := c.protect.Check(rc.r); err != nil {
		return order.Errorf(order.CodeForbidden, "A page of another origin sent this request, so it was refused.")
	}
	if err := rc.readSession(); err != nil {
		if rc.page.logsOut {
			rc.clearCookies() // the log-out must work while the database does not answer
		}
		return err
	}
	switch {
	case rc.page.public:
		return nil
	case !rc.session.LoggedIn() && rc.page.script:
		return order.Errorf(order.CodeUnauthenticated, "You are not logged in.")
	case !rc.session.LoggedIn():
		return seeOther(logInURL(rc.r))
	case !rc.session.Admin() && rc.session.Caller().UserID <= 0: // 0 would select the orders of all users
		return order.Errorf(order.CodeForbidden, "This token belongs to no user and has no admin rights. Log in with another token.")
	case !rc.page.AllowedFor(rc.session) && rc.page.path == "/{$}": // the page after a log-in
		return seeOther(Prefix + "/orders")
	case !rc.page.AllowedFor(rc.session):
		return order.Errorf(order.CodeForbidden, "This page needs an admin token. Log in with one.")
	}
	return nil
}
