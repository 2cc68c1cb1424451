package web

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// Connections counts the open connections of a server. Its methods may be called from any goroutine.
type Connections struct {
	mu   sync.Mutex
	open map[net.Conn]struct{}
	none chan struct{} // closed while no connection is open
}

// CountConnections makes a server report its connections. It takes the server's ConnState.
func CountConnections(server *http.Server) *Connections {
	c := &Connections{open: map[net.Conn]struct{}{}, none: make(chan struct{})}
	close(c.none)
	server.ConnState = c.change
	return c
}

func (c *Connections) change(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		if len(c.open) == 0 {
			c.none = make(chan struct{})
		}
		c.open[conn] = struct{}{}
	case http.StateHijacked, http.StateClosed:
		if _, known := c.open[conn]; known {
			delete(c.open, conn)
			if len(c.open) == 0 {
				close(c.none)
			}
		}
	case http.StateActive, http.StateIdle:
	}
}

// Count returns how many connections are open.
func (c *Connections) Count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

// Wait waits until no connection is open, at most until limit has passed.
func (c *Connections) Wait(limit time.Duration) {
	c.mu.Lock()
	none := c.none
	c.mu.Unlock()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-none:
	case <-timer.C:
	}
}
