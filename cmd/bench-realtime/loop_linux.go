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
	bufferSize   = 64 << 10 // bytes of a read
	readyMax     = 256      // events of one epoll_wait
	pollInterval = 50       // ms between two checks of ctx without input

	// readInterval is the pause between two reads when delays are not measured. Without it, a server that writes single frames would
	// wake the loop for each.
	readInterval = time.Millisecond
)

// loop reads many connections in one thread with epoll(7): one system call for each read, one more for up to readyMax reads, and one
// buffer for all. Of a connection it keeps only an incomplete frame.
type loop struct {
	wire  wire
	epoll int

	mu          sync.Mutex // the loop holds it while it reads
	subscribers []*subscriber
	open        int
	interval    bool
	firstError  error // of the first connection that ended
	got         int64 // messages since the connect
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
	half    []byte             // an incomplete frame
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
	runtime.LockOSThread() // it is mostly in the kernel
	defer runtime.UnlockOSThread()
	ready := make([]syscall.EpollEvent, readyMax)
	for ctx.Err() == nil {
		n, err := syscall.EpollWait(l.epoll, ready, pollInterval)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			l.mu.Lock()
			l.firstError = fmt.Errorf("epoll: %w", err)
			l.mu.Unlock()
			return
		}
		l.mu.Lock()
		for i := range max(n, 0) {
			l.read(l.subscribers[ready[i].Fd])
		}
		interval := l.interval && n < readyMax
		l.mu.Unlock()
		if interval {
			wait := syscall.NsecToTimespec(readInterval.Nanoseconds())
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
			l.closeSubscriber(s, nil)
		}
	}
	return syscall.Close(l.epoll)
}

// add adds a connection, with the bytes already read from it.
func (l *loop) add(fd, channel int, rest []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &subscriber{fd: fd, channel: channel}
	// The event returns Fd, which is used as the index of the subscriber.
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(len(l.subscribers))}
	if err := syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("epoll: %w", errors.Join(err, syscall.Close(fd)))
	}
	l.subscribers = append(l.subscribers, s)
	l.open++
	l.take(s, rest, time.Now().UnixNano())
	return nil
}

// read reads once; epoll reports a connection with more input again.
func (l *loop) read(s *subscriber) {
	if s.fd < 0 {
		return
	}
	had := copy(l.buffer, s.half)
	n, err := syscall.Read(s.fd, l.buffer[had:])
	switch {
	case errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR):
	case err != nil:
		l.closeSubscriber(s, err)
	case n == 0:
		l.closeSubscriber(s, errors.New("the server closed the connection"))
	default:
		l.take(s, l.buffer[:had+n], time.Now().UnixNano())
	}
}

// take handles all complete frames in data and keeps the rest.
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
			l.closeSubscriber(s, err)
		}
	}
}

// handle counts a delivery, or answers another frame.
func (l *loop) handle(s *subscriber, kind byte, payload []byte, now int64) error {
	switch kind {
	case frameText:
		if stamp, found := findStamp(payload); found {
			l.count(s, stamp, now)
			return nil
		}
		if answer := l.wire.reply(payload); answer != "" {
			return writeFrame(s.fd, frameText, []byte(answer))
		}
		return nil
	case framePing:
		return writeFrame(s.fd, framePong, payload)
	case framePong:
		return nil
	case frameClose:
		return fmt.Errorf("the server closed with %q", payload)
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

// writeFrame writes a short frame. The socket has room for it unless the server has stopped reading.
func writeFrame(fd int, kind byte, payload []byte) error {
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

// closeSubscriber closes a connection; cause is nil for one that this process closes.
func (l *loop) closeSubscriber(s *subscriber, cause error) {
	if cause != nil && l.firstError == nil {
		l.firstError = cause
	}
	_ = syscall.Close(s.fd) // which takes it from epoll, too
	s.fd, s.half = -1, nil
	l.open--
}

// begin resets the counts, and sets whether the loop reads once a millisecond.
func (l *loop) begin(interval bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deliveries, l.interval = 0, interval
	l.delay.Reset()
}

// addTo adds the counts.
func (l *loop) addTo(h *counts, delay *hdrhistogram.Histogram) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h.Connected += l.open
	h.Closed += len(l.subscribers) - l.open
	h.Deliveries += l.deliveries
	h.Lost += l.lost
	h.Repeated += l.repeated
	if l.firstError != nil && h.Error == "" {
		h.Error = l.firstError.Error()
	}
	delay.Merge(l.delay)
}

// missing returns how many messages open subscribers have not received, and how many they have.
func (l *loop) missing(sent [][publishers]uint32) (missing, got int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.compare(sent, func(s *subscriber, p int, want uint32) { missing += int64(want - s.last[p]) })
	return missing, l.got
}

// countLost counts missing messages as lost.
func (l *loop) countLost(sent [][publishers]uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.compare(sent, func(s *subscriber, p int, want uint32) {
		l.lost += int64(want - s.last[p])
		s.last[p] = want
	})
}

// compare calls short for every open subscriber and publisher with missing messages.
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

// duplicate returns another file descriptor of a connection, which the runtime's poller does not use.
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

// raiseFiles raises the limit of open files to the highest allowed, for this process and its children.
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

// filesLimit returns the highest allowed limit of open files.
func filesLimit() (int, error) {
	var limit syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	return int(min(limit.Max, 1<<30)), err
}
