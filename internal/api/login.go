package api

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"orderflow/internal/order"
	"orderflow/internal/web"
)

// Lifetimes of a token from a log-in, in seconds.
const (
	defaultLifetime = 30 * 24 * 60 * 60
	maxLifetime     = 365 * 24 * 60 * 60
)

// credentials are the fields of POST /auth/tokens.
type credentials struct {
	email, password, name string
	expiresIn             int64 // seconds
}

// issuedToken is the answer to a log-in.
type issuedToken struct {
	Token     string    `json:"token"`
	ID        int64     `json:"id"`
	UserID    int64     `json:"user_id"`
	Name      string    `json:"name"`
	ExpiresAt timestamp `json:"expires_at"`
}

// validate returns a CodeValidation error with the errors found so far and those of the rules.
func (c *credentials) validate(found order.ValidationErrors) error {
	var rules order.ValidationErrors
	if n := utf8.RuneCountInString(c.email); n < 1 || n > order.MaxEmail {
		rules.Add("email", fmt.Sprintf("must have 1 to %d characters", order.MaxEmail))
	}
	if c.password == "" || len(c.password) > order.MaxPassword {
		rules.Add("password", fmt.Sprintf("must have 1 to %d bytes", order.MaxPassword))
	}
	if utf8.RuneCountInString(c.name) > order.MaxTokenName {
		rules.Add("name", fmt.Sprintf("must have at most %d characters", order.MaxTokenName))
	}
	if strings.ContainsFunc(c.name, unicode.IsControl) { // terminals show the names of tokens
		rules.Add("name", "must have no control characters, such as line breaks")
	}
	if c.expiresIn < 1 || c.expiresIn > maxLifetime {
		rules.Add("expires_in", fmt.Sprintf("must be from 1 to %d seconds", maxLifetime))
	}
	return found.With(rules)
}

// logIn creates a token for a user, by e-mail address and password.
func (a *API) logIn(rc *requestContext) error {
	if err := a.allowLogIn(rc, web.ClientKey("login:", web.ClientAddr(rc.r, a.options.TrustedProxies))); err != nil {
		return err
	}
	defer rc.wipe()
	c := credentials{expiresIn: defaultLifetime}
	invalid, err := rc.readJSON(func(r *bodyReader) {
		r.object(func(name []byte) bool {
			switch string(name) {
			case "email":
				c.email = r.text("email")
			case "password":
				c.password = r.text("password")
			case "name":
				c.name = r.text("name")
			case "expires_in":
				c.expiresIn = r.integer("expires_in")
			default:
				return false
			}
			return true
		}, "email", "password")
	})
	if err == nil {
		err = c.validate(invalid)
	}
	if err != nil {
		return err
	}
	token, about, err := rc.createToken(c)
	if err != nil {
		return err
	}
	return rc.value(http.StatusCreated, data[issuedToken]{issuedToken{token, about.ID, about.UserID, about.Name, timestamp(about.ExpiresAt)}})
}

// LogIn is POST /auth/tokens for a mounted handler with this writer: it has the same limits and the same errors.
func (a *API) LogIn(w http.ResponseWriter, r *http.Request, email, password, name string, lifetime time.Duration) (string, error) {
	rc, err := mountedRequest(w)
	if err != nil {
		return "", err
	}
	if err := a.allowLogIn(rc, web.ClientKey("login:", web.ClientAddr(r, a.options.TrustedProxies))); err != nil {
		return "", err
	}
	c := credentials{email: email, password: password, name: name, expiresIn: int64(lifetime / time.Second)}
	if err := c.validate(nil); err != nil {
		return "", err
	}
	token, _, err := rc.createToken(c)
	return token, err
}

// createToken creates a token for a user whose credentials are right, within the limit on log-ins to that account.
func (rc *requestContext) createToken(c credentials) (token string, about order.Token, err error) {
	a := rc.api
	if err := a.allowLogIn(rc, accountKey(c.email)); err != nil {
		return "", about, err
	}
	if a.options.Auth == nil {
		return "", about, errNoLogIn()
	}
	lifetime := time.Duration(c.expiresIn) * time.Second
	token, about, err = a.options.Auth.LogIn(rc.r.Context(), c.email, c.password, c.name, lifetime)
	switch {
	case err == nil:
		rc.logToken("A user logged in.", "auth.logged_in", about.Caller())
	case order.CodeOf(err) == order.CodeUnauthenticated:
		rc.logToken("A log-in was refused.", "auth.refused", order.Caller{})
	}
	return token, about, err
}

func errNoLogIn() error {
	return order.Errorf(order.CodeUnauthenticated, "This server has no log-in. Use a server with the role api.")
}

// accountKey returns the key under which log-ins to an account are counted. It does not reveal the e-mail address.
func accountKey(email string) string {
	sum := sha256.Sum256([]byte(order.FoldEmail(email)))
	return "login:account:" + hex.EncodeToString(sum[:16])
}

// logOut revokes the token of the request.
func (a *API) logOut(rc *requestContext) error {
	if rc.caller.Anonymous() {
		return order.Errorf(order.CodeUnauthenticated, "The request has no token to revoke. Send the token as Authorization: Bearer.")
	}
	token, _ := bearer(rc.r.Header["Authorization"])
	if err := a.options.Auth.Revoke(rc.r.Context(), token); err != nil {
		return err
	}
	rc.logToken("A token was revoked.", "auth.revoked", rc.caller)
	rc.WriteHeader(http.StatusNoContent)
	return nil
}

// LogOut is DELETE /auth/tokens/current for a mounted handler with this writer.
func (a *API) LogOut(w http.ResponseWriter, r *http.Request, token string) error {
	rc, err := mountedRequest(w)
	if err != nil {
		return err
	}
	caller, err := a.Check(r.Context(), token)
	if err == nil {
		err = a.options.Auth.Revoke(r.Context(), token)
	}
	if err == nil {
		rc.logToken("A token was revoked.", "auth.revoked", caller) //nolint:contextcheck // the requestContext has the context of the request
	}
	return err
}
