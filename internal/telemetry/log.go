package telemetry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// LogOptions configure a Log.
type LogOptions struct {
	Text   bool         // key=value lines for people, instead of one JSON object per line
	Level  slog.Leveler // lowest level that is logged; nil for info
	Buffer int          // approximate bytes of waiting lines; 0 for 4 MiB

	// Dropped, if set, is called with the number of lost lines. Log calls and the writer call it, at times concurrently; it
	// must be quick and must not log.
	Dropped func(lines int)
}

// Log writes log lines; its callers never wait for a write. Create it with NewLog, use its Logger, and Close it last. All methods are
// safe for concurrent use.
type Log struct {
	w       io.Writer
	options LogOptions
	root    slog.Handler // formats into out; only the writer uses it, except to derive other handlers from it

	mu      sync.Mutex
	waiting []line
	weight  int // of the lines that wait or are being written
	dropped int // lines lost and not yet reported by a log line
	closed  bool

	wake     chan struct{} // a signal: lines are waiting
	flushNow chan struct{} // a signal: write without lingering
	done     chan struct{} // closed when the writer has stopped

	out         bytes.Buffer // the writer's: formatted lines
	partialLine bool         // the writer's: the last write ended in the middle of a line
}

// line is a waiting record, with the handler that formats it.
type line struct {
	format slog.Handler
	record slog.Record
	weight int
}

const (
	// linger is the longest wait of a line below level error, so that several lines are written together.
	linger = 20 * time.Millisecond
	// defaultBuffer is the default of LogOptions.Buffer.
	defaultBuffer = 4 << 20
	// writeSize is how many bytes are gathered before they are written.
	writeSize = 64 << 10
)

// NewLog returns a Log that writes to w, and starts its writer, which Close stops.
func NewLog(w io.Writer, options LogOptions) *Log {
	if options.Level == nil {
		options.Level = slog.LevelInfo
	}
	if options.Buffer <= 0 {
		options.Buffer = defaultBuffer
	}
	l := &Log{
		w: w, options: options,
		wake: make(chan struct{}, 1), flushNow: make(chan struct{}, 1), done: make(chan struct{}),
	}
	l.root = newFormat(&l.out, options.Text)
	go l.run()
	return l
}

// Logger returns a logger that writes to this Log. After Close its lines are dropped.
func (l *Log) Logger() *slog.Logger { return slog.New(&handler{log: l, format: l.root}) }

// Close writes the waiting lines and stops the writer. When ctx ends first, it drops them and returns an error: a blocked pipe
// must not keep the process from ending.
func (l *Log) Close(ctx context.Context) error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	notify(l.wake)
	notify(l.flushNow)
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("telemetry: the last log lines were not written in time: %w", ctx.Err())
	}
}

// add appends a line, or drops it when the buffer is full.
func (l *Log) add(added line) {
	bound := l.options.Buffer
	if added.record.Level < slog.LevelError {
		bound -= bound / 8 // reserved for errors
	}
	l.mu.Lock()
	if l.closed || l.weight+added.weight > bound {
		l.dropped++
		l.mu.Unlock()
		if l.options.Dropped != nil {
			l.options.Dropped(1)
		}
		return
	}
	first := len(l.waiting) == 0
	l.waiting = append(l.waiting, added)
	l.weight += added.weight
	crowded := l.weight > l.options.Buffer/2
	l.mu.Unlock()
	if first {
		notify(l.wake)
	}
	if crowded || added.record.Level >= slog.LevelError {
		notify(l.flushNow)
	}
}

// notify sets a signal, a channel of capacity 1.
func notify(mark chan<- struct{}) {
	select {
	case mark <- struct{}{}:
	default:
	}
}
