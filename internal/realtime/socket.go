package realtime

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// tcp is what a socket needs of a connection; *net.TCPConn has it.
type tcp interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// socket is a TCP connection that, once it belongs to a conn, is written to by its conn alone: what the WebSocket library
// writes by itself (an answer to a close, a fault of the protocol) is queued behind what was said before.
type socket struct {
	tcp
	raw   syscall.RawConn
	owner *conn // nil until the handshake is over; set before the conn's reader starts
	input frames
	mute  bool // what the library writes is dropped: the last frame has been sent
}

// sockets is a listener of sockets.
type sockets struct{ net.Listener }

// Accept implements net.Listener.
func (s sockets) Accept() (net.Conn, error) {
	accepted, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	connection, ok := accepted.(tcp)
	if !ok {
		return nil, errors.Join(errors.New("realtime: the listener is none of TCP"), accepted.Close())
	}
	raw, err := connection.SyscallConn()
	if err != nil { // it is closed already: its first read says so
		return connection, nil //nolint:nilerr // likewise
	}
	return &socket{tcp: connection, raw: raw}, nil
}

// errFlood ends a connection that sends more than it may.
var errFlood = errors.New("realtime: the client sends more than it may")

// Read implements net.Conn. It is called by the reader of the conn, which it ends when the client sends too much.
func (s *socket) Read(p []byte) (int, error) {
	n, err := s.tcp.Read(p)
	if s.owner == nil {
		return n, err
	}
	if !s.owner.bytes.spend(float64(n), time.Now(), bytesAtOnce, bytesPerSecond) {
		s.owner.end(s.owner.hub.codes.tooManyWords)
		return 0, errFlood
	}
	s.input.scan(p[:n])
	return n, err
}

// Write implements net.Conn. Once the conn writes, all that comes from the library is close frames.
func (s *socket) Write(p []byte) (int, error) {
	if s.mute {
		return len(p), nil
	}
	if s.owner == nil {
		return s.tcp.Write(p)
	}
	s.owner.finish(append([]byte(nil), p...))
	return len(p), nil
}

// SetWriteDeadline implements net.Conn. The library's deadlines do not count once the conn writes.
func (s *socket) SetWriteDeadline(t time.Time) error {
	if s.owner == nil {
		return s.tcp.SetWriteDeadline(t)
	}
	return nil
}

// writer writes to sockets without waiting. It belongs to one goroutine.
type writer struct {
	room  []byte // for frames that are written together
	bytes []byte // that are to be written
	n     int    // bytes written
	err   error
	write func(fd uintptr) bool
}

// writeRoom is how much is written to a connection at once, in bytes. The largest frame fits.
const writeRoom = 128 << 10

func newWriter(room int) *writer {
	w := &writer{room: make([]byte, 0, room)}
	w.write = func(fd uintptr) bool { // made once: a function a write would be an allocation a write
		for {
			w.n, w.err = syscall.Write(int(fd), w.bytes)
			if !errors.Is(w.err, syscall.EINTR) {
				return true // also when there is no room: nobody waits here
			}
		}
	}
	return w
}

// try writes what the connection takes at once, and returns how much that was.
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
