package realtime

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// tcp is the part of *net.TCPConn that a socket uses.
type tcp interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// socket is a TCP connection. After the handshake only its conn writes to it: what the WebSocket library writes by itself (the answer
// to a close, a protocol error) is queued behind the frames already queued.
type socket struct {
	tcp
	raw   syscall.RawConn
	owner *conn // nil until the handshake has ended; set before the conn's reader starts
	input frameScanner
	mute  bool // the last frame has been sent; what the library writes is dropped
}

// socketListener accepts sockets.
type socketListener struct{ net.Listener }

// Accept implements net.Listener.
func (s socketListener) Accept() (net.Conn, error) {
	accepted, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	connection, ok := accepted.(tcp)
	if !ok {
		return nil, errors.Join(errors.New("realtime: the listener must be a TCP listener"), accepted.Close())
	}
	raw, err := connection.SyscallConn()
	if err != nil { // the connection is closed; its first read fails
		return connection, nil //nolint:nilerr // likewise
	}
	return &socket{tcp: connection, raw: raw}, nil
}

// errFlood ends a connection whose client exceeds the rate of bytes.
var errFlood = errors.New("realtime: the client exceeds its rate of bytes")

// Read implements net.Conn for the conn's reader.
func (s *socket) Read(p []byte) (int, error) {
	n, err := s.tcp.Read(p)
	if s.owner == nil {
		return n, err
	}
	if !s.owner.bytes.take(float64(n), time.Now(), byteBurst, byteRate) {
		s.owner.closeWith(s.owner.hub.codes.RateExceeded)
		return 0, errFlood
	}
	s.input.scan(p[:n])
	return n, err
}

// Write implements net.Conn. After the handshake the library writes close frames only.
func (s *socket) Write(p []byte) (int, error) {
	if s.mute {
		return len(p), nil
	}
	if s.owner == nil {
		return s.tcp.Write(p)
	}
	s.owner.sendClose(append([]byte(nil), p...))
	return len(p), nil
}

// SetWriteDeadline implements net.Conn. After the handshake the library's deadlines are ignored.
func (s *socket) SetWriteDeadline(t time.Time) error {
	if s.owner == nil {
		return s.tcp.SetWriteDeadline(t)
	}
	return nil
}

// writer writes to sockets without blocking. It is for one goroutine.
type writer struct {
	buffer []byte // for frames that are written together
	bytes  []byte // to write
	n      int    // bytes written
	err    error
	write  func(fd uintptr) bool
}

// maxWrite is the largest write to a connection, in bytes. Every frame fits.
const maxWrite = 128 << 10

func newWriter(size int) *writer {
	w := &writer{buffer: make([]byte, 0, size)}
	w.write = func(fd uintptr) bool { // created once, to save an allocation a write
		for {
			w.n, w.err = syscall.Write(int(fd), w.bytes)
			if !errors.Is(w.err, syscall.EINTR) {
				return true // also when the socket's buffer is full: the writer does not wait
			}
		}
	}
	return w
}

// try writes as much as the socket takes without blocking, and returns how much that was.
func (w *writer) try(s *socket, p []byte) (int, error) {
	w.bytes = p
	if err := s.raw.Write(w.write); err != nil {
		return 0, err
	}
	if errors.Is(w.err, syscall.EAGAIN) {
		return 0, nil
	}
	return max(w.n, 0), w.err
}
