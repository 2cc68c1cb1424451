package order

import (
	"strconv"
	"strings"
	"time"
)

// Caller is who a request comes from, by the token that it carries. The zero value is somebody who has shown none.
type Caller struct {
	UserID  int64 // 0 for an admin token that belongs to nobody
	TokenID int64
	Admin   bool
}

// Anonymous reports whether the caller has not said who they are.
func (c Caller) Anonymous() bool { return c.TokenID == 0 }

// Operator is who sits at the machine of a server that asks nobody who they are: an admin without a token.
func Operator() Caller { return Caller{Admin: true} }

// Actor names the caller in histories: "user:7", "token:3" for an admin's token, "operator", or "anonymous".
func (c Caller) Actor() string {
	switch {
	case c == Operator():
		return "operator"
	case c.Anonymous():
		return "anonymous"
	case c.Admin:
		return "token:" + strconv.FormatInt(c.TokenID, 10)
	default:
		return "user:" + strconv.FormatInt(c.UserID, 10)
	}
}

// MayActFor reports whether the caller may order for a user and see what is that user's. A token binds: its user alone,
// unless it is an admin's. Who has shown none is not bound; whether such callers are let in at all is decided elsewhere.
func (c Caller) MayActFor(user int64) bool { return c.Anonymous() || c.Admin || c.UserID == user }

// Token is what is known of a bearer token. The token itself is known to its owner alone.
type Token struct {
	ID        int64
	UserID    int64 // whom it may act for; 0 for an admin's that belongs to nobody
	Name      string
	Admin     bool // may act for everybody and run the shop
	CreatedAt time.Time
	ExpiresAt time.Time // zero for never
	RevokedAt time.Time // zero unless it was taken back
}

// Caller is who calls with the token.
func (t Token) Caller() Caller { return Caller{UserID: t.UserID, TokenID: t.ID, Admin: t.Admin} }

// Bounds of what a log-in and a token may say, in characters and, for the password, in bytes.
const (
	MaxEmail     = 255
	MaxPassword  = 1024
	MaxTokenName = 255
)

// FoldEmail returns the form in which e-mail addresses are compared: without the case of A to Z. Letters of other alphabets
// count as they are written, in every database alike.
func FoldEmail(email string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + ('a' - 'A')
		}
		return r
	}, email)
}
