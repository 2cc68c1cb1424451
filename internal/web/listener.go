package web

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"orderflow/internal/limit"
)

// LimitListener returns a listener that accepts at most n connections at a time; further ones wait in the queue of the operating system.
// One client, or one IPv6 /64, has at most half of them, so that it cannot keep all others out. Loopback addresses and trusted
// proxies may have all, since they stand for many clients.
func LimitListener(listener *net.TCPListener, n int, proxies []netip.Prefix) net.Listener {
	return newLimitedListener(listener, n, proxies)
}

func newLimitedListener(listener *net.TCPListener, n int, proxies []netip.Prefix) *limitedListener {
	return &limitedListener{
		TCPListener: listener, proxies: proxies, slots: make(chan struct{}, n), closed: make(chan struct{}), clients: map[netip.Addr]int{},
	}
}

type limitedListener struct {
	*net.TCPListener
	proxies []netip.Prefix
	slots   chan struct{} // holds one token for each open connection
	once    sync.Once
	closed  chan struct{}

	mu      sync.Mutex
	clients map[netip.Addr]int // open connections
}

// client returns the address under which a connection is counted; the zero address for a peer that may use all slots.
func (l *limitedListener) client(remote net.Addr) netip.Addr {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr := tcp.AddrPort().Addr().Unmap()
	if addr.IsLoopback() || slices.ContainsFunc(l.proxies, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return netip.Addr{}
	}
	return limit.Client(addr).Addr()
}

// acquire counts a client's connection. It returns false when the client has reached its limit.
func (l *limitedListener) acquire(client netip.Addr) bool {
	if !client.IsValid() {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.clients[client] >= max(1, cap(l.slots)/2) {
		return false
	}
	l.clients[client]++
	return true
}

// release subtracts a client's connection.
func (l *limitedListener) release(client netip.Addr) {
	if !client.IsValid() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.clients[client]--; l.clients[client] == 0 {
		delete(l.clients, client)
	}
}

// Accept waits for a free slot, then for a connection. It closes the connection of a client that already has its half.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.accept()
		if conn != nil || err != nil {
			return conn, err
		}
	}
}

// accept is Accept for one connection; nil without an error means that it was closed.
func (l *limitedListener) accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.AcceptTCP()
	if err != nil {
		<-l.slots
		return nil, err
	}
	client := l.client(conn.RemoteAddr())
	if !l.acquire(client) {
		<-l.slots
		_ = conn.Close() // nothing depends on how it closes
		return nil, nil
	}
	return &limitedConn{TCPConn: conn, release: sync.OnceFunc(func() {
		<-l.slots
		l.release(client)
	})}, nil
}

// Close also ends an Accept that waits for a slot.
func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.TCPListener.Close()
}

// limitedConn is a connection that has a slot. It differs from its TCPConn in how its input ends (linger.go) and in what it
// writes for net/http (refusal.go). It is not wrapped further: net/http closes a TCPConn in two steps, so that the last answer
// arrives.
type limitedConn struct {
	*net.TCPConn
	release func()
	linger  lingering
}

// Read reads from the connection. It may report the end of the input later; see lingering.
func (c *limitedConn) Read(p []byte) (int, error) {
	return c.linger.read(c.TCPConn, p, halfCloseGrace)
}

// SetReadDeadline sets the deadline of reads, also of one that waits in lingering.
func (c *limitedConn) SetReadDeadline(at time.Time) error {
	err := c.TCPConn.SetReadDeadline(at)
	c.linger.setDeadline(at)
	return err
}

// SetDeadline sets the deadlines of reads and writes.
func (c *limitedConn) SetDeadline(at time.Time) error {
	err := c.TCPConn.SetDeadline(at)
	c.linger.setDeadline(at)
	return err
}

// Close closes the connection and releases its slot.
func (c *limitedConn) Close() error {
	defer c.release()
	c.linger.close()
	return c.TCPConn.Close()
}
