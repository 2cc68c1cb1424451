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
	answerTimeout = time.Minute            // of a request
	retryAfter    = 100 * time.Millisecond // after a 503
	retries       = 300                    // of one request
)

// publisherGroup has the publishers of one subject.
type publisherGroup struct {
	wire     wire
	addr     string
	channels int

	members [publishers]*publisher
	refused atomic.Int64           // 503 responses, each repeated
	reason  atomic.Pointer[string] // of the last 503
}

// publisher is one connection that publishes. Its methods are for one goroutine.
type publisher struct {
	group  *publisherGroup
	number int
	client *http.Client
	turn   int      // of the next channel
	sent   []uint32 // messages on each channel
}

func newPublishers(w wire, addr string, channels int) *publisherGroup {
	c := &publisherGroup{wire: w, addr: addr, channels: channels}
	for i := range c.members {
		transport := &http.Transport{MaxConnsPerHost: 1, MaxIdleConnsPerHost: 1, DisableCompression: true}
		c.members[i] = &publisher{
			group: c, number: i, turn: i * channels / publishers, sent: make([]uint32, channels),
			client: &http.Client{Transport: transport, Timeout: answerTimeout},
		}
	}
	return c
}

// close closes the connections.
func (c *publisherGroup) close() {
	for _, p := range c.members {
		p.client.CloseIdleConnections()
	}
}

// sent returns how many messages each publisher has sent on each channel. No publisher may be running.
func (c *publisherGroup) sent() [][publishers]uint32 {
	all := make([][publishers]uint32, c.channels)
	for _, p := range c.members {
		for channel, n := range p.sent {
			all[channel][p.number] = n
		}
	}
	return all
}

// start makes all publish until stop is called, which returns the first error. rate is the number of messages per second of all
// publishers together, evenly spaced, one in a request. With rate 0 they publish as fast as responses arrive, batchMax in a request.
func (c *publisherGroup) start(ctx context.Context, rate float64) (stop func() error) {
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
				at = time.Now() // a late timer is not the server's delay
			} else {
				at = due // a late response is
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

// publish sends a request with count messages, and repeats it while the response is 503.
func (p *publisher) publish(ctx context.Context, at time.Time, count int) error {
	messages := make([]message, count)
	for i := range messages {
		channel := p.turn
		p.turn = (p.turn + 1) % p.group.channels
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
	return errors.New("the server keeps answering 503")
}

func (p *publisher) post(ctx context.Context, messages []message) (behind bool, err error) {
	request, err := p.group.wire.publish(ctx, p.group.addr, messages)
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
		p.group.reason.Store(&reason)
		p.group.refused.Add(1)
		return true, nil
	default:
		return false, fmt.Errorf("publish: status %d: %s", response.StatusCode, body)
	}
}

// pause waits. It returns false when ctx ends first.
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
