package bench

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// runTour runs the tour without a terminal.
func runTour(t *testing.T, s *fakeServer, violation string) (string, error) {
	t.Helper()
	f := fakeServers{violation: violation}
	running, err := f.starter(t, func(Server) *fakeServer { return s })(t.Context(), Server{})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = Demo(t.Context(), &out, false, running)
	return out.String(), err
}

func TestDemo(t *testing.T) {
	text, err := runTour(t, newSampleServer(), "")
	if err != nil {
		t.Fatal(err, text)
	}
	text = regexp.MustCompile(`\d+ ms|\d[\d.]* (s|ms)\b`).ReplaceAllString(text, "<time>")
	text = regexp.MustCompile(` +<time>`).ReplaceAllString(text, " <time>")
	text = regexp.MustCompile(`(?m)^ +[●·][●· ]*\n`).ReplaceAllString(text, "")
	want := `
  Orderflow in one minute  a private server, a temporary database, plain HTTP

  1  An order, and its payment as it happens
     The order takes stock and is durable before the answer; the payment follows in the background.
     POST /api/v1/orders   1 × Thing 1, 2 × Thing 2
     201 in <time>: order 1, 29.99 USD
 <time>  PENDING     stock taken, durable
 <time>  PROCESSING  a worker charges it
 <time>  PAID        charged, once

  2  Fifty buyers, one item
     Thing 3: 1 in stock, 50 orders at the same time.
     1 × 201 created   49 × 409 insufficient_stock
     Order 2 is paid: sold, once.

  3  One order, sent fifty times
     The same idempotency key each time: one order is created, the other answers return it.
     1 × 201 created   49 × 200 the same order, 3

  4  The audit
     Stock, orders, payments and histories are checked against each other.
     audit: passed

  ✔  All guarantees held, in <time>.
     Your turn: orderflow serve --samples

`
	if diff := cmp.Diff(want, text); diff != "" {
		t.Error(diff)
	}
}

func TestDemoDrawsEveryAnswer(t *testing.T) {
	text, err := runTour(t, newSampleServer(), "")
	if err != nil {
		t.Fatal(err)
	}
	if placed, others := strings.Count(text, " ●"), strings.Count(text, " ·"); placed != 2 || others != 98 {
		t.Errorf("%d answers drawn as created, %d as others; want 2 and 98", placed, others)
	}
}

func TestDemoOrdersAgainWhenDeclined(t *testing.T) {
	s := newSampleServer()
	s.declines = 2
	text, err := runTour(t, s, "")
	if err != nil || strings.Count(text, "FAILED") != 2 || strings.Count(text, "with a new key") != 2 || !strings.Contains(text, "PAID") {
		t.Errorf("%v\n%s", err, text)
	}
	s = newSampleServer()
	s.declines = maxDeclined
	if _, err := runTour(t, s, ""); err == nil {
		t.Error("a gateway that declines everything passed")
	}
}

func TestDemoFindsViolations(t *testing.T) {
	tests := []struct {
		name      string
		server    func(*fakeServer)
		violation string
		want      string
	}{
		{"oversold", func(s *fakeServer) { s.oversells = true }, "", "oversold: 50 buyers"},
		{"nothing in stock", func(s *fakeServer) { s.stock[3] = 0 }, "", "a stock of one"},
		{"a key creates two orders", func(s *fakeServer) { s.forgetsKeys = true }, "", "one key created two orders"},
		{"audit", func(*fakeServer) {}, "stock is short", "the audit failed"},
		{"a rate limit", func(s *fakeServer) { s.limit = 1 }, "", "too_many_requests"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newSampleServer()
			test.server(s)
			text, err := runTour(t, s, test.violation)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(text, "All guarantees held") {
				t.Errorf("%v\n%s", err, text)
			}
		})
	}
}

func TestDemoEndsWithItsContext(t *testing.T) {
	f := fakeServers{}
	running, err := f.starter(t, func(Server) *fakeServer { return newSampleServer() })(t.Context(), Server{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Demo(ctx, &bytes.Buffer{}, true, running); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestReadStream(t *testing.T) {
	const text = "retry: 1000\n\n:\n\nid: 1-1\nevent: OrderCreated\ndata: {\ndata: }\n\ndata:{\"type\":\"OrderPaid\"}\n\nevent: Unfinished\ndata: x\n"
	var got []string
	err := readStream(strings.NewReader(text), func(e streamEvent) error {
		got = append(got, e.name+"|"+string(e.data))
		return nil
	})
	if diff := cmp.Diff([]string{"OrderCreated|{\n}\n", "OrderPaid|{\"type\":\"OrderPaid\"}\n"}, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestFollowWantsTheEnd(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("event: OrderCreated\ndata: {}\n\n"))
	})
	web := newAPIClient(url)
	defer web.close()
	if err := web.follow(t.Context(), 1, func(streamEvent) error { return nil }); err == nil {
		t.Error("a stream that ended early passed")
	}
}

func TestProcessFigures(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("read on Linux only")
	}
	before, err := ProcessCPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for spun := 0; ; spun++ { // until the clock of processor time, which has steps of 10 ms, moves
		after, err := ProcessCPU(os.Getpid())
		if err != nil || after < before || spun > 1_000_000 {
			t.Fatal(before, after, err)
		}
		if own, ok := ownCPU(); after > before {
			if !ok || own+time.Second < after || own > after+time.Second {
				t.Errorf("%s by /proc, %s by getrusage", after, own)
			}
			break
		}
	}
	if size, err := ProcessMemory(os.Getpid()); err != nil || size < 1<<20 || size > 1<<34 {
		t.Errorf("%d bytes resident, %v", size, err)
	}
	if m := ThisMachine("abc", "cmd"); m.CPU == "" || m.Cores < 1 || !strings.HasPrefix(m.Kernel, "Linux ") || m.Commit != "abc" {
		t.Errorf("%+v", m)
	}
}
