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

// LogOptions say how a Log writes.
type LogOptions struct {
	Text   bool         // key=value lines for people, else a JSON object a line
	Level  slog.Leveler // least level that is logged; nil for info
	Buffer int          // bytes of lines that may wait, roughly; 0 for 4 MiB

	// Dropped, if set, is told of lines that were lost, as they are lost. It is called by whoever logs and by the
	// writer, at times concurrently; it must be quick and may not log.
	Dropped func(lines int)
}

// Log writes log lines without ever making the one who logs wait for it. Make one with NewLog, give its Logger to all
// who log, and Close it last. Its methods may be called from any goroutine.
type Log struct {
	w       io.Writer
	options LogOptions
	root    slog.Handler // formats into page; used by the writer alone, but for deriving others from it

	mu      sync.Mutex
	waiting []line
	weight  int // of the lines that wait or are being written
	dropped int // since the log last said so
	closed  bool

	wake     chan struct{} // something waits
	flushNow chan struct{} // do not linger
	done     chan struct{} // closed when the writer has ended

	out         bytes.Buffer // the writer's: formatted lines
	partialLine bool         // the writer's: the last write ended within a line
}

// line is a record on its way, with the handler that knows how to format it.
type line struct {
	format slog.Handler
	record slog.Record
	weight int
}

const (
	// linger is how long a line that is no error may wait for others to be written with it.
	linger = 20 * time.Millisecond
	// defaultBuffer is the bound of the buffer in bytes.
	defaultBuffer = 4 << 20
	// writeSize is how many bytes are gathered before they are written.
	writeSize = 64 << 10
)

// NewLog returns a Log that writes to w, and starts its writer, which Close ends.
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

// Logger returns a logger that writes here. After Close its lines are dropped.
func (l *Log) Logger() *slog.Logger { return slog.New(&handler{log: l, format: l.root}) }

// Close writes what waits and ends the writer. When ctx ends first, what waits is given up and the error says so: a
// pipe that nobody reads would else keep the process for ever.
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
		return fmt.Errorf("telemetry: the last log lines could not be written: %w", ctx.Err())
	}
}

// add takes a line in, or drops it when there is no room.
func (l *Log) add(added line) {
	room := l.options.Buffer
	if added.record.Level < slog.LevelError {
		room -= room / 8
	}
	l.mu.Lock()
	if l.closed || l.weight+added.weight > room {
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

// leave leaves a mark in a channel with room for one, unless there is one already.
func notify(mark chan<- struct{}) {
	select {
	case mark <- struct{}{}:
	default:
	}
}
