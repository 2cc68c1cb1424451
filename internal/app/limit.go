package app

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"orderflow/internal/limit"
)

const (
	connectionsMax = 100_000 // whatever the descriptors allow
	reserved       = 64      // descriptors for the database, the logs and what else a process needs
)

// maxConnections is how many clients may be connected: as many as there are descriptors left when every charge has one
// too. Else idle clients could keep the payments from reaching their gateway.
func maxConnections(charges int) int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > 2*connectionsMax {
		return connectionsMax
	}
	return max(1, min(connectionsMax, int(limit.Cur)-charges-reserved))
}

// limited is a listener that accepts no more than n connections at a time; more wait in the system's queue. One client has
// half of them at most, lest it keep all others out; of IPv6 a /64 is one. Addresses of this machine and trusted proxies,
// which stand for many, may have all.
func limited(listener *net.TCPListener, n int, proxies []netip.Prefix) net.Listener {
	return &limitedListener{
		TCPListener: listener, proxies: proxies, places: make(chan struct{}, n), closed: make(chan struct{}), from: map[netip.Addr]int{},
	}
}

type limitedListener struct {
	*net.TCPListener
	proxies []netip.Prefix
	places  chan struct{}
	once    sync.Once
	closed  chan struct{}

	mu   sync.Mutex
	from map[netip.Addr]int // connections, by client
}

// client is who counts as one; the zero address for who may have all places.
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

// enter counts a client's connection; false means that it has as many as it may.
func (l *limitedListener) enter(client netip.Addr) bool {
	if !client.IsValid() {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.from[client] >= max(1, cap(l.places)/2) {
		return false
	}
	l.from[client]++
	return true
}

// leave takes a client's connection off the count.
func (l *limitedListener) leave(client netip.Addr) {
	if !client.IsValid() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.from[client]--; l.from[client] == 0 {
		delete(l.from, client)
	}
}

// Accept waits for a place, then for a connection. One of a client that has its half is closed at once.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.accept()
		if conn != nil || err != nil {
			return conn, err
		}
	}
}

// accept is Accept; nil and no error is for a connection that was closed.
func (l *limitedListener) accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.AcceptTCP()
	if err != nil {
		<-l.places
		return nil, err
	}
	client := l.client(conn.RemoteAddr())
	if !l.enter(client) {
		<-l.places
		_ = conn.Close() // nobody is to be told
		return nil, nil
	}
	return &limitedConn{TCPConn: conn, leave: sync.OnceFunc(func() {
		<-l.places
		l.leave(client)
	})}, nil
}

// Close also ends an Accept that waits for a place.
func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.TCPListener.Close()
}

// limitedConn is a connection that has a place. It differs from its TCPConn in how its input ends (lingering) and in what it
// writes for net/http (refusal.go). It is not wrapped further: the HTTP server closes a TCPConn in two steps, so that its last
// answer arrives.
type limitedConn struct {
	*net.TCPConn
	leave  func()
	linger lingering
}

// Read reads from the connection. The end of its input may be reported later; see lingering.
func (c *limitedConn) Read(p []byte) (int, error) {
	return c.linger.read(c.TCPConn, p, leftGrace)
}

// SetReadDeadline sets the deadline of reads, also for one that waits in lingering.
func (c *limitedConn) SetReadDeadline(at time.Time) error {
	err := c.TCPConn.SetReadDeadline(at)
	c.linger.deadline(at)
	return err
}

// SetDeadline sets the deadlines of reads and writes.
func (c *limitedConn) SetDeadline(at time.Time) error {
	err := c.TCPConn.SetDeadline(at)
	c.linger.deadline(at)
	return err
}

// Close gives the place back.
func (c *limitedConn) Close() error {
	defer c.leave()
	c.linger.close()
	return c.TCPConn.Close()
}
