package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// Bounds of the health of a Client.
const (
	recoverAfter      = time.Second      // without a failure, after which a success ends the state "failing"
	recoverAfterMax   = 30 * time.Second // the longest value of the same, for an operation that keeps changing
	untriedExpiry     = 45 * time.Second // without any try, after which an operation no longer counts as failing
	subscriptionTries = 3                // consecutive failures of a subscription, after which it counts as failing, whatever the cause
	logAgainAfter     = 5 * time.Minute  // between two log lines about one lasting state

	stableAfter         = 10 * time.Second // of being up, after which the next return is not delayed
	shortestReturnDelay = 500 * time.Millisecond
	longestReturnDelay  = 30 * time.Second // the longest delay, for a server that goes down again at once each time
)

// operation is something that the adapters do in Redis, such as publishing to a topic. The health tracks each operation
// separately: a key of the wrong type makes one of them fail while the others work.
type operation struct{ action, subject string }

// The operations without a subject. Those of the bus have a topic as their subject.
func takeLocks() operation       { return operation{action: "take product locks"} }
func releaseLocks() operation    { return operation{action: "release product locks"} }
func receiveReleases() operation { return operation{action: "subscribe to released locks"} }
func countRequests() operation   { return operation{action: "count requests for the rate limit"} }

func invalidateProducts() operation { return operation{action: "invalidate the cached product list"} }
func cacheProducts() operation      { return operation{action: "cache the product list"} }
func cacheEvents() operation        { return operation{action: "cache the last events of channels"} }

func (o operation) String() string { return strings.TrimSpace(o.action + " " + o.subject) }

// health is the state of the server as the Client knows it. The server is up or down as a whole; while it is up, single operations may
// fail. All methods are safe for concurrent use.
type health struct {
	logger  *slog.Logger
	changed func(healthy bool)
	up      atomic.Bool
	failed  atomic.Int32 // operations that fail; while it is 0, succeed needs no lock

	mu        sync.Mutex
	cause     error // of being down
	reported  bool  // the last value that changed was called with
	logged    time.Time
	since     time.Time // of being up or down
	outages   int       // in a row, each soon after the previous return
	delay     backoff   // of the next return
	notBefore time.Time // the earliest next return
	failures  map[operation]*failure
}

// failure is the record of an operation that fails, or failed recently.
type failure struct {
	cause   error
	failing bool
	last    time.Time     // the last failure
	worked  time.Time     // the last success while failing
	quiet   time.Duration // time without a failure after which a success ends the state "failing"
	logged  time.Time
}

// markUp records that Redis does everything that the product needs.
func (h *health) markUp() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.up.Load() {
		return
	}
	h.up.Store(true)
	h.cause, h.since = nil, time.Now()
	h.logger.Info("Redis is up.", "event", "redis.up")
	h.report()
}

// markDown records that Redis cannot be used. It logs the change, and the lasting state from time to time.
func (h *health) markDown(cause error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	h.cause = cause
	if h.up.Swap(false) {
		h.delayReturn(now)
		clear(h.failures) // the outage includes them
		h.failed.Store(0)
	} else if now.Sub(h.logged) < logAgainAfter {
		return
	}
	h.logged = now
	h.logger.Warn("Redis is down. Orders are processed without it until it is back.",
		"event", "redis.down", "error", cause.Error(), "remedy", remedy(cause))
	h.report()
}

// delayReturn sets the earliest time of the next return; mu is held. The first outage adds no delay; an outage within 10 s
// of a return does.
func (h *health) delayReturn(now time.Time) {
	if h.outages == 0 || now.Sub(h.since) >= stableAfter {
		h.outages = 0
		h.delay = backoff{first: shortestReturnDelay, longest: longestReturnDelay}
	}
	h.notBefore = now
	if h.outages++; h.outages > 1 {
		h.notBefore = now.Add(h.delay.next())
	}
	h.since = now
}

// mayReturn reports whether Redis may be used again. A server that keeps going down soon after its return gets growing delays.
func (h *health) mayReturn(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !now.Before(h.notBefore)
}

// failing reports whether any operation fails.
func (h *health) failing() bool { return h.failed.Load() > 0 }

// fail records that an operation failed while the server as a whole was up.
func (h *health) fail(op operation, cause error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.up.Load() {
		return
	}
	now := time.Now()
	f := h.failures[op]
	switch {
	case f == nil:
		f = &failure{quiet: recoverAfter}
		h.failures[op] = f
	case !f.failing:
		f.quiet = min(2*f.quiet, recoverAfterMax)
	}
	f.last, f.cause = now, cause
	if f.failing && now.Sub(f.logged) < logAgainAfter {
		return
	}
	if !f.failing {
		f.failing = true
		h.failed.Add(1)
	}
	f.logged = now
	h.logger.Warn("Redis refuses an operation. Orderflow continues without that operation.",
		"event", "redis.operation_failed", "operation", op.String(), "error", cause.Error(), "remedy", remedy(cause))
	h.report()
}

// succeed records that an operation worked.
func (h *health) succeed(op operation) {
	if h.failed.Load() == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if f := h.failures[op]; f != nil && f.failing {
		f.worked = time.Now()
		if f.worked.Sub(f.last) >= f.quiet {
			h.markRecovered(op, f)
		}
	}
}

// expire ends the state "failing" of operations that work again or were not tried for a while, and later deletes their records.
// Run calls it with each probe.
func (h *health) expire(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for op, f := range h.failures {
		switch {
		case f.failing && f.worked.After(f.last) && now.Sub(f.last) >= f.quiet:
			h.markRecovered(op, f)
		case now.Sub(f.last) < untriedExpiry:
		case f.failing:
			h.markRecovered(op, f)
		default:
			delete(h.failures, op)
		}
	}
}

// markRecovered ends the state "failing"; mu is held.
func (h *health) markRecovered(op operation, f *failure) {
	f.failing = false
	h.failed.Add(-1)
	h.logger.Info("Redis accepts an operation again.", "event", "redis.operation_recovered", "operation", op.String())
	h.report()
}

// report calls changed if the overall health has changed; mu is held.
func (h *health) report() {
	if healthy := h.up.Load() && !h.failing(); healthy != h.reported {
		h.reported = healthy
		h.changed(healthy)
	}
}

// reason returns a sentence that explains why Redis is not healthy; "" when it is.
func (h *health) reason() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.up.Load() {
		if h.cause == nil {
			return "Redis has not answered yet."
		}
		return "Redis is down. " + remedy(h.cause)
	}
	for op, f := range h.failures {
		if f.failing {
			return fmt.Sprintf("Redis refuses to %s. %s", op, remedy(f.cause))
		}
	}
	return ""
}

// Healthy reports whether Redis is up and no operation fails.
func (c *Client) Healthy() bool { return c.Up() && !c.health.failing() }

// Reason explains why Redis is not healthy, and what to do; "" when it is healthy. It quotes nothing from the server.
func (c *Client) Reason() string { return c.health.reason() }

// record records the outcome of an operation and returns its error. An error of the server as a whole marks the client as down; any
// other error makes the operation count as failing. ctx is the caller's context: an error after its end is not the fault of Redis.
func (c *Client) record(ctx context.Context, op operation, err error) error {
	switch {
	case err == nil:
		c.health.succeed(op)
	case contextEnded(ctx):
	case serverFailed(err):
		c.health.markDown(err)
		c.probeSoon()
	default:
		c.refused(op, err)
	}
	return err
}

// refused records that Redis refused an operation.
func (c *Client) refused(op operation, err error) {
	c.health.fail(op, err)
	c.probeSoon()
}

// unsubscribed records that a subscription failed for that many times in a row. A single failure may be just a lost connection.
func (c *Client) unsubscribed(op operation, err error, times int) {
	if code(err) != "" || times >= subscriptionTries {
		c.refused(op, err)
	}
}

// contextEnded reports whether a context has ended, or is about to: the library checks the clock, the context its timer.
func contextEnded(ctx context.Context) bool {
	deadline, has := ctx.Deadline()
	return ctx.Err() != nil || has && time.Until(deadline) < time.Millisecond
}

// serverFailed reports whether an error means that the server cannot work at the moment, rather than that it refuses one operation.
func serverFailed(err error) bool {
	if several, ok := err.(interface{ Unwrap() []error }); ok { // from errors.Join; one is enough
		return slices.ContainsFunc(several.Unwrap(), serverFailed)
	}
	if _, answered := rueidis.IsRedisErr(err); !answered {
		return !errors.Is(err, errUnexpectedAnswer) && !rueidis.IsParseErr(err) // the connection failed or timed out
	}
	switch code(err) {
	case "LOADING", "MASTERDOWN", "READONLY", "OOM", "CLUSTERDOWN", "TRYAGAIN", "MISCONF", "NOREPLICAS", "BUSY", "NOAUTH", "WRONGPASS",
		"MOVED", "ASK":
		return true
	}
	return false
}
