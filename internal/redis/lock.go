package redis

import (
	"context"
	_ "embed" // the scripts
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"orderflow/internal/lock"
)

// Bounds of a Locker.
const (
	lockTimeout      = 100 * time.Millisecond // of one call
	shortestTurn     = 25 * time.Millisecond  // the shortest time for which a released lock is reserved for the first waiter
	longestTurn      = 1600 * time.Millisecond
	placeExpiry      = 20 * time.Second      // without a try, after which a process has lost its place in a queue
	placesMax        = 10_000                // places in queues that are remembered
	disconnectedPoll = 50 * time.Millisecond // between two tries while the subscription to releases is disconnected
	unresolvedMax    = 10_000                // lock sets of unknown state that are remembered
)

var (
	//go:embed scripts/lock_try.lua
	tryText string
	//go:embed scripts/lock_take.lua
	takeText string
	//go:embed scripts/lock_release.lua
	releaseText string
)

// Locker locks products for all processes that share a Redis: key inventory:product:{id}, set with NX and an expiry. The value is the
// token, and only its owner deletes the key. LOCKS.md explains the algorithm. All methods are safe for concurrent use. Run receives
// the release notifications of other processes.
type Locker struct {
	client        *Client
	ttl           time.Duration
	within        time.Duration // lockTimeout, except in tests that must not time out
	products      *Products     // invalidated with each release of used locks; nil for none
	free          script        // lock_try.lua
	take, release script

	mu         sync.Mutex
	waits      map[int64]*wait
	announced  map[int64]time.Time // when the release of a product was announced
	places     map[int64]place
	reaction   time.Duration // from a release notification to the next try
	connected  bool
	unresolved []lockSet
}

// wait is a product that this process waits for.
type wait struct {
	released chan struct{}
	timer    *time.Timer
	until    time.Time // when timer fires
}

// lockSet is a set of locks that may or may not be held under a token.
type lockSet struct {
	token    string
	products []int64
}

// NewLocker returns a Locker whose locks expire after ttl, in whole seconds (lock.TTL, except in tests). The release of used locks
// also invalidates the product list, if there is one.
func NewLocker(client *Client, ttl time.Duration, products *Products) *Locker {
	l := &Locker{
		client: client, ttl: ttl, within: lockTimeout, products: products,
		free: newScript(tryText), take: newScript(takeText), release: newScript(releaseText),
		waits: map[int64]*wait{}, announced: map[int64]time.Time{}, places: map[int64]place{},
	}
	client.onReturn(l.releaseUnresolved)
	return l
}

// Features returns the guarantees of the adapter.
func (l *Locker) Features() lock.Features { return lock.Features{Shared: true, Prompt: false} }

func (l *Locker) channel() string { return l.client.key("orderflow:released") }

// lockKey returns the key of a product's lock.
func (l *Locker) lockKey(product int64) string { return l.client.key(lock.Key(product)) }

// keys returns for each product the keys of its lock and of the set of its waiters, which are in one slot of a cluster.
func (l *Locker) keys(products []int64) []string {
	keys := make([]string, 0, 2*len(products))
	for _, p := range products {
		keys = append(keys, l.lockKey(p), l.client.tag(lock.Key(p))+"waiting")
	}
	return keys
}

// parts splits products into the parts that one script may touch: all, or on a cluster each product by itself.
func (l *Locker) parts(products []int64) [][]int64 {
	if !l.client.cluster.Load() {
		return [][]int64{products}
	}
	return slices.Collect(slices.Chunk(products, 1))
}

// TryLock implements lock.Locker, within 100 ms. It returns ErrDown, at once while Redis is down, and errors of Redis. A product with a
// key of another type is not an error of the call: it is in Grant.Failed.
func (l *Locker) TryLock(ctx context.Context, products []int64) (lock.Grant, error) {
	if err := ctx.Err(); err != nil {
		return lock.Grant{}, err
	}
	conn, err := l.client.conn()
	if err != nil {
		return lock.Grant{}, err
	}
	products = slices.Clone(products)
	slices.Sort(products)
	products = slices.Compact(products)
	grant := lock.Grant{Token: lock.NewToken(), Locked: make([]int64, 0, len(products))}
	if len(products) == 0 {
		return grant, nil
	}
	limited, cancel := context.WithTimeout(ctx, l.within)
	defer cancel()
	err = l.try(limited, conn, products, &grant)
	if err == nil && len(grant.Failed) > 0 {
		l.client.refused(takeLocks(), wrongTypeError{l.lockKey(grant.Failed[0])})
		return grant, nil
	}
	if err = l.client.record(ctx, takeLocks(), err); err != nil {
		l.releaseUnknown(ctx, grant.Token, products)
		return lock.Grant{}, err
	}
	return grant, nil
}

// try tries the products without waiters with a plain SET NX, and the others with the script that handles waiters.
func (l *Locker) try(ctx context.Context, conn rueidis.Client, products []int64, grant *lock.Grant) error {
	contested := l.contested(products)
	plain := products
	if len(contested) > 0 {
		plain = slices.DeleteFunc(slices.Clone(products), func(p int64) bool { return slices.Contains(contested, p) })
	}
	busy, err := l.tryFree(ctx, conn, plain, grant)
	if err != nil {
		return err
	}
	if contested = append(contested, busy...); len(contested) > 0 {
		slices.Sort(contested)
		err = l.tryContested(ctx, conn, contested, grant)
		slices.Sort(grant.Locked)
	}
	return err
}

// contested returns the products that this process waits for, or whose release was announced just now: it may be this process's
// turn, and it leaves the queue when it takes the lock.
func (l *Locker) contested(products []int64) (some []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waits) == 0 && len(l.announced) == 0 && len(l.places) == 0 {
		return nil
	}
	turn := l.turn()
	for _, p := range products {
		at, announced := l.announced[p]
		if announced {
			l.recordReaction(time.Since(at))
		}
		if _, queued := l.places[p]; queued || l.waits[p] != nil || announced && time.Since(at) < turn {
			some = append(some, p)
		}
		delete(l.announced, p)
	}
	return some
}

// tryFree takes the locks that are free, and returns the busy products.
func (l *Locker) tryFree(ctx context.Context, conn rueidis.Client, products []int64, grant *lock.Grant) (busy []int64, err error) {
	if len(products) == 0 {
		return nil, nil
	}
	parts := l.parts(products)
	calls := make([]call, len(parts))
	for i, part := range parts {
		keys := make([]string, len(part))
		for k, p := range part {
			keys[k] = l.lockKey(p)
		}
		calls[i] = call{l.free, keys, []string{grant.Token, l.seconds()}}
	}
	var errs []error
	for i, result := range run(ctx, conn, calls) {
		positions, err := result.AsIntSlice()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for k, p := range parts[i] {
			if slices.Contains(positions, int64(k+1)) {
				busy = append(busy, p)
			} else {
				grant.Locked = append(grant.Locked, p)
			}
		}
	}
	return busy, errors.Join(errs...)
}

// seconds returns the locks' time to live.
func (l *Locker) seconds() string { return strconv.FormatInt(int64(l.ttl/time.Second), 10) }

// tryContested takes the locks that are free or reserved for this process, and joins the queue of the others. It creates the wait
// channels before it calls Redis, so that it misses no release in between.
func (l *Locker) tryContested(ctx context.Context, conn rueidis.Client, products []int64, grant *lock.Grant) error {
	channels := make(map[int64]<-chan struct{}, len(products))
	for _, p := range products {
		channels[p] = l.waitFor(p)
	}
	parts := l.parts(products)
	calls := make([]call, len(parts))
	its := l.newPlace()
	for i, part := range parts {
		args := append([]string{grant.Token, l.seconds(), l.client.node, its.name}, l.placesOf(part)...)
		calls[i] = call{l.take, l.keys(part), args}
	}
	var errs []error
	for i, result := range run(ctx, conn, calls) {
		answers, err := result.ToArray()
		if err == nil && len(answers) != 5*len(parts[i]) {
			err = errUnexpectedAnswer
		}
		for k := 0; err == nil && k < len(parts[i]); k++ {
			err = l.readAnswer(parts[i][k], its, channels[parts[i][k]], answers[5*k:5*k+5], grant)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// wrongTypeError is the error of the products in Grant.Failed.
type wrongTypeError struct{ key string }

func (e wrongTypeError) Error() string {
	return fmt.Sprintf("WRONGTYPE: the key %s or the set of its waiters has another type", e.key)
}

// errUnexpectedAnswer means that a script or the server is not the expected one.
var errUnexpectedAnswer = errors.New("redis: unexpected answer: check that --redis names a Redis 7 and that no other program uses this prefix")

// readAnswer reads the answer for one contested product: holder, milliseconds left, since when this process waits, whether it missed
// a turn, and the error when a key has another type.
func (l *Locker) readAnswer(product int64, its place, released <-chan struct{}, answer []rueidis.RedisMessage, grant *lock.Grant) error {
	token, err1 := answer[0].ToString()
	milliseconds, err2 := answer[1].AsInt64()
	since, err3 := answer[2].AsInt64()
	missed, err4 := answer[3].AsInt64()
	refusal, err5 := answer[4].ToString()
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return err
	}
	if token == "" {
		l.dropPlace(product)
		l.end(product, released) // wakes the other waiters of this process
		if refusal == "" {
			grant.Locked = append(grant.Locked, product)
		} else {
			grant.Failed = append(grant.Failed, product)
		}
		return nil
	}
	its.since = strconv.FormatInt(since, 10)
	l.keepPlace(product, its, missed == 1)
	l.setExpiry(product, released, time.Duration(milliseconds)*time.Millisecond)
	grant.Busy = append(grant.Busy, lock.Busy{Product: product, Token: token, Released: released})
	return nil
}

// Unlock implements lock.Locker, within 100 ms. If a release has an unknown outcome, it is tried once more, and again when Redis is
// back, unless the lock has expired by then.
func (l *Locker) Unlock(ctx context.Context, token string, products []int64, used bool) error {
	if len(products) == 0 && !used {
		return nil
	}
	conn, err := l.client.conn()
	if err == nil {
		err = l.unlock(ctx, conn, token, products, used)
	} else if used && l.products != nil {
		l.products.invalidationPending.Store(true)
	}
	if err != nil && len(products) > 0 {
		l.releaseUnknown(ctx, token, products)
	}
	return err
}

// releaseUnknown releases locks of unknown state. If Redis is up (the cause was a key of another type or an ended context), it
// releases them at once, each by itself, so that one failure does not affect the others. The rest is released when Redis is back.
func (l *Locker) releaseUnknown(ctx context.Context, token string, products []int64) {
	if conn, err := l.client.conn(); err == nil {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.within)
		defer cancel()
		calls := make([]call, len(products))
		for i, p := range products {
			calls[i] = call{l.release, l.keys([]int64{p}), []string{token, "0", l.channel(), strconv.FormatInt(p, 10)}}
		}
		var left []int64
		for i, result := range run(limited, conn, calls) {
			if err := result.Error(); err != nil {
				if _, answered := rueidis.IsRedisErr(err); !answered { // an answer means that the lock is not ours
					left = append(left, products[i])
				}
			}
		}
		products = left
	}
	if len(products) > 0 {
		l.addUnresolved(token, products)
	}
}

// unlock releases locks and, if they were used, invalidates the product list, all in one round trip.
func (l *Locker) unlock(ctx context.Context, conn rueidis.Client, token string, products []int64, used bool) error {
	turn := "0"
	if used {
		turn = strconv.FormatInt(longestTurn.Milliseconds(), 10)
	}
	var parts [][]int64
	if len(products) > 0 {
		parts = l.parts(products)
	}
	calls := make([]call, len(parts))
	for i, part := range parts {
		args := []string{token, turn, l.channel()}
		for _, p := range part {
			args = append(args, strconv.FormatInt(p, 10))
		}
		calls[i] = call{l.release, l.keys(part), args}
	}
	var others []rueidis.Completed
	if used && l.products != nil {
		others = append(others, l.products.invalidation(conn))
	}
	limited, cancel := context.WithTimeout(ctx, l.within)
	defer cancel()
	var errs []error
	for i, result := range run(limited, conn, calls, others...) {
		if i < len(calls) {
			errs = append(errs, result.Error())
			continue
		}
		l.products.recordInvalidation(ctx, result.Error()) //nolint:errcheck // cached lists stay unused until the version is raised
	}
	return l.client.record(ctx, releaseLocks(), errors.Join(errs...))
}

// addUnresolved remembers locks of unknown state, up to a bound. Further ones expire.
func (l *Locker) addUnresolved(token string, products []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.unresolved) < unresolvedMax {
		l.unresolved = append(l.unresolved, lockSet{token, slices.Clone(products)})
	}
}

// releaseUnresolved releases the remembered locks.
func (l *Locker) releaseUnresolved() {
	l.mu.Lock()
	lost := l.unresolved
	l.unresolved = nil
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 10*l.within)
	defer cancel()
	for i, h := range lost {
		conn, err := l.client.conn()
		if err == nil {
			err = l.unlock(ctx, conn, h.token, h.products, false)
		}
		if err != nil && code(err) == "" { // Redis is down again; locks whose release it refuses expire
			l.mu.Lock()
			l.unresolved = append(lost[i:], l.unresolved...)
			l.mu.Unlock()
			return
		}
	}
}
