package env

import (
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// Pipes is a listener whose connections are pipes without any buffer: a real HTTP server runs on them in a bubble of
// testing/synctest, where time is free, and waits for its reader with each byte.
type Pipes struct {
	connections chan net.Conn
	closed      chan struct{}
}

// Accept implements net.Listener.
func (p *Pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.connections:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *Pipes) Close() error { close(p.closed); return nil }

// Addr implements net.Listener.
func (p *Pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// Dial returns a client's end of a new connection, which is closed when the test ends.
func (p *Pipes) Dial(t *testing.T) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	p.connections <- server
	if err := client.SetDeadline(time.Now().Add(time.Hour)); err != nil { // time is free here: without an end it runs on for ever
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// ServePipes runs a server on pipes until the test ends.
func ServePipes(t *testing.T, server *http.Server) *Pipes {
	t.Helper()
	p := &Pipes{make(chan net.Conn), make(chan struct{})}
	done := make(chan error, 1)
	go func() { done <- server.Serve(p) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return p
}

// Unread is what clients cost that send a request and do not read the answer: bytes for each client.
type Unread struct {
	Held      int64 // in use while the answers wait to be read
	Allocated int64 // allocated to make them
	Clients   []net.Conn
}

// Unread lets n clients send a request and read nothing. before, if set, is called before each request.
func (p *Pipes) Unread(t *testing.T, n int64, request string, before func()) Unread {
	t.Helper()
	var u Unread
	heldBefore, allocatedBefore := memory()
	for range n {
		if before != nil {
			before()
		}
		c := p.Dial(t)
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		u.Clients = append(u.Clients, c)
	}
	synctest.Wait() // every answer waits for its reader
	heldAfter, allocatedAfter := memory()
	u.Held, u.Allocated = (heldAfter-heldBefore)/n, (allocatedAfter-allocatedBefore)/n
	return u
}

// memory is the bytes in use after a collection, and all that were ever allocated.
func memory() (inUse, allocated int64) {
	runtime.GC()
	runtime.GC() // pools keep what they have for one collection
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse), int64(m.TotalAlloc)
}
