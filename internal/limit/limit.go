// Package limit is the port for rate limits, with its in-process adapter.
//
// A rate of N per period is a token bucket for each key: it holds N tokens, begins full and is refilled evenly, with one token every
// period/N. A request takes a token or is refused; a refused request takes nothing. So N requests may come at once, and never more than
// N × (1 + time/period) over any time. The arithmetic is exact, in whole numbers, so that all adapters decide alike.
//
// A full bucket behaves like one that does not exist. So an adapter needs to keep only the keys of the last period.
package limit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
)

// Limiter counts requests. Its methods may be called from any goroutine.
type Limiter interface {
	// Allow takes a token from the bucket of a key and a rate, if it has one. One key has a bucket for each rate. The zero Rate is no
	// limit: it allows every request and counts none. Keys may have any length (see Short).
	//
	// An error means that the request could not be counted, or that the rate is outside its bounds; the Decision is then meaningless.
	// A refusal is not an error.
	Allow(ctx context.Context, key string, rate Rate) (Decision, error)
}

// Decision is the result of one request.
type Decision struct {
	Allowed   bool
	Limit     int // the tokens of the rate; 0: there is no limit, and the other figures are meaningless
	Remaining int // whole tokens left after this request

	// Both are rounded up, so that this wait is enough.
	RetryAfter time.Duration // until the bucket has a token; 0 when allowed
	Reset      time.Duration // until the bucket is full, if no request takes a token
}

// Features are the properties of an adapter beyond Limiter.
type Features struct {
	Shared bool // other processes take from the same buckets
	Keys   int  // the number of buckets that are kept; the least recently used one is dropped first. 0: the adapter sets no bound
}

// longestKey is the length up to which a key is kept as it is, in bytes.
const longestKey = 64

// Short returns the key under which adapters keep a bucket: the key itself, or a hash of it when it is longer than 64 bytes. So a client
// that can choose the key, such as an e-mail address, cannot choose how much memory it takes.
func Short(key string) string {
	if len(key) <= longestKey {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return "sha256:" + hex.EncodeToString(sum[:]) // 71 bytes, so it differs from every short key
}

// Bounds of a Rate. Within them no product of the arithmetic overflows 64 bits.
const (
	MaxTokens = 1_000_000
	MaxPer    = time.Hour
)

// Rate is Tokens per Per. The zero Rate is no limit.
type Rate struct {
	Tokens int           // 1 to MaxTokens
	Per    time.Duration // 1 ns to MaxPer
}

// Off reports whether the rate is no limit.
func (r Rate) Off() bool { return r == Rate{} }

// Check returns an error unless the rate is within its bounds.
func (r Rate) Check() error {
	if r.Tokens < 1 || r.Tokens > MaxTokens || r.Per < 1 || r.Per > MaxPer {
		return fmt.Errorf("rate of %d per %v: want 1 to %d per up to %v, or none", r.Tokens, r.Per, MaxTokens, MaxPer)
	}
	return nil
}

// The level of a bucket is counted in parts of a token. A token has as many parts as the period has nanoseconds. So each nanosecond adds
// exactly Tokens parts, whether or not the tokens divide the period, and nothing is rounded.

// full returns the level of a full bucket.
func (r Rate) full() int64 { return int64(r.Tokens) * int64(r.Per) }

// take refills a bucket for the elapsed time, takes a token from it if it has one, and returns the new level.
func (r Rate) take(level int64, elapsed time.Duration) (int64, Decision) {
	tokens, token, full := int64(r.Tokens), int64(r.Per), r.full()
	if elapsed >= r.Per {
		level = full
	} else {
		level = min(full, level+tokens*int64(max(0, elapsed)))
	}
	d := Decision{Allowed: level >= token, Limit: r.Tokens}
	if d.Allowed {
		level -= token
	} else {
		d.RetryAfter = ceil(token-level, tokens)
	}
	d.Remaining = int(level / token)
	d.Reset = ceil(full-level, tokens)
	return level, d
}

// ceil returns the nanoseconds until the parts are added, rounded up.
func ceil(parts, perNanosecond int64) time.Duration {
	return time.Duration((parts + perNanosecond - 1) / perNanosecond)
}
