package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/gorilla/websocket"

	"orderflow/internal/bench"
	"orderflow/internal/pusher"
)

const (
	users          = 3 // of the sample data
	products       = 5 // of the sample data, which are bought
	clients        = 64
	arrivalTimeout = 30 * time.Second // after a load, for the event of the last order
)

// orders measures the time from the commit that makes an order PAID to the arrival at its user's WebSocket, at half the rate of a
// short probe at full speed.
func (m *measurement) orders(ctx context.Context) (err error) {
	s, err := m.start(ctx, orderflow, "", "--simulated-latency", "0s-0s", "--simulated-success", "1")
	if err != nil {
		return errors.Join(err, s.stop())
	}
	stopped := false
	defer func() {
		if !stopped {
			err = errors.Join(err, s.stop())
		}
	}()
	user, err := newOrderSubscriber(ctx, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, user.close()) }()

	m.say("%s: orders, probe", orderflow)
	probe := bench.Load{Clients: clients, Duration: 2 * time.Second, Users: users}
	for id := range int64(products) {
		probe.Products = append(probe.Products, id+1)
	}
	full, err := user.follow(ctx, s.api, probe)
	if err != nil {
		return err
	}
	half := probe
	half.Duration, half.Rate = m.settings.Duration, full.perSecond()/2
	m.say("%s: orders, %.0f a second", orderflow, half.Rate)
	result, err := user.follow(ctx, s.api, half)
	if err != nil {
		return err
	}
	stopped = true
	if err := s.stop(); err != nil {
		return err
	}
	if err := m.audit(ctx, s); err != nil {
		return err
	}
	m.report.orders(full, result)
	return nil
}

// orderSubscriber is a WebSocket that receives the orders of all users.
type orderSubscriber struct {
	ws      *websocket.Conn
	reading sync.WaitGroup

	mu       sync.Mutex
	arrivals arrivals
	err      error // that ended reading
}

// arrivals are the events of a load that have arrived.
type arrivals struct {
	orders int64
	first  time.Time // start of the load
	last   time.Time // arrival of the last event
	delay  *hdrhistogram.Histogram
}

// perSecond returns the rate of finished orders.
func (a arrivals) perSecond() float64 { return float64(a.orders) / a.last.Sub(a.first).Seconds() }

// newOrderSubscriber connects and subscribes to the orders of all users.
func newOrderSubscriber(ctx context.Context, s *subject) (*orderSubscriber, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	ws, response, err := websocket.DefaultDialer.DialContext(ctx, s.wire.url(s.addr), nil)
	if err != nil {
		return nil, err
	}
	_ = response.Body.Close() // it is empty
	u := &orderSubscriber{ws: ws, arrivals: arrivals{delay: newDelays()}}
	hello, err := expect(ws, `{"event":"pusher:connection_established"`)
	for id := range users {
		if err == nil {
			err = subscribeTo(ctx, s, ws, hello, pusher.OrdersChannel(int64(id+1)))
		}
	}
	if err != nil {
		return nil, errors.Join(err, ws.Close())
	}
	u.reading.Go(u.read)
	return u, nil
}

// subscribeTo subscribes to a private channel, which the API signs.
func subscribeTo(ctx context.Context, s *subject, ws *websocket.Conn, hello []byte, channel string) error {
	var greeting struct{ Data string }
	var socket struct {
		ID string `json:"socket_id"`
	}
	var signature struct{ Auth string }
	if err := json.Unmarshal(hello, &greeting); err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(greeting.Data), &socket); err != nil {
		return err
	}
	form := url.Values{"socket_id": {socket.ID}, "channel_name": {channel}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.api+"/broadcasting/auth", strings.NewReader(form))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	web := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := web.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("POST /broadcasting/auth: %s", response.Status)
	}
	if err := json.NewDecoder(response.Body).Decode(&signature); err != nil {
		return err
	}
	return pusherWire{}.subscribe(ws, channel, signature.Auth)
}

// read notes each order's delay until the connection ends.
func (u *orderSubscriber) read() {
	for {
		_, text, err := u.ws.ReadMessage()
		now := time.Now()
		u.mu.Lock()
		if err == nil {
			err = u.arrivals.note(text, now)
		}
		u.err = err
		u.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// note records a message; messages without an order are skipped.
func (a *arrivals) note(text []byte, now time.Time) error {
	const mark = `timestamp\":\"` // the data is JSON in a JSON string
	_, rest, found := bytes.Cut(text, []byte(mark))
	if !found {
		return nil
	}
	committed, _, _ := bytes.Cut(rest, []byte(`\"`))
	at, err := time.Parse(time.RFC3339Nano, string(committed))
	if err != nil {
		return fmt.Errorf("the time of an order: %w", err)
	}
	a.orders++
	a.last = now
	return a.delay.RecordValue(min(max(now.Sub(at).Microseconds(), 1), time.Minute.Microseconds()))
}

// follow puts a load on the API and waits until the events of all its orders have arrived.
func (u *orderSubscriber) follow(ctx context.Context, api string, load bench.Load) (arrivals, error) {
	u.mu.Lock()
	u.arrivals = arrivals{first: time.Now(), delay: newDelays()}
	u.mu.Unlock()
	result, err := bench.Drive(ctx, []string{"http://" + api}, load)
	if err != nil {
		return arrivals{}, err
	}
	deadline := time.Now().Add(arrivalTimeout)
	for {
		u.mu.Lock()
		so, failed := u.arrivals, u.err
		u.mu.Unlock()
		switch {
		case failed != nil:
			return so, fmt.Errorf("the subscriber's connection: %w", failed)
		case so.orders == result.Created && so.orders > 0:
			return so, nil // no further event is expected
		case time.Now().After(deadline):
			return so, fmt.Errorf("%d orders were placed, and events of %d arrived", result.Created, so.orders)
		case !pause(ctx, 10*time.Millisecond):
			return so, ctx.Err()
		}
	}
}

func (u *orderSubscriber) close() error {
	err := u.ws.Close()
	u.reading.Wait()
	return err
}
