package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"orderflow/internal/bench"
)

// serverFrame is a frame as a server sends it.
func serverFrame(kind byte, payload []byte) []byte {
	head := []byte{0x80 | kind}
	switch n := len(payload); {
	case n < 126:
		head = append(head, byte(n))
	case n < 1<<16:
		head = append(head, 126, byte(n>>8), byte(n))
	default:
		head = append(head, 127, 0, 0, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(head, payload...)
}

func TestNextFrame(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 127, 300, frameMax} {
		payload := bytes.Repeat([]byte{'p'}, size)
		whole := serverFrame(frameText, payload)
		for cut := range len(whole) {
			if size == frameMax && cut > 20 && cut < len(whole)-3 {
				continue
			}
			if _, _, rest, err := nextFrame(whole[:cut]); !errors.Is(err, errShort) || len(rest) != cut {
				t.Fatalf("%d of %d bytes: %v, %d left", cut, len(whole), err, len(rest))
			}
		}
		kind, got, rest, err := nextFrame(append(whole, "next"...))
		if kind != frameText || !bytes.Equal(got, payload) || string(rest) != "next" || err != nil {
			t.Errorf("%d bytes: kind %d, %d bytes, then %q, %v", size, kind, len(got), rest, err)
		}
	}
	for name, data := range map[string][]byte{
		"fragment":   {0x01, 1, 'x'},
		"compressed": {0xc1, 1, 'x'},
		"masked":     {0x81, 0x81, 0, 0, 0, 0, 'x'},
		"too long":   serverFrame(frameText, make([]byte, 1<<16)),
		"negative":   {0x81, 127, 0xff, 0, 0, 0, 0, 0, 0, 0, 0},
	} {
		if _, _, _, err := nextFrame(data); err == nil || errors.Is(err, errShort) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestClientFrame(t *testing.T) {
	got, err := clientFrame(framePong, []byte("hi"))
	if want := []byte{0x8a, 0x82, 0, 0, 0, 0, 'h', 'i'}; err != nil || !bytes.Equal(got, want) {
		t.Errorf("% x, %v, want % x", got, err, want)
	}
	if _, err := clientFrame(framePong, make([]byte, 126)); err == nil {
		t.Error("a long frame was written with a short head")
	}
}

func TestStamp(t *testing.T) {
	want := stamp{time.Date(2031, 2, 3, 4, 5, 6, 789, time.UTC).UnixNano(), publishers - 1, 0xfedcba98}
	data := want.appendTo(nil)
	if len(data) != payloadSize {
		t.Errorf("%d bytes", len(data))
	}
	for _, text := range []string{`42["tick","` + string(data) + `"]`, `{"event":"tick","channel":"c1","data":"` + string(data) + `"}`} {
		if got, found := findStamp([]byte(text)); !found || got != want {
			t.Errorf("%s: %+v", text, got)
		}
	}
	for _, text := range []string{"", "2", `{"event":"pusher:ping"}`, string(data[:stampSize-1]), stamp{1, publishers, 1}.text()} {
		if got, found := findStamp([]byte(text)); found {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func (s stamp) text() string { return string(s.appendTo(nil)) }

func TestRequests(t *testing.T) {
	messages := []message{{"c0", []byte("one")}, {"c1", []byte("two")}}
	for _, test := range []struct {
		wire      wire
		url, body string
	}{
		{pusherWire{}, "http://a:1/apps/app/batch_events", `{"batch":[{"name":"tick","channel":"c0","data":"one"},{"name":"tick","channel":"c1","data":"two"}]}`},
		{socketIOWire{}, "http://a:1/publish", `[{"event":"tick","channel":"c0","data":"one"},{"event":"tick","channel":"c1","data":"two"}]`},
	} {
		request, err := test.wire.publish(t.Context(), "a:1", messages)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(request.Body)
		url, _, _ := strings.Cut(request.URL.String(), "?")
		if string(body) != test.body || url != test.url || err != nil || !json.Valid(body) {
			t.Errorf("%s %s %v", request.URL, body, err)
		}
	}
}

func TestOther(t *testing.T) {
	for _, test := range []struct {
		wire       wire
		text, want string
	}{
		{pusherWire{}, `{"event":"pusher:ping","data":"{}"}`, `{"event":"pusher:pong","data":"{}"}`},
		{pusherWire{}, `{"event":"pusher:pong","data":"{}"}`, ""},
		{socketIOWire{}, "2", "3"},
		{socketIOWire{}, "42[]", ""},
	} {
		if got := test.wire.reply([]byte(test.text)); got != test.want {
			t.Errorf("%T %s: %q, want %q", test.wire, test.text, got, test.want)
		}
	}
}

func TestTold(t *testing.T) {
	got := arrivals{delay: newDelays()}
	at := time.Date(2031, 2, 3, 4, 5, 6, 123456000, time.UTC)
	data, err := json.Marshal(fmt.Sprintf(`{"order_id":1,"status":"PAID","timestamp":"%s"}`, at.Format("2006-01-02T15:04:05.000000Z")))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{`{"event":"OrderPaid","channel":"private-orders.1","data":` + string(data) + `}`, `{"event":"pusher:pong"}`} {
		if err := got.note([]byte(text), at.Add(7*time.Millisecond)); err != nil {
			t.Fatal(err)
		}
	}
	if got.orders != 1 || got.delay.Max() < 6990 || got.delay.Min() > 7010 {
		t.Errorf("%d orders, %d to %d µs", got.orders, got.delay.Min(), got.delay.Max())
	}
	if got.note([]byte(`timestamp\":\"yesterday\"`), at) == nil {
		t.Error("yesterday is no time")
	}
}

func TestSettings(t *testing.T) {
	for _, args := range [][]string{
		{"--parts", "all"}, {"--subjects", "nginx"}, {"--duration", "1ms"}, {"--warm-up", "2m"}, {"--rounds", "0"}, {"--idle", "2000000"}, {"run"},
	} {
		if err := runCommand(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
	if err := runCommand(t.Context(), []string{"--binary", "/nowhere/orderflow", "--subjects", "orderflow"}, io.Discard, io.Discard); err == nil {
		t.Error("no error without a binary")
	}
}

func TestReport(t *testing.T) {
	r := &report{machine: bench.Machine{CPU: "Some CPU", Cores: 2, Kernel: "Linux 6.1", Go: "go1.26", Commit: "abc", Command: "this"}}
	r.add("speed", "deliveries/s", "≥ 1.5 ×", 0, values{orderflow: 1234567, socketIO: 1000})
	r.add("p50", "ms", "", 2, values{orderflow: 0.125})
	r.note("lost: %d", 3)
	want := `figure  unit          Orderflow  socket.io 4      ratio  bar
speed   deliveries/s  1,234,567        1,000  1234.57 ×  ≥ 1.5 ×
p50     ms                 0.12            –          –

- lost: 3

Measured on Some CPU, 2 cores, Linux 6.1, go1.26, commit ` + "`abc`, by `this`" + `. Servers, subscribers and publishers share the cores.
`
	if got := r.text(false); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got, want := r.text(true), "|---|---|---:|---:|---:|---|\n| speed | deliveries/s | 1,234,567 | 1,000 | 1234.57 × | ≥ 1.5 × |\n| p50 | ms | 0.12 | – | – |  |\n"; !strings.Contains(got, want) {
		t.Errorf("got\n%s", got)
	}
}

// Each figure has its row.
func TestReportFanout(t *testing.T) {
	r := &report{}
	kinds := []kind{{name: "each frame"}, {name: "once a millisecond", interval: true}, {name: "paced", rate: 10}}
	each, fast, paced := loads(2), loads(2), loads(2)
	for i := range fast {
		*each[i] = load{deliveries: 300 * int64(2-i), elapsed: time.Second, delay: newDelays()}
		*fast[i] = load{deliveries: 1000 * int64(2-i), elapsed: time.Second, server: time.Millisecond, driver: 2 * time.Millisecond, delay: newDelays()}
		*paced[i] = load{deliveries: 100, elapsed: time.Second, delay: newDelays()}
		if err := paced[i].delay.RecordValues(2000*int64(i+1), 100); err != nil {
			t.Fatal(err)
		}
	}
	all := []*watched{{subject: &subject{name: orderflow}, publishers: &publisherGroup{}}, {subject: &subject{name: socketIO}, publishers: &publisherGroup{}}}
	all[1].publishers.refused.Add(4)
	reason := "I am behind"
	all[1].publishers.reason.Store(&reason)
	s := &settings{Rounds: 2, Duration: time.Second}
	results := [][]*load{each, fast, paced}
	r.fanout(s, 5000, 1, all, kinds, results, []counts{{}, {Lost: 1, Closed: 2, Error: "gone"}})
	got := r.text(false)
	for _, want := range []string{
		"5,000 subscribers, 1 channel, each frame          deliveries/s         600          300  2.00 ×  ≥ 2 ×",
		"5,000 subscribers, 1 channel, once a millisecond  deliveries/s       2,000        1,000  2.00 ×\n",
		"server's processor                                µs a delivery       0.50         1.00  0.50 ×",
		"p99                                               ms                  2.00         4.00  0.50 ×  ≤ 0.9 ×",
		"socket.io, 5,000 subscribers, 1 channel: 1 messages lost and 0 repeated at open connections; 2 connections closed (gone)",
		"4 requests to publish were answered with 503 and repeated: I am behind",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "no message lost") {
		t.Error("something was lost")
	}
	r.fanout(s, 1000, 100, all, kinds, results, []counts{{}, {}})
	if got := r.text(false); !strings.Contains(got, "1,000 subscribers, 100 channels: no message lost") {
		t.Errorf("got\n%s", got)
	}
}

func TestGrouped(t *testing.T) {
	for want, value := range map[string]float64{"0": 0, "999": 999, "1,000": 1000, "-1,234": -1234, "-123": -123, "12,345,678": 12345678} {
		if got := grouped(value, 0); got != want {
			t.Errorf("%f: %s, want %s", value, got, want)
		}
	}
}
