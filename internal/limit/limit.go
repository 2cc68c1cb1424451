// Package limit is the port for rate limits, with its in-process adapter.
//
// A rate of N per period is a bucket of N tokens for each key, full at first, refilled evenly: one token every period/N,
// not all of them at the period's end. A request takes a token or is refused, and a refused one takes nothing. So N may
// come at once, and never more than N × (1 + time/period) over any time. The arithmetic is exact, in whole numbers:
// each adapter decides alike.
//
// A full bucket is the same as none. That is what bounds the memory: only keys that came within the last period have to
// be remembered.
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
	// Allow takes a token from the key's bucket of that rate, if there is one. Buckets of different rates are different
	// buckets, also under the same key. The zero Rate is no limit: it allows everything and counts nothing. Keys may be
	// of any length (see Short).
	//
	// An error says that it could not be counted, or that the rate is outside its bounds; the Decision then says
	// nothing. A refusal is no error.
	Allow(ctx context.Context, key string, rate Rate) (Decision, error)
}

// Decision is the answer to one request.
type Decision struct {
	Allowed   bool
	Limit     int // the rate's tokens; 0: there is no limit, and the other figures mean nothing
	Remaining int // whole tokens left after this request

	// Both are rounded up, so that waiting this long is enough.
	RetryAfter time.Duration // until there is a token; 0 when allowed
	Reset      time.Duration // until the bucket is full, if nothing more is taken
}

// Features says what an adapter promises beyond Limiter.
type Features struct {
	Shared bool // other processes take from the same buckets
	Keys   int  // how many buckets are kept at most, the least lately used going first; 0: no bound of the adapter's own
}

// longestKey is how long a key may be to be kept as it is, in bytes.
const longestKey = 64

// Short returns the key under which adapters keep a bucket: the key itself, or a hash of it when it is longer than 64
// bytes, so that a caller who may choose the key (an e-mail address, say) cannot choose how much memory it takes.
func Short(key string) string {
	if len(key) <= longestKey {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return "sha256:" + hex.EncodeToString(sum[:]) // 71 bytes: no short key is the same
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

// Off says whether the rate is no limit.
func (r Rate) Off() bool { return r == Rate{} }

// Check returns an error unless the rate is within its bounds.
func (r Rate) Check() error {
	if r.Tokens < 1 || r.Tokens > MaxTokens || r.Per < 1 || r.Per > MaxPer {
		return fmt.Errorf("rate of %d per %v: want 1 to %d per up to %v, or none", r.Tokens, r.Per, MaxTokens, MaxPer)
	}
	return nil
}

// A bucket's level is counted in parts of a token, as many to the token as the period has nanoseconds. Then each
// nanosecond brings exactly Tokens parts, whether or not the period divides by the tokens, and nothing is ever rounded.

// full is the level of a full bucket.
func (r Rate) full() int64 { return int64(r.Tokens) * int64(r.Per) }

// take lets elapsed refill a bucket, takes a token from it if there is one, and returns the new level.
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

// ceil is how many nanoseconds it takes for the parts to come.
func ceil(parts, perNanosecond int64) time.Duration {
	return time.Duration((parts + perNanosecond - 1) / perNanosecond)
}
