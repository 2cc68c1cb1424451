package redis

import (
	"context"
	_ "embed" // the scripts
	"errors"
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
	turnTime  = 25 * time.Millisecond  // for which a released lock is kept for who has waited longest
	deafLook  = 50 * time.Millisecond  // between two looks while releases are not heard
	lostMax   = 10_000                 // locks of unknown fate that are remembered
)

var (
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
	drop          []string // keys that are deleted with a release; see Products
	take, release script

	mu        sync.Mutex
	waits     map[int64]*wait
	woken     map[int64]time.Time // products whose release was heard, and when
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

// NewLocker returns a Locker whose locks live for ttl, in whole seconds (lock.TTL, save in tests).
func NewLocker(client *Client, ttl time.Duration) *Locker {
	l := &Locker{
		client: client, ttl: ttl, take: newScript(takeText), release: newScript(releaseText), waits: map[int64]*wait{},
		woken: map[int64]time.Time{},
	}
	client.onReturn(l.releaseLost)
	return l
}

// Features says: shared by processes, and waiters are told soon after a release.
func (l *Locker) Features() lock.Features { return lock.Features{Shared: true, Prompt: false} }

func (l *Locker) channel() string { return l.client.key("orderflow:released") }

// keys are the lock of a product, and who waits for it; the braces keep both in one slot of a cluster.
func (l *Locker) keys(product int64) []string {
	key := l.client.key(lock.Key(product))
	return []string{key, "{" + key + "}:waiting"}
}

// TryLock implements lock.Locker, within a tenth of a second. Its errors are ErrDown, at once while Redis is down, and those
// of Redis.
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
	grant := lock.Grant{Token: lock.NewToken(), Held: make([]int64, 0, len(products))}
	if len(products) == 0 {
		return grant, nil
	}
	limited, cancel := context.WithTimeout(ctx, lockLimit)
	defer cancel()
	if err = l.try(limited, conn, products, &grant); err != nil {
		l.client.failed(ctx, err) //nolint:errcheck,contextcheck // returned below
		l.remember(grant.Token, products)
		return lock.Grant{}, err
	}
	return grant, nil
}

// try asks for the products: those that nobody waits for by a plain SET, the others by the script that knows of waiting.
func (l *Locker) try(ctx context.Context, conn rueidis.Client, products []int64, grant *lock.Grant) error {
	contested := l.contested(products)
	plain := slices.DeleteFunc(slices.Clone(products), func(p int64) bool { return slices.Contains(contested, p) })
	busy, err := l.tryPlain(ctx, conn, plain, grant)
	if err != nil {
		return err
	}
	contested = append(contested, busy...)
	if len(contested) > 0 {
		slices.Sort(contested)
		err = l.tryContested(ctx, conn, contested, grant)
	}
	slices.Sort(grant.Held)
	return err
}

// contested are those of the products that this process waits for, or was told of just now: it may be its turn.
func (l *Locker) contested(products []int64) (some []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waits) == 0 && len(l.woken) == 0 {
		return nil
	}
	for _, p := range products {
		if l.waits[p] != nil || time.Since(l.woken[p]) < turnTime {
			some = append(some, p)
		}
		delete(l.woken, p)
	}
	return some
}

func (l *Locker) tryPlain(ctx context.Context, conn rueidis.Client, products []int64, grant *lock.Grant) (busy []int64, err error) {
	commands := make([]rueidis.Completed, len(products))
	seconds := int64(l.ttl / time.Second)
	for i, p := range products {
		commands[i] = conn.B().Set().Key(l.keys(p)[0]).Value(grant.Token).Nx().ExSeconds(seconds).Build()
	}
	var errs []error
	for i, result := range conn.DoMulti(ctx, commands...) {
		switch err := result.Error(); {
		case err == nil:
			grant.Held = append(grant.Held, products[i])
		case rueidis.IsRedisNil(err):
			busy = append(busy, products[i])
		default:
			errs = append(errs, err)
		}
	}
	return busy, errors.Join(errs...)
}

// tryContested takes the locks that are free or kept for this process, and waits in line for the others. It listens before
// it asks, so that no release is missed between the two.
func (l *Locker) tryContested(ctx context.Context, conn rueidis.Client, products []int64, grant *lock.Grant) error {
	calls := make([]call, len(products))
	channels := make([]<-chan struct{}, len(products))
	for i, p := range products {
		channels[i] = l.listen(p)
		calls[i] = call{l.take, l.keys(p), []string{grant.Token, strconv.FormatInt(l.ttl.Milliseconds(), 10), l.client.node}}
	}
	var errs []error
	for i, result := range run(ctx, conn, calls) {
		answer, err := result.ToArray()
		if err == nil && len(answer) == 0 {
			l.end(products[i], channels[i]) // who else of this process waits may look
			grant.Held = append(grant.Held, products[i])
			continue
		}
		if err == nil && len(answer) != 2 {
			err = errors.New("redis: an answer of the lock's script is not what it should be")
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		token, err1 := answer[0].ToString()
		left, err2 := answer[1].AsInt64()
		if err := errors.Join(err1, err2); err != nil {
			errs = append(errs, err)
			continue
		}
		l.expect(products[i], channels[i], time.Duration(left)*time.Millisecond)
		grant.Busy = append(grant.Busy, lock.Busy{Product: products[i], Token: token, Released: channels[i]})
	}
	return errors.Join(errs...)
}

// Unlock implements lock.Locker, within a tenth of a second. Locks that it could not release for sure are released when
// Redis is back, if they have not expired by then.
func (l *Locker) Unlock(ctx context.Context, token string, products []int64, used bool) error {
	if len(products) == 0 {
		return nil
	}
	conn, err := l.client.conn()
	if err == nil {
		limited, cancel := context.WithTimeout(ctx, lockLimit)
		defer cancel()
		err = l.client.failed(ctx, l.unlock(limited, conn, token, products, used)) //nolint:contextcheck // the caller's own
	}
	if err != nil {
		l.remember(token, products)
	}
	return err
}

func (l *Locker) unlock(ctx context.Context, conn rueidis.Client, token string, products []int64, used bool) error {
	turn := "0"
	if used {
		turn = strconv.FormatInt(turnTime.Milliseconds(), 10)
	}
	calls := make([]call, len(products))
	for i, p := range products {
		calls[i] = call{l.release, l.keys(p), []string{token, turn, l.channel(), strconv.FormatInt(p, 10)}}
	}
	var others []rueidis.Completed
	if used {
		for _, key := range l.drop {
			others = append(others, conn.B().Incr().Key(key).Build())
		}
	}
	var errs []error
	for _, result := range run(ctx, conn, calls, others...) {
		errs = append(errs, result.Error())
	}
	return errors.Join(errs...)
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
	ctx, cancel := context.WithTimeout(context.Background(), 10*lockLimit)
	defer cancel()
	for i, h := range lost {
		conn, err := l.client.conn()
		if err == nil {
			err = l.unlock(ctx, conn, h.token, h.products, false)
		}
		if err != nil { // it is down again
			l.mu.Lock()
			l.lost = append(lost[i:], l.lost...)
			l.mu.Unlock()
			return
		}
	}
}
