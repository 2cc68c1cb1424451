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

// The listener is the process that subscribes. It reads one JSON object a line from its input, each an ask, and answers each
// with a heard on its output. It ends with its input.
//
// Connections are made and subscribed one by one over a WebSocket library, and then handed to a loop, which does nothing but
// read, count and note the delay: on the machine that it shares with the server, it must cost as little as can be.

// Things that a listener is asked.
const (
	askConnect = "connect" // the first one
	askBegin   = "begin"   // to count from here
	askEnd     = "end"     // what was counted since
	askSettle  = "settle"  // to wait for all that was sent
)

// ask is one line to the listener.
type ask struct {
	Do string

	// of askConnect
	Subject     string
	Addr        string
	Subscribers int
	Channels    int // the i-th subscriber is in channel i modulo Channels

	// of askBegin: read at intervals, which costs the least and delays what is read, instead of at once
	Nap bool

	// of askSettle: how many messages each publisher sent on each channel, since the connect
	Sent [][publishers]uint32
}

// heard is one line back.
type heard struct {
	Connected  int    // subscribers so far; to askConnect
	Trouble    string // what kept others from connecting, or closed the first of them; "" for nothing
	Closed     int    // connections that ended since the connect
	Deliveries int64  // since askBegin
	Elapsed    time.Duration
	Delay      *hdrhistogram.Snapshot // µs from the stamp to the arrival, since askBegin
	Lost       int64                  // messages that subscribers whose connections live did not get, since the connect
	Repeated   int64                  // messages that came twice or too late, since the connect
}

// publishers is how many connections publish.
const publishers = 4

// loops is how many threads read: one keeps up with what two cores can send.
const loops = 1

// dials is how many connections are made at a time.
const dials = 32

// settleWithin is how long nothing may arrive before what is missing counts as lost.
const settleWithin = 3 * time.Second

// newDelays is a histogram of µs up to a minute, to three digits.
func newDelays() *hdrhistogram.Histogram { return hdrhistogram.New(1, time.Minute.Microseconds(), 3) }

// listener is the state of the process that subscribes. Its methods are for one goroutine.
type listener struct {
	wire  wire
	loops []*loop
	began time.Time
}

// runListener answers asks until input ends, or ctx.
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
		var a ask
		if err == nil {
			err = json.Unmarshal(line, &a)
		}
		if err != nil {
			return err
		}
		if a.Do == askConnect {
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

// answer does what is asked.
func (l *listener) answer(ctx context.Context, a ask) (heard, error) {
	switch a.Do {
	case askConnect:
		connected, err := l.connect(ctx, a)
		h := l.collect()
		h.Connected = connected
		if err != nil {
			h.Trouble = err.Error()
		}
		return h, nil
	case askBegin:
		for _, loop := range l.loops {
			loop.begin(a.Nap)
		}
		l.began = time.Now()
		return heard{}, nil
	case askEnd:
		h := l.collect()
		h.Elapsed = time.Since(l.began)
		return h, nil
	case askSettle:
		if err := l.settle(ctx, a.Sent); err != nil {
			return heard{}, err
		}
		return l.collect(), nil
	default:
		return heard{}, fmt.Errorf("it was asked to %q", a.Do)
	}
}

// collect adds up what the loops have counted.
func (l *listener) collect() heard {
	h, delay := heard{}, newDelays()
	for _, loop := range l.loops {
		loop.addTo(&h, delay)
	}
	h.Delay = delay.Export()
	return h
}

// settle waits until all open subscribers have all that was sent, or nothing came for a while.
func (l *listener) settle(ctx context.Context, sent [][publishers]uint32) error {
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
		if missing == 0 || time.Since(since) > settleWithin {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for _, loop := range l.loops {
		loop.giveUp(sent)
	}
	return nil
}

// connect makes all connections, and returns how many there are, and the first error, after which it made no others.
func (l *listener) connect(ctx context.Context, a ask) (int, error) {
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

// subscribe makes one connection, subscribes it to a channel and hands it to a loop.
func (l *listener) subscribe(ctx context.Context, addr string, channel int, to *loop) error {
	ctx, cancel := context.WithTimeout(ctx, joinWithin)
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
	defer func() { _ = ws.Close() }() // the loop has a descriptor of its own
	if err := ws.SetReadDeadline(time.Now().Add(joinWithin)); err != nil {
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

// stepwise hands out one byte at a time, so that the WebSocket library, which has a buffer of its own, has read no further
// than it was asked to when the connection is taken from it.
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
