package redis

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// waitFor returns the channel that is closed at the next release of a product.
func (l *Locker) waitFor(product int64) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.waits[product]
	if w == nil {
		w = &wait{released: make(chan struct{})}
		l.arm(product, w, l.ttl)
		l.waits[product] = w
	}
	return w.released
}

// setExpiry wakes the waiters when the lock, or the turn of another process, expires; or soon, while the subscription to releases is
// disconnected.
func (l *Locker) setExpiry(product int64, released <-chan struct{}, left time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.waits[product]
	if w == nil || w.released != released {
		return // released meanwhile
	}
	if left < 0 {
		left = l.ttl // another program's lock, which never expires
	}
	left += time.Millisecond // Redis rounds down
	if !l.connected {
		left = min(left, disconnectedPoll)
	}
	if time.Now().Add(left).Before(w.until) {
		w.timer.Stop()
		l.arm(product, w, left)
	}
}

// arm sets the timer of a wait; mu is held.
func (l *Locker) arm(product int64, w *wait, left time.Duration) {
	w.until = time.Now().Add(left)
	w.timer = time.AfterFunc(left, func() { l.end(product, w.released) })
}

// end closes the channel of a wait, if it is still the current one of the product.
func (l *Locker) end(product int64, released <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w := l.waits[product]; w != nil && w.released == released {
		l.finish(product, w)
	}
}

// finish ends a wait and wakes its waiters; mu is held.
func (l *Locker) finish(product int64, w *wait) {
	w.timer.Stop()
	delete(l.waits, product)
	close(w.released)
}

// Run receives release notifications until ctx ends, and returns nil. While it cannot, waiters try every 50 ms. Call it once.
func (l *Locker) Run(ctx context.Context) error {
	retry := resubscription{client: l.client, op: receiveReleases(), pause: backoff{first: disconnectedPoll, longest: resubscribeLongest}}
	for ctx.Err() == nil {
		var err error
		began := time.Now()
		if conn, down := l.client.conn(); down == nil {
			err = l.receive(ctx, conn)
		}
		retry.wait(ctx, err, began)
	}
	return nil
}

// receive receives release notifications until the subscription fails.
func (l *Locker) receive(ctx context.Context, conn rueidis.Client) error {
	defer l.disconnected()
	hooked := rueidis.WithOnSubscriptionHook(ctx, func(s rueidis.PubSubSubscription) {
		if s.Kind == "subscribe" {
			l.mu.Lock()
			l.connected = true
			l.mu.Unlock()
			l.client.health.succeed(receiveReleases())
		}
	})
	return conn.Receive(hooked, conn.B().Subscribe().Channel(l.channel()).Build(), func(m rueidis.PubSubMessage) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for word := range strings.FieldsSeq(m.Message) {
			product, err := strconv.ParseInt(word, 10, 64)
			if w := l.waits[product]; err == nil && w != nil {
				l.finish(product, w)
				l.announced[product] = time.Now()
			}
		}
	})
}

// disconnected wakes all waiters, since they may have missed a release.
func (l *Locker) disconnected() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connected = false
	clear(l.announced)
	for product, w := range l.waits {
		l.finish(product, w)
	}
}
