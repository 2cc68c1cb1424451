package main

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
)

// A test that starts a listener starts this binary again.
func TestMain(m *testing.M) {
	if slices.Equal(os.Args[1:], []string{listen}) {
		main()
		return
	}
	os.Exit(m.Run())
}

// hub is a minimal server that can lose and repeat messages.
type hub struct {
	behind   int                                       // number of requests to publish that are answered with 503
	copies   func(member int, text string) (times int) // of a message for a member of a channel; nil: one, negative: close
	greeting string                                    // sent after each subscription

	mu      sync.Mutex
	members map[string][]*websocket.Conn
}

func (h *hub) serve(t *testing.T) (addr string) {
	t.Helper()
	h.members = map[string][]*websocket.Conn{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /app/"+application().Key, h.join)
	mux.HandleFunc("POST /apps/"+application().ID+"/batch_events", h.publish)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func (h *hub) join(w http.ResponseWriter, r *http.Request) {
	ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	_ = ws.WriteMessage(websocket.TextMessage, []byte(`{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.1\"}"}`))
	for {
		_, text, err := ws.ReadMessage()
		if err != nil {
			return
		}
		var received struct {
			Event string
			Data  struct{ Channel string }
		}
		// An answer to a ping has a text for data, which is no matter here.
		if _ = json.Unmarshal(text, &received); received.Event != "pusher:subscribe" {
			continue
		}
		h.mu.Lock()
		_ = ws.WriteMessage(websocket.TextMessage, []byte(`{"event":"pusher_internal:subscription_succeeded","channel":"`+received.Data.Channel+`"}`))
		if h.greeting != "" {
			_ = ws.WriteMessage(websocket.TextMessage, []byte(h.greeting))
		}
		_ = ws.WriteControl(websocket.PingMessage, []byte("there?"), time.Now().Add(time.Second))
		h.members[received.Data.Channel] = append(h.members[received.Data.Channel], ws)
		h.mu.Unlock()
	}
}

func (h *hub) publish(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.behind > 0 {
		h.behind--
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	var body struct {
		Batch []struct{ Name, Channel, Data string }
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	for _, m := range body.Batch {
		for i, ws := range h.members[m.Channel] {
			times := 1
			if h.copies != nil {
				times = h.copies(i, m.Data)
			}
			if times < 0 {
				_ = ws.Close()
			}
			for range times {
				_ = ws.WriteMessage(websocket.TextMessage, []byte(`{"event":"`+m.Name+`","channel":"`+m.Channel+`","data":"`+m.Data+`"}`))
			}
		}
	}
}

// measured publishes to 12 subscribers of 3 channels for a while.
func measured(t *testing.T, h *hub, rate float64) (during, after counts, c *publisherGroup) {
	t.Helper()
	const subscribers, channels = 12, 3
	w, connected, err := watch(context.WithoutCancel(t.Context()), &subject{name: orderflow, wire: pusherWire{}, addr: h.serve(t)}, subscribers, channels)
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	if err != nil || connected.Connected != subscribers {
		t.Fatalf("%d connected: %v %s", connected.Connected, err, connected.Error)
	}
	ask := func(r request) counts {
		answer, err := w.listener.ask(r)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	ask(request{Do: doBegin})
	stop := w.publishers.start(t.Context(), rate)
	for during.Deliveries < 200 && t.Context().Err() == nil {
		during = ask(request{Do: doEnd})
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	return during, ask(waitRequest(w.publishers)), w.publishers
}

func waitRequest(c *publisherGroup) request { return request{Do: doWait, Sent: c.sent()} }

func TestListener(t *testing.T) {
	for name, rate := range map[string]float64{"full speed": 0, "paced": 500} {
		t.Run(name, func(t *testing.T) {
			during, after, group := measured(t, &hub{behind: 2, greeting: `{"event":"pusher:ping","data":"{}"}`}, rate)
			var sent int64
			for _, channel := range group.sent() {
				for _, n := range channel {
					sent += int64(n)
				}
			}
			got := after
			got.Delay = nil
			if diff := cmp.Diff(counts{Connected: 12, Deliveries: 4 * sent}, got); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
			if during.Elapsed <= 0 {
				t.Errorf("elapsed %s", during.Elapsed)
			}
			if n := group.refused.Load(); n != 2 {
				t.Errorf("%d requests refused, want 2", n)
			}
			var noted int64
			for _, n := range after.Delay.Counts {
				noted += n
			}
			if noted != after.Deliveries {
				t.Errorf("%d delays of %d deliveries", noted, after.Deliveries)
			}
		})
	}
}

// Lost and repeated messages and closed connections are counted.
func TestLostAndRepeatedMessages(t *testing.T) {
	number := func(text string) uint32 {
		s, _ := findStamp([]byte(text))
		if s.publisher != 0 {
			return 0
		}
		return s.number
	}
	_, after, _ := measured(t, &hub{copies: func(member int, text string) int {
		switch n := number(text); {
		case member == 0 && (n == 2 || n == 3):
			return 0
		case member == 1 && n == 4:
			return 3
		case member == 2 && n == 5:
			return -1
		default:
			return 1
		}
	}}, 0)
	// Of each of three channels: two messages, two repetitions, one connection.
	got := counts{Lost: after.Lost, Repeated: after.Repeated, Closed: after.Closed, Connected: after.Connected}
	if diff := cmp.Diff(counts{Lost: 6, Repeated: 6, Closed: 3, Connected: 9}, got); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
	if after.Error == "" {
		t.Error("no error of the closed connections")
	}
}

// A message that never arrives counts as lost.
func TestLastMessageLost(t *testing.T) {
	h := &hub{}
	w, _, err := watch(t.Context(), &subject{name: orderflow, wire: pusherWire{}, addr: h.serve(t)}, 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := w.publishers.members[0].publish(t.Context(), time.Now(), 1); err != nil {
		t.Fatal(err)
	}
	w.publishers.members[0].sent[0]++ // a message that was never sent
	for range 2 {                     // it counts once
		if h, err := w.listener.ask(waitRequest(w.publishers)); err != nil || h.Lost != 2 || h.Deliveries != 2 {
			t.Errorf("%+v, %v", h, err)
		}
	}
}

// Subscribers that cannot connect are counted, with the reason.
func TestRefusedSubscribers(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /app/"+application().Key, func(w http.ResponseWriter, r *http.Request) {
		if ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil); err == nil {
			_ = ws.WriteMessage(websocket.TextMessage, []byte(`{"event":"pusher:error","data":{"code":4100,"message":"full"}}`))
			_ = ws.Close()
		}
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	w, h, err := watch(t.Context(), &subject{name: orderflow, wire: pusherWire{}, addr: strings.TrimPrefix(server.URL, "http://")}, 5, 1)
	if err != nil || h.Connected != 0 || !strings.Contains(h.Error, "4100") {
		t.Errorf("%+v, %v", h, err)
	}
	if err := w.close(); err != nil {
		t.Error(err)
	}
}

// An invalid request ends a listener with an error; the end of its input ends it without one.
func TestListenerInput(t *testing.T) {
	if err := runListener(t.Context(), strings.NewReader(""), &strings.Builder{}); err != nil {
		t.Error(err)
	}
	for _, line := range []string{"nonsense\n", `{"Do":"dance"}` + "\n", `{"Do":"connect","Subject":"nobody"}` + "\n"} {
		if err := runListener(t.Context(), strings.NewReader(line), &strings.Builder{}); err == nil {
			t.Errorf("%s: no error", line)
		}
	}
}

// stepwise reads no further than requested.
func TestStepwise(t *testing.T) {
	s := &stepwise{ahead: bufio.NewReader(strings.NewReader("HTTP\n\nframes"))}
	head := bufio.NewReader(s)
	for range 2 {
		if _, err := head.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	if s.ahead.Buffered() != len("frames") || head.Buffered() != 0 {
		t.Errorf("%d and %d bytes are left", s.ahead.Buffered(), head.Buffered())
	}
}

func TestPublishGivesUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h := &hub{behind: 1 << 30}
	c := newPublishers(pusherWire{}, h.serve(t), 1)
	defer c.close()
	stop := c.start(ctx, 0)
	cancel()
	if err := stop(); err == nil {
		t.Error("interrupted publishers return no error")
	}
}
