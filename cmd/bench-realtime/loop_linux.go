package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	bufferSize = 64 << 10 // bytes that are read at once
	readyMax   = 256      // connections that are asked for at once
	lookEvery  = 50       // ms between looks whether it is over, when nothing comes

	// napFor is how long a loop sleeps between its looks where delays are not asked for: a server that writes one frame after
	// the other would else wake it for each.
	napFor = time.Millisecond
)

// loop reads many connections in one thread, by epoll (7): a system call a read, one more for up to readyMax of them, one
// buffer for all. What it holds of a connection is the frame that came in half.
type loop struct {
	wire  wire
	epoll int

	mu          sync.Mutex // held while what is ready is read; for the rest of the process
	subscribers []*subscriber
	open        int
	nap         bool
	trouble     error // what closed the first connection
	got         int64 // messages since the connect, and
	deliveries  int64 // since begin
	delay       *hdrhistogram.Histogram
	lost        int64
	repeated    int64
	buffer      []byte
}

// subscriber is one connection.
type subscriber struct {
	fd      int // -1 when it is closed
	channel int
	last    [publishers]uint32 // number of the last message of each
	half    []byte             // of a frame
}

func newLoop() (*loop, error) {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return &loop{epoll: epoll, delay: newDelays(), buffer: make([]byte, bufferSize)}, nil
}

// run reads until ctx ends.
func (l *loop) run(ctx context.Context) {
	runtime.LockOSThread() // it is mostly in the kernel; nobody else needs its thread
	defer runtime.UnlockOSThread()
	ready := make([]syscall.EpollEvent, readyMax)
	for ctx.Err() == nil {
		n, err := syscall.EpollWait(l.epoll, ready, lookEvery)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			l.mu.Lock()
			l.trouble = fmt.Errorf("epoll: %w", err)
			l.mu.Unlock()
			return
		}
		l.mu.Lock()
		for i := range max(n, 0) {
			l.read(l.subscribers[ready[i].Fd])
		}
		nap := l.nap && n < readyMax
		l.mu.Unlock()
		if nap {
			wait := syscall.NsecToTimespec(napFor.Nanoseconds())
			_ = syscall.Nanosleep(&wait, nil) // a signal may end it early
		}
	}
}

// close ends all connections, after run.
func (l *loop) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.subscribers {
		if s.fd >= 0 {
			l.drop(s, nil)
		}
	}
	return syscall.Close(l.epoll)
}

// add takes a connection over, with what was read of it already.
func (l *loop) add(fd, channel int, rest []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &subscriber{fd: fd, channel: channel}
	// Fd is a number that comes back with the event: which subscriber it is.
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(len(l.subscribers))}
	if err := syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("epoll: %w", errors.Join(err, syscall.Close(fd)))
	}
	l.subscribers = append(l.subscribers, s)
	l.open++
	l.take(s, rest, time.Now().UnixNano())
	return nil
}

// read reads once: a connection that has more is ready again.
func (l *loop) read(s *subscriber) {
	if s.fd < 0 {
		return
	}
	had := copy(l.buffer, s.half)
	n, err := syscall.Read(s.fd, l.buffer[had:])
	switch {
	case errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR):
	case err != nil:
		l.drop(s, err)
	case n == 0:
		l.drop(s, errors.New("the server closed the connection"))
	default:
		l.take(s, l.buffer[:had+n], time.Now().UnixNano())
	}
}

// take handles all frames in data and keeps the rest.
func (l *loop) take(s *subscriber, data []byte, now int64) {
	for s.fd >= 0 {
		kind, payload, rest, err := nextFrame(data)
		if errors.Is(err, errShort) {
			s.half = append(s.half[:0], data...)
			return
		}
		data = rest
		if err == nil {
			err = l.handle(s, kind, payload, now)
		}
		if err != nil {
			l.drop(s, err)
		}
	}
}

// handle counts a delivery, or answers what is none.
func (l *loop) handle(s *subscriber, kind byte, payload []byte, now int64) error {
	switch kind {
	case frameText:
		if stamp, found := findStamp(payload); found {
			l.count(s, stamp, now)
			return nil
		}
		if answer := l.wire.other(payload); answer != "" {
			return say(s.fd, frameText, []byte(answer))
		}
		return nil
	case framePing:
		return say(s.fd, framePong, payload)
	case framePong:
		return nil
	case frameClose:
		return fmt.Errorf("the server said goodbye: %q", payload)
	default:
		return fmt.Errorf("a frame of kind %d", kind)
	}
}

func (l *loop) count(s *subscriber, m stamp, now int64) {
	l.got++
	l.deliveries++
	_ = l.delay.RecordValue(min(max((now-m.at)/1000, 1), time.Minute.Microseconds())) // in its range: cannot fail
	last := &s.last[m.publisher]
	if m.number <= *last {
		l.repeated++
		return
	}
	l.lost += int64(m.number - *last - 1)
	*last = m.number
}

// say writes a short frame, for which there is always room unless the server has stopped reading.
func say(fd int, kind byte, payload []byte) error {
	frame, err := clientFrame(kind, payload)
	if err != nil {
		return err
	}
	n, err := syscall.Write(fd, frame)
	if err == nil && n < len(frame) {
		err = errors.New("the server does not read")
	}
	return err
}

// drop closes a connection; a nil cause is our own wish.
func (l *loop) drop(s *subscriber, cause error) {
	if cause != nil && l.trouble == nil {
		l.trouble = cause
	}
	_ = syscall.Close(s.fd) // which takes it from epoll, too
	s.fd, s.half = -1, nil
	l.open--
}

// begin forgets what was counted, and reads at intervals from now on, or at once.
func (l *loop) begin(nap bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deliveries, l.nap = 0, nap
	l.delay.Reset()
}

// addTo adds what was counted.
func (l *loop) addTo(h *heard, delay *hdrhistogram.Histogram) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h.Connected += l.open
	h.Closed += len(l.subscribers) - l.open
	h.Deliveries += l.deliveries
	h.Lost += l.lost
	h.Repeated += l.repeated
	if l.trouble != nil && h.Trouble == "" {
		h.Trouble = l.trouble.Error()
	}
	delay.Merge(l.delay)
}

// missing is how many messages open subscribers still wait for, and how many came in all.
func (l *loop) missing(sent [][publishers]uint32) (missing, got int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.compare(sent, func(s *subscriber, p int, want uint32) { missing += int64(want - s.last[p]) })
	return missing, l.got
}

// giveUp counts what has not come as lost.
func (l *loop) giveUp(sent [][publishers]uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.compare(sent, func(s *subscriber, p int, want uint32) {
		l.lost += int64(want - s.last[p])
		s.last[p] = want
	})
}

// compare calls short for every open subscriber and publisher of which not all came.
func (l *loop) compare(sent [][publishers]uint32, short func(s *subscriber, publisher int, want uint32)) {
	for _, s := range l.subscribers {
		if s.fd < 0 {
			continue
		}
		for p, want := range sent[s.channel] {
			if s.last[p] < want {
				short(s, p, want)
			}
		}
	}
}

// duplicate returns another descriptor of a connection, which the runtime's own poller knows nothing of.
func duplicate(conn net.Conn) (int, error) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return -1, fmt.Errorf("a connection is a %T", conn)
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	var failed error
	if err := raw.Control(func(own uintptr) { fd, failed = syscall.Dup(int(own)) }); err != nil {
		return -1, err
	}
	return fd, failed
}

// raiseFiles lets this process, and those that it starts, open as many files as the system allows them to.
func raiseFiles() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	return nil
}

// filesLimit is how many files this process, and those that it starts, may open.
func filesLimit() (int, error) {
	var limit syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	return int(min(limit.Max, 1<<30)), err
}
