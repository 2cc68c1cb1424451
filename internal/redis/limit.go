package redis

import (
	"context"
	_ "embed" // the script
	"strconv"
	"time"

	"orderflow/internal/limit"
)

// limiterTimeout limits a request's wait for its count.
const limiterTimeout = 50 * time.Millisecond

//go:embed scripts/limit.lua
var limitText string

// Limiter counts requests for all processes that share a Redis, by the clock of Redis, in one round trip of at most 50 ms. If that
// fails, this process counts the request by itself, so that every request is counted and none waits longer.
//
// It decides as limit.Local does. The script computes in floating point, which is exact while a full bucket has fewer than 2^53
// units (100,000 tokens a minute); beyond that the error is below a billionth of a token. All methods are safe for concurrent use.
type Limiter struct {
	client *Client
	local  *limit.Local
	script script
	within time.Duration // limiterTimeout, except in tests that must not time out
}

// NewLimiter returns a Limiter that keeps at most keys buckets in the process while Redis is down.
func NewLimiter(client *Client, keys int) *Limiter {
	return &Limiter{client: client, local: limit.NewLocal(keys), script: newScript(limitText), within: limiterTimeout}
}

// Features returns the guarantees of the adapter.
func (l *Limiter) Features() limit.Features { return limit.Features{Shared: true} }

// Allow implements limit.Limiter. Its only error is that of an invalid rate.
func (l *Limiter) Allow(ctx context.Context, key string, rate limit.Rate) (limit.Decision, error) {
	if rate.Off() {
		return limit.Decision{Allowed: true}, nil
	}
	if err := rate.Check(); err != nil {
		return limit.Decision{}, err
	}
	decision, err := l.count(ctx, key, rate)
	if err != nil {
		return l.local.Allow(ctx, key, rate)
	}
	return decision, nil
}

func (l *Limiter) count(ctx context.Context, key string, rate limit.Rate) (d limit.Decision, err error) {
	conn, err := l.client.conn()
	if err != nil {
		return d, err
	}
	limited, cancel := context.WithTimeout(ctx, l.within)
	defer cancel()
	tokens, per := strconv.Itoa(rate.Tokens), strconv.FormatInt(int64(rate.Per), 10)
	name := l.client.key("orderflow:limit:" + limit.Short(key) + ":" + tokens + "/" + per)
	answer, err := run(limited, conn, []call{{l.script, []string{name}, []string{tokens, per}}})[0].AsIntSlice()
	if err == nil && len(answer) != 4 {
		err = errUnexpectedAnswer
	}
	if err := l.client.record(ctx, countRequests(), err); err != nil {
		return d, err
	}
	return limit.Decision{
		Allowed: answer[0] == 1, Limit: rate.Tokens, Remaining: int(answer[1]),
		RetryAfter: time.Duration(answer[2]), Reset: time.Duration(answer[3]),
	}, nil
}
