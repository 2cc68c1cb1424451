package app

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// leftGrace is how long a request may still run after its client has closed its side of the connection. A client that closed only
// its sending side, as nc -N does, waits for the answer; one that has left must not keep its place in a queue.
const leftGrace = 2 * time.Second

// lingering delays the end of a connection's input while a request is being answered.
//
// While a handler runs, net/http reads one byte ahead in the background (connReader.backgroundRead) and cancels the request's
// context when that read fails. Other reads ask for one byte only where a buffer or a limit has room for no more. lingering holds
// the end of the input back from a read of one byte for leftGrace, so that the context of the request ends that much later. This
// costs a request nothing, which a context of its own for each request would. Should a later net/http read ahead in another way,
// the context ends at once.
type lingering struct {
	wake    atomic.Pointer[chan struct{}] // closed when the waiting read has to return; nil while none waits
	expired atomic.Bool                   // the read deadline lies in the past: net/http wants its background read back
}

// read is conn.Read, but it returns the end of the input to a background read only after grace, or when that read has to return.
func (l *lingering) read(conn net.Conn, p []byte, grace time.Duration) (int, error) {
	n, err := conn.Read(p)
	if n > 0 || len(p) != 1 || !errors.Is(err, io.EOF) {
		return n, err
	}
	wake := make(chan struct{})
	l.wake.Store(&wake)
	defer l.wake.CompareAndSwap(&wake, nil)
	if l.expired.Load() { // set before wake could be seen
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

// deadline notes a read deadline, and wakes a read that waits when the deadline has passed.
func (l *lingering) deadline(at time.Time) {
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

// stop wakes a read that waits.
func (l *lingering) stop() {
	if wake := l.wake.Swap(nil); wake != nil {
		close(*wake)
	}
}
