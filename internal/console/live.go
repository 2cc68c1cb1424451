package console

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/order"
)

const (
	history    = 600 // samples that are kept: ten minutes
	step       = time.Second
	askEvery   = 10               // steps between two looks at what others are asked for
	maxViewers = 100              // streams at once
	liveWrite  = 10 * time.Second // for a browser to take what it is sent
	checkEvery = 5                // samples between two looks whether a viewer's token still counts
)

// live keeps the figures of the last ten minutes and tells viewers of each new sample.
type live struct {
	metrics, asked prometheus.Gatherer

	mu      sync.Mutex
	samples []sample      // the oldest first, at most history
	taken   uint64        // samples ever; the last of samples is number taken
	fresh   chan struct{} // closed with the next sample, and made anew
	viewers int
	over    bool
	ended   chan struct{} // closed when streams are to end
}

func newLive(metrics, asked prometheus.Gatherer) *live {
	return &live{metrics: metrics, asked: asked, fresh: make(chan struct{}), ended: make(chan struct{})}
}

// run takes a sample at every step until ctx ends.
func (l *live) run(ctx context.Context) {
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	before := count(time.Now(), gather(l.metrics))
	for ago := askEvery; ; ago++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := count(time.Now(), gather(l.metrics))
		s := now.since(&before)
		before = now
		if ago >= askEvery && l.watched() {
			ago = 0
			s.ask(gather(l.asked))
		}
		l.put(s)
	}
}

// watched reports whether anybody looks.
func (l *live) watched() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.viewers > 0
}

// put keeps a sample and wakes the viewers.
func (l *live) put(s sample) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.samples) == history {
		copy(l.samples, l.samples[1:])
		l.samples[history-1] = s
	} else {
		l.samples = append(l.samples, s)
	}
	l.taken++
	close(l.fresh)
	l.fresh = make(chan struct{})
}

// after returns the samples that came after number seen, as many of them as are kept, the number of the last one, and what is
// closed with the next one.
func (l *live) after(seen uint64) (samples []sample, taken uint64, next <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := int(min(l.taken-seen, uint64(len(l.samples))))
	return append([]sample(nil), l.samples[len(l.samples)-n:]...), l.taken, l.fresh
}

// enter makes room for a viewer; false when there is none, or the server is ending.
func (l *live) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over || l.viewers >= maxViewers {
		return false
	}
	l.viewers++
	return true
}

func (l *live) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.viewers--
}

// end asks all streams to end, those that are still to come too.
func (l *live) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.over = true
		close(l.ended)
	}
}

// isOver reports whether the server is ending.
func (l *live) isOver() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over
}

// liveView is what the page Live starts from.
type liveView struct {
	Key, Socket string // of the WebSocket server

	NoWorker, NoRealtime bool // the process does not have the role
}

func (c *Console) showLive(v *requestContext) (any, error) {
	o := &c.options
	return liveView{Key: o.Feed.Key, Socket: o.Feed.URL(v.r), NoWorker: o.NoWorker, NoRealtime: o.NoRealtime}, nil
}

// streamLive sends the samples of the last ten minutes as one server-sent event, then each new one, until the browser leaves, its
// token counts no more, or the server ends.
func (c *Console) streamLive(v *requestContext) (any, error) {
	if !c.live.enter() {
		v.w.Header().Set("Retry-After", "5")
		return nil, order.Errorf(order.CodeOverloaded, "Too many look at this page, or the server is ending. Try again shortly.")
	}
	defer c.live.leave()
	h := v.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx: hand on what comes at once
	h.Set("Connection", "close")     // the deadlines of its writes must not outlive the stream
	v.w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(v.w)
	out := []byte("retry: 1000\n")
	for seen, turns := uint64(0), 1; ; turns++ {
		samples, taken, fresh := c.live.after(seen)
		out = appendSamples(out, samples)
		if err := writeWithin(v.w, control, out); err != nil {
			return nil, errAnswered // a browser that left, or reads too slowly, comes back
		}
		out, seen = out[:0], taken
		select {
		case <-fresh:
		case <-c.live.ended:
			return nil, errAnswered
		case <-v.r.Context().Done():
			return nil, errAnswered
		}
		if turns%checkEvery == 0 && v.loggedOut() {
			return nil, errAnswered
		}
	}
}

// loggedOut reports whether the visitor's token counts no more. That it cannot be found out is no reason to end a stream.
func (v *requestContext) loggedOut() bool {
	if v.who.local {
		return false
	}
	_, err := v.console.options.Door.Check(v.r.Context(), v.who.token)
	return order.CodeOf(err) == order.CodeUnauthenticated
}

// writeWithin sends bytes on their way, within the time that a browser has to take them: that is instead of the server's limit on
// a whole answer.
func writeWithin(w http.ResponseWriter, control *http.ResponseController, p []byte) error {
	if err := control.SetWriteDeadline(time.Now().Add(liveWrite)); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if _, err := w.Write(p); err != nil {
		return err
	}
	return control.Flush()
}

// appendSamples appends an event with samples: an array of arrays of a time in seconds since 1970 and the figures, null for what
// nobody knows.
func appendSamples(dst []byte, samples []sample) []byte {
	dst = append(dst, "data: ["...)
	for i := range samples {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '[')
		dst = strconv.AppendInt(dst, samples[i].at.Unix(), 10)
		for _, value := range samples[i].values {
			dst = append(dst, ',')
			if math.IsNaN(value) || math.IsInf(value, 0) {
				dst = append(dst, "null"...)
			} else {
				dst = strconv.AppendFloat(dst, math.Round(value*100)/100, 'f', -1, 64)
			}
		}
		dst = append(dst, ']')
	}
	return append(dst, "]\n\n"...)
}
