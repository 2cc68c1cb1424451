package console

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/order"
)

// A sample is taken every second and kept for ten minutes. OnScrape is gathered every ten seconds while there are viewers.
func TestLiveKeepsTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		scrapes := 0
		onScrape := prometheus.NewRegistry()
		onScrape.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "orderflow_orders_open"}, func() float64 {
			scrapes++
			return 7
		}))
		l := newLive(newMetered(), onScrape)
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { l.run(ctx) })

		time.Sleep(700*time.Second + step/2)
		synctest.Wait()
		samples, taken, _ := l.after(0)
		if len(samples) != maxSamples || taken != 700 || scrapes != 0 {
			t.Errorf("%d samples of %d, %d scrapes", len(samples), taken, scrapes)
		}
		for i := range samples[1:] {
			if gap := samples[i+1].at.Sub(samples[i].at); gap != step {
				t.Fatalf("%s between two samples", gap)
			}
		}
		if !l.enter() {
			t.Fatal("not admitted")
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		samples, _, _ = l.after(taken)
		if len(samples) != 30 || scrapes != 3 || samples[0].values[figureOpen] != 7 {
			t.Errorf("%d samples, %d scrapes", len(samples), scrapes)
		}
		stop()
		running.Wait()
	})
}

// A stream begins with the kept samples and continues with each new one. It ends when the server drains, and no other begins.
func TestLiveStream(t *testing.T) {
	h := open(t, local)
	for range 3 {
		h.live.add(sample{at: time.Unix(int64(100+h.live.taken), 0)})
	}
	server := httptest.NewServer(h.api)
	defer server.Close()
	stream := listen(t, server.URL, "")
	if got := stream.times(); len(got) != 3 || got[2] != 102 {
		t.Errorf("maxSamples: %v", got)
	}
	for i := range 3 {
		h.live.add(sample{at: time.Unix(int64(200+i), 0)})
		if got := stream.times(); len(got) != 1 || got[0] != float64(200+i) {
			t.Errorf("sample %d: %v", i, got)
		}
	}
	h.Drain()
	if _, ok := stream.next(); ok {
		t.Error("the stream continues after the drain")
	}
	if r := h.do(t, "GET", "/console/live/events", "").is(503, "Too many browsers show this page"); r.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestLiveViewersAreBounded(t *testing.T) {
	l := newLive(newMetered(), nil)
	for range maxViewers {
		if !l.enter() {
			t.Fatal("not admitted")
		}
	}
	if l.enter() {
		t.Error("a viewer above the limit was admitted")
	}
	l.leave()
	if !l.enter() {
		t.Error("not admitted after a viewer has left")
	}
}

// A stream ends when its viewer's token is revoked.
func TestLiveEndsWithTheSession(t *testing.T) {
	h := open(t)
	token := h.token(t, order.Token{UserID: 1, Admin: true})
	server := httptest.NewServer(h.api)
	defer server.Close()
	stream := listen(t, server.URL, SessionCookie+"="+token)
	stream.times()
	h.do(t, "DELETE", "/api/v1/auth/tokens/current", "", "Authorization: Bearer "+token).is(204)
	for sent := range checkEvery + 1 {
		h.live.add(sample{})
		if _, ok := stream.next(); !ok {
			return
		}
		if sent == checkEvery {
			t.Error("the stream continues")
		}
	}
}

// eventStream is a stream of server-sent events.
type eventStream struct {
	t     *testing.T
	lines *bufio.Scanner
}

func listen(t *testing.T, server, cookie string) *eventStream {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server+"/console/live/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Cookie", cookie)
	answer, err := http.DefaultTransport.RoundTrip(request) //nolint:forbidigo // closes with the stream
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	if kind := answer.Header.Get("Content-Type"); answer.StatusCode != http.StatusOK || kind != "text/event-stream" {
		t.Fatalf("%d, %s", answer.StatusCode, kind)
	}
	return &eventStream{t, bufio.NewScanner(answer.Body)}
}

// next waits for the data of the next event; ok is false when the stream has ended.
func (h *eventStream) next() (string, bool) {
	for h.lines.Scan() {
		if data, ok := strings.CutPrefix(h.lines.Text(), "data: "); ok {
			return data, true
		}
	}
	return "", false
}

// times waits for the next event and returns the times of its samples.
func (h *eventStream) times() []float64 {
	h.t.Helper()
	data, ok := h.next()
	if !ok {
		h.t.Fatal("the stream has ended")
	}
	var samples [][]*float64
	if err := json.Unmarshal([]byte(data), &samples); err != nil {
		h.t.Fatalf("%s: %v", data, err)
	}
	var at []float64
	for _, s := range samples {
		if len(s) != 1+int(figures) {
			h.t.Fatalf("%d figures", len(s)-1)
		}
		at = append(at, *s[0])
	}
	return at
}
