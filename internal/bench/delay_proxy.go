package bench

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"sync"
	"time"
)

// Bounds of a DelayProxy.
const (
	maxDelay         = time.Second
	proxyDialTimeout = 2 * time.Second
	chunkSize        = 32 << 10 // bytes of one read
	chunksMax        = 1024     // in flight in one direction of a connection; beyond that the sender waits
	queueSize        = 4096     // chunks of all connections that wait for the clock
)

// DelayProxy is a TCP proxy that simulates a network with a delay: it forwards every chunk in order, half the delay later in each
// direction. One thread, the clock, sleeps with the system's timer. The timer of the Go runtime wakes an idle program up to a
// millisecond late, which is as long as the delay.
type DelayProxy struct {
	target     string
	oneWay     time.Duration
	listener   net.Listener
	queue      chan chunk
	closed     chan struct{}
	cancel     context.CancelFunc // ends dials
	goroutines sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// chunk is the result of one read, which its writer gets when it is due. Without bytes it is the end of the stream.
type chunk struct {
	due   time.Time
	to    chan<- []byte
	bytes []byte
}

// NewDelayProxy returns a proxy to target (HOST:PORT) on a free loopback port. delay is that of a round trip, at most a second. The
// caller closes the proxy.
func NewDelayProxy(ctx context.Context, target string, delay time.Duration) (*DelayProxy, error) {
	if delay < 0 || delay > maxDelay {
		return nil, fmt.Errorf("a delay of %s: it must be 0 to %s", delay, maxDelay)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &DelayProxy{
		cancel: cancel, target: target, oneWay: delay / 2, listener: listener, queue: make(chan chunk, queueSize),
		closed: make(chan struct{}), conns: map[net.Conn]struct{}{},
	}
	f.goroutines.Go(f.clock)
	f.goroutines.Go(func() { f.accept(ctx) })
	return f, nil
}

// Addr returns the address of the proxy.
func (f *DelayProxy) Addr() string { return f.listener.Addr().String() }

// Close closes all connections and waits for all goroutines. A second call has no effect.
func (f *DelayProxy) Close() error {
	err := f.listener.Close()
	if err != nil {
		return err // already closed
	}
	close(f.closed)
	f.cancel()
	f.mu.Lock()
	for conn := range f.conns {
		_ = conn.Close() // data in flight is dropped
	}
	f.mu.Unlock()
	f.goroutines.Wait()
	return err
}

// clock passes each chunk to its writer when it is due. All have the same delay, so they are due in order of arrival.
func (f *DelayProxy) clock() {
	runtime.LockOSThread() // sleepExactly blocks the thread
	defer runtime.UnlockOSThread()
	for {
		select {
		case p := <-f.queue:
			if early := time.Until(p.due); early > 0 {
				sleepExactly(early)
			}
			p.to <- p.bytes // never blocks: the channel holds all chunks in flight
		case <-f.closed:
			return
		}
	}
}

func (f *DelayProxy) accept(ctx context.Context) {
	for {
		conn, err := f.listener.Accept()
		if err != nil {
			return // closed
		}
		f.goroutines.Go(func() { f.forward(ctx, conn) })
	}
}

// register registers a connection for Close. It returns false when the proxy is closed.
func (f *DelayProxy) register(conn net.Conn) bool {
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

func (f *DelayProxy) closeConn(conn net.Conn) {
	f.mu.Lock()
	delete(f.conns, conn)
	f.mu.Unlock()
	_ = conn.Close() // both directions have ended
}

// forward serves one connection until both directions have ended.
func (f *DelayProxy) forward(ctx context.Context, near net.Conn) {
	defer f.closeConn(near)
	if !f.register(near) {
		return
	}
	far, err := (&net.Dialer{Timeout: proxyDialTimeout}).DialContext(ctx, "tcp", f.target)
	if err != nil {
		return
	}
	defer f.closeConn(far)
	if !f.register(far) {
		return
	}
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		out, slots := make(chan []byte, chunksMax+1), make(chan struct{}, chunksMax)
		both.Go(func() { f.read(way[0], out, slots) })
		both.Go(func() { f.write(way[1], out, slots) })
	}
	both.Wait()
}

// read reads chunks from a connection until its end. Each takes a slot, which write gives back.
func (f *DelayProxy) read(from net.Conn, out chan<- []byte, slots chan<- struct{}) {
	buffer := make([]byte, chunkSize)
	for {
		n, err := from.Read(buffer)
		now := time.Now()
		if n > 0 {
			select {
			case slots <- struct{}{}:
			case <-f.closed:
				return
			}
			if !f.enqueue(chunk{now.Add(f.oneWay), out, append([]byte(nil), buffer[:n]...)}) {
				return
			}
		}
		if err != nil {
			f.enqueue(chunk{now.Add(f.oneWay), out, nil})
			return
		}
	}
}

func (f *DelayProxy) enqueue(p chunk) bool {
	select {
	case f.queue <- p:
		return true
	case <-f.closed:
		return false
	}
}

// write writes the chunks that are due. After an error it drops the rest and closes the connection, so that the other direction ends,
// too.
func (f *DelayProxy) write(to net.Conn, out <-chan []byte, slots <-chan struct{}) {
	broken := false
	for {
		select {
		case bytes := <-out:
			if bytes == nil {
				if tcp, ok := to.(*net.TCPConn); ok {
					_ = tcp.CloseWrite() // the connection may be closed already
				}
				return
			}
			<-slots
			if _, err := to.Write(bytes); err != nil && !broken {
				broken = true
				_ = to.Close() // ends the read of the other direction
			}
		case <-f.closed:
			return
		}
	}
}
