package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"

	"orderflow/internal/order"
)

const (
	prefix     = "of_" // of a token, so that secret scanners recognise one
	randomSize = 26    // characters after the prefix, from rand.Text

	maxAge     = 5 * time.Second // of a cached check
	maxValid   = 100_000         // valid tokens in the cache: some 20 MB
	maxInvalid = 10_000          // invalid ones have a cache of their own, so that guesses displace no valid token

	maxLookUps  = 16 // at once
	lookUpQueue = 1000
	lookUpWait  = 2 * time.Second
)

// Tokens stores tokens. CodeUnavailable means that the storage does not answer.
type Tokens interface {
	// CreateToken stores a token under its hash, with the lifetime from CreatedAt to ExpiresAt. CodeNotFound means that its user does
	// not exist.
	CreateToken(ctx context.Context, token order.Token, hash []byte) (order.Token, error)
	// TokenByHash returns a valid token, or CodeUnauthenticated.
	TokenByHash(ctx context.Context, hash []byte) (order.Token, error)
	// RevokeToken revokes a token.
	RevokeToken(ctx context.Context, id int64) error
}

// Users finds users.
type Users interface {
	// UserByEmail returns a user, or CodeNotFound.
	UserByEmail(ctx context.Context, email string) (order.User, error)
}

// Options are the parts of an Authenticator. All must be set.
type Options struct {
	Tokens    Tokens
	Users     Users
	Passwords *Passwords
}

// Authenticator checks and issues tokens. Its methods may be called from any goroutine. There is nothing to close.
type Authenticator struct {
	options Options
	lookUps singleflight.Group // by hash
	queue   *queue             // of look-ups
	valid   *cache[order.Caller]
	invalid *cache[error]
}

// New returns an Authenticator.
func New(options Options) *Authenticator {
	return &Authenticator{
		options: options, queue: newQueue(maxLookUps, lookUpQueue, lookUpWait),
		valid: newCache[order.Caller](maxValid), invalid: newCache[error](maxInvalid),
	}
}

// Check returns the caller of a token. The error carries CodeUnauthenticated for an invalid token, CodeUnavailable or CodeOverloaded
// when the token cannot be checked, or is that of ctx. A token that another process revoked, or that expired, may be accepted for five
// more seconds.
func (a *Authenticator) Check(ctx context.Context, token string) (order.Caller, error) {
	if !wellFormed(token) {
		return order.Caller{}, errInvalidToken()
	}
	key, now := sha256.Sum256([]byte(token)), time.Now()
	if err, ok := a.invalid.get(key, now); ok { // first: a token that was revoked during its look-up is in both
		return order.Caller{}, err
	}
	if caller, ok := a.valid.get(key, now); ok {
		return caller, nil
	}
	lookUp := a.lookUps.DoChan(string(key[:]), func() (any, error) {
		return a.lookUp(context.WithoutCancel(ctx), key) // continues when its caller leaves, since others wait for it
	})
	select {
	case result := <-lookUp:
		caller, _ := result.Val.(order.Caller)
		return caller, result.Err
	case <-ctx.Done():
		return order.Caller{}, ctx.Err()
	}
}

// lookUp looks up a token and caches the result.
func (a *Authenticator) lookUp(ctx context.Context, key digest) (caller order.Caller, err error) {
	defer func() {
		if value := recover(); value != nil { // else it would end the process: no request's goroutine runs the look-up
			err = fmt.Errorf("auth: the look-up of a token panicked: %v\n%s", value, debug.Stack())
		}
	}()
	if err := a.queue.enter(ctx); err != nil {
		return order.Caller{}, err
	}
	defer a.queue.leave()
	until := time.Now().Add(maxAge)
	token, err := a.options.Tokens.TokenByHash(ctx, key[:])
	switch {
	case err == nil:
		a.valid.put(key, token.Caller(), until)
	case order.CodeOf(err) == order.CodeUnauthenticated:
		a.invalid.put(key, err, until)
	}
	return token.Caller(), err
}

// LogIn creates a token for the user with this e-mail address and password, with a lifetime (0 for no end), and returns it. Only its
// hash is stored. The error carries CodeUnauthenticated, which is the same and takes as long for an unknown address as for a wrong
// password, CodeOverloaded, or CodeUnavailable.
func (a *Authenticator) LogIn(ctx context.Context, email, password, name string, lifetime time.Duration) (string, order.Token, error) {
	user, err := a.options.Users.UserByEmail(ctx, email)
	if err != nil && order.CodeOf(err) != order.CodeNotFound {
		return "", order.Token{}, err
	}
	matches, err := a.options.Passwords.Matches(ctx, password, user.PasswordHash)
	if err != nil {
		return "", order.Token{}, err
	}
	if !matches {
		return "", order.Token{}, order.Errorf(order.CodeUnauthenticated, "The e-mail address or the password is wrong. Try again.")
	}
	return NewToken(ctx, a.options.Tokens, order.Token{UserID: user.ID, Name: name}, lifetime)
}

// Revoke revokes a token; this Authenticator refuses it from now on. The error carries CodeUnauthenticated for an invalid token, or is
// that of Check.
func (a *Authenticator) Revoke(ctx context.Context, token string) error {
	caller, err := a.Check(ctx, token)
	if err != nil {
		return err
	}
	if err := a.options.Tokens.RevokeToken(ctx, caller.TokenID); err != nil {
		return err
	}
	key := sha256.Sum256([]byte(token))
	// A look-up that found the token before may still put it into the cache of valid tokens, but for no longer than this entry lasts.
	a.invalid.put(key, errInvalidToken(), time.Now().Add(maxAge))
	a.valid.remove(key) // guesses may displace the entry above
	return nil
}

// NewToken creates a token with a lifetime (0 for no end), stores its hash, and returns it with its record. about has its user, its name
// and whether it is an admin's.
func NewToken(ctx context.Context, tokens Tokens, about order.Token, lifetime time.Duration) (string, order.Token, error) {
	token := prefix + rand.Text()
	if lifetime > 0 {
		about.CreatedAt = time.Now()
		about.ExpiresAt = about.CreatedAt.Add(lifetime)
	}
	key := sha256.Sum256([]byte(token))
	about, err := tokens.CreateToken(ctx, about, key[:])
	if err != nil {
		return "", order.Token{}, err
	}
	return token, about, nil
}

func errInvalidToken() error {
	return order.Errorf(order.CodeUnauthenticated, "Invalid token: unknown, expired or revoked. Log in again.")
}

// wellFormed reports whether a text has the form of a token.
func wellFormed(token string) bool {
	random, ok := strings.CutPrefix(token, prefix)
	if !ok || len(random) != randomSize {
		return false
	}
	for i := range len(random) {
		if c := random[i]; (c < 'A' || c > 'Z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}
