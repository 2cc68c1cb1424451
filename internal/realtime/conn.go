package realtime

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// Times of a connection.
const (
	takeWithin  = 10 * time.Second // for a connection that takes nothing to take something
	closeWithin = 2 * time.Second  // for a client to answer a close
)

// closeBytes is how many bytes that a client has sent are read and ignored while its connection is being closed. Input that
// nobody has read makes the system reset the connection, and a reset can destroy the close frame on its way to the client.
const closeBytes = 4 << 20

// state says who writes to a connection next.
type state uint8

const (
	idle    state = iota // nobody: nothing is queued
	waiting              // a flusher: the conn is in its list
	blocked              // a goroutine of its own, since the system takes no more at the moment
	closed               // nobody any more
)

// conn is one client. Its reader is one goroutine; all that is written goes through its queue.
type conn struct {
	hub     *hub
	sock    *socket
	ws      *websocket.Conn // reads
	id      string          // the protocol's socket id
	addr    netip.Addr
	flusher *flusher
	heard   atomic.Int64 // when the client last said something, in nanoseconds since 1970
	pinged  int64        // when it was last asked to, likewise; the sweeper's

	members []*member // its places in channels; the reader's
	words   allowance // of messages; the reader's
	bytes   allowance // of bytes, whatever they are; the reader's

	mu     sync.Mutex
	state  state
	ending bool     // nothing more is queued
	half   bool     // once all is written, our side is closed: the client sees the end and closes its own
	size   int      // of the queue, in bytes
	queue  [][]byte // frames; those of broadcasts are shared by all who get them
}

// send queues a frame for this conn alone.
func (c *conn) send(frame []byte) {
	if start, _ := c.enqueue(frame, false); start {
		c.flusher.add(c)
	}
}

// end queues a close with this code; what is queued before it is still sent.
func (c *conn) end(code Code) { c.finish(closeFrame(code)) }

// finish queues a close frame, unless one is queued.
func (c *conn) finish(frame []byte) {
	if start, _ := c.enqueue(frame, true); start {
		c.flusher.add(c)
	}
}

// enqueue takes a frame in. start says that the conn has to be handed to its flusher, which is then the caller's to do;
// size is what waits for a flusher. A client that has not taken what there is room for is cut off: it never holds others
// up.
func (c *conn) enqueue(frame []byte, last bool) (start bool, size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending || c.state == closed {
		return false, 0
	}
	if c.size+len(frame) > c.hub.options.MaxQueue {
		c.hub.metrics.slow.Inc()
		c.cut()
		return false, 0
	}
	c.queue = append(c.queue, frame)
	c.size += len(frame)
	c.ending = last
	switch c.state {
	case idle:
		c.state = waiting
		return true, c.size
	case waiting:
		return false, c.size
	default:
		return false, 0
	}
}

// cut closes the connection; its reader then tidies up. It is called with mu held.
func (c *conn) cut() {
	c.state, c.queue, c.size = closed, nil, 0
	_ = c.sock.Close() // there is nobody to tell
}

// take moves queued frames to the end of room, as many as fit. It is called with mu held.
func (c *conn) take(room []byte) []byte {
	taken := 0
	for _, frame := range c.queue {
		if len(room)+len(frame) > cap(room) {
			break
		}
		room = append(room, frame...)
		c.size -= len(frame)
		taken++
	}
	if taken == len(c.queue) && cap(c.queue) > keptFrames {
		c.queue = nil // most clients are idle most of the time
		return room
	}
	rest := copy(c.queue, c.queue[taken:])
	clear(c.queue[rest:])
	c.queue = c.queue[:rest]
	return room
}

// keptFrames is the room for frames that an empty queue keeps.
const keptFrames = 4

// flush writes what is queued, as far as the system takes it at once. It is called by the flusher, which comes back when
// again is true.
func (c *conn) flush(w *writer) (again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != waiting {
		return false
	}
	w.room = c.take(w.room[:0])
	c.mu.Unlock()
	n, err := w.try(c.sock, w.room)
	c.mu.Lock()
	switch {
	case c.state == closed:
		return false
	case err != nil:
		c.cut()
		return false
	case n < len(w.room):
		c.state = blocked
		rest := append([]byte(nil), w.room[n:]...)
		c.hub.goroutines.Go(func() { c.push(rest) })
		return false
	case len(c.queue) > 0:
		return true
	}
	c.rest()
	return false
}

// push writes what the system did not take at once, waiting for it, and then what has been queued meanwhile.
func (c *conn) push(rest []byte) {
	for {
		_ = c.sock.tcp.SetWriteDeadline(time.Now().Add(takeWithin)) // on a closed connection the write says so
		_, err := c.sock.tcp.Write(rest)
		c.mu.Lock()
		switch {
		case c.state == closed:
		case err != nil:
			if errors.Is(err, os.ErrDeadlineExceeded) { // else it has left
				c.hub.metrics.slow.Inc()
			}
			c.cut()
		case len(c.queue) > 0:
			rest = c.take(make([]byte, 0, max(len(c.queue[0]), min(c.size, writeRoom))))
			c.mu.Unlock()
			continue
		default:
			_ = c.sock.tcp.SetWriteDeadline(time.Time{}) // likewise
			c.rest()
		}
		c.mu.Unlock()
		return
	}
}

// rest notes that all that was queued is written. It is called with mu held.
func (c *conn) rest() {
	c.state = idle
	if !c.ending {
		return
	}
	_ = c.sock.SetReadDeadline(time.Now().Add(closeWithin)) // on a closed connection the read says so
	if c.half {
		_ = c.sock.CloseWrite() // likewise
	}
}

// over reports whether the connection is being closed.
func (c *conn) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ending || c.state == closed
}

// close closes the connection after its reader has ended with why. When a close frame is queued, the client first gets all
// that is queued: close waits until the client has closed its side too, for closeWithin and closeBytes at most.
func (c *conn) close(why error) {
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.state != closed {
			c.cut()
		}
	}()
	if gone := net.Error(nil); errors.As(why, &gone) { // it has left, or did not answer a close in time
		return
	}
	if c.closeOwnSide() {
		_, _ = io.CopyN(io.Discard, c.sock.tcp, closeBytes) // the connection ends either way
	}
	c.writeRest()
}

// writeRest writes what the flusher has not come to yet, for a client that has closed its sending side only.
func (c *conn) writeRest() {
	c.mu.Lock()
	if c.state != waiting {
		c.mu.Unlock()
		return
	}
	rest := c.take(make([]byte, 0, c.size))
	c.state = closed // nothing more is queued, and the flusher leaves it
	c.mu.Unlock()
	_ = c.sock.tcp.SetWriteDeadline(time.Now().Add(closeWithin)) // on a closed connection the write says so
	_, _ = c.sock.tcp.Write(rest)                                // likewise
	_ = c.sock.Close()                                           // the connection ends either way
}

// closeOwnSide closes the sending side of the connection as soon as the queue is written. It returns false when no close frame
// was queued, and when the connection is closed already.
func (c *conn) closeOwnSide() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ending || c.state == closed {
		return false
	}
	c.half = true
	_ = c.sock.SetReadDeadline(time.Now().Add(closeWithin)) // on a closed connection the read says so
	if c.state == idle {
		_ = c.sock.CloseWrite() // likewise
	}
	return true
}

// allowance is how much a client may send: so much at once, refilled evenly.
type allowance struct {
	used float64
	at   time.Time
}

const (
	wordsAtOnce    = 250.0 // a page may subscribe to all its channels as it comes
	wordsPerSecond = 20.0

	// Bytes are counted below the protocol, where frames without a message are seen, too. They are more than messages of
	// the largest size at their rate.
	bytesAtOnce    = 4 << 20
	bytesPerSecond = 256 << 10
)

// take uses one up, if there is one.
func (a *allowance) take(now time.Time, atOnce, perSecond float64) bool {
	return a.spend(1, now, atOnce, perSecond)
}

// spend uses n up, if there are so many.
func (a *allowance) spend(n float64, now time.Time, atOnce, perSecond float64) bool {
	a.used = max(0, a.used-now.Sub(a.at).Seconds()*perSecond)
	a.at = now
	if a.used+n > atOnce {
		return false
	}
	a.used += n
	return true
}
