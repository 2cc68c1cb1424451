package telemetry

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"time"
)

// run writes what waits, until the log is closed and empty.
func (l *Log) run() {
	defer close(l.done)
	var lines []line
	for {
		<-l.wake
		l.linger()
		var dropped int
		var last bool
		lines, dropped, last = l.take(lines)
		weight := 0
		for _, taken := range lines {
			weight += taken.weight
		}
		healthy := l.put(lines, dropped)
		l.release(weight, healthy)
		if last {
			return
		}
		lines = reusable(lines)
	}
}

// linger gives others a moment to join the line that woke the writer, unless somebody is in a hurry.
func (l *Log) linger() {
	timer := time.NewTimer(linger)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.flushNow:
	}
}

// take exchanges what waits for an empty slice; last is set when nothing can follow.
func (l *Log) take(empty []line) (lines []line, dropped int, last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines, l.waiting = l.waiting, empty[:0]
	dropped, l.dropped = l.dropped, 0
	return lines, dropped, l.closed
}

// release gives the room of lines back that are written or lost. If others were dropped meanwhile, that is said now,
// since nobody may log for a long time; but where writing fails the next line is the next try.
func (l *Log) release(weight int, healthy bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.weight -= weight
	if l.dropped > 0 && healthy {
		notify(l.wake)
	}
}

// emptied forgets the lines and keeps their slice for the next ones, unless a burst has made it large.
func reusable(lines []line) []line {
	if cap(lines) > 1024 {
		return nil
	}
	clear(lines)
	return lines[:0]
}

// put formats and writes lines, a page at a time, beginning with the news that others were dropped. It reports whether
// the last write went well.
func (l *Log) put(lines []line, dropped int) bool {
	healthy := true
	if dropped > 0 {
		record := slog.NewRecord(time.Now(), slog.LevelWarn, "log lines were dropped: they came faster than they could be written", 0)
		record.AddAttrs(slog.String("event", "log.dropped"), slog.Int("lines", dropped))
		l.format(l.root, record)
		if healthy = l.flush(false); !healthy {
			l.addDropped(dropped)
		}
	}
	for _, next := range lines {
		l.format(next.format, next.record)
		if l.out.Len() >= writeSize {
			healthy = l.flush(true)
		}
	}
	if l.out.Len() > 0 {
		healthy = l.flush(true)
	}
	return healthy
}

// format appends a record to the page as one line.
func (l *Log) format(format slog.Handler, record slog.Record) {
	_ = format.Handle(context.Background(), record) // writes to memory: it cannot fail
}

// flush writes the page and empties it. Lines that the writer does not take are lost; with count they are counted. It
// reports whether all went well.
func (l *Log) flush(count bool) bool {
	page := l.out.Bytes()
	defer l.out.Reset()
	if l.partialLine { // end what is left of a broken line, so that it spoils no other
		if _, err := l.w.Write([]byte{'\n'}); err != nil {
			return l.countLost(page, count)
		}
		l.partialLine = false
	}
	n, err := l.w.Write(page)
	if err == nil && n < len(page) {
		err = io.ErrShortWrite
	}
	if err == nil {
		return true
	}
	n = max(0, min(n, len(page)))
	l.partialLine = n > 0 && page[n-1] != '\n'
	return l.countLost(page[n:], count)
}

// lose counts the lines that end in rest; it returns false.
func (l *Log) countLost(rest []byte, count bool) bool {
	lines := bytes.Count(rest, []byte{'\n'})
	if count && lines > 0 {
		l.addDropped(lines)
		if l.options.Dropped != nil {
			l.options.Dropped(lines)
		}
	}
	return false
}

// owe remembers lines whose loss is still to be said.
func (l *Log) addDropped(lines int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropped += lines
}
