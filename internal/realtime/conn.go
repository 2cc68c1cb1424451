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

	"orderflow/internal/pusher"
)

const (
	writeTimeout = 10 * time.Second // for a blocked client to read anything
	closeTimeout = 2 * time.Second  // for a client to answer a close

	// maxDiscard limits the input, in bytes, that is read and discarded while a connection is being closed. Unread input makes the
	// system reset the connection, and a reset can destroy the close frame on its way to the client.
	maxDiscard = 4 << 20
)

// state decides which goroutine writes to a connection next.
type state uint8

const (
	idle    state = iota // none: nothing is queued
	waiting              // a flusher: the conn is in its list
	blocked              // a goroutine of the conn, since the socket's buffer is full
	closed               // none
)

// conn is one client. One goroutine reads; everything that is written goes through the queue.
type conn struct {
	hub      *hub
	sock     *socket
	ws       *websocket.Conn // reads
	id       string          // the protocol's socket id
	addr     netip.Addr
	flusher  *flusher
	received atomic.Int64 // time of the last input, in nanoseconds since 1970
	pinged   int64        // time of the last ping, likewise; used by the sweeper only

	members  []*member // the conn's subscriptions; used by the reader only
	messages bucket    // used by the reader only
	bytes    bucket    // of all input, used by the reader only

	mu      sync.Mutex
	state   state
	closing bool     // a close frame is queued; nothing may follow it
	half    bool     // close the sending side when the queue is written, so that the client closes its own
	size    int      // of the queue, in bytes
	queue   [][]byte // frames; the receivers of a broadcast share them
}

// send queues a frame for this conn alone.
func (c *conn) send(frame []byte) {
	if start, _ := c.enqueue(frame, false); start {
		c.flusher.add(c)
	}
}

// closeWith queues a close frame with this code behind the frames already queued.
func (c *conn) closeWith(code pusher.Code) { c.sendClose(closeFrame(code)) }

// sendClose queues a close frame, unless one is queued.
func (c *conn) sendClose(frame []byte) {
	if start, _ := c.enqueue(frame, true); start {
		c.flusher.add(c)
	}
}

// enqueue queues a frame. start means that the caller must add the conn to its flusher; size is the number of bytes that wait for the
// flusher. A client whose queue is full is disconnected, so that it never delays others.
func (c *conn) enqueue(frame []byte, last bool) (start bool, size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing || c.state == closed {
		return false, 0
	}
	if c.size+len(frame) > c.hub.options.MaxQueue {
		c.hub.metrics.slow.Inc()
		c.abort()
		return false, 0
	}
	c.queue = append(c.queue, frame)
	c.size += len(frame)
	c.closing = last
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

// abort closes the connection without a close frame; its reader then cleans up. The caller holds mu.
func (c *conn) abort() {
	c.state, c.queue, c.size = closed, nil, 0
	_ = c.sock.Close() // the connection ends either way
}

// dequeue moves queued frames to the end of buffer, as many as fit into its capacity. The caller holds mu.
func (c *conn) dequeue(buffer []byte) []byte {
	taken := 0
	for _, frame := range c.queue {
		if len(buffer)+len(frame) > cap(buffer) {
			break
		}
		buffer = append(buffer, frame...)
		c.size -= len(frame)
		taken++
	}
	if taken == len(c.queue) && cap(c.queue) > keptFrames {
		c.queue = nil // most clients are idle most of the time
		return buffer
	}
	rest := copy(c.queue, c.queue[taken:])
	clear(c.queue[rest:])
	c.queue = c.queue[:rest]
	return buffer
}

// keptFrames is the capacity that an empty queue keeps.
const keptFrames = 4

// flush writes the queue as far as the system takes it without blocking. The flusher calls it again when again is true.
func (c *conn) flush(w *writer) (again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != waiting {
		return false
	}
	w.buffer = c.dequeue(w.buffer[:0])
	c.mu.Unlock()
	n, err := w.try(c.sock, w.buffer)
	c.mu.Lock()
	switch {
	case c.state == closed:
		return false
	case err != nil:
		c.abort()
		return false
	case n < len(w.buffer):
		c.state = blocked
		rest := append([]byte(nil), w.buffer[n:]...)
		c.hub.goroutines.Go(func() { c.writeBlocking(rest) })
		return false
	case len(c.queue) > 0:
		return true
	}
	c.becomeIdle()
	return false
}

// writeBlocking writes the rest of a flush, then the frames that are queued meanwhile.
func (c *conn) writeBlocking(rest []byte) {
	for {
		_ = c.sock.tcp.SetWriteDeadline(time.Now().Add(writeTimeout)) // on a closed connection the write fails
		_, err := c.sock.tcp.Write(rest)
		c.mu.Lock()
		switch {
		case c.state == closed:
		case err != nil:
			if errors.Is(err, os.ErrDeadlineExceeded) { // else the client has disconnected
				c.hub.metrics.slow.Inc()
			}
			c.abort()
		case len(c.queue) > 0:
			rest = c.dequeue(make([]byte, 0, max(len(c.queue[0]), min(c.size, maxWrite))))
			c.mu.Unlock()
			continue
		default:
			_ = c.sock.tcp.SetWriteDeadline(time.Time{}) // likewise
			c.becomeIdle()
		}
		c.mu.Unlock()
		return
	}
}

// becomeIdle changes the state when the queue is written. The caller holds mu.
func (c *conn) becomeIdle() {
	c.state = idle
	if !c.closing {
		return
	}
	_ = c.sock.SetReadDeadline(time.Now().Add(closeTimeout)) // on a closed connection the read fails
	if c.half {
		_ = c.sock.CloseWrite() // likewise
	}
}

// isClosing reports whether the connection is being closed.
func (c *conn) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing || c.state == closed
}

// finish closes the connection after its reader has ended with err. When a close frame is queued, the client first gets the whole
// queue: finish waits until the client has closed its side too, for at most closeTimeout and maxDiscard.
func (c *conn) finish(err error) {
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.state != closed {
			c.abort()
		}
	}()
	if gone := net.Error(nil); errors.As(err, &gone) { // the client has disconnected, or did not answer a close in time
		return
	}
	if c.closeOwnSide() {
		_, _ = io.CopyN(io.Discard, c.sock.tcp, maxDiscard) // the connection ends either way
	}
	c.writeRest()
}

// writeRest writes what the flusher has not written yet, for a client that has closed its sending side only.
func (c *conn) writeRest() {
	c.mu.Lock()
	if c.state != waiting {
		c.mu.Unlock()
		return
	}
	rest := c.dequeue(make([]byte, 0, c.size))
	c.state = closed // no frame is queued any more, and the flusher skips the conn
	c.mu.Unlock()
	_ = c.sock.tcp.SetWriteDeadline(time.Now().Add(closeTimeout)) // on a closed connection the write fails
	_, _ = c.sock.tcp.Write(rest)                                 // the connection ends either way
	_ = c.sock.Close()                                            // likewise
}

// closeOwnSide closes the sending side as soon as the queue is written. It returns false without a close frame in the queue, and for
// a closed connection.
func (c *conn) closeOwnSide() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing || c.state == closed {
		return false
	}
	c.half = true
	_ = c.sock.SetReadDeadline(time.Now().Add(closeTimeout)) // on a closed connection the read fails
	if c.state == idle {
		_ = c.sock.CloseWrite() // likewise
	}
	return true
}

// Rates of a client's input.
const (
	messageBurst = 250.0 // a page may subscribe to all its channels at once
	messageRate  = 20.0  // per second

	// Bytes are counted below the protocol, which includes frames without a message. They exceed messages of the largest size at
	// the highest rate.
	byteBurst = 4 << 20
	byteRate  = 256 << 10 // per second
)

// bucket is a token bucket for one goroutine.
type bucket struct {
	used float64
	at   time.Time
}

// take takes n tokens of a bucket of size burst that is refilled at rate tokens a second. It returns false, and takes none, when
// there are fewer.
func (b *bucket) take(n float64, now time.Time, burst, rate float64) bool {
	b.used = max(0, b.used-now.Sub(b.at).Seconds()*rate)
	b.at = now
	if b.used+n > burst {
		return false
	}
	b.used += n
	return true
}
