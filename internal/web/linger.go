package web

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// halfCloseGrace is how long a request may still run after its client has closed its side of the connection. A client that closed
// only its sending side, as nc -N does, still waits for the answer. A client that disconnected must not keep its place in a queue.
const halfCloseGrace = 2 * time.Second

// lingering delays the end of a connection's input while a request is being answered.
//
// While a handler runs, net/http reads one byte ahead in the background (connReader.backgroundRead) and cancels the request's
// context when that read fails. All other reads ask for more than one byte, except where a buffer or a limit has space for no more.
// So lingering delays the end of the input for a read of one byte by halfCloseGrace, and the request's context ends that much
// later. This costs a request nothing, whereas a context of its own would. If a later net/http reads ahead in another way, the
// context ends at once.
type lingering struct {
	wake    atomic.Pointer[chan struct{}] // closed when the waiting read has to return; nil while none waits
	expired atomic.Bool                   // the read deadline has passed: net/http aborts its background read
}

// read is conn.Read, except that it returns the end of the input to a background read only after grace, or when that read has to
// return.
func (l *lingering) read(conn net.Conn, p []byte, grace time.Duration) (int, error) {
	n, err := conn.Read(p)
	if n > 0 || len(p) != 1 || !errors.Is(err, io.EOF) {
		return n, err
	}
	wake := make(chan struct{})
	l.wake.Store(&wake)
	defer l.wake.CompareAndSwap(&wake, nil)
	if l.expired.Load() { // before wake was visible
		return 0, os.ErrDeadlineExceeded
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-timer.C:
		return 0, err
	case <-wake:
		return 0, os.ErrDeadlineExceeded // the next read finds the end of the input again
	}
}

// setDeadline notes a read deadline, and wakes the waiting read when the deadline has passed.
func (l *lingering) setDeadline(at time.Time) {
	expired := !at.IsZero() && !at.After(time.Now())
	l.expired.Store(expired)
	if expired {
		l.stop()
	}
}

// close makes reads return at once from now on.
func (l *lingering) close() {
	l.expired.Store(true)
	l.stop()
}

// stop wakes the waiting read.
func (l *lingering) stop() {
	if wake := l.wake.Swap(nil); wake != nil {
		close(*wake)
	}
}
