package order

import (
	"strconv"
	"time"
)

// Caller identifies the client of a request by its token. The zero value is a client without a token.
type Caller struct {
	UserID  int64 // 0 for an admin token without a user
	TokenID int64
	Admin   bool
}

// Anonymous reports whether the request has no token.
func (c Caller) Anonymous() bool { return c.TokenID == 0 }

// Operator is the caller on a server that requires no log-in from its own machine: an admin without a token.
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

// MayActFor reports whether the caller may order for a user and see that user's orders. A token limits its caller to its own
// user, unless it is an admin's. Without a token there is no such limit: whether a server accepts anonymous callers is a
// setting, which the server checks before.
func (c Caller) MayActFor(user int64) bool { return c.Anonymous() || c.Admin || c.UserID == user }

// Token is a bearer token without its secret, which the database has only as a hash.
type Token struct {
	ID        int64
	UserID    int64 // the user whom it may act for; 0 for an admin token without a user
	Name      string
	Admin     bool // may act for every user and administer the installation
	CreatedAt time.Time
	ExpiresAt time.Time // zero for never
	RevokedAt time.Time // zero unless revoked
}

// MaxTokenName is the longest name of a token, in characters.
const MaxTokenName = 255

// Caller returns the caller that a request with the token has.
func (t Token) Caller() Caller { return Caller{UserID: t.UserID, TokenID: t.ID, Admin: t.Admin} }
