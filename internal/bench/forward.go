package bench

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"sync"
	"time"
)

// Bounds of a Forwarder.
const (
	maxDelay       = time.Second
	forwardDial    = 2 * time.Second
	forwardPiece   = 32 << 10 // bytes read at once
	forwardPieces  = 1024     // on their way in one direction of a connection; the sender waits beyond that
	forwardWaiting = 4096     // of all connections, for the clock
)

// Forwarder is a stretch of network with a delay: what reaches it goes on to another address, in order and as fast as
// it comes, half a delay later in each direction. It has one clock, a thread that sleeps by the system's own timer: the
// Go runtime's wakes an idle program up to a millisecond late, which is as much as is to be simulated.
type Forwarder struct {
	target   string
	oneWay   time.Duration
	listener net.Listener
	waiting  chan piece
	closed   chan struct{}
	cancel   context.CancelFunc // of connections that are being made
	parts    sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// piece is what was read at once, to be handed to its writer when it is due. No bytes stand for the end of the stream.
type piece struct {
	due   time.Time
	to    chan<- []byte
	bytes []byte
}

// Forward returns a Forwarder to target (HOST:PORT) on a free loopback port; delay is that of a round trip, at most a
// second. Close it.
func Forward(ctx context.Context, target string, delay time.Duration) (*Forwarder, error) {
	if delay < 0 || delay > maxDelay {
		return nil, fmt.Errorf("a delay of %s: it must be 0 to %s", delay, maxDelay)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &Forwarder{
		cancel: cancel, target: target, oneWay: delay / 2, listener: listener, waiting: make(chan piece, forwardWaiting),
		closed: make(chan struct{}), conns: map[net.Conn]struct{}{},
	}
	f.parts.Go(f.clock)
	f.parts.Go(func() { f.accept(ctx) })
	return f, nil
}

// Addr is where the Forwarder listens.
func (f *Forwarder) Addr() string { return f.listener.Addr().String() }

// Close cuts all connections and returns when nothing of the Forwarder runs any more. A second call does nothing.
func (f *Forwarder) Close() error {
	err := f.listener.Close()
	if err != nil {
		return err // it is closed
	}
	close(f.closed)
	f.cancel()
	f.mu.Lock()
	for conn := range f.conns {
		_ = conn.Close() // they are cut, whatever is under way on them
	}
	f.mu.Unlock()
	f.parts.Wait()
	return err
}

// clock hands each piece on when it is due. All wait equally long, so those that came first are due first.
func (f *Forwarder) clock() {
	runtime.LockOSThread() // it sleeps in the system
	defer runtime.UnlockOSThread()
	for {
		select {
		case p := <-f.waiting:
			if early := time.Until(p.due); early > 0 {
				sleepExactly(early)
			}
			p.to <- p.bytes // has room for all that a direction may have on its way
		case <-f.closed:
			return
		}
	}
}

func (f *Forwarder) accept(ctx context.Context) {
	for {
		conn, err := f.listener.Accept()
		if err != nil {
			return // closed
		}
		f.parts.Go(func() { f.forward(ctx, conn) })
	}
}

// keep remembers a connection for Close, and reports whether there is still time for it.
func (f *Forwarder) keep(conn net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.closed:
		return false
	default:
		f.conns[conn] = struct{}{}
		return true
	}
}

func (f *Forwarder) drop(conn net.Conn) {
	f.mu.Lock()
	delete(f.conns, conn)
	f.mu.Unlock()
	_ = conn.Close() // nothing is owed on it any more
}

// forward serves one connection until both of its directions have ended.
func (f *Forwarder) forward(ctx context.Context, near net.Conn) {
	defer f.drop(near)
	if !f.keep(near) {
		return
	}
	far, err := (&net.Dialer{Timeout: forwardDial}).DialContext(ctx, "tcp", f.target)
	if err != nil {
		return
	}
	defer f.drop(far)
	if !f.keep(far) {
		return
	}
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		out, room := make(chan []byte, forwardPieces+1), make(chan struct{}, forwardPieces)
		both.Go(func() { f.read(way[0], out, room) })
		both.Go(func() { f.write(way[1], out, room) })
	}
	both.Wait()
}

// read takes in what comes from a connection until its end, with a place in room for each piece.
func (f *Forwarder) read(from net.Conn, out chan<- []byte, room chan<- struct{}) {
	buffer := make([]byte, forwardPiece)
	for {
		n, err := from.Read(buffer)
		now := time.Now()
		if n > 0 {
			select {
			case room <- struct{}{}:
			case <-f.closed:
				return
			}
			if !f.wait(piece{now.Add(f.oneWay), out, append([]byte(nil), buffer[:n]...)}) {
				return
			}
		}
		if err != nil {
			f.wait(piece{now.Add(f.oneWay), out, nil})
			return
		}
	}
}

func (f *Forwarder) wait(p piece) bool {
	select {
	case f.waiting <- p:
		return true
	case <-f.closed:
		return false
	}
}

// write sends on what is due. Once the other side takes nothing more, the rest is dropped and the other side closed, so
// that the reader of its answers ends too.
func (f *Forwarder) write(to net.Conn, out <-chan []byte, room <-chan struct{}) {
	broken := false
	for {
		select {
		case bytes := <-out:
			if bytes == nil {
				if tcp, ok := to.(*net.TCPConn); ok {
					_ = tcp.CloseWrite() // the end of a stream that may be gone already
				}
				return
			}
			<-room
			if _, err := to.Write(bytes); err != nil && !broken {
				broken = true
				_ = to.Close() // its end is noticed by who reads from it
			}
		case <-f.closed:
			return
		}
	}
}
