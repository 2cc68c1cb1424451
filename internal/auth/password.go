package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"
)

// cost is the cost of a hash: passes over memory, in lanes.
type cost struct {
	memory, time uint32 // KiB; passes
	lanes        uint8
}

// newCost returns the cost of new hashes, which OWASP recommends for argon2id.
func newCost() cost { return cost{memory: 19 << 10, time: 2, lanes: 1} }

// Bounds of the cost of a stored hash: write access to the database must not be enough to exhaust the server's memory.
const (
	minMemory, maxMemory = 8, 64 << 10 // KiB
	maxTime              = 10
	maxLanes             = 4
	minSalt, maxSalt     = 8, 64 // bytes
	minKey, maxKey       = 16, 64
	saltBytes            = 16 // of new hashes
	keyBytes             = 32
)

// hash is an argon2id hash with its parameters.
type hash struct {
	cost

	salt, key []byte
}

// errHash is the error for an invalid stored hash. It does not contain the hash.
var errHash = errors.New("auth: a stored password hash is not an argon2id hash within bounds")

// parseHash parses a hash in PHC form: $argon2id$v=19$m=19456,t=2,p=1$SALT$KEY, with salt and key in base64 without padding.
func parseHash(text string) (h hash, err error) {
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return hash{}, errHash
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.lanes); err != nil {
		return hash{}, errHash
	}
	encoding := base64.RawStdEncoding.Strict()
	if h.salt, err = encoding.DecodeString(parts[4]); err != nil {
		return hash{}, errHash
	}
	if h.key, err = encoding.DecodeString(parts[5]); err != nil {
		return hash{}, errHash
	}
	if !h.bounded() || h.String() != text { // each hash has one text: without leading zeros, and with nothing after it
		return hash{}, errHash
	}
	return h, nil
}

func (h hash) bounded() bool {
	return h.memory >= minMemory*uint32(h.lanes) && h.memory <= maxMemory && h.time >= 1 && h.time <= maxTime &&
		h.lanes >= 1 && h.lanes <= maxLanes && len(h.salt) >= minSalt && len(h.salt) <= maxSalt && len(h.key) >= minKey && len(h.key) <= maxKey
}

// String returns the PHC form.
func (h hash) String() string {
	encoding := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.time, h.lanes,
		encoding.EncodeToString(h.salt), encoding.EncodeToString(h.key))
}

// matches computes the hash of a password and compares it in constant time.
func (h hash) matches(password string) bool {
	return subtle.ConstantTimeCompare(h.key, h.compute(password)) == 1
}

// compute returns the key of a password, with the length of h's key.
func (h hash) compute(password string) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.lanes, uint32(len(h.key)))
}

// PasswordOptions are the bounds of Passwords. The zero value is right for a server.
type PasswordOptions struct {
	Concurrency int           // hashes that are computed at once; 0 for the number of processors, at least 2
	Queue       int           // how many more may wait; 0 for 100
	Wait        time.Duration // for how long; 0 for 3 s

	// Observe, if set, is called when the computation of a hash begins (1) and ends (-1), from many goroutines.
	Observe func(change int)
}

// Passwords computes and checks hashes of passwords, few at a time. Its methods may be called from any goroutine. They return
// CodeOverloaded when too many calls wait or the wait is too long, and the error of ctx when ctx ends first.
type Passwords struct {
	queue   *queue
	observe func(change int)
	dummy   string // a hash that no password is known to match
}

// NewPasswords returns Passwords with these bounds.
func NewPasswords(options PasswordOptions) *Passwords {
	if options.Concurrency == 0 {
		options.Concurrency = max(2, runtime.GOMAXPROCS(0))
	}
	if options.Queue == 0 {
		options.Queue = 100
	}
	if options.Wait == 0 {
		options.Wait = 3 * time.Second
	}
	if options.Observe == nil {
		options.Observe = func(int) {}
	}
	return &Passwords{
		queue: newQueue(options.Concurrency, options.Queue, options.Wait), observe: options.Observe,
		dummy: hash{newCost(), random(saltBytes), random(keyBytes)}.String(),
	}
}

// random returns random bytes; since Go 1.24 reading them cannot fail.
func random(n int) []byte {
	bytes := make([]byte, n)
	_, _ = rand.Read(bytes)
	return bytes
}

// Hash returns the hash of a password, in PHC form.
func (p *Passwords) Hash(ctx context.Context, password string) (string, error) {
	h := hash{newCost(), random(saltBytes), make([]byte, keyBytes)}
	err := p.work(ctx, func() { h.key = h.compute(password) })
	if err != nil {
		return "", err
	}
	return h.String(), nil
}

// Matches reports whether a password has a stored hash. An empty hash stands for an account that does not exist: no password matches,
// after the same time as for other hashes. An invalid or too costly hash is an error without a code.
func (p *Passwords) Matches(ctx context.Context, password, stored string) (matches bool, err error) {
	exists := stored != ""
	if !exists {
		stored = p.dummy
	}
	h, err := parseHash(stored)
	if err != nil {
		return false, err
	}
	err = p.work(ctx, func() { matches = h.matches(password) })
	return matches && exists, err
}

// work computes a hash within the bounds.
func (p *Passwords) work(ctx context.Context, compute func()) error {
	if err := p.queue.enter(ctx); err != nil {
		return err
	}
	defer p.queue.leave()
	p.observe(1)
	defer p.observe(-1)
	compute()
	return nil
}
