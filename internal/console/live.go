package console

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/order"
	"orderflow/internal/pusher"
)

const (
	maxSamples   = 600 // ten minutes
	step         = time.Second
	scrapeEvery  = 10               // steps between two gatherings of OnScrape
	maxViewers   = 100              // open streams
	writeTimeout = 10 * time.Second // for a browser to read what was sent
	checkEvery   = 5                // samples between two checks of a viewer's token
)

// live keeps the samples of the last ten minutes and notifies viewers of each new one.
type live struct {
	metrics, onScrape prometheus.Gatherer

	mu       sync.Mutex
	samples  []sample      // oldest first, at most maxSamples
	taken    uint64        // number of samples so far
	next     chan struct{} // closed with the next sample, then replaced
	viewers  int
	draining bool
	drained  chan struct{} // closed when streams must end
}

func newLive(metrics, onScrape prometheus.Gatherer) *live {
	return &live{metrics: metrics, onScrape: onScrape, next: make(chan struct{}), drained: make(chan struct{})}
}

// run takes a sample at every step until ctx ends.
func (l *live) run(ctx context.Context) {
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	before := readCounters(time.Now(), gather(l.metrics))
	for sinceScrape := scrapeEvery; ; sinceScrape++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := readCounters(time.Now(), gather(l.metrics))
		s := now.since(&before)
		before = now
		if sinceScrape >= scrapeEvery && l.hasViewers() {
			sinceScrape = 0
			s.addScraped(gather(l.onScrape))
		}
		l.add(s)
	}
}

func (l *live) hasViewers() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.viewers > 0
}

// add keeps a sample and notifies the viewers.
func (l *live) add(s sample) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.samples) == maxSamples {
		copy(l.samples, l.samples[1:])
		l.samples[maxSamples-1] = s
	} else {
		l.samples = append(l.samples, s)
	}
	l.taken++
	close(l.next)
	l.next = make(chan struct{})
}

// after returns the kept samples after the first seen ones, the number of samples so far, and a channel that is closed with the
// next sample.
func (l *live) after(seen uint64) (samples []sample, taken uint64, next <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := int(min(l.taken-seen, uint64(len(l.samples))))
	return append([]sample(nil), l.samples[len(l.samples)-n:]...), l.taken, l.next
}

// enter admits a viewer. It returns false when there are too many, or the server is draining.
func (l *live) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.draining || l.viewers >= maxViewers {
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

// drain ends all streams and admits no further viewer.
func (l *live) drain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.draining {
		l.draining = true
		close(l.drained)
	}
}

func (l *live) isDraining() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.draining
}

// liveView is the data of the page Live.
type liveView struct {
	Key, Socket, Channel string // of the WebSocket server

	NoWorker, NoRealtime bool // roles that the process does not have
}

func (c *Console) showLive(rc *requestContext) (any, error) {
	o := &c.options
	return liveView{Key: o.Feed.Key, Socket: o.Feed.URL(rc.r), Channel: pusher.FeedChannel, NoWorker: o.NoWorker, NoRealtime: o.NoRealtime}, nil
}

// streamLive sends the samples of the last ten minutes as one server-sent event, then each new sample. The stream ends when the
// browser disconnects, its token becomes invalid, or the server drains.
func (c *Console) streamLive(rc *requestContext) (any, error) {
	if !c.live.enter() {
		rc.w.Header().Set("Retry-After", "5")
		return nil, order.Errorf(order.CodeOverloaded, "Too many browsers show this page, or the server is shutting down. Try again shortly.")
	}
	defer c.live.leave()
	h := rc.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx: no buffering
	h.Set("Connection", "close")     // its write deadlines must not apply to later requests
	rc.w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(rc.w)
	out := []byte("retry: 1000\n")
	for seen, round := uint64(0), 1; ; round++ {
		samples, taken, next := c.live.after(seen)
		out = appendSamples(out, samples)
		if err := writeWithin(rc.w, control, out); err != nil {
			return nil, errResponded // a browser that reads too slowly reconnects
		}
		out, seen = out[:0], taken
		select {
		case <-next:
		case <-c.live.drained:
			return nil, errResponded
		case <-rc.r.Context().Done():
			return nil, errResponded
		}
		if round%checkEvery == 0 && rc.tokenInvalid() {
			return nil, errResponded
		}
	}
}

// tokenInvalid reports whether the session's token has become invalid. A check that fails does not end a stream.
func (rc *requestContext) tokenInvalid() bool {
	if rc.session.local {
		return false
	}
	_, err := rc.console.options.Authenticator.Check(rc.r.Context(), rc.session.token)
	return order.CodeOf(err) == order.CodeUnauthenticated
}

// writeWithin writes and flushes with a deadline of its own, instead of the server's deadline for a whole response.
func writeWithin(w http.ResponseWriter, control *http.ResponseController, p []byte) error {
	if err := control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if _, err := w.Write(p); err != nil {
		return err
	}
	return control.Flush()
}

// appendSamples appends an event with samples: an array of arrays, each with the time in seconds since 1970 and the figures, null
// for an unknown one.
func appendSamples(dst []byte, samples []sample) []byte {
	rows := make([][]any, len(samples))
	for i := range samples {
		rows[i] = append(rows[i], samples[i].at.Unix())
		for _, value := range samples[i].values {
			if math.IsNaN(value) || math.IsInf(value, 0) {
				rows[i] = append(rows[i], nil)
			} else {
				rows[i] = append(rows[i], math.Round(value*100)/100)
			}
		}
	}
	text, err := json.Marshal(rows)
	if err != nil {
		panic(err) // finite numbers can always be marshalled
	}
	return append(append(append(dst, "data: "...), text...), "\n\n"...)
}
