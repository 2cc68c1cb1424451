package redis

import (
	"cmp"
	"context"
	_ "embed" // the script
	"sync"
	"time"

	"github.com/redis/rueidis"

	"orderflow/internal/lock"
)

//go:embed scripts/lock_plain_release.lua
var plainReleaseText string

// PlainLocker takes the same locks as Locker for one order at a time, and waits for them: SET with NX and EX, a release by token with a
// notification, no turns. The unbatched server of `orderflow bench` uses it. All methods are safe for concurrent use.
type PlainLocker struct {
	client  *Client
	release script
}

// NewPlainLocker returns a PlainLocker.
func NewPlainLocker(client *Client) *PlainLocker {
	return &PlainLocker{client: client, release: newScript(plainReleaseText)}
}

// Lock locks all products, which must be in ascending order. If one is busy, it releases the others, waits for its release and tries
// again. It returns the error of ctx when ctx ends first, and the product that was busy then. Without Redis it locks nothing.
func (l *PlainLocker) Lock(ctx context.Context, products []int64) (unlock func(), busy int64, err error) {
	token := lock.NewToken()
	for {
		conn, err := l.client.conn()
		if err != nil {
			return func() {}, 0, nil //nolint:nilerr // the row locks of the database are enough
		}
		held, busy := l.try(ctx, conn, token, products)
		unlock := func() { l.unlock(context.WithoutCancel(ctx), conn, token, held) }
		if busy == 0 && ctx.Err() == nil {
			return unlock, 0, nil
		}
		unlock()
		if busy != 0 {
			l.wait(ctx, conn, busy)
		}
		if err := ctx.Err(); err != nil {
			return nil, cmp.Or(busy, products[0]), err
		}
	}
}

// try takes the locks one after the other, up to the first busy one. held also includes a lock whose answer was lost, since it may be
// held; the release checks the token.
func (l *PlainLocker) try(ctx context.Context, conn rueidis.Client, token string, products []int64) (held []int64, busy int64) {
	for _, p := range products {
		err := conn.Do(ctx, conn.B().Set().Key(l.client.key(lock.Key(p))).Value(token).Nx().Ex(lock.TTL).Build()).Error()
		if rueidis.IsRedisNil(err) {
			return held, p
		}
		held = append(held, p)
	}
	return held, 0
}

// unlock releases locks. Those that it cannot release expire.
func (l *PlainLocker) unlock(ctx context.Context, conn rueidis.Client, token string, products []int64) {
	for _, p := range products {
		c := call{l.release, []string{l.client.key(lock.Key(p))}, []string{token, l.channel(p)}}
		if answer, ok := rueidis.IsRedisErr(conn.Do(ctx, c.short(conn)).Error()); ok && answer.IsNoScript() {
			conn.Do(ctx, c.long(conn))
		}
	}
}

func (l *PlainLocker) channel(product int64) string {
	return l.client.key("orderflow:unlocked:" + lock.Key(product))
}

// wait returns when the lock of a product is free: it was released, has expired, or is already free once the subscription to
// releases is confirmed. It also returns when ctx ends or Redis fails.
func (l *PlainLocker) wait(ctx context.Context, conn rueidis.Client, product int64) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	subscribed := make(chan struct{})
	confirm := sync.OnceFunc(func() { close(subscribed) })
	hooked := rueidis.WithOnSubscriptionHook(ctx, func(s rueidis.PubSubSubscription) {
		if s.Kind == "subscribe" {
			confirm()
		}
	})
	released := make(chan struct{})
	go func() {
		defer close(released)
		_ = conn.Receive(hooked, conn.B().Subscribe().Channel(l.channel(product)).Build(), func(rueidis.PubSubMessage) { cancel() })
	}()
	select {
	case <-subscribed:
	case <-released:
		return
	}
	left, err := conn.Do(ctx, conn.B().Pttl().Key(l.client.key(lock.Key(product))).Build()).AsInt64()
	const free, forever = -2, -1
	switch {
	case err != nil || left == free:
		return
	case left == forever: // another program's lock
		left = lock.TTL.Milliseconds()
	}
	expired := time.NewTimer(time.Duration(left+1) * time.Millisecond) // Redis rounds down
	defer expired.Stop()
	select {
	case <-released:
	case <-expired.C:
	}
}
