package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/slogtest"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pipe is a writer that tests can read, block and break.
type pipe struct {
	mu      sync.Mutex
	written bytes.Buffer
	writes  int
	fail    func(p []byte) (int, error) // instead of writing, when set
	open    chan struct{}               // writes wait until it is closed; nil for none
}

func (p *pipe) Write(page []byte) (int, error) {
	if p.open != nil {
		<-p.open
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writes++
	if p.fail != nil {
		n, err := p.fail(page)
		p.written.Write(page[:n])
		return n, err
	}
	return p.written.Write(page)
}

// breaks sets how later writes fail, if at all, and returns the number of earlier ones.
func (p *pipe) breaks(fail func(p []byte) (int, error)) (writes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = fail
	return p.writes
}

func (p *pipe) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.written.String()
}

// lines decodes the written JSON lines.
func (p *pipe) lines(t testing.TB) []map[string]any {
	t.Helper()
	var lines []map[string]any
	for text := range strings.Lines(p.String()) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%v in %q", err, text)
		}
		lines = append(lines, line)
	}
	return lines
}

func mustClose(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestJSONLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pipe
		l := NewLog(&p, LogOptions{})
		time.Sleep(time.Second + 23*time.Microsecond)
		l.Logger().With("node", "a").Info("order created", "event", "order.created", "order_id", 7, "took", 1500*time.Microsecond,
			"at", time.Date(2026, 1, 2, 3, 4, 5, 6000, time.FixedZone("", 3600)), "err", errors.New("no"), slog.Group("g", "x", true))
		mustClose(t, l)
		want := `{"timestamp":"2000-01-01T00:00:01.000023Z","level":"info","message":"order created","node":"a","event":"order.created",` +
			`"order_id":7,"took":0.0015,"at":"2026-01-02T02:04:05.000006Z","err":"no","g":{"x":true}}` + "\n"
		if p.String() != want {
			t.Errorf("got  %swant %s", p.String(), want)
		}
	})
}

func TestTextLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pipe
		l := NewLog(&p, LogOptions{Text: true, Level: slog.LevelDebug})
		l.Logger().Debug("order created", "event", "order.created", "took", 1500*time.Microsecond)
		mustClose(t, l)
		want := `timestamp=2000-01-01T00:00:00.000000Z level=debug message="order created" event=order.created took=1.5ms` + "\n"
		if p.String() != want {
			t.Errorf("got  %swant %s", p.String(), want)
		}
	})
}

// The handler keeps the rules of slog for handlers.
func TestConformance(t *testing.T) {
	var p pipe
	var l *Log
	slogtest.Run(t, func(*testing.T) slog.Handler {
		p = pipe{}
		l = NewLog(&p, LogOptions{})
		return l.Logger().Handler()
	}, func(t *testing.T) map[string]any {
		mustClose(t, l)
		line := p.lines(t)[0]
		for ours, theirs := range map[string]string{keyTime: slog.TimeKey, keyMessage: slog.MessageKey} {
			if value, ok := line[ours]; ok {
				line[theirs] = value
				delete(line, ours)
			}
		}
		return line
	})
}

func TestLevel(t *testing.T) {
	var p pipe
	l := NewLog(&p, LogOptions{Level: slog.LevelWarn})
	l.Logger().Info("no")
	l.Logger().Warn("yes")
	mustClose(t, l)
	if lines := p.lines(t); len(lines) != 1 || lines[0]["message"] != "yes" {
		t.Errorf("%v", lines)
	}
}

// No message, key or value can end a line, start another or reach a terminal unquoted.
func TestInjection(t *testing.T) {
	evil := "x\n{\"level\":\"error\"}\r\n\x1b[2J\u2028\xff\x00\" y=z"
	for _, text := range []bool{true, false} {
		var p pipe
		l := NewLog(&p, LogOptions{Text: text})
		l.Logger().With(evil, evil).WithGroup(evil).Info(evil, evil, evil, "any", []string{evil}, "err", errors.New(evil), "raw", []byte(evil))
		mustClose(t, l)
		if got := p.String(); strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, "\n") || strings.ContainsAny(got, "\x1b\x00\r") {
			t.Errorf("text %v: %q", text, got)
		}
		if !text {
			p.lines(t)
		}
	}
}

// A line has each standard key once, whatever the keys of the attributes.
func TestKeysOfEveryLine(t *testing.T) {
	var p pipe
	l := NewLog(&p, LogOptions{})
	l.Logger().With("time", time.Now()).Info("m", "level", "l", "message", "x", "timestamp", 1, "msg", 2) //nolint:sloglint // the test needs these keys
	mustClose(t, l)
	got := p.lines(t)[0]
	if keys := slices.Sorted(maps.Keys(got)); len(keys) != 8 || got["message"] != "m" || got["level"] != "info" || got["message_"] != "x" {
		t.Errorf("%v", got)
	}
}

// A caller may change a value after the call: the line has the old one, and there is no race.
func TestValuesAreReadAtOnce(t *testing.T) {
	var p pipe
	l := NewLog(&p, LogOptions{})
	values, member := map[string]int{"a": 1}, []int{1}
	l.Logger().Info("m", "values", values, slog.Group("g", "member", member))
	values["a"], member[0] = 2, 2
	mustClose(t, l)
	if got := p.lines(t)[0]; got["values"] != "map[a:1]" || got["g"].(map[string]any)["member"] != "[1]" {
		t.Errorf("%v", got)
	}
}

func TestLongTextsAreCut(t *testing.T) {
	var p pipe
	l := NewLog(&p, LogOptions{})
	long := strings.Repeat("x", 10*maxText)
	l.Logger().Info(long, "text", long, "any", []string{long})
	mustClose(t, l)
	if n := len(p.String()); n > 3*maxText+1000 || n < 3*maxText {
		t.Errorf("%d bytes", n)
	}
}

// Lines wait up to linger, to be written together; errors do not.
func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pipe
		l := NewLog(&p, LogOptions{})
		l.Logger().Info("one")
		time.Sleep(linger / 2)
		l.Logger().Info("two")
		synctest.Wait()
		if p.String() != "" {
			t.Errorf("written before linger ended: %s", p.String())
		}
		time.Sleep(linger / 2)
		synctest.Wait()
		if lines := p.lines(t); len(lines) != 2 || p.writes != 1 {
			t.Errorf("%d writes: %v", p.writes, lines)
		}
		l.Logger().Info("three")
		l.Logger().Error("four")
		synctest.Wait()
		if lines := p.lines(t); len(lines) != 4 || lines[2]["message"] != "three" {
			t.Errorf("an error was not written at once: %v", lines)
		}
		mustClose(t, l)
	})
}

// A blocked pipe only loses lines. When it is read again, the log reports how many. The last part of the buffer is reserved for errors.
func TestStuckPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe{open: make(chan struct{})}
		var lost atomic.Int64
		l := NewLog(&p, LogOptions{Buffer: 64 << 10, Dropped: func(n int) { lost.Add(int64(n)) }})
		logger := l.Logger()
		const sent = 1000
		for i := range sent {
			logger.Info("line", "i", i) // synctest would report a deadlock if this waited for the pipe
			if i%100 == 0 {
				time.Sleep(time.Second)
			}
		}
		if lost.Load() == 0 {
			t.Error("no line was dropped")
		}
		before := lost.Load()
		logger.Info("does not fit")
		logger.Error("fits")
		if lost.Load() != before+1 {
			t.Errorf("%d dropped, want %d", lost.Load(), before+1)
		}
		close(p.open)
		time.Sleep(time.Second)
		synctest.Wait()
		said, kept := 0, 0
		for _, line := range p.lines(t) {
			if line["event"] == "log.dropped" {
				said += int(line["lines"].(float64))
			} else {
				kept++
			}
		}
		if int64(said) != lost.Load() || kept+said != sent+2 {
			t.Errorf("%d sent, %d written, %d reported as dropped, %d counted", sent+2, kept, said, lost.Load())
		}
		logger.Info("after")
		mustClose(t, l)
		if lines := p.lines(t); lines[len(lines)-1]["message"] != "after" {
			t.Error("the log did not write again")
		}
	})
}

// A failing pipe loses the lines that it does not accept; a partial line corrupts no other.
func TestBrokenPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lost atomic.Int64
		p := pipe{fail: func(page []byte) (int, error) { return len(page) / 2, io.ErrClosedPipe }}
		l := NewLog(&p, LogOptions{Dropped: func(n int) { lost.Add(int64(n)) }})
		l.Logger().Error("first")
		synctest.Wait()
		p.breaks(func([]byte) (int, error) { return 0, io.ErrClosedPipe })
		l.Logger().Error("second")
		time.Sleep(time.Hour)
		if n := p.breaks(nil); n > 10 {
			t.Errorf("%d writes to a broken pipe", n)
		}
		l.Logger().Error("third")
		synctest.Wait()
		var got []string
		for text := range strings.Lines(p.String()) {
			got = append(got, text)
		}
		if len(got) != 3 || !strings.Contains(got[1], `"lines":2`) || !strings.Contains(got[2], "third") || lost.Load() != 2 {
			t.Errorf("%d lost, written: %q", lost.Load(), got)
		}
		mustClose(t, l)
	})
}

// A writer that writes less than it was given, without an error, counts as failed.
func TestShortWrites(t *testing.T) {
	var lost atomic.Int64
	p := pipe{fail: func(page []byte) (int, error) { return len(page) - 1, nil }}
	l := NewLog(&p, LogOptions{Dropped: func(n int) { lost.Add(int64(n)) }})
	l.Logger().Error("m")
	mustClose(t, l)
	if lost.Load() != 1 {
		t.Errorf("%d lost", lost.Load())
	}
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe{open: make(chan struct{})}
		var lost atomic.Int64
		l := NewLog(&p, LogOptions{Dropped: func(n int) { lost.Add(int64(n)) }})
		l.Logger().Info("before")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := l.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("Close with a blocked pipe: %v after %s", err, time.Since(start))
		}
		l.Logger().Info("after")
		if lost.Load() != 1 {
			t.Errorf("%d lost", lost.Load())
		}
		close(p.open)
		mustClose(t, l)
		if lines := p.lines(t); len(lines) < 1 || lines[0]["message"] != "before" {
			t.Errorf("%v", lines)
		}
	})
}

// With concurrent callers every line is written whole, and the lines of each caller in order.
func TestConcurrentCallers(t *testing.T) {
	var p pipe
	l := NewLog(&p, LogOptions{})
	const callers, each = 8, 500
	var group sync.WaitGroup
	for caller := range callers {
		group.Go(func() {
			logger := l.Logger().With("caller", caller)
			for i := range each {
				logger.Info("m", "i", i)
			}
		})
	}
	group.Wait()
	mustClose(t, l)
	next := map[float64]float64{}
	for _, line := range p.lines(t) {
		caller, i := line["caller"].(float64), line["i"].(float64)
		if next[caller] != i {
			t.Fatalf("caller %v: line %v, want %v", caller, i, next[caller])
		}
		next[caller]++
	}
	if len(next) != callers || next[0] != each {
		t.Errorf("%v", next)
	}
}

// BenchmarkLog measures a log call. Formatting and writing are not measured.
func BenchmarkLog(b *testing.B) {
	const burst = 256
	l := NewLog(io.Discard, LogOptions{Buffer: 1 << 30})
	defer mustClose(b, l)
	logger := l.Logger()
	ctx := b.Context()
	for i := 0; b.Loop(); i++ {
		logger.LogAttrs(ctx, slog.LevelInfo, "order created", slog.String("event", "order.created"), slog.Int("order_id", i),
			slog.Int("user_id", 7), slog.String("trace_id", "0af7651916cd43dd8448eb211c80319c"))
		if i%burst == burst-1 {
			b.StopTimer()
			notify(l.flushNow)
			for l.pending() > 0 {
				runtime.Gosched()
			}
			b.StartTimer()
		}
	}
}

// pending returns the weight of the unwritten lines.
func (l *Log) pending() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.weight
}

// BenchmarkDropped measures a log call with a full buffer.
func BenchmarkDropped(b *testing.B) {
	p := pipe{open: make(chan struct{})}
	l := NewLog(&p, LogOptions{Buffer: 1})
	logger := l.Logger()
	ctx := b.Context()
	for i := 0; b.Loop(); i++ {
		logger.LogAttrs(ctx, slog.LevelInfo, "order created", slog.String("event", "order.created"), slog.Int("order_id", i))
	}
	close(p.open)
	mustClose(b, l)
}

func ExampleLog() {
	var out bytes.Buffer
	l := NewLog(&out, LogOptions{Text: true})
	l.Logger().Info("order created", "event", "order.created", "order_id", 7)
	_ = l.Close(context.Background())
	_, line, _ := strings.Cut(out.String(), " ")
	fmt.Print(line)
	// Output: level=info message="order created" event=order.created order_id=7
}
