package console

import (
	"net/http"
	"net/url"
	"strings"

	"orderflow/internal/order"
)

// setHeaders sets what every answer of the console carries, in place of the API's. Pages take nothing from other hosts, run no
// script and use no style that is not a file of ours, and connect only to us and to the WebSocket server.
func (c *Console) setHeaders(h http.Header, r *http.Request) {
	connect := "'self'"
	if to := socketOrigin(c.options.Feed.URL(r)); to != "" {
		connect += " " + to
	}
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src "+connect+
		"; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Del("Access-Control-Allow-Origin") // what pages of other origins may read of the API, they may not of the console
	h.Del("Access-Control-Expose-Headers")
}

// socketOrigin is a WebSocket address as a policy names it; "" for what is none. It is made of the request's Host, so nothing
// but a plain name and port may get through.
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

// guard finds out who visits, and returns why they may not; or where they must log in first.
func (v *requestContext) guard() error {
	c := v.console
	if c.options.Local {
		if err := c.options.FromHere(v.r); err != nil {
			return err
		}
	}
	if err := c.protect.Check(v.r); err != nil {
		return order.Errorf(order.CodeForbidden, "This was sent by a page of another origin, which may not do anything here.")
	}
	if err := v.identify(); err != nil {
		if v.page.leaves {
			v.forget() // whoever it was: they want this browser to know them no more
		}
		return err
	}
	switch {
	case v.page.open:
		return nil
	case !v.who.In() && v.page.script:
		return order.Errorf(order.CodeUnauthenticated, "Nobody is logged in.")
	case !v.who.In():
		return seeOther(logInAt(v.r))
	case !v.who.Admin() && v.who.Caller().UserID <= 0: // whose orders would be everybody's
		return order.Errorf(order.CodeForbidden, "This token is no admin's and belongs to nobody: there is nothing here that it may see.")
	case !v.page.For(v.who) && v.page.path == "/{$}": // where log-ins and the frame lead
		return seeOther(Prefix + "/orders")
	case !v.page.For(v.who):
		return order.Errorf(order.CodeForbidden, "This needs an admin's token, and you are logged in with one that is none.")
	}
	return nil
}
