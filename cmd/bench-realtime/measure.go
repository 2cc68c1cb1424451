package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"orderflow/internal/bench"
	"orderflow/test/servers"
)

// measurement is one run.
type measurement struct {
	settings *settings
	dir      string // of the servers
	progress io.Writer
	report   *report
}

func (m *measurement) say(format string, args ...any) {
	_, _ = fmt.Fprintf(m.progress, format+"\n", args...)
}

func (m *measurement) run(ctx context.Context) error {
	if err := raiseFiles(); err != nil {
		return err
	}
	if slices.Contains(m.settings.Parts, partFanout) {
		for _, subscribers := range m.settings.Subscribers {
			for _, channels := range m.settings.Channels {
				if err := m.fanout(ctx, subscribers, channels); err != nil {
					return fmt.Errorf("%d subscribers, %d channels: %w", subscribers, channels, err)
				}
			}
		}
	}
	if slices.Contains(m.settings.Parts, partIdle) {
		if err := m.idle(ctx); err != nil {
			return fmt.Errorf("idle connections: %w", err)
		}
	}
	if slices.Contains(m.settings.Parts, partOrders) && slices.Contains(m.settings.Subjects, orderflow) {
		if err := m.orders(ctx); err != nil {
			return fmt.Errorf("orders: %w", err)
		}
	}
	return nil
}

// load is the result of one load on one subject, over all rounds.
type load struct {
	deliveries int64
	elapsed    time.Duration
	server     time.Duration // processor time of the server
	driver     time.Duration // of subscribers and publishers
	delay      *hdrhistogram.Histogram
}

// kind is a way to load a subject and to read from it.
type kind struct {
	name     string
	rate     float64 // messages a second; 0 for as fast as the publishers go
	interval bool    // subscribers read once a millisecond; else each frame when it comes
}

// fanout measures one number of subscribers on all subjects in turn: at full speed with subscribers that read each frame at once, then
// with subscribers that read once a millisecond, then paced.
func (m *measurement) fanout(ctx context.Context, subscribers, channels int) (err error) {
	var all []*watched
	defer func() {
		for _, w := range all {
			err = errors.Join(err, w.close())
		}
	}()
	for _, name := range m.settings.Subjects {
		m.say("%s: connecting %d subscribers of %d channels", name, subscribers, channels)
		s, err := m.start(ctx, name, "")
		if err != nil {
			return errors.Join(err, s.stop())
		}
		w, h, err := watch(ctx, s, subscribers, channels)
		all = append(all, w)
		if err == nil && h.Connected < subscribers {
			err = fmt.Errorf("only %d of %d could connect: %s", h.Connected, subscribers, h.Error)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	kinds := []kind{
		{name: "full speed, each frame read when it comes"},
		{name: "full speed, sockets read once a millisecond", interval: true},
		{name: "paced", rate: float64(m.settings.Pace) / float64(subscribers) * float64(channels)},
	}
	results := make([][]*load, len(kinds))
	for k := range kinds {
		results[k] = loads(len(all))
	}
	end := make([]counts, len(all))
	for round := range m.settings.Rounds {
		for i, w := range all {
			for k, kind := range kinds {
				m.say("%s: round %d, %s", w.name, round+1, kind.name)
				if err := m.load(ctx, w, kind, results[k][i]); err != nil {
					return fmt.Errorf("%s: %s: %w", w.name, kind.name, err)
				}
			}
		}
	}
	for i, w := range all {
		if end[i], err = w.listener.ask(request{Do: doWait, Sent: w.publishers.sent()}); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	m.report.fanout(m.settings, subscribers, channels, all, kinds, results, end)
	return nil
}

func loads(n int) []*load {
	all := make([]*load, n)
	for i := range all {
		all[i] = &load{delay: newDelays()}
	}
	return all
}

// load puts one load on a subject for the warm-up and the duration, waits until all messages have arrived, and adds the result.
func (m *measurement) load(ctx context.Context, w *watched, kind kind, to *load) (err error) {
	begin := request{Do: doBegin, Interval: kind.interval}
	if _, err := w.listener.ask(begin); err != nil {
		return err
	}
	stop := w.publishers.start(ctx, kind.rate)
	defer func() { err = errors.Join(err, stop()) }()
	if !pause(ctx, m.settings.WarmUp) {
		return ctx.Err()
	}
	if _, err := w.listener.ask(begin); err != nil {
		return err
	}
	serverBefore, driverBefore, err := w.processor()
	if err != nil {
		return err
	}
	if !pause(ctx, m.settings.Duration) {
		return ctx.Err()
	}
	h, err := w.listener.ask(request{Do: doEnd})
	if err != nil {
		return err
	}
	server, driver, err := w.processor()
	if err != nil {
		return err
	}
	to.deliveries += h.Deliveries
	to.elapsed += h.Elapsed
	to.server += server - serverBefore
	to.driver += driver - driverBefore
	to.delay.Merge(hdrhistogram.Import(h.Delay))
	if err := stop(); err != nil {
		return err
	}
	_, err = w.listener.ask(request{Do: doWait, Sent: w.publishers.sent()})
	return err
}

// processor returns the processor time used so far, by the server and by the driver: listener and publishers.
func (w *watched) processor() (server, driver time.Duration, err error) {
	server, err1 := bench.ProcessCPU(w.server.PID())
	listening, err2 := w.listener.processor()
	publishing, err3 := bench.ProcessCPU(os.Getpid())
	return server, listening + publishing, errors.Join(err1, err2, err3)
}

// idleTime is the pause before memory is read, in which the server frees memory of the handshakes.
const idleTime = 5 * time.Second

// idleResult is the memory of idle connections on one subject.
type idleResult struct {
	connected  int
	bytes      float64 // resident, per connection
	firstError string  // of the next connection
}

// idle measures the memory of connections that only subscribe.
func (m *measurement) idle(ctx context.Context) error {
	// The listener and the server have other open files too.
	const own = 64
	limit, err := filesLimit()
	if err != nil {
		return err
	}
	wanted := min(m.settings.Idle, limit-own)
	if wanted < m.settings.Idle {
		m.say("the limit of open files, %d, allows %d of %d idle connections", limit, wanted, m.settings.Idle)
	}
	results := make([]idleResult, len(m.settings.Subjects))
	for i, name := range m.settings.Subjects {
		m.say("%s: connecting %d idle subscribers", name, wanted)
		if results[i], err = m.idleOf(ctx, name, wanted); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if results[i].firstError != "" {
			m.say("%s: %d connected; then: %s", name, results[i].connected, results[i].firstError)
		}
	}
	m.report.idle(m.settings.Subjects, results)
	return nil
}

// idleOf uses a server with the role realtime alone: with the role api it would reserve half of its files for the API.
func (m *measurement) idleOf(ctx context.Context, name string, wanted int) (r idleResult, err error) {
	redis, err := servers.Redis(ctx, m.dir)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, redis.Stop()) }()
	s, err := m.start(ctx, name, servers.RedisURL(redis.Addr()))
	if err != nil {
		return r, errors.Join(err, s.stop())
	}
	before, err := bench.ProcessMemory(s.server.PID())
	if err != nil {
		return r, errors.Join(err, s.stop())
	}
	w, h, err := watch(ctx, s, wanted, 100)
	defer func() { err = errors.Join(err, w.close()) }()
	if err != nil {
		return r, err
	}
	if h.Connected == 0 {
		return r, errors.New(h.Error)
	}
	if !pause(ctx, idleTime) {
		return r, ctx.Err()
	}
	after, err := bench.ProcessMemory(s.server.PID())
	return idleResult{h.Connected, float64(after-before) / float64(h.Connected), h.Error}, err
}
