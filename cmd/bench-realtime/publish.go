package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	answerWithin = time.Minute            // for a server to answer a publisher
	retryAfter   = 100 * time.Millisecond // for a server that is behind to catch up
	retries      = 300                    // of one request
)

// crowd are the publishers of one subject.
type crowd struct {
	wire     wire
	addr     string
	channels int

	members [publishers]*publisher
	refused atomic.Int64           // 503 answers, each tried again
	reason  atomic.Pointer[string] // what the last of them said
}

// publisher is one connection that publishes. Its methods are for one goroutine.
type publisher struct {
	crowd  *crowd
	number int
	client *http.Client
	turn   int      // of the next channel
	sent   []uint32 // messages on each channel
}

func newCrowd(w wire, addr string, channels int) *crowd {
	c := &crowd{wire: w, addr: addr, channels: channels}
	for i := range c.members {
		transport := &http.Transport{MaxConnsPerHost: 1, MaxIdleConnsPerHost: 1, DisableCompression: true}
		c.members[i] = &publisher{
			crowd: c, number: i, turn: i * channels / publishers, sent: make([]uint32, channels),
			client: &http.Client{Transport: transport, Timeout: answerWithin},
		}
	}
	return c
}

// close lets the connections go.
func (c *crowd) close() {
	for _, p := range c.members {
		p.client.CloseIdleConnections()
	}
}

// sent is how many messages each publisher sent on each channel, while none is publishing.
func (c *crowd) sent() [][publishers]uint32 {
	all := make([][publishers]uint32, c.channels)
	for _, p := range c.members {
		for channel, n := range p.sent {
			all[channel][p.number] = n
		}
	}
	return all
}

// start lets all publish until stop is called, which returns the first error. With a rate, it is that of messages a second
// of all together, evenly spaced and one in a request; 0 is as fast as answers come, batchMax in a request.
func (c *crowd) start(ctx context.Context, rate float64) (stop func() error) {
	ctx, cancel := context.WithCancelCause(ctx)
	over := make(chan struct{})
	var publishing sync.WaitGroup
	begin := time.Now()
	for _, p := range c.members {
		publishing.Go(func() {
			if err := p.run(ctx, over, begin, rate); err != nil {
				cancel(err)
			}
		})
	}
	return sync.OnceValue(func() error {
		close(over)
		publishing.Wait()
		err := context.Cause(ctx)
		cancel(nil)
		return err
	})
}

func (p *publisher) run(ctx context.Context, over <-chan struct{}, begin time.Time, rate float64) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := 0; ; n++ {
		at, count := time.Now(), batchMax
		if rate > 0 {
			count = 1
			due := begin.Add(time.Duration(float64(n*publishers+p.number) / rate * float64(time.Second)))
			if wait := due.Sub(at); wait > 0 {
				timer.Reset(wait)
				select {
				case <-timer.C:
				case <-over:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
				at = time.Now() // how late a timer is, is not the server's fault
			} else {
				at = due // but that its answer was late, is
			}
		}
		select {
		case <-over:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
		if err := p.publish(ctx, at, count); err != nil {
			return err
		}
	}
}

// publish sends so many messages in a request, and again while the server says that it is behind.
func (p *publisher) publish(ctx context.Context, at time.Time, count int) error {
	messages := make([]message, count)
	for i := range messages {
		channel := p.turn
		p.turn = (p.turn + 1) % p.crowd.channels
		p.sent[channel]++
		data := stamp{at.UnixNano(), p.number, p.sent[channel]}.appendTo(make([]byte, 0, payloadSize))
		messages[i] = message{channelName(channel), data}
	}
	for range retries {
		behind, err := p.post(ctx, messages)
		if err != nil || !behind {
			return err
		}
		if !pause(ctx, retryAfter) {
			return ctx.Err()
		}
	}
	return errors.New("the server stays behind")
}

func (p *publisher) post(ctx context.Context, messages []message) (behind bool, err error) {
	request, err := p.crowd.wire.publish(ctx, p.crowd.addr, messages)
	if err != nil {
		return false, err
	}
	response, err := p.client.Do(request)
	if err != nil {
		return false, fmt.Errorf("publish: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	if err != nil {
		return false, fmt.Errorf("publish: %w", err)
	}
	switch response.StatusCode {
	case http.StatusOK:
		return false, nil
	case http.StatusServiceUnavailable:
		reason := strings.TrimSpace(string(body))
		p.crowd.reason.Store(&reason)
		p.crowd.refused.Add(1)
		return true, nil
	default:
		return false, fmt.Errorf("publish: status %d: %s", response.StatusCode, body)
	}
}

// pause waits, and reports whether it came to the end of it rather than of ctx.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
