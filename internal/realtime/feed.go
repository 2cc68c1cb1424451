package realtime

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"orderflow/internal/bus"
	"orderflow/internal/order"
)

// The channel of all orders, for operators, and its one event.
const (
	feedChannel = "private-orders-feed"
	feedEvent   = "order"
)

// What is told on the feed: no more than 20 events in any second, which is the burst and what comes up in that second.
const (
	feedBurst = 5                // at once, so that one order's changes come as they happen
	feedEvery = time.Second / 15 // between two after that
	feedKept  = 15               // events that wait for their turn; the newest win
)

// feed tells operators of every change of any order, or of a sample of them when there are too many to look at. While nobody
// of this node listens it reads nothing of the bus, and what comes in by the topic of the news costs one look at a flag.
type feed struct {
	hub  *hub
	bell chan struct{} // has an element when somebody may have come or gone, or a message has come
	on   atomic.Bool   // somebody listens

	mu      sync.Mutex
	waiting []bus.Message // the newest, at most feedKept
	left    int           // messages left out since the last one told
}

func newFeed(h *hub) *feed { return &feed{hub: h, bell: h.feedBell} }

// take takes messages in, when somebody listens. It parses none: most of a busy server's will never be told.
func (f *feed) take(messages []bus.Message) {
	if !f.on.Load() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.on.Load() { // forget has been here: who comes next is not to hear of it
		return
	}
	f.waiting = append(f.waiting, messages[max(0, len(messages)-feedKept):]...)
	f.left += max(0, len(messages)-feedKept)
	if surplus := len(f.waiting) - feedKept; surplus > 0 {
		f.waiting = append(f.waiting[:0], f.waiting[surplus:]...)
		f.left += surplus
	}
	ring(f.bell)
}

// next returns the message whose turn it is and how many were left out before it; false when there is none.
func (f *feed) next() (message bus.Message, left int, found bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.waiting) == 0 {
		return bus.Message{}, 0, false
	}
	message, left = f.waiting[0], f.left
	f.waiting, f.left = append(f.waiting[:0], f.waiting[1:]...), 0
	return message, left, true
}

// forget drops what waits.
func (f *feed) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting, f.left = nil, 0
}

// listened reports whether anybody of this node listens.
func (f *feed) listened() bool { return f.hub.find(feedChannel) != nil }

// run tells whoever listens until ctx ends. The topic of new orders is read only while somebody listens, and the news come by
// take. away is told when that topic cannot be read.
func (f *feed) run(ctx context.Context, from bus.Bus, away func(error)) {
	for {
		if f.listened() {
			f.serve(ctx, from, away)
		}
		select {
		case <-f.bell:
		case <-ctx.Done():
			return
		}
	}
}

// serve tells those who listen, until nobody does or ctx ends.
func (f *feed) serve(ctx context.Context, from bus.Bus, away func(error)) {
	reading, stop := context.WithCancel(ctx)
	var reader sync.WaitGroup
	f.on.Store(true)
	reader.Go(func() {
		// What is lost on the way is not missed: it is a sample that is told.
		bus.Follow(reading, from, bus.TopicJobs, bus.Follower{Subscribed: func() {}, Lagged: func() {}, Disconnected: away, Deliver: f.take})
	})
	defer func() {
		stop()
		reader.Wait()
		f.on.Store(false)
		f.forget()
	}()
	turns := pace{burst: feedBurst, every: feedEvery}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for f.listened() {
		message, left, found := f.next()
		if !found {
			select {
			case <-f.bell:
				continue
			case <-ctx.Done():
				return
			}
		}
		if !f.tell(message, left) {
			continue
		}
		timer.Reset(turns.take(time.Now()))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
}

// tell tells all who listen of one change of status, and reports whether it was one. What is no event is logged by whoever
// else reads it.
func (f *feed) tell(m bus.Message, left int) bool {
	e, err := order.ParseEvent(m.Body)
	if err != nil || e.Type.Status() == "" { // an event without a status is not a change of an order's status
		return false
	}
	if ch := f.hub.find(feedChannel); ch != nil {
		f.hub.broadcast(ch, message(feedEvent, feedChannel, string(appendFeed(make([]byte, 0, 256), &e, left))), "")
	}
	return true
}

// appendFeed appends what operators hear of an event: the data of the feed's event.
func appendFeed(dst []byte, e *order.Event, left int) []byte {
	dst = append(dst, `{"event_id":`...)
	dst = appendString(dst, e.ID())
	dst = append(dst, `,"order_id":`...)
	dst = strconv.AppendInt(dst, e.OrderID, 10)
	dst = append(dst, `,"user_id":`...)
	dst = strconv.AppendInt(dst, e.UserID, 10)
	dst = append(dst, `,"status":`...)
	dst = appendString(dst, string(e.Type.Status()))
	dst = appendTotal(dst, e)
	dst = append(dst, `,"timestamp":`...)
	dst = appendTime(dst, e.At)
	dst = append(dst, `,"trace_id":`...)
	dst = appendString(dst, e.Trace.ID)
	dst = append(dst, `,"left_out":`...)
	dst = strconv.AppendInt(dst, int64(left), 10)
	return append(dst, '}')
}

// pace is a token bucket for one goroutine.
type pace struct {
	burst int
	every time.Duration // in which one turn comes up

	full time.Time // when the bucket is full again
}

// take takes a turn and returns how long it is until the next one; 0 for none at all.
func (p *pace) take(now time.Time) time.Duration {
	if p.full.Before(now) {
		p.full = now
	}
	p.full = p.full.Add(p.every)
	return max(0, p.full.Sub(now)-time.Duration(p.burst-1)*p.every)
}

// ring makes a bell of capacity one ring.
func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}
