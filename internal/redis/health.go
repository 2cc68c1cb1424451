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
	failureQuiet      = time.Second      // without a failure, after which a success ends the state "failing"
	failureLasts      = 30 * time.Second // the longest that this grows to, for an operation that keeps changing
	failureUnseen     = 45 * time.Second // without a try at all, after which an operation no longer counts as failing
	subscriptionTries = 3                // of a subscription in a row, after which it counts as failing whatever ended them
	repeatEvery       = 5 * time.Minute  // between two log lines about one state that lasts

	steady      = 10 * time.Second // of being up, after which the next return is not delayed
	returnFirst = 500 * time.Millisecond
	returnLast  = 30 * time.Second // the longest delay of a return, for a server that goes down again at once each time
)

// operation is something that the adapters have Redis do, such as to publish to a topic. Whether it works is known for each
// operation by itself: a key of the wrong type makes one of them fail, and the others go on.
type operation struct{ action, subject string }

// The operations without a subject; those of the bus have their topic.
func takeLocks() operation     { return operation{action: "take product locks"} }
func releaseLocks() operation  { return operation{action: "release product locks"} }
func hearReleases() operation  { return operation{action: "subscribe to released locks"} }
func countRequests() operation { return operation{action: "count requests for the rate limit"} }
func raiseVersion() operation  { return operation{action: "raise the version of the product list"} }
func cacheProducts() operation { return operation{action: "cache the product list"} }
func cacheEvents() operation   { return operation{action: "cache the last events of channels"} }

func (o operation) String() string { return strings.TrimSpace(o.action + " " + o.subject) }

// health is what a Client knows about its server. The server is up or down as a whole; while it is up, single operations may
// fail. Its methods may be called from any goroutine.
type health struct {
	logger  *slog.Logger
	changed func(healthy bool)
	up      atomic.Bool
	failed  atomic.Int32 // operations that fail: 0 on the usual path, which then needs no lock

	mu        sync.Mutex
	cause     error // of being down
	reported  bool  // what changed was called with last
	logged    time.Time
	since     time.Time // up or down
	outages   int       // in a row, each soon after its return
	delay     backoff   // of the next return
	notBefore time.Time // not before this
	failures  map[operation]*failure
}

// failure is the record of an operation that fails, or did so a short time ago.
type failure struct {
	cause   error
	failing bool
	last    time.Time     // of the failures
	worked  time.Time     // after the last failure, if it is later
	quiet   time.Duration // without a failure, that ends the state "failing" when the operation has worked
	logged  time.Time
}

// markUp notes that Redis does all that is needed.
func (h *health) markUp() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.up.Load() {
		return
	}
	h.up.Store(true)
	h.cause, h.since = nil, time.Now()
	h.logger.Info("Redis answers.", "event", "redis.up")
	h.report()
}

// markDown notes that Redis cannot be used. One log line says so at the change, and another one now and then while it lasts.
func (h *health) markDown(cause error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	h.cause = cause
	if h.up.Swap(false) {
		h.delayReturn(now)
		clear(h.failures) // being down covers them all
		h.failed.Store(0)
	} else if now.Sub(h.logged) < repeatEvery {
		return
	}
	h.logged = now
	h.logger.Warn("Redis cannot be used; orders go on without it until it can.",
		"event", "redis.down", "error", cause.Error(), "remedy", remedy(cause))
	h.report()
}

// delayReturn sets how long Redis must not be used; mu is held. The first outage adds no delay; a second within
// 10 s does.
func (h *health) delayReturn(now time.Time) {
	if h.outages == 0 || now.Sub(h.since) >= steady {
		h.outages = 0
		h.delay = backoff{first: returnFirst, longest: returnLast}
	}
	h.notBefore = now
	if h.outages++; h.outages > 1 {
		h.notBefore = now.Add(h.delay.next())
	}
	h.since = now
}

// mayReturn reports whether Redis may be used again: one that went down soon after each return is given more and more time.
func (h *health) mayReturn(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !now.Before(h.notBefore)
}

// failing reports whether an operation fails.
func (h *health) failing() bool { return h.failed.Load() > 0 }

// fail notes that an operation failed while the server as a whole was up.
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
		f = &failure{quiet: failureQuiet}
		h.failures[op] = f
	case !f.failing:
		f.quiet = min(2*f.quiet, failureLasts)
	}
	f.last, f.cause = now, cause
	if f.failing && now.Sub(f.logged) < repeatEvery {
		return
	}
	if !f.failing {
		f.failing = true
		h.failed.Add(1)
	}
	f.logged = now
	h.logger.Warn("Redis refuses an operation; Orderflow goes on without it.",
		"event", "redis.operation_failed", "operation", op.String(), "error", cause.Error(), "remedy", remedy(cause))
	h.report()
}

// work notes that an operation worked.
func (h *health) work(op operation) {
	if h.failed.Load() == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if f := h.failures[op]; f != nil && f.failing {
		f.worked = time.Now()
		if f.worked.Sub(f.last) >= f.quiet {
			h.recover(op, f)
		}
	}
}

// expire ends the state "failing" of operations that work again or that nobody has tried for a while, and their records
// later. Run calls it with each probe.
func (h *health) expire(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for op, f := range h.failures {
		switch {
		case f.failing && f.worked.After(f.last) && now.Sub(f.last) >= f.quiet:
			h.recover(op, f)
		case now.Sub(f.last) < failureUnseen:
		case f.failing:
			h.recover(op, f)
		default:
			delete(h.failures, op)
		}
	}
}

// recover ends the state "failing"; mu is held.
func (h *health) recover(op operation, f *failure) {
	f.failing = false
	h.failed.Add(-1)
	h.logger.Info("Redis no longer refuses an operation.", "event", "redis.operation_recovered", "operation", op.String())
	h.report()
}

// report calls changed when the health as a whole has changed; mu is held.
func (h *health) report() {
	if healthy := h.up.Load() && !h.failing(); healthy != h.reported {
		h.reported = healthy
		h.changed(healthy)
	}
}

// reason says in a sentence why Redis is not healthy; "" when it is.
func (h *health) reason() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.up.Load() {
		if h.cause == nil {
			return "Redis has not answered yet."
		}
		return "Redis cannot be used. " + remedy(h.cause)
	}
	for op, f := range h.failures {
		if f.failing {
			return fmt.Sprintf("Redis refuses to %s. %s", op, remedy(f.cause))
		}
	}
	return ""
}

// Healthy reports whether Redis does all that it is asked for.
func (c *Client) Healthy() bool { return c.Up() && !c.health.failing() }

// Reason says in a sentence why Redis is not healthy, and what to do; "" when it is. It has no words of the server's in it.
func (c *Client) Reason() string { return c.health.reason() }

// done records the outcome of an operation and returns its error. An error that says that the server cannot work turns the
// client down; any other one makes the operation count as failing. ctx is the caller's own: that it ended says nothing about
// Redis.
func (c *Client) done(ctx context.Context, op operation, err error) error {
	switch {
	case err == nil:
		c.health.work(op)
	case ended(ctx):
	case unfit(err):
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

// unsubscribed records that a subscription ended with an error, for so many times in a row, which alone may be no more than a
// connection that was cut.
func (c *Client) unsubscribed(op operation, err error, times int) {
	if code(err) != "" || times >= subscriptionTries {
		c.refused(op, err)
	}
}

// ended reports whether a context has ended, or is about to: the library looks at the clock, the context at its timer.
func ended(ctx context.Context) bool {
	deadline, has := ctx.Deadline()
	return ctx.Err() != nil || has && time.Until(deadline) < time.Millisecond
}

// unfit reports whether an error says that the server cannot do its work at the moment, rather than that it refuses one
// operation.
func unfit(err error) bool {
	if several, ok := err.(interface{ Unwrap() []error }); ok { // of errors.Join; one is enough
		return slices.ContainsFunc(several.Unwrap(), unfit)
	}
	if _, answered := rueidis.IsRedisErr(err); !answered {
		return !errors.Is(err, errOddAnswer) && !rueidis.IsParseErr(err) // the connection, or the time
	}
	switch code(err) {
	case "LOADING", "MASTERDOWN", "READONLY", "OOM", "CLUSTERDOWN", "TRYAGAIN", "MISCONF", "NOREPLICAS", "BUSY", "NOAUTH", "WRONGPASS",
		"MOVED", "ASK":
		return true
	}
	return false
}
