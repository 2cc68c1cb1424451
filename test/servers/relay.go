package servers

import (
	"net"
	"sync"
)

// Relay is a listener on loopback that opens a connection to a server for each one that it accepts, and leaves it to its
// owner what passes between the two. Its methods are safe for concurrent use.
type Relay struct {
	carry    func(r *Relay, client, server net.Conn)
	listener net.Listener
	work     sync.WaitGroup

	mu       sync.Mutex
	upstream string                // of new connections
	open     map[net.Conn]struct{} // both ends of each link
	shut     bool                  // new connections are closed at once
	closed   bool
}

// NewRelay starts a relay before the server at upstream, HOST:PORT. Each pair of connections is handed to carry, in a
// goroutine of its own, and closed when that returns, which it must when they are closed before.
func NewRelay(upstream string, carry func(r *Relay, client, server net.Conn)) (*Relay, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &Relay{upstream: upstream, carry: carry, listener: listener, open: map[net.Conn]struct{}{}}
	r.work.Go(r.accept)
	return r, nil
}

// Addr is where the relay listens, HOST:PORT.
func (r *Relay) Addr() string { return r.listener.Addr().String() }

// Close closes everything and returns when no goroutine of the relay is left.
func (r *Relay) Close() {
	_ = r.listener.Close() // accept ends by it
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.Shut(true)
	r.work.Wait()
}

// Shut cuts all connections, and closes new ones at once, until it is taken back.
func (r *Relay) Shut(shut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shut = shut || r.closed
	if r.shut {
		for end := range r.open {
			_ = end.Close()
		}
		clear(r.open)
	}
}

// Redirect lets new connections lead to another server; those that exist stay as they are.
func (r *Relay) Redirect(upstream string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.upstream = upstream
}

// Drop closes ends of a link before its time.
func (r *Relay) Drop(ends ...net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, end := range ends {
		_ = end.Close() // it may be closed already
		delete(r.open, end)
	}
}

func (r *Relay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return // closed
		}
		r.work.Go(func() { r.link(client) })
	}
}

func (r *Relay) link(client net.Conn) {
	if !r.keep(client) {
		return
	}
	defer r.Drop(client)
	r.mu.Lock()
	upstream := r.upstream
	r.mu.Unlock()
	server, err := net.Dial("tcp", upstream)
	if err != nil || !r.keep(server) {
		return
	}
	defer r.Drop(server)
	r.carry(r, client, server)
}

// keep notes the end of a link, or closes it when the relay is shut.
func (r *Relay) keep(end net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shut {
		_ = end.Close()
		return false
	}
	r.open[end] = struct{}{}
	return true
}
