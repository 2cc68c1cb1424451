package redis

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// listen returns the channel that is closed at the next release of a product.
func (l *Locker) listen(product int64) <-chan struct{} {
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

// expect sees to it that who waits is woken when the lock expires, or the turn of another; soon, while releases are not
// heard.
func (l *Locker) expect(product int64, released <-chan struct{}, left time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.waits[product]
	if w == nil || w.released != released {
		return // released meanwhile
	}
	if left < 0 {
		left = l.ttl // a stranger's, that never expires: nothing is to be expected of it
	}
	left += time.Millisecond // the server counts whole ones
	if !l.listening {
		left = min(left, deafLook)
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

// end closes a wait's channel, if it is still the product's.
func (l *Locker) end(product int64, released <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w := l.waits[product]; w != nil && w.released == released {
		l.finish(product, w)
	}
}

// finish ends a wait; mu is held.
func (l *Locker) finish(product int64, w *wait) {
	w.timer.Stop()
	delete(l.waits, product)
	close(w.released)
}

// Run hears of releases until ctx ends, and returns nil. While it cannot, waiters look by themselves, several times a
// second. Call it once.
func (l *Locker) Run(ctx context.Context) error {
	retry := resubscription{client: l.client, op: hearReleases(), pause: backoff{first: deafLook, longest: rejoinLongest}}
	for ctx.Err() == nil {
		var err error
		began := time.Now()
		if conn, down := l.client.conn(); down == nil {
			err = l.hear(ctx, conn)
		}
		pause := time.NewTimer(retry.after(ctx, err, began))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
	return nil
}

// hear listens to releases until that fails.
func (l *Locker) hear(ctx context.Context, conn rueidis.Client) error {
	defer l.deaf()
	heard := rueidis.WithOnSubscriptionHook(ctx, func(s rueidis.PubSubSubscription) {
		if s.Kind == "subscribe" {
			l.mu.Lock()
			l.listening = true
			l.mu.Unlock()
			l.client.health.work(hearReleases())
		}
	})
	return conn.Receive(heard, conn.B().Subscribe().Channel(l.channel()).Build(), func(m rueidis.PubSubMessage) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for word := range strings.FieldsSeq(m.Message) {
			product, err := strconv.ParseInt(word, 10, 64)
			if w := l.waits[product]; err == nil && w != nil {
				l.finish(product, w)
				l.woken[product] = time.Now()
			}
		}
	})
}

// deaf wakes everybody: a release may have been missed.
func (l *Locker) deaf() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listening = false
	clear(l.woken)
	for product, w := range l.waits {
		l.finish(product, w)
	}
}
