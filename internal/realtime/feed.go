package realtime

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"orderflow/internal/bus"
	"orderflow/internal/order"
	"orderflow/internal/pusher"
	"orderflow/internal/web"
)

// feedEvent is the name of the event on pusher.FeedChannel.
const feedEvent = "order"

// The feed sends at most 20 events in any second: the burst and the events of the interval.
const (
	feedBurst    = 5                // so that the changes of a single order arrive at once
	feedInterval = time.Second / 15 // between two events after the burst
	feedWaiting  = 15               // events that wait; the newest are kept
)

// feed sends operators the changes of all orders, or a sample of them under load. Without subscribers on this node it reads nothing
// from the bus, and add costs one atomic load.
type feed struct {
	hub    *hub
	wake   chan struct{} // notified by a first or last subscriber, and by a message
	active atomic.Bool   // there are subscribers

	mu      sync.Mutex
	waiting []bus.Message // the newest, at most feedWaiting
	skipped int           // messages since the last one that was sent
}

func newFeed(h *hub) *feed { return &feed{hub: h, wake: h.feedWake} }

// add adds messages while there are subscribers. It parses none, since most messages of a busy server are skipped.
func (f *feed) add(messages []bus.Message) {
	if !f.active.Load() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.active.Load() { // clear has run meanwhile: these messages are too old for the next subscriber
		return
	}
	f.waiting = append(f.waiting, messages[max(0, len(messages)-feedWaiting):]...)
	f.skipped += max(0, len(messages)-feedWaiting)
	if surplus := len(f.waiting) - feedWaiting; surplus > 0 {
		f.waiting = append(f.waiting[:0], f.waiting[surplus:]...)
		f.skipped += surplus
	}
	notify(f.wake)
}

// next returns the oldest waiting message and the number of messages skipped before it.
func (f *feed) next() (message bus.Message, skipped int, found bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.waiting) == 0 {
		return bus.Message{}, 0, false
	}
	message, skipped = f.waiting[0], f.skipped
	f.waiting, f.skipped = append(f.waiting[:0], f.waiting[1:]...), 0
	return message, skipped, true
}

// clear drops the waiting messages.
func (f *feed) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting, f.skipped = nil, 0
}

// hasSubscribers reports whether the feed has subscribers on this node.
func (f *feed) hasSubscribers() bool { return f.hub.find(pusher.FeedChannel) != nil }

// run serves subscribers until ctx ends. Messages of the topic changes come through add; the topic jobs, with new orders, is read only
// while there are subscribers. disconnected is called when it cannot be read.
func (f *feed) run(ctx context.Context, from bus.Bus, disconnected func(error)) {
	for {
		if f.hasSubscribers() {
			f.serve(ctx, from, disconnected)
		}
		select {
		case <-f.wake:
		case <-ctx.Done():
			return
		}
	}
}

// serve sends events until there are no subscribers or ctx ends.
func (f *feed) serve(ctx context.Context, from bus.Bus, disconnected func(error)) {
	reading, stop := context.WithCancel(ctx)
	var reader sync.WaitGroup
	f.active.Store(true)
	reader.Go(func() {
		// Lost messages need no handling: the feed is a sample.
		bus.Follow(reading, from, bus.TopicJobs, bus.Follower{Subscribed: func() {}, Lagged: func() {}, Disconnected: disconnected, Deliver: f.add})
	})
	defer func() {
		stop()
		reader.Wait()
		f.active.Store(false)
		f.clear()
	}()
	pace := pace{burst: feedBurst, interval: feedInterval}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for f.hasSubscribers() {
		message, skipped, found := f.next()
		if !found {
			select {
			case <-f.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		if !f.send(message, skipped) {
			continue
		}
		timer.Reset(pace.take(time.Now()))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
}

// send sends a change of status to all subscribers. It returns false for other messages; the other reader of the topic logs malformed
// ones.
func (f *feed) send(m bus.Message, skipped int) bool {
	e, err := order.ParseEvent(m.Body)
	if err != nil || e.Type.Status() == "" { // an event without a status is not a change of an order's status
		return false
	}
	if ch := f.hub.find(pusher.FeedChannel); ch != nil {
		f.hub.broadcast(ch, message(feedEvent, pusher.FeedChannel, string(appendFeedEvent(make([]byte, 0, 256), &e, skipped))), "")
	}
	return true
}

// appendFeedEvent appends the data of the feed's event.
func appendFeedEvent(dst []byte, e *order.Event, skipped int) []byte {
	dst = append(dst, `{"event_id":`...)
	dst = web.AppendString(dst, e.ID())
	dst = append(dst, `,"order_id":`...)
	dst = strconv.AppendInt(dst, e.OrderID, 10)
	dst = append(dst, `,"user_id":`...)
	dst = strconv.AppendInt(dst, e.UserID, 10)
	dst = append(dst, `,"status":`...)
	dst = web.AppendString(dst, string(e.Type.Status()))
	dst = appendTotal(dst, e)
	dst = append(dst, `,"timestamp":`...)
	dst = appendTime(dst, e.At)
	dst = append(dst, `,"trace_id":`...)
	dst = web.AppendString(dst, e.Trace.ID)
	dst = append(dst, `,"left_out":`...)
	dst = strconv.AppendInt(dst, int64(skipped), 10)
	return append(dst, '}')
}

// pace is a token bucket for one goroutine.
type pace struct {
	burst    int
	interval time.Duration // in which one token is added

	full time.Time // when the bucket is full again
}

// take takes a token and returns how long it takes until the next one is available.
func (p *pace) take(now time.Time) time.Duration {
	if p.full.Before(now) {
		p.full = now
	}
	p.full = p.full.Add(p.interval)
	return max(0, p.full.Sub(now)-time.Duration(p.burst-1)*p.interval)
}
