package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"strings"
	"sync"
	"time"

	"orderflow/internal/order"
)

const (
	prefix     = "of_" // of a token, so that scanners of code and logs know one when they see it
	randomSize = 26    // characters behind it, as rand.Text makes them

	maxAge   = 5 * time.Second // of what is remembered about a token
	maxKnown = 100_000         // tokens that count and are remembered: some 20 MB
	maxWrong = 10_000          // tokens that do not; they have a room of their own, so that guesses push no others out

	lookUps     = 16 // at once
	lookUpQueue = 1000
	lookUpWait  = 2 * time.Second
)

// Tokens is where tokens are kept. CodeUnavailable says that they cannot be reached.
type Tokens interface {
	// CreateToken keeps a token under its hash; the time from its CreatedAt to its ExpiresAt is what counts. CodeNotFound
	// says that there is no such user.
	CreateToken(ctx context.Context, token order.Token, hash []byte) (order.Token, error)
	// TokenByHash returns the token, or CodeUnauthenticated when there is none that counts.
	TokenByHash(ctx context.Context, hash []byte) (order.Token, error)
	// RevokeToken takes a token back.
	RevokeToken(ctx context.Context, id int64) error
}

// Users is where users are found.
type Users interface {
	// UserByEmail returns a user, or CodeNotFound.
	UserByEmail(ctx context.Context, email string) (order.User, error)
}

// Options are what an Authenticator works with. Tokens, Users and Passwords must be set.
type Options struct {
	Tokens    Tokens
	Users     Users
	Passwords *Passwords
}

// Authenticator knows who calls. Its methods may be called from any goroutine; it has none of its own, and nothing to close.
type Authenticator struct {
	options Options
	gate    *gate // before look-ups

	mu      sync.Mutex
	known   *answers[order.Caller]
	wrong   *answers[error]
	looking map[digest]*lookUp
}

// lookUp is a question under way; caller and err may be read once done is closed.
type lookUp struct {
	done    chan struct{}
	revoked bool // meanwhile: what was found is not to be remembered
	caller  order.Caller
	err     error
}

var errPanicked = errors.New("auth: a look-up that others waited for panicked")

// New returns an Authenticator.
func New(options Options) *Authenticator {
	return &Authenticator{
		options: options, gate: newGate(lookUps, lookUpQueue, lookUpWait),
		known: newAnswers[order.Caller](maxKnown), wrong: newAnswers[error](maxWrong), looking: map[digest]*lookUp{},
	}
}

// Check returns who calls with a token. The error carries CodeUnauthenticated for one that does not count, CodeUnavailable or
// CodeOverloaded when that cannot be found out, or is that of ctx. A token that was taken back or ran out elsewhere may count
// for five seconds more.
func (a *Authenticator) Check(ctx context.Context, token string) (order.Caller, error) {
	if !wellFormed(token) {
		return order.Caller{}, order.Errorf(order.CodeUnauthenticated, "This is no token of ours.")
	}
	key := sha256.Sum256([]byte(token))
	now := time.Now()
	a.mu.Lock()
	if caller, ok := a.known.get(key, now); ok {
		a.mu.Unlock()
		return caller, nil
	}
	if err, ok := a.wrong.get(key, now); ok {
		a.mu.Unlock()
		return order.Caller{}, err
	}
	l := a.looking[key]
	if l == nil {
		return a.lookUp(ctx, key, now) // unlocks
	}
	a.mu.Unlock()
	select {
	case <-l.done:
		return l.caller, l.err
	case <-ctx.Done():
		return order.Caller{}, ctx.Err()
	}
}

// lookUp asks for all who want to know. It is called with mu held and gives it back. A caller that leaves does not stop it:
// others wait for it.
func (a *Authenticator) lookUp(ctx context.Context, key digest, began time.Time) (order.Caller, error) {
	l := &lookUp{done: make(chan struct{}), err: errPanicked}
	a.looking[key] = l
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		delete(a.looking, key)
		switch {
		case l.revoked:
		case l.err == nil:
			a.known.put(key, l.caller, time.Now(), began.Add(maxAge))
		case order.CodeOf(l.err) == order.CodeUnauthenticated:
			a.wrong.put(key, l.err, time.Now(), began.Add(maxAge))
		}
		a.mu.Unlock()
		close(l.done)
	}()
	l.caller, l.err = a.ask(context.WithoutCancel(ctx), key)
	return l.caller, l.err
}

func (a *Authenticator) ask(ctx context.Context, key digest) (order.Caller, error) {
	if err := a.gate.enter(ctx); err != nil {
		return order.Caller{}, err
	}
	defer a.gate.leave()
	token, err := a.options.Tokens.TokenByHash(ctx, key[:])
	if err != nil {
		return order.Caller{}, err
	}
	return token.Caller(), nil
}

// LogIn makes a token for the user with this e-mail address and password, good for as long as lasts (0 for ever), and returns
// it: it is not kept, and never to be had again. The error carries CodeUnauthenticated, the same for an unknown address as for
// a wrong password and after the same work, CodeOverloaded, or CodeUnavailable.
func (a *Authenticator) LogIn(ctx context.Context, email, password, name string, lasts time.Duration) (string, order.Token, error) {
	user, err := a.options.Users.UserByEmail(ctx, email)
	if err != nil && order.CodeOf(err) != order.CodeNotFound {
		return "", order.Token{}, err
	}
	fits, err := a.options.Passwords.Fits(ctx, password, user.PasswordHash)
	if err != nil {
		return "", order.Token{}, err
	}
	if !fits {
		return "", order.Token{}, order.Errorf(order.CodeUnauthenticated, "The e-mail address or the password is wrong.")
	}
	return NewToken(ctx, a.options.Tokens, order.Token{UserID: user.ID, Name: name}, lasts)
}

// Revoke takes a token back; here it counts no more from now on. The error carries CodeUnauthenticated for one that does not
// count, or what Check's does.
func (a *Authenticator) Revoke(ctx context.Context, token string) error {
	caller, err := a.Check(ctx, token)
	if err != nil {
		return err
	}
	if err := a.options.Tokens.RevokeToken(ctx, caller.TokenID); err != nil {
		return err
	}
	key := sha256.Sum256([]byte(token))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known.forget(key)
	if l := a.looking[key]; l != nil {
		l.revoked = true
	}
	return nil
}

// NewToken makes a token that lasts so long (0 for ever), keeps its hash, and returns it with what is known of it. about says
// whose it is.
func NewToken(ctx context.Context, tokens Tokens, about order.Token, lasts time.Duration) (string, order.Token, error) {
	token := prefix + rand.Text()
	if lasts > 0 {
		about.CreatedAt = time.Now()
		about.ExpiresAt = about.CreatedAt.Add(lasts)
	}
	key := sha256.Sum256([]byte(token))
	about, err := tokens.CreateToken(ctx, about, key[:])
	if err != nil {
		return "", order.Token{}, err
	}
	return token, about, nil
}

// wellFormed reports whether a text could be a token.
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
