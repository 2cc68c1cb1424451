package api

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"orderflow/internal/limit"
	"orderflow/internal/order"
	"orderflow/internal/web"
)

// Times that a token from a log-in is good for.
const (
	defaultLasts = 30 * 24 * time.Hour
	maxLasts     = 365 * 24 * time.Hour
)

// logInRate is how many log-ins are tried for one account, and from one address. Who guesses passwords gets no further
// with many addresses than with one, and none with many accounts.
func logInRate() limit.Rate { return limit.Rate{Tokens: 10, Per: time.Minute} }

// logInBody is the body of POST /auth/tokens as far as it was understood.
type logInBody struct {
	email, password, name string
	lasts                 time.Duration
	faults                faults
}

// logIn makes a token for who knows the password of a user.
func (a *API) logIn(x *requestContext) error {
	if err := a.origins.CheckChange(x.r); err != nil {
		return err
	}
	if err := a.admitLogIn(x, web.ClientKey("login:", web.ClientAddr(x.r, a.options.TrustedProxies))); err != nil {
		return err
	}
	defer x.wipe()
	body, err := x.readLogIn()
	if err != nil {
		return err
	}
	token, about, err := x.makeToken(body)
	if err != nil {
		return err
	}
	x.out = append(x.out[:0], `{"data":{"token":`...)
	x.out = web.AppendString(x.out, token)
	x.out = append(x.out, `,"id":`...)
	x.out = strconv.AppendInt(x.out, about.ID, 10)
	x.out = append(x.out, `,"user_id":`...)
	x.out = strconv.AppendInt(x.out, about.UserID, 10)
	x.out = append(x.out, `,"name":`...)
	x.out = web.AppendString(x.out, about.Name)
	x.out = append(x.out, `,"expires_at":`...)
	x.out = appendTime(x.out, about.ExpiresAt)
	x.out = append(x.out, '}', '}', '\n')
	x.json(http.StatusCreated, x.out)
	return nil
}

// makeToken makes a token for who knows a password, as long as not too many try for that account.
func (x *requestContext) makeToken(body logInBody) (token string, about order.Token, err error) {
	a := x.api
	if err := a.admitLogIn(x, accountKey(body.email)); err != nil {
		return "", about, err
	}
	if a.options.Auth == nil {
		return "", about, order.Errorf(order.CodeUnauthenticated, "Nobody can log in here.")
	}
	token, about, err = a.options.Auth.LogIn(x.r.Context(), body.email, body.password, body.name, body.lasts)
	switch {
	case err == nil:
		x.logToken("a user logged in", "auth.logged_in", about.Caller())
	case order.CodeOf(err) == order.CodeUnauthenticated:
		x.logToken("a log-in was refused", "auth.refused", order.Caller{})
	}
	return token, about, err
}

// accountKey is the name under which log-ins to an account are counted. It does not tell the address.
func accountKey(email string) string {
	sum := sha256.Sum256([]byte(order.FoldEmail(email)))
	return "login:account:" + hex.EncodeToString(sum[:16])
}

// wipe overwrites what an exchange has kept of a password and a token: it is used again.
func (x *requestContext) wipe() {
	clear(x.body[:cap(x.body)])
	clear(x.out[:cap(x.out)])
}

// readLogIn reads and checks the body of a log-in.
func (x *requestContext) readLogIn() (into logInBody, err error) {
	raw, err := x.readBody()
	if err != nil {
		return into, err
	}
	reader, err := x.reader(raw)
	if err != nil {
		return into, err
	}
	into.lasts = defaultLasts
	var hasEmail, hasPassword bool
	object := reader.object(func(name []byte) {
		switch string(name) {
		case "email":
			hasEmail = true
			into.email = reader.bounded("email", 1, order.MaxEmail, &into.faults)
		case "password":
			hasPassword = true
			into.password = reader.password(&into.faults)
		case "name":
			into.name = reader.bounded("name", 0, order.MaxTokenName, &into.faults)
			if strings.ContainsFunc(into.name, unicode.IsControl) { // terminals show the names of tokens
				into.faults.add("name", "must have no control characters, such as line breaks")
			}
		case "expires_in":
			into.lasts = reader.lasts(&into.faults)
		default:
			reader.skip()
		}
	})
	if !object {
		into.faults.add("body", "must be an object")
	}
	if !hasEmail {
		into.faults.add("email", "is required")
	}
	if !hasPassword {
		into.faults.add("password", "is required")
	}
	if reader.end(); reader.err != nil {
		return into, reader.err
	}
	return into, into.faults.err()
}

// bounded is text of so many characters.
func (r *bodyReader) bounded(field string, least, most int, faults *faults) string {
	before := len((*faults)[field])
	text := r.text(field, faults)
	if n := utf8.RuneCountInString(text); len((*faults)[field]) == before && (n < least || n > most) {
		faults.add(field, fmt.Sprintf("must have %d to %d characters", least, most))
	}
	return text
}

func (r *bodyReader) password(faults *faults) string {
	const field = "password"
	text := r.text(field, faults)
	if len((*faults)[field]) == 0 && (text == "" || len(text) > order.MaxPassword) {
		faults.add(field, fmt.Sprintf("must have 1 to %d bytes", order.MaxPassword))
	}
	return text
}

func (r *bodyReader) lasts(faults *faults) time.Duration {
	const field, most = "expires_in", int64(maxLasts / time.Second)
	n, ok := r.integer(field, faults)
	if ok && (n < 1 || n > most) {
		faults.add(field, fmt.Sprintf("must be from 1 to %d seconds", most))
		return 0
	}
	return time.Duration(n) * time.Second
}

// logToken writes a line about who logged in or out. Neither tokens nor e-mail addresses are in it.
func (x *requestContext) logToken(message, event string, who order.Caller) {
	logger, ctx := x.api.options.Logger, x.r.Context()
	if logger.Enabled(ctx, slog.LevelInfo) {
		logger.LogAttrs(ctx, slog.LevelInfo, message, slog.String("event", event), slog.Int64("user_id", who.UserID),
			slog.Int64("token_id", who.TokenID), slog.String("trace_id", x.trace.ID))
	}
}
