package web

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestLingering(t *testing.T) {
	for name, c := range map[string]struct {
		size  int              // of the read, in bytes
		then  func(*lingering) // happens after a second
		want  error
		after time.Duration
	}{
		"background read":                    {1, func(*lingering) {}, io.EOF, halfCloseGrace},
		"any other read":                     {4096, func(*lingering) {}, io.EOF, 0},
		"the handler has returned":           {1, func(l *lingering) { l.setDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded, time.Second},
		"a deadline that has not passed yet": {1, func(l *lingering) { l.setDeadline(time.Now().Add(time.Minute)) }, io.EOF, halfCloseGrace},
		"the server closes the connection":   {1, func(l *lingering) { l.close() }, os.ErrDeadlineExceeded, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, conn := net.Pipe()
				_ = client.Close()
				var l lingering
				time.AfterFunc(time.Second, func() { c.then(&l) })
				began := time.Now()
				n, err := l.read(conn, make([]byte, c.size), halfCloseGrace)
				if n != 0 || !errors.Is(err, c.want) {
					t.Errorf("read %d, %v, want %v", n, err, c.want)
				}
				if took := time.Since(began); took != c.after {
					t.Errorf("returned after %s, want %s", took, c.after)
				}
				time.Sleep(2 * time.Second) // until then has run, in the time of the bubble
			})
		})
	}
}

// The handler answers before the background read finds the end of the input.
func TestLingeringAfterTheAnswer(t *testing.T) {
	client, conn := net.Pipe()
	_ = client.Close()
	var l lingering
	l.setDeadline(time.Unix(1, 0))
	if _, err := l.read(conn, make([]byte, 1), time.Hour); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %v", err)
	}
	l.setDeadline(time.Time{})
	var closed lingering
	closed.close()
	if _, err := closed.read(conn, make([]byte, 1), time.Hour); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read of a closed connection: %v", err)
	}
	if _, err := l.read(conn, make([]byte, 2), time.Hour); !errors.Is(err, io.EOF) {
		t.Errorf("read of the next request: %v", err)
	}
}
