package redis

import (
	"context"
	_ "embed" // the script
	"strconv"
	"time"

	"orderflow/internal/limit"
)

// limitTime is how long a request waits for its count.
const limitTime = 50 * time.Millisecond

//go:embed scripts/limit.lua
var limitText string

// Limiter counts requests for all processes that share a Redis, by its clock, in one round trip of a twentieth of a second
// at most. When that fails the request is counted by this process alone, so that nobody waits and nobody goes uncounted.
//
// It decides as limit.Local does. A script computes in floating point, which is exact while a full bucket has fewer than
// 2^53 parts (100,000 tokens a minute); beyond that it is off by less than a billionth of a token. Its methods may be called
// from any goroutine.
type Limiter struct {
	client *Client
	local  *limit.Local
	script script
	within time.Duration // limitTime, save in tests of what is counted rather than of when
}

// NewLimiter returns a Limiter that keeps up to so many buckets itself while Redis is away.
func NewLimiter(client *Client, keys int) *Limiter {
	return &Limiter{client: client, local: limit.NewLocal(keys), script: newScript(limitText), within: limitTime}
}

// Features says: shared by processes, as many keys as there is memory.
func (l *Limiter) Features() limit.Features { return limit.Features{Shared: true} }

// Allow implements limit.Limiter. Its only error is that of a rate outside its bounds.
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
		err = errOddAnswer
	}
	if err := l.client.done(ctx, countRequests(), err); err != nil {
		return d, err
	}
	return limit.Decision{
		Allowed: answer[0] == 1, Limit: rate.Tokens, Remaining: int(answer[1]),
		RetryAfter: time.Duration(answer[2]), Reset: time.Duration(answer[3]),
	}, nil
}
