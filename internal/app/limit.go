package app

import (
	"net"
	"sync"
	"syscall"
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

// limited is a listener that accepts no more than n connections at a time; more wait in the system's queue.
func limited(listener *net.TCPListener, n int) net.Listener {
	return &limitedListener{TCPListener: listener, places: make(chan struct{}, n), closed: make(chan struct{})}
}

type limitedListener struct {
	*net.TCPListener
	places chan struct{}
	once   sync.Once
	closed chan struct{}
}

// Accept waits for a place, then for a connection.
func (l *limitedListener) Accept() (net.Conn, error) {
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
	return &limitedConn{TCPConn: conn, leave: sync.OnceFunc(func() { <-l.places })}, nil
}

// Close also ends an Accept that waits for a place.
func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.TCPListener.Close()
}

// limitedConn is a TCPConn in all else: the HTTP server closes one in two steps, so that its last answer arrives.
type limitedConn struct {
	*net.TCPConn
	leave func()
}

// Close gives the place back.
func (c *limitedConn) Close() error {
	defer c.leave()
	return c.TCPConn.Close()
}
