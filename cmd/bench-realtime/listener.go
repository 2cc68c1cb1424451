package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/gorilla/websocket"
)

// The listener is a process with the subscribers. It reads requests from its input, one JSON object a line, and answers each with
// counts on its output. It ends with its input.
//
// Connections are opened and subscribed with a WebSocket library, then passed to a loop, which only reads, counts and records delays:
// the listener shares the machine with the server, so it must use little processor time.

// Requests to a listener.
const (
	doConnect = "connect" // the first one
	doBegin   = "begin"   // reset the counts
	doEnd     = "end"     // return the counts since begin
	doWait    = "wait"    // wait for all messages that were sent
)

// request is one line to the listener.
type request struct {
	Do string

	// of doConnect
	Subject     string
	Addr        string
	Subscribers int
	Channels    int // subscriber i subscribes to channel i modulo Channels

	// of doBegin: read once a millisecond, which costs less processor time but adds delay, instead of at once
	Interval bool

	// of doWait: messages of each publisher on each channel, since the connect
	Sent [][publishers]uint32
}

// counts is one line back.
type counts struct {
	Connected  int    // subscribers so far, after doConnect
	Error      string // of the first connection that failed or ended; "" for none
	Closed     int    // connections that ended, since the connect
	Deliveries int64  // since doBegin
	Elapsed    time.Duration
	Delay      *hdrhistogram.Snapshot // µs from sending to arrival, since doBegin
	Lost       int64                  // messages missing at subscribers that are still connected, since the connect
	Repeated   int64                  // messages that arrived again or out of order, since the connect
}

const (
	publishers = 4  // connections that publish
	loops      = 1  // threads that read: one is enough for what two cores can send
	dials      = 32 // connections that are opened at a time

	waitLimit = 3 * time.Second // without any arrival, after which missing messages count as lost
)

// newDelays returns a histogram of µs up to a minute, with three digits.
func newDelays() *hdrhistogram.Histogram { return hdrhistogram.New(1, time.Minute.Microseconds(), 3) }

// listener is the state of the listener process. Its methods are for one goroutine.
type listener struct {
	wire  wire
	loops []*loop
	began time.Time
}

// runListener answers requests until input or ctx ends.
func runListener(ctx context.Context, input io.Reader, output io.Writer) (err error) {
	if err := raiseFiles(); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	l := &listener{}
	defer func() {
		stop()
		running.Wait()
		for _, loop := range l.loops {
			err = errors.Join(err, loop.close())
		}
	}()
	for range loops {
		loop, err := newLoop()
		if err != nil {
			return err
		}
		l.loops = append(l.loops, loop)
	}
	for lines, answers := bufio.NewReader(input), json.NewEncoder(output); ; {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		var a request
		if err == nil {
			err = json.Unmarshal(line, &a)
		}
		if err != nil {
			return err
		}
		if a.Do == doConnect {
			if l.wire, err = wireOf(a.Subject); err != nil {
				return err
			}
			for _, loop := range l.loops {
				loop.wire = l.wire
				running.Go(func() { loop.run(ctx) })
			}
		}
		answer, err := l.answer(ctx, a)
		if err != nil {
			return err
		}
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
}

// answer performs a request.
func (l *listener) answer(ctx context.Context, a request) (counts, error) {
	switch a.Do {
	case doConnect:
		connected, err := l.connect(ctx, a)
		h := l.collect()
		h.Connected = connected
		if err != nil {
			h.Error = err.Error()
		}
		return h, nil
	case doBegin:
		for _, loop := range l.loops {
			loop.begin(a.Interval)
		}
		l.began = time.Now()
		return counts{}, nil
	case doEnd:
		h := l.collect()
		h.Elapsed = time.Since(l.began)
		return h, nil
	case doWait:
		if err := l.wait(ctx, a.Sent); err != nil {
			return counts{}, err
		}
		return l.collect(), nil
	default:
		return counts{}, fmt.Errorf("unknown request %q", a.Do)
	}
}

// collect adds up the counts of the loops.
func (l *listener) collect() counts {
	h, delay := counts{}, newDelays()
	for _, loop := range l.loops {
		loop.addTo(&h, delay)
	}
	h.Delay = delay.Export()
	return h
}

// wait waits until all open subscribers have all messages, or for waitLimit without any arrival.
func (l *listener) wait(ctx context.Context, sent [][publishers]uint32) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	last, since := int64(-1), time.Now()
	for {
		var missing, got int64
		for _, loop := range l.loops {
			m, g := loop.missing(sent)
			missing, got = missing+m, got+g
		}
		if got != last {
			last, since = got, time.Now()
		}
		if missing == 0 || time.Since(since) > waitLimit {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for _, loop := range l.loops {
		loop.countLost(sent)
	}
	return nil
}

// connect opens all connections. It returns their number and the first error, after which it opens no more.
func (l *listener) connect(ctx context.Context, a request) (int, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var next, connected atomic.Int64
	var dialling sync.WaitGroup
	for range dials {
		dialling.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= a.Subscribers {
					return
				}
				if err := l.subscribe(ctx, a.Addr, i%a.Channels, l.loops[i%len(l.loops)]); err != nil {
					stop(err)
					return
				}
				connected.Add(1)
			}
		})
	}
	dialling.Wait()
	return int(connected.Load()), context.Cause(ctx)
}

// subscribe opens one connection, subscribes it to a channel and passes it to a loop.
func (l *listener) subscribe(ctx context.Context, addr string, channel int, to *loop) error {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	var conn *stepwise
	dialer := websocket.Dialer{ReadBufferSize: 512, WriteBufferSize: 512, NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		tcp, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		conn = &stepwise{Conn: tcp, ahead: bufio.NewReaderSize(tcp, 512)}
		return conn, nil
	}}
	ws, response, err := dialer.DialContext(ctx, l.wire.url(addr), nil)
	if response != nil {
		defer func() { _ = response.Body.Close() }()
	}
	if err != nil {
		if response != nil {
			err = fmt.Errorf("%w: %s", err, response.Status)
		}
		return err
	}
	defer func() { _ = ws.Close() }() // the loop has a file descriptor of its own
	if err := ws.SetReadDeadline(time.Now().Add(joinTimeout)); err != nil {
		return err
	}
	if err := l.wire.join(ws, channelName(channel)); err != nil {
		return err
	}
	fd, err := duplicate(conn.Conn)
	if err != nil {
		return err
	}
	rest := make([]byte, conn.ahead.Buffered())
	if _, err := io.ReadFull(conn.ahead, rest); err != nil {
		return err
	}
	return to.add(fd, channel, rest)
}

// stepwise returns one byte at a time, so that the buffer of the WebSocket library is empty when the connection is passed to a
// loop.
type stepwise struct {
	net.Conn

	ahead *bufio.Reader
}

func (s *stepwise) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b, err := s.ahead.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = b
	return 1, nil
}
