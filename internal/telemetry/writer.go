package telemetry

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"time"
)

// run writes waiting lines, until the log is closed and empty.
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

// linger waits for further lines, unless a line must be written at once.
func (l *Log) linger() {
	timer := time.NewTimer(linger)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.flushNow:
	}
}

// take exchanges the waiting lines for an empty slice; last means that no further lines can follow.
func (l *Log) take(empty []line) (lines []line, dropped int, last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines, l.waiting = l.waiting, empty[:0]
	dropped, l.dropped = l.dropped, 0
	return lines, dropped, l.closed
}

// release frees the buffer space of lines that were written or lost. If lines were dropped meanwhile, it wakes the writer to report
// them, since the next log call may come late. After a failed write it waits for the next line instead.
func (l *Log) release(weight int, healthy bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.weight -= weight
	if l.dropped > 0 && healthy {
		notify(l.wake)
	}
}

// reusable empties the slice for reuse, unless a burst has made it large.
func reusable(lines []line) []line {
	if cap(lines) > 1024 {
		return nil
	}
	clear(lines)
	return lines[:0]
}

// put formats and writes lines, up to writeSize at a time, after a line about dropped ones. It reports whether the last write
// succeeded.
func (l *Log) put(lines []line, dropped int) bool {
	healthy := true
	if dropped > 0 {
		record := slog.NewRecord(time.Now(), slog.LevelWarn, "Log lines were dropped, because they came faster than they could be written.", 0)
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

// format formats a record as one line.
func (l *Log) format(format slog.Handler, record slog.Record) {
	_ = format.Handle(context.Background(), record) // writing to memory cannot fail
}

// flush writes the formatted lines. Lines that the writer does not accept are lost; with count they are counted. It reports whether
// the write succeeded.
func (l *Log) flush(count bool) bool {
	text := l.out.Bytes()
	defer l.out.Reset()
	if l.partialLine { // end the partial line first, so that it does not corrupt the next one
		if _, err := l.w.Write([]byte{'\n'}); err != nil {
			return l.countLost(text, count)
		}
		l.partialLine = false
	}
	n, err := l.w.Write(text)
	if err == nil && n < len(text) {
		err = io.ErrShortWrite
	}
	if err == nil {
		return true
	}
	n = max(0, min(n, len(text)))
	l.partialLine = n > 0 && text[n-1] != '\n'
	return l.countLost(text[n:], count)
}

// countLost counts the lines that end in rest; it returns false.
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

// addDropped adds lost lines that a log line must report.
func (l *Log) addDropped(lines int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropped += lines
}
