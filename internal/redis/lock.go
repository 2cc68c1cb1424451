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
	lockLimit = 100 * time.Millisecond // for all that one call asks of Redis
	turnLeast = 25 * time.Millisecond  // for which a released lock is kept for the process that has waited longest
	turnMost  = 1600 * time.Millisecond
	placeLast = 20 * time.Second      // without a try, after which a process has lost its place in a line
	placesMax = 10_000                // in lines that are remembered
	deafLook  = 50 * time.Millisecond // between two looks while releases are not heard
	lostMax   = 10_000                // locks of unknown fate that are remembered
)

var (
	//go:embed scripts/lock_try.lua
	tryText string
	//go:embed scripts/lock_take.lua
	takeText string
	//go:embed scripts/lock_release.lua
	releaseText string
)

// Locker locks products for all processes that share a Redis: key inventory:product:{id}, set with NX and an expiry, its
// value the token, deleted only by the token's owner. LOCKS.md beside this file has the argument. Its methods may be called
// from any goroutine; releases of other processes are heard while Run does its work.
type Locker struct {
	client        *Client
	ttl           time.Duration
	within        time.Duration // lockLimit, except in tests of what is locked rather than of when
	products      *Products     // whose version is raised with a release; nil for none
	free          script        // lock_try.lua
	take, release script

	mu        sync.Mutex
	waits     map[int64]*wait
	woken     map[int64]time.Time // products whose release was heard, and when
	places    map[int64]place
	reaction  time.Duration // from a release that was heard to the next try
	listening bool
	lost      []held
}

// wait is a product that this process waits for.
type wait struct {
	released chan struct{}
	timer    *time.Timer
	until    time.Time // of timer
}

// held are locks that may or may not be held under a token.
type held struct {
	token    string
	products []int64
}

// NewLocker returns a Locker whose locks live for ttl, in whole seconds (lock.TTL, save in tests). A release of locks that
// were used also drops the list of products, if there is one.
func NewLocker(client *Client, ttl time.Duration, products *Products) *Locker {
	l := &Locker{
		client: client, ttl: ttl, within: lockLimit, products: products,
		free: newScript(tryText), take: newScript(takeText), release: newScript(releaseText),
		waits: map[int64]*wait{}, woken: map[int64]time.Time{}, places: map[int64]place{},
	}
	client.onReturn(l.releaseLost)
	return l
}

// Features says: shared by processes, and waiters are told soon after a release.
func (l *Locker) Features() lock.Features { return lock.Features{Shared: true, Prompt: false} }

func (l *Locker) channel() string { return l.client.key("orderflow:released") }

// lockKey is the lock of a product.
func (l *Locker) lockKey(product int64) string { return l.client.key(lock.Key(product)) }

// keys are the lock of each product and the set of processes that wait for it, both in one slot of a cluster.
func (l *Locker) keys(products []int64) []string {
	keys := make([]string, 0, 2*len(products))
	for _, p := range products {
		keys = append(keys, l.lockKey(p), l.client.tag(lock.Key(p))+"waiting")
	}
	return keys
}

// parts cuts products into those that one script may touch: all, or on a cluster each by itself.
func (l *Locker) parts(products []int64) [][]int64 {
	if !l.client.cluster.Load() {
		return [][]int64{products}
	}
	return slices.Collect(slices.Chunk(products, 1))
}

// TryLock implements lock.Locker, within a tenth of a second. Its errors are ErrDown, at once while Redis is down, and those
// of Redis. A product with a key of another type is no error of the call: it is in Grant.Failed.
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
	if err = l.client.done(ctx, takeLocks(), err); err != nil {
		l.giveBack(ctx, grant.Token, products)
		return lock.Grant{}, err
	}
	return grant, nil
}

// try asks for the products: those that nobody waits for with a plain SET NX, the others with the script that knows of
// waiting.
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

// contested are those of the products that this process waits for, or whose release it has heard of just now: it may be its
// turn, and it leaves the line when it takes the lock.
func (l *Locker) contested(products []int64) (some []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waits) == 0 && len(l.woken) == 0 && len(l.places) == 0 {
		return nil
	}
	turn := l.turn()
	for _, p := range products {
		heard, woken := l.woken[p]
		if woken {
			l.react(time.Since(heard))
		}
		if _, inLine := l.places[p]; inLine || l.waits[p] != nil || woken && time.Since(heard) < turn {
			some = append(some, p)
		}
		delete(l.woken, p)
	}
	return some
}

// tryFree takes those of the products that are free, and returns the others.
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

// seconds is the locks' time to live.
func (l *Locker) seconds() string { return strconv.FormatInt(int64(l.ttl/time.Second), 10) }

// tryContested takes the locks that are free or kept for this process, and waits in line for the others. It listens before
// it asks, so that no release is missed between the two.
func (l *Locker) tryContested(ctx context.Context, conn rueidis.Client, products []int64, grant *lock.Grant) error {
	channels := make(map[int64]<-chan struct{}, len(products))
	for _, p := range products {
		channels[p] = l.listen(p)
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
			err = errOddAnswer
		}
		for k := 0; err == nil && k < len(parts[i]); k++ {
			err = l.taken(parts[i][k], its, channels[parts[i][k]], answers[5*k:5*k+5], grant)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// wrongTypeError is the cause of products in Grant.Failed.
type wrongTypeError struct{ key string }

func (e wrongTypeError) Error() string {
	return fmt.Sprintf("WRONGTYPE: the lock %s or the set of its waiters has another type", e.key)
}

// errOddAnswer is that of a script which is not ours, or of a server that is not Redis.
var errOddAnswer = errors.New("redis: the answer of a script is not what it should be")

// taken reads what became of one contested product: holder, milliseconds left, since when this process waits, whether it
// missed a turn, and the error when a key has another type.
func (l *Locker) taken(product int64, its place, released <-chan struct{}, answer []rueidis.RedisMessage, grant *lock.Grant) error {
	token, err1 := answer[0].ToString()
	milliseconds, err2 := answer[1].AsInt64()
	since, err3 := answer[2].AsInt64()
	missed, err4 := answer[3].AsInt64()
	refusal, err5 := answer[4].ToString()
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return err
	}
	if token == "" {
		l.leaveLine(product)
		l.end(product, released) // other waiters of this process try again
		if refusal == "" {
			grant.Locked = append(grant.Locked, product)
		} else {
			grant.Failed = append(grant.Failed, product)
		}
		return nil
	}
	its.since = strconv.FormatInt(since, 10)
	l.keepPlace(product, its, missed == 1)
	l.expect(product, released, time.Duration(milliseconds)*time.Millisecond)
	grant.Busy = append(grant.Busy, lock.Busy{Product: product, Token: token, Released: released})
	return nil
}

// Unlock implements lock.Locker, within a tenth of a second. Locks that it could not release for sure are tried once
// more, and those left released when Redis is back, if they have not expired by then.
func (l *Locker) Unlock(ctx context.Context, token string, products []int64, used bool) error {
	if len(products) == 0 && !used {
		return nil
	}
	conn, err := l.client.conn()
	if err == nil {
		err = l.unlock(ctx, conn, token, products, used)
	} else if used && l.products != nil {
		l.products.unraised.Store(true)
	}
	if err != nil && len(products) > 0 {
		l.giveBack(ctx, token, products)
	}
	return err
}

// giveBack releases locks of unknown fate: at once where it was not Redis as a whole that failed (a key of another type, a
// caller whose time is over), and each by itself, so that one that cannot be released keeps no other; the rest when Redis is
// back.
func (l *Locker) giveBack(ctx context.Context, token string, products []int64) {
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
				if _, answered := rueidis.IsRedisErr(err); !answered { // else it is not ours
					left = append(left, products[i])
				}
			}
		}
		products = left
	}
	if len(products) > 0 {
		l.remember(token, products)
	}
}

// unlock releases locks and, if they were used, raises the version of the product list, all in one round trip.
func (l *Locker) unlock(ctx context.Context, conn rueidis.Client, token string, products []int64, used bool) error {
	turn := "0"
	if used {
		turn = strconv.FormatInt(turnMost.Milliseconds(), 10)
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
		others = append(others, l.products.raising(conn))
	}
	limited, cancel := context.WithTimeout(ctx, l.within)
	defer cancel()
	var errs []error
	for i, result := range run(limited, conn, calls, others...) {
		if i < len(calls) {
			errs = append(errs, result.Error())
			continue
		}
		l.products.raised(ctx, result.Error()) //nolint:errcheck // the product list is not believed until its version is raised
	}
	return l.client.done(ctx, releaseLocks(), errors.Join(errs...))
}

// remember keeps locks of unknown fate, up to a bound; beyond it they go by their time.
func (l *Locker) remember(token string, products []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lost) < lostMax {
		l.lost = append(l.lost, held{token, slices.Clone(products)})
	}
}

// releaseLost releases what was remembered.
func (l *Locker) releaseLost() {
	l.mu.Lock()
	lost := l.lost
	l.lost = nil
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 10*l.within)
	defer cancel()
	for i, h := range lost {
		conn, err := l.client.conn()
		if err == nil {
			err = l.unlock(ctx, conn, h.token, h.products, false)
		}
		if err != nil && code(err) == "" { // it is down again; what Redis refuses goes by its time
			l.mu.Lock()
			l.lost = append(lost[i:], l.lost...)
			l.mu.Unlock()
			return
		}
	}
}
